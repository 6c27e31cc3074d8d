"""Grading one response: extraction, then equality under the benchmark's policy.

>>> grade(r"So $2x = 6$ and the answer is $\\boxed{3}$.", "3", "math").correct
True
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

from dart_tasks.grading.compare.equality import same, unlabelled
from dart_tasks.grading.compare.evaluate import Budget, UndefinedError, self_check
from dart_tasks.grading.compare.shapes import noncommuting_names
from dart_tasks.grading.compare.undecided import is_undecided
from dart_tasks.grading.extract.unwrap import clean
from dart_tasks.grading.parse.notation import bare
from dart_tasks.grading.parse.phrases import (
    choice_letter,
    choice_letters,
    listed_choices,
    predicate_key,
    same_time,
    text_key,
    truth_value,
)
from dart_tasks.grading.parse.readings import Reading, completed, is_value, native, read
from dart_tasks.grading.parse.tree import Based, Node, Quotient, Relation
from dart_tasks.grading.policy import Rules, policy_of, rules_for
from dart_tasks.grading.question import asked_of, hints, is_property_denied
from dart_tasks.grading.verdict import Case, Reasoning, Reference, Verdict
from dart_tasks.grading.vote import classes

if TYPE_CHECKING:
    from dart_tasks.grading.extract.prose import Extraction

__all__ = ["equal", "equivalence_classes", "extract", "grade", "judge", "readable", "settled"]

_PROBABILITY = re.compile(r"\\Pr\b|\\mathbb\s*\{?\s*P\s*\}?|\bPr(?=\s*\()")
_WORDS = re.compile(r"[A-Za-z][A-Za-z'.-]*(?:\s+[A-Za-z][A-Za-z'.-]*){0,7}\s*")
_EQUALS = re.compile(r"(?<![<>!:\\])=|\\approx\b|≈")
_FORMULA = re.compile(r"[\\$^_=<>]")
_EXPLAINED = re.compile(r"(?:yes|no|true|false)[,.;:]? (?:since|because|as)\b", re.IGNORECASE)
_PREFIXES = {2: "0B", 8: "0O", 16: "0X"}
_SMALL_CHOICES = frozenset("abcdefgh")
MAX_WORDS = 80  # letters of a reference that is compared as text only


_SCALED = re.compile(r"(.{0,20}\d) (million|billion)s?(?: dollars)?")
_TEXT_GIVES = "equal to the value that the text gives"


def grade(
    response: str,
    reference: Reference,
    benchmark: str = "generic",
    question: str | None = None,
    tolerance: float | str | None = None,
    finish_reason: str | None = None,
    symbolic: bool = True,
    reasoning: Reasoning = "auto",
    thought_opened: bool = False,
) -> Verdict:
    """Judge a response against a reference answer. Bounded in time and memory; never raises for any response.

    Args:
        reference: in its native type (text, number, truth value, list).
        benchmark: one of BENCHMARKS; it sets the policy.
        question: the query's text; it settles what notation leaves open (order, percentages).
        tolerance: OlympiadBench: absolute (its ``error`` field). Else: relative to a reference that is a float.
        finish_reason: ``"length"`` marks a truncated response, wrong unless it already stated its answer.
        symbolic: ask computer algebra where the fast comparison leaves a pair undecided (an integral, a product of
            matrices, an inequality to be solved). It runs in one helper process that all calls share.
        reasoning: which part of a response is a thought, and so no answer: ``"auto"``: between the usual tags; ``(open,
            close)``: between these; None: nothing.
        thought_opened: the prompt ended with the opening tag, so a response without the closing one is unfinished.

    Raises:
        ValueError: an unknown benchmark, or a tolerance that is no number.
    """
    case = Case(response, reference, benchmark, question, tolerance, finish_reason, symbolic, reasoning, thought_opened)
    verdict = judge(case)
    if "undecided" not in verdict.flags:
        return verdict
    from dart_tasks.grading.run.helper import grade_elsewhere

    return grade_elsewhere(case) or verdict


def judge(case: Case) -> Verdict:
    """The verdict of the fast comparison; wrong and "undecided" where :func:`settled` may find it right."""
    rules = rules_for(case.benchmark, case.reference, case.question, case.tolerance)
    response, reference, finish_reason = case.response, case.reference, case.finish_reason
    try:
        found = _found(response, case.question, case.reasoning, case.thought_opened)
    except Exception as error:  # a fault of ours must cost one case, visibly, not a run
        return Verdict(False, "", "none", False, f"extraction failed: {type(error).__name__}", ("error",))
    flags: tuple[str, ...] = ("truncated",) if finish_reason == "length" else ()
    if found.unfinished:
        return Verdict(False, "", "none", False, "ends inside a thought", (*flags, "unfinished_thinking"))
    if flags and not found.explicit:
        return Verdict(False, found.answer, found.source, False, "truncated before it stated an answer", flags)
    correct, reason = False, "no answer found"
    if found.answer:
        correct, reason = _judge(reference, found.answer, rules)
    if not correct and found.sentence:
        said = _judge(reference, found.sentence, rules)
        if said[1] != _TEXT_GIVES:  # of a sentence's values the one asked for was found
            correct, reason = max((correct, reason), said, key=lambda judged: judged[0])
    # Of a reference of several sentences the answer found is a part, so the whole is sought where it was stated.
    is_part = isinstance(reference, str) and len(reference) > len(found.answer)
    may_end_in = is_part and not (correct and found.explicit) and found.source not in ("json", "boxed", "answer_tag")
    if may_end_in and _ends_in(case, str(reference)):
        return Verdict(True, str(reference), "answer_is", True, "same text", flags)
    flags += ("error",) if reason.startswith("comparison failed") else ()
    if not correct and found.answer and case.symbolic and _undecided(reference, found.answer, rules):
        flags += ("undecided",)
    return Verdict(correct, found.answer, found.source, found.explicit, reason, flags)


# The cues are imported with the first response: their patterns take as long as all else that the import does.
def _found(
    response: str, question: str | None = None, reasoning: Reasoning = "auto", thought_opened: bool = False
) -> Extraction:
    from dart_tasks.grading.extract.cues import find

    return find(response, is_value, question, reasoning, thought_opened)


def _ends_in(case: Case, answer: str) -> bool:
    from dart_tasks.grading.extract.cues import ends_in

    return ends_in(case.response, answer, is_value, case.reasoning, case.thought_opened)


def settled(case: Case, verdict: Verdict) -> Verdict:
    """A verdict that was undecided, by computer algebra in this process and in its own time; see the worker."""
    from dart_tasks.grading.compare.symbolic import decide

    rules = rules_for(case.benchmark, case.reference, case.question, case.tolerance)
    pairs = _undecided(case.reference, verdict.answer, rules)
    flags = tuple(flag for flag in verdict.flags if flag != "undecided")
    opinions = [decide(left, right, rules.noncommuting | noncommuting_names(left, right)) for left, right in pairs]
    if True in opinions:
        return replace(verdict, correct=True, reason="equal by computer algebra", flags=flags)
    return verdict if None in opinions else replace(verdict, flags=flags)


def _undecided(reference: Reference, answer: str, rules: Rules) -> list[tuple[Node, Node]]:
    """The readings of reference and answer that computer algebra may yet find equal."""
    expected = _expected(reference)
    pairs = product(expected.nodes, read(clean(answer)).nodes)
    rules = _with_asked(rules, answer)
    named = ((left, unlabelled(left, right, rules, Budget())) for left, right in pairs)
    return [
        (left, right) for left, right in named if right is not None and is_undecided(left, right, rules.noncommuting)
    ]


def extract(response: str, benchmark: str = "generic", question: str | None = None) -> str:
    """The text of the answer that a response gives, empty if there is none."""
    policy_of(benchmark)
    return _found(response, question).answer


def equal(
    reference: Reference,
    answer: str,
    benchmark: str = "generic",
    question: str | None = None,
    tolerance: float | str | None = None,
    symbolic: bool = True,
) -> bool:
    """Whether an answer's text equals the reference under the benchmark's policy; arguments as for :func:`grade`."""
    rules = rules_for(benchmark, reference, question, tolerance)
    if _judge(reference, answer, rules)[0]:
        return True
    in_box = f"\\boxed{{{answer}}}"  # what is undecided is mathematics, whose braces match
    return (
        bool(symbolic and _undecided(reference, answer, rules))
        and grade(in_box, reference, benchmark, question, tolerance).correct
    )


def readable(reference: Reference) -> bool:
    """Whether an answer can be judged against this reference: it has a value, or is a few words of plain text.

    Broken TeX, a proof or an empty text have neither: nothing but the same text would ever equal them.
    """
    expected = _expected(reference)
    words = expected.key
    is_plain = 0 < len(words) <= MAX_WORDS and any(map(str.isalpha, words)) and not re.search(r"[\\\d{}=]", words)
    return bool(expected.nodes or expected.said) or is_plain


@lru_cache(maxsize=1024)
def _asked(question: str | None) -> tuple[Node, ...]:
    """The expressions that a question asks for, where they can be read; a ratio as a quotient."""
    found = []
    for text in asked_of(question):
        node = next(iter(read(text).nodes), None)
        if isinstance(node, Relation) and node.operators == (":",):
            node = Quotient(*node.operands)
        if node is not None:
            found.append(node)
    return tuple(found)


def _values_of_asked(answer: str, question: str | None) -> Iterator[str]:
    """What stands after "E =" in an answer, for an asked E that may not be readable: ``P(X=2) = \\frac38``."""
    asked = asked_of(question) if _EQUALS.search(answer) else ()
    if len(asked) == 1:
        wanted = _formula_key(asked[0])
        for equals in _EQUALS.finditer(answer):
            if _formula_key(answer[: equals.start()]) == wanted:
                yield answer[equals.end() :]


def _formula_key(text: str) -> str:
    return text_key(re.sub(r"\s*:\s*", ":", _PROBABILITY.sub("P", text)), is_formula=True)


def _names_another_formula(answer: str, question: str | None) -> bool:
    """``\\det B = 5`` where one formula is asked for: a name that is no words must be that."""
    name, equals, _ = answer.partition("=")
    return bool(equals) and len(asked_of(question)) == 1 and not _WORDS.fullmatch(bare(name))


def _with_asked(rules: Rules, answer: str) -> Rules:
    """The rules with what the question asks for, beside an answer that names anything."""
    return replace(rules, asked=_asked(rules.question)) if _EQUALS.search(answer) else rules


def _expected(reference: Reference) -> Reading:
    """A reference as read; of one that is a whole solution, the answer that it marks."""
    return native(_marked(reference) if isinstance(reference, str) else reference)  # type: ignore[arg-type]


def _marked(text: str) -> str:
    """The answer that a solution marks by a box or ``####``, as in a response; a text without these as it stands."""
    if "\\boxed" in text or "####" in text:
        found = _found(text, reasoning=None)
        return found.answer if found.source in ("boxed", "hashes") else text
    return text


def _judge(reference: Reference, answer: str, rules: Rules) -> tuple[bool, str]:
    try:
        return _compare(reference, answer, _with_asked(rules, answer))
    except UndefinedError as error:
        return False, f"not decided: {error}"
    except Exception as error:  # see grade
        return False, f"comparison failed: {type(error).__name__}"


def _compare(reference: Reference, answer: str, rules: Rules) -> tuple[bool, str]:
    expected = _expected(reference)
    answer = clean(_marked(answer))
    if not answer:
        return False, "empty answer"
    if answer == expected.text.strip() or answer in (clean(expected.text), clean(str(reference))):
        return True, "same text"
    given_reading, budget = completed(answer), Budget()
    if expected.is_number and given_reading.is_number:  # most pairs; what follows is about words
        correct = same(expected.nodes[0], given_reading.nodes[0], rules, budget)
        return correct, "equal in value" if correct else "different values"
    truth = truth_value(expected.text)
    if truth is not None and not (
        len(expected.text.split()) > 1
        and (expected.nodes or expected.said)
        and not _EXPLAINED.match(bare(expected.text))
    ):  # "Yes. F = x^2 y" has a value too
        given = truth_value(answer)
        given = {"T": True, "F": False}.get(answer) if given is None else given
        denied = is_property_denied(rules.question, answer) if given is None else None
        given = given if denied is None else not denied
        if given is not None:
            return given is truth, "same truth value" if given is truth else "other truth value"
    if rules.choices and (listed := listed_choices(expected.text)) and (chosen := listed_choices(answer)):
        return listed == chosen, "same choices" if listed == chosen else "other choices"
    wanted, chosen_letter = choice_letter(expected.text), choice_letter(answer)
    if rules.choices and (letter := expected.text.strip()) in _SMALL_CHOICES:
        wanted = letter.upper()
    if wanted and answer in _SMALL_CHOICES:
        chosen_letter = answer.upper()  # a lone small letter is a variable, but not beside a choice
    if wanted is not None and chosen_letter is not None:
        return chosen_letter == wanted, f"{'same' if chosen_letter == wanted else 'other'} choice"
    if (same_moment := same_time(expected.text, answer)) is not None:
        return same_moment, f"{'same' if same_moment else 'other'} time"
    wanted_letters = choice_letters(expected.text)
    given_letters = choice_letters(answer) if wanted_letters else None
    if wanted_letters and given_letters:
        equal_letters = wanted_letters == given_letters
        equal_letters |= not rules.ordered and sorted(wanted_letters) == sorted(given_letters)
        return equal_letters, "same choices" if equal_letters else "other choices"
    for left, right in product(expected.nodes, given_reading.nodes):
        if same(left, right, rules, budget):
            return True, "equal in value"
    said = () if _names_another_formula(answer, rules.question) else given_reading.said
    for left, right in [*product(expected.said, given_reading.nodes), *product(expected.nodes, said)]:
        if same(left, right, rules, budget):
            return True, _TEXT_GIVES
    for value in _values_of_asked(answer, rules.question):
        if _compare(reference, value, rules)[0]:
            return True, "equal in value"
    if (
        "illion" in answer
        and (scaled := _SCALED.fullmatch(bare(answer).lower()))
        and scaled[2] in hints(rules.question).unit
    ):
        return _compare(reference, scaled[1], rules)  # $4 million, where it is asked in millions
    numeral = bare(answer).replace(" ", "").upper()
    if any(
        isinstance(node, Based)
        and numeral in (node.numeral, f"{_PREFIXES.get(node.base)}{node.numeral}", f"{node.numeral}_{node.base}")
        for node in expected.nodes
    ):
        return True, "same numeral, base left out"
    is_text = not (expected.nodes and given_reading.nodes) and any(map(str.isalpha, expected.key))
    if is_text and (
        given_reading.key in (expected.key, read(clean(expected.text)).key)
        or (not expected.nodes and _same_predicate(expected.text, answer))
    ):
        return True, "same words"
    if not given_reading.nodes:
        return False, "answer is not readable as mathematics, and is other text"
    return False, "different values" if expected.nodes else "different text"


def _same_predicate(reference: str, answer: str) -> bool:
    """Whether a sentence and a word, or two sentences, say the same of their subject: "The lines are parallel"."""
    if any(_FORMULA.search(text.replace("\\text", "")) for text in (reference, answer)):
        return False
    first, second = predicate_key(reference) or text_key(reference), predicate_key(answer) or text_key(answer)
    return first == second


def equivalence_classes(
    answers: Sequence[str], benchmark: str = "generic", question: str | None = None
) -> list[list[int]]:
    """Positions of the answers, grouped by mathematical equality, for voting (self-consistency, maj@k).

    >>> equivalence_classes(["1/2", "0.5", "2"])
    [[0, 1], [2]]

    Answers are equal if a chain of equal pairs joins them, so the classes do not depend on the order of the answers;
    within and among classes, positions are ascending. Empty answers equal nothing, themselves included: each of them is
    left out. At most MAX_COMPARED different texts are compared.
    """

    def same_words(answer: str) -> str:
        reading = read(answer)
        return "" if reading.nodes else reading.key

    def same_value(first: str, second: str) -> bool:
        pairs = (first, second), (second, first)
        return any(equal(*pair, benchmark, question, symbolic=False) for pair in pairs)

    return classes(answers, same_words, same_value)


self_check()
