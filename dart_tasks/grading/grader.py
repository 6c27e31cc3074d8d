"""Grading one response: extraction, then equality under the benchmark's policy.

>>> grade(r"So $2x = 6$ and the answer is $\\boxed{3}$.", "3", "math").correct
True
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import product
from typing import TypeAlias

from dart_tasks.grading.compare import Rules, same
from dart_tasks.grading.extract import clean, ends_in, find_answer
from dart_tasks.grading.nodes import Based
from dart_tasks.grading.numeric import Budget, UndefinedError, self_check
from dart_tasks.grading.read import Reading, native, read
from dart_tasks.grading.words import choice_letter, choice_letters, clock_time, predicate_key, truth_value
from dart_tasks.problems.benchmarks import BENCHMARKS as RECORDS
from dart_tasks.problems.benchmarks import NAMES
from dart_tasks.problems.record import Policy

__all__ = ["BENCHMARKS", "Case", "Reference", "Verdict", "check", "equal", "extract", "grade", "readable"]

BENCHMARKS = NAMES
Reference: TypeAlias = str | int | float | bool | Sequence[object]

_ORDERED = re.compile(
    r"\bsort\b|\b(?:arrange|put|list|order)\b.{0,80}\b(?:ascending|descending|increasing|decreasing)\b|\brespectively\b"
    r"|\bin (?:the )?(?:ascending|descending|increasing|decreasing|numerical) order\b"
    r"|from (?:the )?(?:least|smallest|greatest|largest) to",
    re.IGNORECASE,
)
_ORDER_HINTS = ("sort", "respective", "cending", "creasing", "numerical order", "from ")  # one is in each match
_BASE = re.compile(r"\bbases?\b|_\{?\d")
_PERCENT = re.compile(r"\bper\s?cent")
MAX_WORDS = 80  # letters of a reference that is compared as text only


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the grader decided, and why.

    Attributes:
        correct: whether the answer equals the reference.
        answer: the extracted text.
        source: the cue it was found by: boxed, hashes, final_answer, answer_is, whole, last_formula, last_number, none.
        explicit: the response states it as its answer (the first four sources), rather than it being merely last.
        reason: why it is equal or not, in a few words.
        flags: what went wrong around it: truncated, unfinished_thinking (the response ends inside a thought), timeout,
            memory, crashed, error.
    """

    correct: bool
    answer: str
    source: str
    explicit: bool
    reason: str
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to grade; the arguments of :func:`grade`."""

    response: str
    reference: Reference
    benchmark: str = "generic"
    question: str | None = None
    tolerance: float | str | None = None
    finish_reason: str | None = None


def grade(
    response: str,
    reference: Reference,
    benchmark: str = "generic",
    question: str | None = None,
    tolerance: float | str | None = None,
    finish_reason: str | None = None,
) -> Verdict:
    """Judge a response against a reference answer. Bounded in time and memory; never raises for any response.

    Args:
        reference: in its native type (text, number, truth value, list).
        benchmark: one of BENCHMARKS; it sets the policy.
        question: the query's text; it settles what notation leaves open (order, percentages).
        tolerance: OlympiadBench: absolute (its ``error`` field). Else: relative to a reference that is a float.
        finish_reason: ``"length"`` marks a truncated response, wrong unless it already stated its answer.

    Raises:
        ValueError: an unknown benchmark, or a tolerance that is no number.
    """
    rules = _rules(benchmark, reference, question, tolerance)
    try:
        found = find_answer(response)
    except Exception as error:  # a fault of ours must cost one case, visibly, not a run
        return Verdict(False, "", "none", False, f"extraction failed: {type(error).__name__}", ("error",))
    flags: tuple[str, ...] = ("truncated",) if finish_reason == "length" else ()
    if found.unfinished:
        return Verdict(False, "", "none", False, "ends inside a thought", (*flags, "unfinished_thinking"))
    if flags and not found.explicit:
        return Verdict(False, found.answer, found.source, False, "truncated before it stated an answer", flags)
    if found.source == "none":
        return Verdict(False, "", "none", False, "no answer found", flags)
    correct, reason = _judge(reference, found.answer, rules)
    # Of a reference of several sentences the answer found is a part, so the whole is sought where it was stated.
    is_part = not correct and isinstance(reference, str) and len(reference) > len(found.answer)
    if is_part and found.source not in ("boxed", "answer_tag") and ends_in(response, str(reference)):
        return Verdict(True, str(reference), found.source, True, "same text", flags)
    flags += ("error",) if reason.startswith("comparison failed") else ()
    return Verdict(correct, found.answer, found.source, found.explicit, reason, flags)


def extract(response: str, benchmark: str = "generic") -> str:
    """The text of the answer that a response gives, empty if there is none."""
    _check_benchmark(benchmark)
    return find_answer(response).answer


def equal(
    reference: Reference,
    answer: str,
    benchmark: str = "generic",
    question: str | None = None,
    tolerance: float | str | None = None,
) -> bool:
    """Whether an answer's text equals the reference under the benchmark's policy; arguments as for :func:`grade`."""
    return _judge(reference, answer, _rules(benchmark, reference, question, tolerance))[0]


def readable(reference: Reference) -> bool:
    """Whether an answer can be judged against this reference: it has a value, or is a few words of plain text.

    Broken TeX, a proof or an empty text have neither: nothing but the same text would ever equal them.
    """
    expected: Reading = native(reference)  # type: ignore[arg-type]
    words = expected.key
    is_plain = 0 < len(words) <= MAX_WORDS and any(map(str.isalpha, words)) and not re.search(r"[\\\d{}=]", words)
    return bool(expected.nodes or expected.said) or is_plain


def check(case: Case) -> None:
    """Raises ValueError for a case that :func:`grade` would refuse: an unknown benchmark, an unusable tolerance."""
    _check_benchmark(case.benchmark)
    _tolerance(case.tolerance)


def _check_benchmark(benchmark: str) -> None:
    if benchmark not in BENCHMARKS:
        raise ValueError(f"unknown benchmark {benchmark!r}: choose one of {', '.join(BENCHMARKS)}")


@dataclass(frozen=True, slots=True)
class _Hints:
    """What a question says about the answer's form."""

    ordered: bool = False
    percent: bool = True
    base: bool = True
    choices: bool = False


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
    )


def _rules(benchmark: str, reference: Reference, question: str | None, tolerance: float | str | None) -> Rules:
    _check_benchmark(benchmark)
    policy = RECORDS[benchmark].policy if benchmark in RECORDS else Policy()
    allowed = _tolerance(tolerance)
    relative = None if policy.absolute_tolerance else allowed
    if policy.float_tolerance is not None:
        relative = (relative or Fraction(policy.float_tolerance)) if _has_float(reference) else None
    is_list = isinstance(reference, list | tuple) and not all(isinstance(item, str) for item in reference)
    sequence = policy.text_sequences and isinstance(reference, str)
    listed = sequence and (str(reference).startswith("[") or "," in str(reference))
    sorted_list = sequence and not listed  # -1 3 4 answers "Sort ..."
    hints = _hints(question)
    return Rules(
        ordered=is_list or sorted_list or hints.ordered,
        any_bracket=is_list or listed,
        absolute=allowed if policy.absolute_tolerance else None,
        relative=relative,
        percent=hints.percent,
        base=hints.base,
        choices=hints.choices,
    )


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


def _judge(reference: Reference, answer: str, rules: Rules) -> tuple[bool, str]:
    try:
        return _compare(reference, answer, rules)
    except UndefinedError as error:
        return False, f"not decided: {error}"
    except Exception as error:  # see grade
        return False, f"comparison failed: {type(error).__name__}"


def _compare(reference: Reference, answer: str, rules: Rules) -> tuple[bool, str]:
    expected: Reading = native(reference)  # type: ignore[arg-type]
    answer = clean(answer)
    if not answer:
        return False, "empty answer"
    if answer in (expected.text.strip(), clean(expected.text)):
        return True, "same text"
    truth = truth_value(expected.text)
    if truth is not None:
        given = truth_value(answer)
        given = {"T": True, "F": False}.get(answer) if given is None else given
        if given is not None:
            return given is truth, "same truth value" if given is truth else "other truth value"
    for view, name in ((choice_letter, "choice"), (clock_time, "time")):
        wanted, given_view = view(expected.text), view(answer)
        if view is choice_letter and rules.choices and re.fullmatch(r"[a-h]", expected.text.strip()):
            wanted = expected.text.strip().upper()
        if view is choice_letter and wanted and re.fullmatch(r"[a-z]", answer):
            given_view = answer.upper()  # a lone small letter is a variable, but not beside a choice
        if wanted is not None and given_view is not None:
            return given_view == wanted, f"{'same' if given_view == wanted else 'other'} {name}"
    wanted_letters = choice_letters(expected.text)
    given_letters = choice_letters(answer) if wanted_letters else None
    if wanted_letters and given_letters:
        equal_letters = wanted_letters == given_letters
        equal_letters |= not rules.ordered and sorted(wanted_letters) == sorted(given_letters)
        return equal_letters, "same choices" if equal_letters else "other choices"
    given_reading = read(answer)
    budget = Budget()
    for left, right in product(expected.nodes, given_reading.nodes):
        if same(left, right, rules, budget):
            return True, "equal in value"
    for left, right in [*product(expected.said, given_reading.nodes), *product(expected.nodes, given_reading.said)]:
        if same(left, right, rules, budget):
            return True, "equal to the value that the text gives"
    if any(isinstance(node, Based) and node.numeral == answer.replace(" ", "") for node in expected.nodes):
        return True, "same numeral, base left out"
    is_text = any(char.isalpha() for char in expected.key) and not (expected.nodes and given_reading.nodes)
    if is_text and (
        expected.key == given_reading.key or (not expected.nodes and expected.key == predicate_key(answer))
    ):
        return True, "same words"
    if not given_reading.nodes:
        return False, "answer is not readable as mathematics, and is other text"
    return False, "different values" if expected.nodes else "different text"


self_check()
