"""Grade an lm-eval sample log again, with the grader as it is now, and list what changed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dart_tasks.files import DataError, read_jsonl
from dart_tasks.grading.files import QUESTION_COLUMNS
from dart_tasks.problems import BENCHMARKS
from dart_tasks.problems.references import reference_of
from dart_tasks.report.results import FILTER

__all__ = ["Change", "Regraded", "regrade"]

_METRICS = ("exact_match", "acc")


@dataclass(frozen=True)
class Change:
    """A response whose verdict differs now."""

    item: str
    trial: int
    reference: str
    before: bool
    now: bool
    answer: str
    reason: str


@dataclass(frozen=True)
class Regraded:
    """A log's accuracy then (None where it was not graded) and now."""

    path: Path
    n_responses: int
    before: float | None
    now: float
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class _Sample:
    """One document with its responses; ``before`` has the verdict on each, where there was one."""

    identity: str
    doc: dict[str, Any]
    responses: list[str]
    before: list[bool] | None


def regrade(path: Path) -> Regraded:
    """Grade every response of any lm-eval ``samples_*.jsonl`` again, be it of our tasks or of others.

    Of a document that is logged under several filters, ours is taken, or else the first.

    Raises:
        DataError: it is no sample log, or a sample has no reference answer.
    """
    samples = _samples(path)
    from dart_tasks.filters import grade_responses

    payloads = grade_responses([sample.responses for sample in samples], [sample.doc for sample in samples])
    changes, befores, nows = [], [], []
    for sample, text in zip(samples, payloads, strict=True):
        verdicts = json.loads(text)["verdicts"]
        nows += [verdict["correct"] for verdict in verdicts]
        befores += sample.before or []
        for trial, (before, now) in enumerate(zip(sample.before or (), verdicts, strict=False)):
            if before != now["correct"]:
                reference, correct = sample.doc["reference"], now["correct"]
                changes.append(Change(sample.identity, trial, reference, before, correct, now["answer"], now["reason"]))
    graded = len(befores) == len(nows)
    return Regraded(
        path, len(nows), sum(befores) / len(nows) if graded else None, sum(nows) / len(nows), tuple(changes)
    )


def _samples(path: Path) -> list[_Sample]:
    found: dict[str, list[_Sample]] = {}
    for number, row in read_jsonl(path):
        try:
            found.setdefault(str(row.get("filter")), []).append(_sample(row))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            what = str(error) if isinstance(error, DataError) else "not a sample of lm-eval (samples_*.jsonl)"
            raise DataError(f"{path}, line {number}: {what}") from None
    if not found:
        raise DataError(f"{path} holds no samples")
    return found.get(FILTER) or next(iter(found.values()))


def _sample(row: dict[str, Any]) -> _Sample:
    doc, responses = row["doc"], [str(text) for texts in row["resps"] for text in _listed(texts)]
    if not responses:
        raise DataError("no response in the sample")
    is_ours = isinstance(doc.get("reference"), str) and "query" in doc
    identity = str(doc["id"] if "id" in doc else row.get("doc_id"))
    if not is_ours:
        target = row.get("target")
        if target is None or isinstance(target, dict):
            raise DataError("no reference answer (target) in the sample")
        query = next((doc[name] for name in QUESTION_COLUMNS if isinstance(doc.get(name), str)), "")
        doc = {"query": query, "reference": json.dumps(reference_of(target), ensure_ascii=False)}
    else:
        json.loads(doc["reference"])
        if doc.get("benchmark") not in (None, *BENCHMARKS, "generic"):
            raise DataError(f"unknown benchmark {doc['benchmark']!r}")
    return _Sample(identity, doc, responses, _before(row, len(responses)))


def _listed(texts: Any) -> list[Any]:
    return texts if isinstance(texts, list) else [texts]


def _before(row: dict[str, Any], n_responses: int) -> list[bool] | None:
    """The verdicts in the log: ours on every response, or another task's metric on its only one."""
    if row.get("filter") == FILTER:
        try:
            return [bool(verdict["correct"]) for verdict in json.loads(row["filtered_resps"][0])["verdicts"]]
        except (KeyError, TypeError, ValueError, IndexError):  # --predict_only logs the responses themselves
            return None
    metric = next((row[name] for name in (*_listed(row.get("metrics") or []), *_METRICS) if name in row), None)
    return [bool(metric)] if n_responses == 1 and isinstance(metric, int | float) else None
