"""lm-eval filters that grade: ``dart_math_grade`` turns the responses of a whole task into verdicts, in parallel.

An lm-eval filter sees all responses of a task at once, where ``process_results`` goes item by item in one process with
no time limit. What a filter returns is logged through ``str()``, so it is JSON text, one object per item::

    {"verdicts": [{"correct": true, "answer": "5", "source": "boxed", "explicit": true, "reason": "...", "flags": []}]}

with ``"loose"`` (verdicts under the benchmark's relative tolerance) where there is one, ``"majority"`` where there are
several responses, and ``"truncated"``: which responses were probably cut off.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

from lm_eval.api.filter import Filter
from lm_eval.api.registry import register_filter

from dart_tasks.grading import Case, GradingPool, Verdict, equivalence_classes
from dart_tasks.problems import BENCHMARKS
from dart_tasks.protocols import majority

__all__ = ["GradeFilter", "grade_responses"]


@register_filter("dart_math_grade")
class GradeFilter(Filter):  # type: ignore[misc]
    """Grade every response of a task; one JSON object per item.

    The documents need the columns ``query``, ``reference`` (JSON text) and, optionally, ``benchmark``, ``tolerance``.
    """

    def __init__(self, truncated: Callable[[str], bool] | None = None) -> None:
        super().__init__()
        self._truncated = truncated

    def apply(self, resps: Iterable[Sequence[str]], docs: Sequence[Mapping[str, Any]]) -> list[str]:
        """lm-eval's entry: ``resps`` holds each item's k responses."""
        return grade_responses(list(resps), docs, self._truncated)


def grade_responses(
    responses: Sequence[Sequence[str]],
    docs: Sequence[Mapping[str, Any]],
    truncated: Callable[[str], bool] | None = None,
) -> list[str]:
    """The verdicts on ``responses[i]`` (k texts) to ``docs[i]``, as JSON text, graded in worker processes."""
    cases: dict[tuple[int, int, bool], Case] = {}
    for item, (texts, doc) in enumerate(zip(responses, docs, strict=True)):
        benchmark = doc.get("benchmark") or "generic"
        reference = json.loads(doc["reference"])
        loose = BENCHMARKS[benchmark].relative_tolerance if benchmark in BENCHMARKS else None
        for trial, text in enumerate(texts):
            case = Case(text, reference, benchmark, doc["query"], doc.get("tolerance"), None)
            cases[item, trial, False] = case
            if loose is not None and _is_numeric(reference):
                cases[item, trial, True] = Case(text, reference, benchmark, doc["query"], loose, None)
    verdicts: dict[Hashable, Verdict] = {}
    with GradingPool() as pool:
        verdicts.update(pool.map(cases.items()))
    return [
        json.dumps(_summary(item, texts, docs[item], verdicts, truncated), ensure_ascii=False)
        for item, texts in enumerate(responses)
    ]


def _is_numeric(reference: object) -> bool:
    if isinstance(reference, list):
        return all(_is_numeric(part) for part in reference)
    return isinstance(reference, int | float) and not isinstance(reference, bool)


def _summary(
    item: int,
    texts: Sequence[str],
    doc: Mapping[str, Any],
    verdicts: Mapping[Hashable, Verdict],
    truncated: Callable[[str], bool] | None,
) -> dict[str, Any]:
    strict = [verdicts[item, trial, False] for trial in range(len(texts))]
    summary: dict[str, Any] = {"verdicts": [_as_dict(verdict) for verdict in strict]}
    benchmark = doc.get("benchmark") or "generic"
    if benchmark in BENCHMARKS and BENCHMARKS[benchmark].relative_tolerance is not None:
        summary["loose"] = [verdicts.get((item, trial, True), strict[trial]).correct for trial in range(len(texts))]
    if truncated is not None:
        summary["truncated"] = [truncated(text) for text in texts]
    if len(texts) > 1:
        answers = [verdict.answer for verdict in strict]
        classes = equivalence_classes(answers, benchmark, doc["query"])
        vote = majority(classes, answers, [verdict.correct for verdict in strict])
        summary["majority"] = {"credit": vote.credit, "answer": vote.answer, "votes": vote.votes}
        summary["identical"] = len(set(texts)) == 1
    return summary


def _as_dict(verdict: Verdict) -> dict[str, Any]:
    return {
        "correct": verdict.correct,
        "answer": verdict.answer,
        "source": verdict.source,
        "explicit": verdict.explicit,
        "reason": verdict.reason,
        "flags": list(verdict.flags),
    }
