"""Files of responses -> cases: our pools, lm-eval's ``samples_*.jsonl``, or any rows with a response and a reference.

One row of a pool::

    {"query": "What is 2 + 3?", "reference": "5", "benchmark": "gsm8k", "response": "... The answer is 5."}

One of lm-eval, where ``resps`` holds the k responses to one document::

    {"doc_id": 0, "doc": {"query": "...", "reference": "\\"5\\"", "benchmark": "gsm8k"}, "resps": [["..."]]}
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dart_tasks.files import read_jsonl
from dart_tasks.grading.policy import check
from dart_tasks.grading.verdict import Case

__all__ = ["QUESTION_COLUMNS", "read_cases"]

QUESTION_COLUMNS = ("question", "query", "problem", "Question")


def read_cases(path: Path, benchmark: str | None = None) -> Iterator[tuple[str, Case]]:
    """(id, case) for every response in a JSON Lines file; ids are ``query_id/trial``, ``doc_id/trial`` or line numbers.

    Args:
        benchmark: for rows that name none (default: generic).

    Raises:
        ValueError: the file cannot be read, or a line is no JSON object, or lacks a response or reference.
    """
    seen: set[object] = set()
    for number, row in read_jsonl(path):
        try:
            cases = _sample(row, benchmark, seen) if "resps" in row else [_pool_row(row, benchmark, number)]
            for identity, case in cases:
                check(case)
                yield identity, case
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}, line {number}: {error}") from None


def _case(row: Mapping[str, Any], response: Any, reference: Any, benchmark: str | None) -> Case:
    if not isinstance(response, str):
        raise ValueError("the response is not text")
    if reference is None or isinstance(reference, dict):
        raise ValueError("the reference must be text, a number, a truth value or a list")
    question = next((row[name] for name in QUESTION_COLUMNS if isinstance(row.get(name), str)), None)
    return Case(
        response,
        reference,
        row.get("benchmark") or benchmark or "generic",
        question,
        row.get("tolerance"),
        row.get("finish_reason"),
    )


def _pool_row(row: Mapping[str, Any], benchmark: str | None, number: int) -> tuple[str, Case]:
    missing = [name for name in ("response", "reference") if name not in row]
    if missing:
        raise ValueError(f"no {' and no '.join(missing)} in the row (it has: {', '.join(row) or 'nothing'})")
    identity = f"{row['query_id']}/{row.get('trial', 0)}" if "query_id" in row else str(row.get("id", number))
    return identity, _case(row, row["response"], row["reference"], benchmark)


def _sample(row: Mapping[str, Any], benchmark: str | None, seen: set[object]) -> Iterator[tuple[str, Case]]:
    """The cases of one lm-eval sample; a document is logged once per filter, so later ones are skipped."""
    if row.get("doc_id") in seen:
        return
    seen.add(row.get("doc_id"))
    doc = row.get("doc")
    if not isinstance(doc, dict):
        raise ValueError("an lm-eval sample without its document")
    reference: Any = json.loads(doc["reference"]) if isinstance(doc.get("reference"), str) else row.get("target")
    flat = [text for texts in row["resps"] for text in (texts if isinstance(texts, list) else [texts])]
    for trial, text in enumerate(flat):
        yield f"{row.get('doc_id')}/{trial}", _case(doc, text, reference, benchmark)
