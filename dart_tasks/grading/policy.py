"""How strictly answers are compared: a benchmark's policy, what the question says, and the rules that follow."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TypeAlias

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
        base: the question speaks of a base, so an answer may carry one that the reference leaves out.
        choices: the question lists choices, so a lone small letter is one of them.
        noncommuting: names that the question calls matrices: the order of their products counts.
    """

    ordered: bool = False
    any_bracket: bool = False
    absolute: Fraction | None = None
    relative: Fraction | None = None
    percent: bool = False
    base: bool = True
    choices: bool = False
    noncommuting: frozenset[str] = frozenset()


_ORDERED = re.compile(
    r"\bsort\b|\b(?:arrange|put|list|order)\b.{0,80}\b(?:ascending|descending|increasing|decreasing)\b|\brespectively\b"
    r"|\bin (?:the )?(?:ascending|descending|increasing|decreasing|numerical) order\b"
    r"|from (?:the )?(?:least|smallest|greatest|largest) to",
    re.IGNORECASE,
)
_ORDER_HINTS = ("sort", "respective", "cending", "creasing", "numerical order", "from ")  # one is in each match
_BASE = re.compile(r"\bbases?\b|_\{?\d")
_MATRICES = re.compile(r"[^.?!]*\bmatri(?:x|ces)\b[^.?!]*", re.IGNORECASE)
_FORMULA = re.compile(r"\$([^$]+)\$|\\\(.+?\\\)")
_CAPITAL = re.compile(r"(?<![A-Za-z\\])[A-Z](?![A-Za-z])")
_PERCENT = re.compile(r"\bper\s?cent")


@dataclass(frozen=True, slots=True)
class _Hints:
    """What a question says about the answer's form."""

    ordered: bool = False
    percent: bool = True
    base: bool = True
    choices: bool = False
    noncommuting: frozenset[str] = frozenset()


@lru_cache(maxsize=1024)
def _hints(question: str | None) -> _Hints:
    if question is None:
        return _Hints()
    lower = question.lower()
    return _Hints(
        ordered=any(hint in lower for hint in _ORDER_HINTS) and bool(_ORDERED.search(question)),
        percent="%" in lower or ("cent" in lower and bool(_PERCENT.search(lower))),
        base=any(word in lower for word in ("binary", "octal", "hexadecimal"))
        or (("base" in lower or "_" in lower) and bool(_BASE.search(lower))),
        choices="(b)" in lower,
        noncommuting=_matrix_names(question) if "matri" in lower else frozenset(),
    )


def _matrix_names(question: str) -> frozenset[str]:
    """The capital letters in formulas of the sentences that speak of matrices."""
    formulas = [formula for sentence in _MATRICES.findall(question) for formula in _FORMULA.findall(sentence)]
    return frozenset(letter for formula in formulas for letter in _CAPITAL.findall(formula))


def rules_for(benchmark: str, reference: Reference, question: str | None, tolerance: float | str | None) -> Rules:
    """The rules for one case; arguments as for :func:`dart_tasks.grading.grade`.

    Raises:
        ValueError: an unknown benchmark, or a tolerance that is no number.
    """
    policy = policy_of(benchmark)
    allowed = _tolerance(tolerance)
    relative = None if policy.absolute_tolerance else allowed
    if policy.float_tolerance is not None:
        relative = (relative or Fraction(policy.float_tolerance)) if _has_float(reference) else None
    is_list = isinstance(reference, list | tuple) and not all(isinstance(item, str) for item in reference)
    sequence = policy.text_sequences and isinstance(reference, str)
    listed = sequence and (str(reference).startswith("[") or "," in str(reference))
    hints = _hints(question)
    return Rules(
        ordered=is_list or (sequence and not listed) or hints.ordered,
        any_bracket=is_list or listed,
        absolute=allowed if policy.absolute_tolerance else None,
        relative=relative,
        percent=hints.percent,
        base=hints.base,
        choices=hints.choices,
        noncommuting=hints.noncommuting,
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
    except ValueError:
        raise ValueError(f"tolerance must be a number (got {tolerance!r})") from None
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"tolerance must be finite and not negative (got {tolerance!r})")
    return Fraction(str(value))
