"""Queries that share text with problems of the test sets."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dart_tasks.console import counted, printable
from dart_tasks.problems.benchmarks import SUITE
from dart_tasks.problems.record import Problem
from synth.records import normalise, text_key

__all__ = ["Overlap", "decontaminate", "find_overlaps"]

NGRAM_WORDS = 13
"""Words in a row that make two problems overlap, as in GPT-3's decontamination (arXiv 2005.14165, Appendix C)."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """A query that shares text with a test problem."""

    query_id: str
    benchmark: str
    problem_id: str
    exact: bool


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+|\d+|[^\sa-z\d]", normalise(text).lower())


def _grams(text: str) -> set[int]:
    """Hashes of all runs of 13 words; of the whole text where it is shorter."""
    words = _words(text)
    if len(words) <= NGRAM_WORDS:
        return {text_key(" ".join(words))}
    return {text_key(" ".join(words[i : i + NGRAM_WORDS])) for i in range(len(words) - NGRAM_WORDS + 1)}


def find_overlaps(queries: Sequence[Problem], tests: Sequence[tuple[str, str, str]]) -> list[Overlap]:
    """Queries that share 13 words in a row (numbers and signs count as words) with a test problem, or all their words.

    Args:
        tests: (benchmark, problem id, text) of every test problem.
    """
    where: dict[int, tuple[str, str, str]] = {}
    for benchmark, problem_id, text in tests:
        for gram in _grams(text):
            where.setdefault(gram, (benchmark, problem_id, text))
    overlaps = []
    for query in queries:
        hit = next((where[gram] for gram in sorted(_grams(query.query)) if gram in where), None)
        if hit is not None:
            exact = _words(hit[2]) == _words(query.query)
            overlaps.append(Overlap(query.id, hit[0], hit[1], exact))
    return overlaps


def decontaminate(queries: Sequence[Problem], drop: bool, say: Callable[[str], None]) -> tuple[frozenset[str], str]:
    """Check queries against the test sets at hand; returns the ids to leave out, and what the card says of it."""
    from dart_tasks import problems

    tests: list[tuple[str, str, str]] = []
    missing = []
    for name in SUITE:
        try:
            tests += [(name, problem.id, problem.query) for problem in problems.load(name)]
        except Exception:  # no network raises whatever the hub's client raises
            missing.append(name)
    unchecked = ""
    if missing:
        unchecked = f"not checked against {', '.join(missing)} (not available)"
        unchecked += ": queries that overlap with them were not dropped" if drop else ""
        say(f"overlap {unchecked}; DART_MATH_DATA names a folder of test sets")
    if not tests:
        return frozenset(), unchecked
    overlaps = find_overlaps(queries, tests)
    exact = sum(overlap.exact for overlap in overlaps)
    found = f"{len(overlaps):,} of {counted(len(queries), 'query')} overlap with test problems ({exact:,} are the same)"
    fate = "left out" if drop else "kept"
    say(f"{found}: {fate}{'' if drop else ' (--decontaminate drop leaves them out)'}")
    for overlap in overlaps[:10]:
        say(f"  {printable(overlap.query_id)}: {overlap.problem_id}{' (same text)' if overlap.exact else ''}")
    checked = ", ".join(name for name in SUITE if name not in missing)
    note = f"{found}: {fate}; checked against {checked}{f'; {unchecked}' if unchecked else ''}"
    return frozenset(overlap.query_id for overlap in overlaps) if drop else frozenset(), note
