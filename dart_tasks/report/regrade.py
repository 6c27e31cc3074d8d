"""Grade an lm-eval sample log again, with the grader as it is now, and list what changed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dart_tasks.report.results import ResultsError

__all__ = ["Change", "Regraded", "regrade"]


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
    """A log's accuracy then and now."""

    path: Path
    n_responses: int
    before: float
    now: float
    changes: tuple[Change, ...]


def regrade(path: Path) -> Regraded:
    """Grade every response of a ``samples_*.jsonl`` again.

    Raises:
        ResultsError: it is not a log of a dart_math task.
    """
    rows = _rows(path)
    from dart_tasks.filters import grade_responses

    docs = [row["doc"] for row in rows]
    payloads = grade_responses([row["resps"][0] for row in rows], docs)
    changes, before_total, now_total, n = [], 0, 0, 0
    for row, text in zip(rows, payloads, strict=True):
        old = json.loads(row["filtered_resps"][0])["verdicts"]
        for trial, (before, now) in enumerate(zip(old, json.loads(text)["verdicts"], strict=True)):
            n += 1
            before_total += before["correct"]
            now_total += now["correct"]
            if before["correct"] != now["correct"]:
                doc = row["doc"]
                changes.append(
                    Change(
                        doc["id"],
                        trial,
                        doc["reference"],
                        before["correct"],
                        now["correct"],
                        now["answer"],
                        now["reason"],
                    )
                )
    return Regraded(path, n, before_total / n, now_total / n, tuple(changes))


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
        rows = [row for row in rows if row["filter"] == "graded" and row["doc"]["reference"] and row["resps"][0]]
    except OSError as error:
        raise ResultsError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, IndexError):
        raise ResultsError(f"{path} is not a sample log of dart_math tasks (samples_*.jsonl)") from None
    if not rows:
        raise ResultsError(f"{path} holds no graded samples")
    return rows
