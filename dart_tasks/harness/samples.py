"""lm-eval's sample logs, of our tasks and of others: ``samples_TASK_DATE.jsonl``, as ``--log_samples`` writes them.

A row of ours (another task's has its own columns in ``doc``, the answer in ``target`` and its metric beside)::

    {"doc_id": 0, "doc": {"id": "gsm8k/0b5d…", "query": "...", "reference": "\\"5\\"", "benchmark": "gsm8k", ...},
     "filter": "graded", "resps": [["..."]], "filtered_resps": ["{\\"verdicts\\": [...]}"]}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dart_tasks.files import DataError, read_jsonl
from dart_tasks.grading.policy import check
from dart_tasks.grading.verdict import Case
from dart_tasks.harness.graded import FILTER, GradedItem
from dart_tasks.problems.record import GENERIC
from dart_tasks.problems.references import question_of, reference_of

__all__ = ["Sample", "read_samples", "sample_of"]

_METRICS = ("exact_match", "acc")


@dataclass(frozen=True)
class Sample:
    """One document with its responses.

    Attributes:
        id: of our problem, or lm-eval's number of the document and the start of its hash.
        doc: with ``query`` and ``reference`` (JSON text), as the grading filter takes it.
        responses: with what a server told beside them (:class:`ServedText`), where the log has that.
        graded: our verdicts, if the log has them.
        metric: another task's verdict on a single response, if the log has one.
    """

    id: str
    filter: str
    doc: Mapping[str, Any]
    responses: tuple[str, ...]
    graded: GradedItem | None
    metric: bool | None

    @property
    def verdicts(self) -> list[bool]:
        """Whether each response was right, as the log has it; empty if it does not."""
        if self.graded is not None:
            return [verdict.correct for verdict in self.graded.verdicts]
        return [] if self.metric is None else [self.metric]


def read_samples(path: Path) -> list[Sample]:
    """The samples of a log; of a document that is logged under several filters, under ours or else the first.

    Raises:
        DataError: it is no sample log, or a sample has no reference answer or response.
    """
    found: dict[str, list[Sample]] = {}
    for number, row in read_jsonl(path):
        try:
            sample = sample_of(row)
        except DataError as error:
            raise DataError(f"{path}, line {number}: {error}") from None
        found.setdefault(sample.filter, []).append(sample)
    return found.get(FILTER) or next(iter(found.values()), [])


def sample_of(row: Mapping[str, Any]) -> Sample:
    """The sample of one row.

    Raises:
        DataError: it is none, or has no reference answer or response.
    """
    try:
        return _sample(row)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        what = str(error) if isinstance(error, DataError) else "not a sample of lm-eval (samples_*.jsonl)"
        raise DataError(what) from None


def _sample(row: Mapping[str, Any]) -> Sample:
    doc, responses = row["doc"], tuple(text for texts in row["resps"] for text in _listed(texts))
    if not responses:
        raise DataError("no response in the sample")
    if not all(isinstance(text, str) for text in responses):
        raise DataError("the sample's responses are no texts (a task that compares likelihoods?)")
    if isinstance(doc.get("reference"), str) and "query" in doc:
        reference, metadata = json.loads(doc["reference"]), json.loads(doc.get("metadata") or "{}")
        if reference is None or isinstance(reference, dict):
            raise DataError("no reference answer (reference) in the sample")
        if not isinstance(doc["query"], str) or not isinstance(metadata, dict):
            raise ValueError
        try:
            check(Case("", reference, doc.get("benchmark") or GENERIC, tolerance=doc.get("tolerance")))
        except ValueError as error:
            raise DataError(str(error)) from None
        identity = str(doc["id"] if "id" in doc else row.get("doc_id"))
    else:
        identity = "-".join(str(row[name])[:8] for name in ("doc_id", "doc_hash") if row.get(name) is not None)
        target = row.get("target")
        if target is None or isinstance(target, dict):
            raise DataError("no reference answer (target) in the sample")
        doc = {"query": question_of(doc) or "", "reference": json.dumps(reference_of(target), ensure_ascii=False)}
    metric = next((row[name] for name in (*_listed(row.get("metrics") or []), *_METRICS) if name in row), None)
    is_single = row.get("filter") != FILTER and len(responses) == 1 and isinstance(metric, int | float)
    logged = _logged(row)
    if logged is not None:
        responses = logged.told(responses)
    graded = logged if logged is not None and logged.verdicts else None
    return Sample(identity, str(row.get("filter")), doc, responses, graded, bool(metric) if is_single else None)


def _listed(texts: Any) -> list[Any]:
    return texts if isinstance(texts, list) else [texts]


def _logged(row: Mapping[str, Any]) -> GradedItem | None:
    """The item of our filter; without verdicts under ``--predict_only``, if a server told something to keep."""
    if row.get("filter") != FILTER:
        return None
    try:
        return GradedItem.from_json(row["filtered_resps"][0])
    except (IndexError, KeyError, TypeError, ValueError):  # --predict_only logs the responses themselves
        return None
