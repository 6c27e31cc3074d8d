"""How strictly answers are compared: a benchmark's policy, what the question says, and the rules that follow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TypeAlias

from dart_tasks.grading.parse.tree import Node
from dart_tasks.grading.parse.units import canonical_unit, is_unit
from dart_tasks.grading.question import hints
from dart_tasks.grading.verdict import Case, Reference
from dart_tasks.problems.benchmarks import BENCHMARKS as RECORDS
from dart_tasks.problems.benchmarks import NAMES
from dart_tasks.problems.record import Policy

__all__ = ["BENCHMARKS", "Benchmark", "Rules", "check", "policy_of", "rules_for"]

BENCHMARKS = NAMES
Benchmark: TypeAlias = str
"""The name of a benchmark, one of BENCHMARKS."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How strictly values are compared.

    Attributes:
        ordered: items of a bare list are compared in order.
        any_bracket: a list may be written in any brackets or none (lists of DeepMind-Mathematics and TheoremQA).
        absolute: numbers may differ by this much (OlympiadBench's ``error``).
        relative: numbers may differ by this fraction of the reference (TheoremQA).
        percent: the question asks for a percentage, so 20 and 20% are the same.
        bases: those that an answer may carry where the reference leaves it out: the question's; None for any.
        choices: the question lists choices, so a lone small letter is one of them.
        unit: of time, length or the like, in which the question wants its number.
        noncommuting: names that the question calls matrices: the order of their products counts.
        question: its text; names that it defines are no names for the answer.
        asked: the expressions that it asks for: a label of one of them means nothing.
        places: decimal places to which the question orders the answer to be rounded.
        digits: significant digits to which it does.
    """

    ordered: bool = False
    any_bracket: bool = False
    absolute: Fraction | None = None
    relative: Fraction | None = None
    percent: bool = False
    bases: frozenset[int] | None = None
    choices: bool = False
    unit: str = ""
    noncommuting: frozenset[str] = frozenset()
    question: str | None = None
    asked: tuple[Node, ...] = ()
    places: int | None = None
    digits: int | None = None


def rules_for(benchmark: str, reference: Reference, question: str | None, tolerance: float | str | None) -> Rules:
    """The rules for one case; arguments as for :func:`dart_tasks.grading.grade`.

    Raises:
        ValueError: an unknown benchmark, or a tolerance that is no number.
    """
    is_list = isinstance(reference, list | tuple) and not all(isinstance(item, str) for item in reference)
    in_brackets = isinstance(reference, str) and (reference.startswith("[") or "," in reference)
    kind = "list" if is_list else "" if not isinstance(reference, str) else "bracketed" if in_brackets else "text"
    return _rules(benchmark, kind, _has_float(reference), question, tolerance)


@lru_cache(maxsize=256)
def _rules(benchmark: str, kind: str, has_float: bool, question: str | None, tolerance: float | str | None) -> Rules:
    """The rules for a kind of reference: "list", "bracketed" or other "text"."""
    policy = policy_of(benchmark)
    allowed = _tolerance(tolerance)
    relative = None if policy.absolute_tolerance else allowed
    if policy.float_tolerance is not None:
        relative = (relative or Fraction(policy.float_tolerance)) if has_float else None
    is_list = kind == "list"
    sequence = policy.text_sequences and kind in ("bracketed", "text")
    listed = sequence and kind == "bracketed"
    said = hints(question)
    return Rules(
        ordered=is_list or (sequence and not listed) or said.ordered,
        any_bracket=is_list or listed,
        absolute=allowed if policy.absolute_tolerance else None,
        relative=relative,
        percent=said.percent,
        bases=said.bases,
        choices=said.choices,
        unit=canonical_unit([said.unit]) if said.unit and is_unit(said.unit) else "",
        noncommuting=said.noncommuting,
        question=question,
        places=said.places,
        digits=said.digits,
    )


def policy_of(benchmark: str) -> Policy:
    """The policy of a benchmark, as its record in :mod:`dart_tasks.problems.benchmarks` has it.

    Raises:
        ValueError: there is none of that name.
    """
    if benchmark not in BENCHMARKS:
        raise ValueError(f"unknown benchmark {benchmark!r}: choose one of {', '.join(BENCHMARKS)}")
    return RECORDS[benchmark].policy if benchmark in RECORDS else Policy()


def check(case: Case) -> None:
    """Raises ValueError for a case that cannot be graded: an unknown benchmark, an unusable tolerance."""
    policy_of(case.benchmark)
    _tolerance(case.tolerance)


def _has_float(reference: Reference) -> bool:
    if isinstance(reference, list | tuple):
        return any(isinstance(item, float) for item in reference)
    return isinstance(reference, float)


def _tolerance(tolerance: float | str | None) -> Fraction | None:
    if tolerance is None or tolerance == "":
        return None
    try:
        value = float(tolerance)
    except (ValueError, TypeError):
        raise ValueError(f"tolerance must be a number (got {tolerance!r})") from None
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"tolerance must be finite and not negative (got {tolerance!r})")
    return Fraction(str(value))
