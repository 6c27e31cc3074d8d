"""Which responses a page shows, and the data that its script browses: text in parts, formulas once each.

A text is a list of parts, those at odd places formulas (see :mod:`dart_tasks.report.mathml`). Of a text that was too
long the middle is left out: an empty formula stands there, and ``left`` says how many characters are missing.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from dart_tasks.console import printable
from dart_tasks.harness.thoughts import split_thought
from dart_tasks.report.mathml import as_formula, mathml, split
from dart_tasks.report.results import Graded, Item, Run
from dart_tasks.report.summary import benchmark_titles

__all__ = ["Choice", "Chosen", "browser_data", "choose"]

TEXT_BYTES = 10_000_000
"""Of all queries and responses on a page, as written there."""
FORMULA_CHARS = 300_000
"""Of formulas converted for a page, the first ones: a conversion takes half a millisecond."""
MATHML_BYTES = 5_000_000
SHORT = 400
"""Characters of an answer, a reason."""


@dataclass(frozen=True)
class Chosen:
    """A response on the page: the places of its run and task, its item, its number among the item's responses."""

    run: int
    task: int
    item: Item
    trial: int
    rank: int

    @property
    def graded(self) -> Graded:
        """The response."""
        return self.item.responses[self.trial]


@dataclass(frozen=True)
class Choice:
    """The responses of a page, and how many there are in all: (wrong or disputed, right)."""

    shown: tuple[Chosen, ...]
    n_first: int
    n_right: int


def choose(runs: Sequence[Run], limit: int) -> Choice:
    """At most ``limit`` responses: disputed and wrong ones first, then right ones on items that runs differ in, then a
    sample of the right ones, which has a tenth of the places if there are more than enough of the others.

    Where not all of a kind fit, a fixed sample of the items is taken, from each task alike, the same for all runs.
    """
    differing = _differing(runs)
    kinds: list[list[tuple[tuple[int, bytes], Chosen]]] = [[], [], [], []]
    for r, run in enumerate(runs):
        for t, task in enumerate(run.tasks):
            for item in task.items:
                order = _hash(item.id)
                seen: Counter[int] = Counter()
                for trial, graded in enumerate(item.responses):
                    if not graded.correct or graded.disputed:
                        kind = 0 if graded.disputed else 1
                    else:
                        kind = 2 if (task.title, item.id) in differing else 3
                    chosen = Chosen(r, t, item, trial, kind)
                    kinds[kind].append(((seen[kind], order), chosen))
                    seen[kind] += 1
    first = [chosen for kind in (0, 1) for chosen in _spread(kinds[kind])]
    right = [chosen for kind in (2, 3) for chosen in _spread(kinds[kind])]
    n_right = min(len(right), max(limit - len(first), limit // 10))
    shown = [*first[: limit - n_right], *right[:n_right]]
    titles = benchmark_titles(runs)
    place = {(r, t): titles.index(task.title) for r, run in enumerate(runs) for t, task in enumerate(run.tasks)}
    shown.sort(key=lambda one: (one.rank, one.run, place[one.run, one.task], one.item.id, one.trial))
    return Choice(tuple(shown), len(first), len(right))


def _differing(runs: Sequence[Run]) -> set[tuple[str, str]]:
    """The items, by task and id, on which two runs differ in accuracy."""
    seen: dict[tuple[str, str], float] = {}
    found = set()
    for run in runs:
        for task in run.tasks:
            for item in task.items:
                key = (task.title, item.id)
                if seen.setdefault(key, item.accuracy) != item.accuracy:
                    found.add(key)
    return found


@cache
def _hash(identity: str) -> bytes:
    return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).digest()[:8]


def _spread(entries: list[tuple[tuple[int, bytes], Chosen]]) -> list[Chosen]:
    """In an order in which every start has as many of each run's every task, as far as there are."""
    entries.sort(key=lambda entry: entry[0])
    places: Counter[tuple[int, int]] = Counter()
    ranked = []
    for _, chosen in entries:
        ranked.append((places[chosen.run, chosen.task], chosen))
        places[chosen.run, chosen.task] += 1
    ranked.sort(key=lambda entry: entry[0])
    return [chosen for _, chosen in ranked]


def browser_data(runs: Sequence[Run], choice: Choice) -> dict[str, Any]:
    """What the page's script reads: runs, tasks, items, responses and formulas."""
    titles = benchmark_titles(runs)
    places: dict[tuple[str, str], int] = {}
    items: list[Item] = []
    for chosen in choice.shown:
        key = (runs[chosen.run].tasks[chosen.task].title, chosen.item.id)
        if key not in places:
            places[key] = len(items)
            items.append(chosen.item)
    limit = _limit([item.query for item in items] + [chosen.graded.response for chosen in choice.shown])
    scores = _scores(runs, places)
    rows: list[dict[str, Any]] = [
        {"id": printable(item.id), "task": titles.index(title), "facts": _facts(item), "scores": scores[place]}
        | _text("query", item.query, limit)
        | {"reference": as_formula(_short(item.reference_text))}
        for ((title, _), place), item in zip(places.items(), items, strict=True)
    ]
    responses = [
        _response(chosen, places[runs[chosen.run].tasks[chosen.task].title, chosen.item.id], limit)
        for chosen in choice.shown
    ]
    parted = [part[name] for part in rows for name in ("reference", "query")]
    parted += [part["answer"] for part in responses] + [part["text"] for part in responses]
    return {
        "runs": [printable(run.label) for run in runs],
        "tasks": [printable(title) for title in titles],
        "items": rows,
        "responses": responses,
        "formulas": _formulas(formula for text in parted for formula in text[1::2]),
    }


def _scores(runs: Sequence[Run], places: dict[tuple[str, str], int]) -> list[list[list[int] | None]]:
    """By item and run: (right responses, responses), None where the run has not the item."""
    found: list[list[list[int] | None]] = [[None] * len(runs) for _ in places]
    for r, run in enumerate(runs):
        for task in run.tasks:
            for item in task.items:
                if (place := places.get((task.title, item.id))) is not None:
                    found[place][r] = [sum(graded.correct for graded in item.responses), len(item.responses)]
    return found


def _response(chosen: Chosen, item: int, limit: int) -> dict[str, Any]:
    graded = chosen.graded
    row: dict[str, Any] = {
        "item": item,
        "run": chosen.run,
        "trial": chosen.trial,
        "correct": graded.correct,
        "answer": as_formula(_short(graded.answer)),
        "source": printable(graded.source),
        "reason": _short(graded.reason),
        "flags": [printable(flag) for flag in graded.flags],
        "truncated": graded.truncated,
        "chars": len(graded.response),
    }
    if graded.thought_tokens is not None:
        row["thought_tokens"] = graded.thought_tokens
    if graded.finish_reason:
        row["finish_reason"] = printable(graded.finish_reason)
    thought, answer = split_thought(graded.response)
    if thought:
        thought = graded.response.removesuffix(answer) if answer else graded.response  # with its tags
        row["thought"] = {"chars": graded.thought_characters} | _text("text", thought, limit)
    if graded.judged is not None:
        judged = graded.judged
        row["judge"] = {"correct": judged.correct, "answer": _short(judged.answer), "reason": _short(judged.reason)}
    return row | _text("text", answer, limit)


def _facts(item: Item) -> str:
    return printable(", ".join(f"{key} {value}" for key, value in item.metadata.items() if value not in (None, False)))


def _short(text: str) -> str:
    return printable(text if len(text) <= SHORT else text[: SHORT - 1] + "…")


def _text(name: str, text: str, limit: int) -> dict[str, Any]:
    """A text in parts, under its name; of a long one the first third and the last two, for there the answer stands."""
    written = _written(text)
    if written <= limit:
        return {name: split(printable(text))}
    kept = max(1, len(text) * limit // written)
    head = kept // 3
    parts = [*split(printable(text[:head])), "", *split(printable(text[len(text) - kept + head :]))]
    return {name: parts, "left": len(text) - kept}


def _written(text: str) -> int:
    """The bytes of a text as the page holds it, where marks of HTML are escaped."""
    plain = json.dumps(printable(text), ensure_ascii=False).encode("utf-8", "replace")
    return len(plain) + 5 * sum(map(text.count, "<>&'"))


def _limit(texts: Iterable[str]) -> int:
    """The bytes of a text that may be written, such that all fit: the longest are cut alike."""
    sizes = sorted(map(_written, texts))
    room = TEXT_BYTES
    for index, size in enumerate(sizes):
        if size * (len(sizes) - index) > room:
            return room // (len(sizes) - index)
        room -= size
    return sizes[-1] if sizes else 0


def _formulas(formulas: Iterable[str]) -> dict[str, str]:
    """MathML by formula, of as many as there is time and room for."""
    found: dict[str, str] = {}
    chars = room = 0
    for formula in dict.fromkeys(formulas):
        chars += len(formula)
        if chars > FORMULA_CHARS or room > MATHML_BYTES:
            break
        if (content := mathml(formula)) is not None:
            found[formula] = content
            room += len(content) + len(formula)
    return found
