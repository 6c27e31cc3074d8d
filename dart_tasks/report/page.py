"""The report as one HTML page: no network, no file beside it, every text from models and data escaped.

The template escapes what it writes; the responses are JSON that the page's script shows as text. A policy in the page
lets no script run but that one, and nothing be loaded.
"""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from dart_tasks.console import printable
from dart_tasks.grading import GRADER_VERSION
from dart_tasks.report.browse import browser_data, choose
from dart_tasks.report.plots import lengths_chart
from dart_tasks.report.results import Score, TaskResult
from dart_tasks.report.summary import (
    LENGTHS,
    Report,
    agreement,
    benchmark_titles,
    by_length,
    flag_counts,
    groups,
    percent,
)
from dart_tasks.report.text import interval_text, pairs_note, score_text

__all__ = ["html_page"]

_MEANS = ("average", "in-domain", "out-of-domain")


def html_page(report: Report, max_responses: int) -> str:
    """The page: scores, comparisons, which items runs differ in, accuracy by group and length, responses to read.

    Args:
        max_responses: responses shown, see :func:`~dart_tasks.report.browse.choose`; the totals are of all.
    """
    environment = Environment(
        loader=PackageLoader("dart_tasks.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    environment.filters |= {"percent": percent, "score": score_text}
    script, choice = _part("page.js"), choose(report.runs, max_responses)
    return environment.get_template("page.html").render(
        style=Markup(_part("page.css")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        grader=GRADER_VERSION,
        report=report,
        columns=_columns(report),
        pairs_note=pairs_note(report.pairs),
        tasks=[
            (run, [(task, _scores(task), _facets(task), _found(task)) for task in run.tasks]) for run in report.runs
        ],
        titles=benchmark_titles(report.runs),
        charts=_charts(report),
        choice=choice,
        data=browser_data(report.runs, choice),
        n_responses=choice.n_first + choice.n_right,
        sources=sorted({g.source for run in report.runs for t in run.tasks for i in t.items for g in i.responses}),
        judged=[(r, run, t, found) for r, run in enumerate(report.runs) for t in run.tasks if (found := agreement(t))],
    )


def _part(name: str) -> str:
    return resources.files("dart_tasks.report").joinpath("templates", name).read_text(encoding="utf-8")


def _columns(report: Report) -> list[tuple[int, str]]:
    """The table's columns and their places: the means before the benchmarks, which is what a narrow screen shows."""
    columns = list(enumerate(report.table.columns))
    return sorted(columns, key=lambda column: _MEANS.index(column[1]) if column[1] in _MEANS else len(_MEANS))


def _scores(task: TaskResult) -> list[tuple[str, Score]]:
    """Its metrics; with items, those of groups are bars."""
    facets = {group.facet for group in groups(task)}
    return [entry for entry in task.scores.items() if not any(entry[0].startswith(f"acc_{facet}_") for facet in facets)]


def _facets(task: TaskResult) -> dict[str, list[dict[str, Any]]]:
    """By facet, the bars of its groups."""
    found: dict[str, list[dict[str, Any]]] = {}
    for group in groups(task):
        bar = {"name": group.name, "value": group.accuracy, "interval": group.interval,
               "text": f"{percent(group.accuracy)}% ({interval_text(group)}) of {group.n_items:,}"}  # fmt: skip
        found.setdefault(group.facet.replace("_", " "), []).append(bar)
    return found


def _found(task: TaskResult) -> list[dict[str, Any]]:
    """The bars of how answers were found, of flags and truncation."""
    n = sum(len(item.responses) for item in task.items)
    return [
        {"name": name, "value": count / n, "interval": None, "text": f"{count:,} ({percent(count / n)}%)"}
        for name, count in flag_counts(task).items()
    ]


def _charts(report: Report) -> list[tuple[str, Markup]]:
    """Per benchmark, accuracy by the length of responses, and by that of thoughts where there are any."""
    found = []
    for title in benchmark_titles(report.runs):
        for unit, length in LENGTHS.items():
            series = [
                (place, run.label, bins)
                for place, run in enumerate(report.runs)
                if (task := run.task(title)) and (bins := by_length(task, length))
            ]
            if series:
                found.append((title, Markup(lengths_chart(title, unit, series))))
    return found
