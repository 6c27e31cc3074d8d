"""The lm-eval filter that grades: ``dart_math_grade`` turns the responses of a whole task into verdicts, in parallel.

An lm-eval filter sees all responses of a task at once, where ``process_results`` goes item by item in one process with
no time limit. Any task whose documents have the columns can name it in its YAML::

    filter_list: [{name: graded, filter: [{function: dart_math_grade}]}]
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lm_eval.api.filter import Filter
from lm_eval.api.registry import register_filter

from dart_tasks.console import progress
from dart_tasks.grading import Case, GradingPool, Verdict, equivalence_classes
from dart_tasks.harness.graded import GradedItem
from dart_tasks.harness.protocols import majority
from dart_tasks.harness.served import beside_of
from dart_tasks.problems import BENCHMARKS
from dart_tasks.problems.record import GENERIC

__all__ = ["GradeFilter", "grade_responses"]


@register_filter("dart_math_grade")
class GradeFilter(Filter):  # type: ignore[misc]
    """Grade every response of a task; the JSON text of a :class:`GradedItem` per item.

    The documents need the columns ``query``, ``reference`` (JSON text) and, optionally, ``benchmark``, ``tolerance``.
    """

    def apply(self, resps: Iterable[Sequence[str]], docs: Sequence[Mapping[str, Any]]) -> list[str]:
        """lm-eval's entry: ``resps`` holds each item's k responses."""
        return [item.to_json() for item in grade_responses(list(resps), docs)]


def grade_responses(responses: Sequence[Sequence[str]], docs: Sequence[Mapping[str, Any]]) -> list[GradedItem]:
    """The verdicts on ``responses[i]`` (k texts) to ``docs[i]``, graded in worker processes.

    A thought that a server gave apart is no part of what is graded; a response that it told to be cut off is right only
    if it had stated its answer.
    """
    cases: dict[Hashable, Case] = {}
    for item, (texts, doc) in enumerate(zip(responses, docs, strict=True)):
        reference, loose = json.loads(doc["reference"]), _loose_tolerance(doc)
        for trial, text in enumerate(texts):
            what = beside_of(text)
            case = Case(
                *(str(text), reference, _benchmark(doc), doc["query"], doc.get("tolerance"), what.finish_reason),
                thought_opened=what.unfinished(text),
            )
            cases[item, trial, False] = case
            if loose is not None and _is_numeric(reference):
                cases[item, trial, True] = replace(case, tolerance=loose)
    with GradingPool() as pool:
        verdicts = dict(progress(pool.map(cases.items()), "grading", len(cases)))
    return [_graded(item, texts, docs[item], verdicts) for item, texts in enumerate(responses)]


def _benchmark(doc: Mapping[str, Any]) -> str:
    return doc.get("benchmark") or GENERIC


def _loose_tolerance(doc: Mapping[str, Any]) -> float | None:
    record = BENCHMARKS.get(_benchmark(doc))
    return record.relative_tolerance if record else None


def _is_numeric(reference: object) -> bool:
    if isinstance(reference, list):
        return all(_is_numeric(part) for part in reference)
    return isinstance(reference, int | float) and not isinstance(reference, bool)


def _graded(
    item: int, texts: Sequence[str], doc: Mapping[str, Any], verdicts: Mapping[Hashable, Verdict]
) -> GradedItem:
    strict = tuple(verdicts[item, trial, False] for trial in range(len(texts)))
    graded = GradedItem(strict).with_told([beside_of(text) for text in texts])
    if _loose_tolerance(doc) is not None:
        loose = (verdicts.get((item, trial, True), verdict).correct for trial, verdict in enumerate(strict))
        graded = replace(graded, loose=tuple(loose))
    if len(texts) > 1:
        answers = [verdict.answer for verdict in strict]
        classes = equivalence_classes(answers, _benchmark(doc), doc["query"])
        vote = majority(classes, answers, [verdict.correct for verdict in strict])
        graded = replace(graded, majority=vote, identical=len({(text, beside_of(text).thought) for text in texts}) == 1)
    return graded
