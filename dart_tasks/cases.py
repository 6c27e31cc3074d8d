"""Files of responses -> cases: our pools, lm-eval's ``samples_*.jsonl``, or any rows with a response and a reference.

One row of a pool::

    {"query": "What is 2 + 3?", "reference": "5", "benchmark": "gsm8k", "response": "... The answer is 5."}
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dart_tasks.files import read_jsonl
from dart_tasks.grading.policy import check
from dart_tasks.grading.verdict import Case
from dart_tasks.harness.samples import sample_of
from dart_tasks.harness.served import beside_of
from dart_tasks.problems.record import GENERIC
from dart_tasks.problems.references import question_of

__all__ = ["read_cases"]


def read_cases(path: Path, benchmark: str | None = None) -> Iterator[tuple[str, Case]]:
    """(id, case) for every response in a JSON Lines file; ids are ``query_id/trial``, ``doc_id/trial`` or line numbers.

    Args:
        benchmark: for rows that name none (default: generic).

    Raises:
        ValueError: the file cannot be read, or a line is no JSON object, or lacks a response or reference.
    """
    filters: dict[object, object] = {}
    for number, row in read_jsonl(path):
        try:
            if "resps" not in row:
                cases = [_pool_row(row, benchmark, number)]
            elif filters.setdefault((row.get("doc_id"), row.get("doc_hash")), row.get("filter")) != row.get("filter"):
                continue  # a document is logged once per filter
            else:
                cases = _sample(row, benchmark)
            for identity, case in cases:
                check(case)
                yield identity, case
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}, line {number}: {error}") from None


def _pool_row(row: Mapping[str, Any], benchmark: str | None, number: int) -> tuple[str, Case]:
    missing = [name for name in ("response", "reference") if name not in row]
    if missing:
        raise ValueError(f"no {' and no '.join(missing)} in the row (it has: {', '.join(row) or 'nothing'})")
    if not isinstance(row["response"], str):
        raise ValueError("the response is not text")
    if row["reference"] is None or isinstance(row["reference"], dict):
        raise ValueError("the reference must be text, a number, a truth value or a list")
    identity = f"{row['query_id']}/{row.get('trial', 0)}" if "query_id" in row else str(row.get("id", number))
    kind, question = row.get("benchmark") or benchmark or GENERIC, question_of(row)
    return identity, Case(
        row["response"], row["reference"], kind, question, row.get("tolerance"), row.get("finish_reason")
    )


def _sample(row: Mapping[str, Any], benchmark: str | None) -> list[tuple[str, Case]]:
    sample = sample_of(row)
    doc, reference = sample.doc, json.loads(sample.doc["reference"])
    kind = doc.get("benchmark") or benchmark or GENERIC
    cases = []
    for trial, text in enumerate(sample.responses):
        what = beside_of(text)
        case = Case(
            *(str(text), reference, kind, doc["query"] or None, doc.get("tolerance"), what.finish_reason),
            thought_opened=what.unfinished(text),
        )
        cases.append((f"{row.get('doc_id')}/{trial}", case))
    return cases
