"""A report for programs: all of it as JSON, and every response as a row of CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from dart_tasks.console import printable
from dart_tasks.report.results import Run, Score, TaskResult
from dart_tasks.report.summary import Report, agreement, disagreements, flag_counts, groups

__all__ = ["as_csv", "as_json"]

_COLUMNS = (
    "run benchmark task item trial reference correct answer source explicit reason flags truncated finish_reason "
    "characters thought_characters thought_tokens judge_correct judge_answer judge_reason"
).split()


def as_json(report: Report) -> dict[str, Any]:
    """Scores (fractions; null is a refused metric), groups, comparisons, differing items, the judges' agreement."""
    return {
        "runs": [
            {
                "label": run.label,
                "model": run.model,
                "file": str(run.path),
                "date": run.date,
                "means": _means(report, run),
                "tasks": [_task(task) for task in run.tasks],
            }
            for run in report.runs
        ],
        "comparisons": [
            {"benchmark": pair.title, "first": pair.first, "second": pair.second}
            | asdict(pair.result)
            | {"significant": pair.result.significant}
            for pair in report.pairs
        ],
        "differences": [
            asdict(found) | {"first": report.runs[found.first].label, "second": report.runs[found.second].label}
            for found in report.differences
        ],
        "disagreements": [
            {
                "run": found.run.label,
                "benchmark": found.task.title,
                "item": found.item.id,
                "trial": found.trial,
                "reference": found.item.reference_text,
                "ours": {name: getattr(found.graded, name) for name in ("correct", "answer", "source", "reason")},
                "judge": {name: getattr(found.judged, name) for name in ("correct", "answer", "source", "reason")},
            }
            for found in disagreements(report.runs)
        ],
        "notes": list(report.notes),
    }


def _means(report: Report, run: Run) -> dict[str, dict[str, float | None]]:
    found = {}
    for name, titles in report.table.means.items():
        if (mean := run.mean(titles)) is not None:
            found[name] = _score(mean)
    return found


def _score(score: Score) -> dict[str, float | None]:
    return {"value": None if score.value != score.value else score.value, "stderr": score.stderr}


def _task(task: TaskResult) -> dict[str, Any]:
    found: dict[str, Any] = {
        "task": task.task,
        "benchmark": task.title,
        "version": task.version,
        "grader_version": task.grader_version,
        "k": task.k,
        "n_items": task.n_items,
        "n_available": task.n_available,
        "scores": {name: _score(score) for name, score in task.scores.items()},
        "groups": [asdict(group) | {"interval": group.interval} for group in groups(task)],
        "responses": flag_counts(task),
    }
    if counts := agreement(task):
        found["agreement"] = asdict(counts) | {"n": counts.n, "share": counts.share}
    return found


def as_csv(runs: Sequence[Run]) -> str:
    """A row for each response of each run, without its text; control characters are escaped, formulas quoted."""
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(_COLUMNS)
    for run in runs:
        for task in run.tasks:
            for item in task.items:
                for trial, graded in enumerate(item.responses):
                    judged = graded.judged
                    row: list[object] = [run.label, task.title, task.task, item.id, trial, item.reference_text]
                    row += [graded.correct, graded.answer, graded.source, graded.explicit, graded.reason]
                    row += [" ".join(graded.flags), graded.truncated, graded.finish_reason, len(graded.response)]
                    row += [graded.thought_characters, graded.thought_tokens]
                    row += [judged.correct, judged.answer, judged.reason] if judged else [None] * 3
                    rows.writerow(_cell(cell) if isinstance(cell, str) else cell for cell in row)
    return file.getvalue()


_FORMULA = ("=", "+", "-", "@", "\t", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_NUMBER = re.compile(r"[+-]?[\d.,]+")


def _cell(text: str) -> str:
    """The text, after a quotation mark where a spreadsheet would take it for a formula to compute; numbers stay."""
    text = printable(text)
    return f"'{text}" if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text
