"""What each cue for finding an answer is worth, by source: right verdicts lost and false accepts gained without it.

    python bench/cues.py REAL.jsonl
    python bench/cues.py tests/grading/cases/*.jsonl --by kind

One cue at a time is turned off and every case graded again. A cue that helps one source only, and none of the others,
was made for that source.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from labelled import Labelled, load, verdict_of

EXTRACT = "dart_tasks.grading.extract"
NOTHING: Callable[..., None] = lambda *_: None  # noqa: E731
SAME: Callable[..., Any] = lambda first, *_: first  # noqa: E731
# name: (module, attribute, what stands in its place)
CUES: dict[str, tuple[str, str, Callable[..., Any]]] = {
    "json": ("cues", "_json", NOTHING),
    "boxed": ("cues", "_boxed", NOTHING),
    "hashes": ("cues", "_hashes", NOTHING),
    "answer_tag": ("cues", "_tagged", NOTHING),
    "answer_is": ("cues", "_stated", NOTHING),
    "whole": ("cues", "_whole", NOTHING),
    "output": ("cues", "_printed", NOTHING),
    "last sentence": ("cues", "_concluded", NOTHING),
    "list at the end": ("cues", "last_list", NOTHING),
    "count before a list": ("cues", "count_before_list", NOTHING),
    "clause asked for": ("cues", "clause_asked", SAME),
    "clause asked for, in a value": ("prose", "clause_asked", SAME),
    "noun asked for": ("prose", "_counted", lambda *_: []),
    "words as numbers": ("prose", "_worded", lambda *_: []),
    "truth value": ("prose", "_truth", lambda *_: ""),
    "letters of options": ("prose", "_letters", lambda *_: ""),
    "words of options": ("prose", "_option_words", lambda *_: ""),
    "neighbours joined": ("prose", "_listed", lambda _, values: values),
    "circumstances left out": ("prose", "_is_circumstance", lambda *_: False),
    "the other extreme refused": ("prose", "is_opposite", lambda *_: False),
    "cut of what runs on": ("cues", "_own", SAME),
    "money told from formulas": ("document", "mark_money", SAME),
    "rows of numbers": ("document", "with_grids", SAME),
}


def verdicts(cases: Sequence[Labelled]) -> list[bool]:
    return [verdict_of(item.case).correct for item in cases]


def without(name: str, cases: Sequence[Labelled]) -> list[bool]:
    """The verdicts with one cue turned off."""
    module, attribute, stand_in = CUES[name]
    home = importlib.import_module(f"{EXTRACT}.{module}")
    cue = getattr(home, attribute)
    cues = getattr(home, "CUES", ())
    try:
        setattr(home, attribute, stand_in)
        home.__dict__["CUES"] = tuple(stand_in if each is cue else each for each in cues)
        return verdicts(cases)
    finally:
        setattr(home, attribute, cue)
        home.__dict__["CUES"] = cues


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="FILE", help="labelled files")
    parser.add_argument("--by", choices=("source", "kind", "benchmark"), default="source")
    options = parser.parse_args()
    cases = [case for name in options.sets for case in load(name)]
    with_all = verdicts(cases)
    print(f"{len(cases):,} cases; without the cue: rights lost / false accepts gained, and the sources that lose")
    for name in CUES:
        lost: Counter[str] = Counter()
        gained = 0
        for item, before, after in zip(cases, with_all, without(name, cases), strict=True):
            if before == item.expected != after:
                gained += after
                lost[getattr(item, options.by)] += not after
        sources = ", ".join(f"{source} {number}" for source, number in lost.most_common() if number)
        print(f"| {name} | {lost.total()} | {gained} | {sources} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
