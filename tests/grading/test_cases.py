"""The shipped set: labelled cases of our own invention, for every way in which a response states its answer.

They were labelled from the conventions of docs/grading.md, not from what the grader does. The few that it still gets
wrong are named in ``cases/still_wrong.txt``, so that it is known which, and that none joins them.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

from dart_tasks.files import read_rows
from dart_tasks.grading import GradingPool

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

CASES = Path(__file__).parent / "cases"
STILL_WRONG = frozenset((CASES / "still_wrong.txt").read_text(encoding="utf-8").split())


@cache
def by_kind() -> dict[str, list[tuple[str, str, bool, bool, str]]]:
    """Of each kind: (id, response's end, expected, accepted, reason)."""
    from labelled import load, verdict_of

    kinds = defaultdict(list)
    for path in sorted(CASES.glob("*.jsonl")):
        for item in load(path):
            verdict = verdict_of(item.case)
            kinds[item.kind].append(
                (item.id, item.case.response[-200:], item.expected, verdict.correct, verdict.reason)
            )
    return kinds


KINDS = sorted({str(row["kind"]) for path in CASES.glob("*.jsonl") for row in read_rows(path)})


@pytest.mark.parametrize("kind", KINDS)
def test_verdicts(kind: str) -> None:
    wrong = [
        f"{name} {'refused' if expected else 'ACCEPTED'} ({reason}): ...{end!r}"
        for name, end, expected, accepted, reason in by_kind()[kind]
        if accepted != expected and name not in STILL_WRONG
    ]
    assert not wrong, f"{len(wrong)} of {len(by_kind()[kind])}:\n" + "\n".join(wrong)


@pytest.mark.slow
def test_the_pool_gives_the_same_verdicts() -> None:
    from labelled import load, verdict_of

    cases = [item.case for path in sorted(CASES.glob("*.jsonl")) for item in load(path)]
    with GradingPool(workers=1, timeout_s=60) as pool:
        pooled = dict(pool.map(enumerate(cases)))
    for number, case in enumerate(cases):
        alone = verdict_of(case)
        if not {"undecided", "timeout"}.intersection(alone.flags + pooled[number].flags):
            assert pooled[number] == alone, case


def test_the_set_is_whole() -> None:
    cases = [case for kind in by_kind().values() for case in kind]
    assert len({name for name, *_ in cases}) == len(cases) >= 1_500
    assert 0.4 <= sum(not expected for _, _, expected, *_ in cases) / len(cases) <= 0.6
    assert {name for name, *_ in cases} >= STILL_WRONG
