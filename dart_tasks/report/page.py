"""The report as one HTML page: no network, no file beside it, every text from models and data escaped."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence

from dart_tasks.console import printable
from dart_tasks.report.plots import Bar, bar_chart
from dart_tasks.report.results import Graded, Item, Run, TaskResult
from dart_tasks.report.summary import (
    Cell,
    ScoreTable,
    failures,
    flag_counts,
    groups,
    notes,
    pairs,
    percent,
    score_table,
)
from dart_tasks.report.text import pair_line

__all__ = ["html_page"]

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2733; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { margin-top: 2.4rem; border-bottom: 1px solid #d5dce3; } h3 { margin-bottom: .3rem; }
table { border-collapse: collapse; margin: .6rem 0; } th, td { padding: .25rem .6rem; text-align: right; }
td { white-space: nowrap; }
th { border-bottom: 2px solid #8797a8; font-weight: 600; } td:first-child, th:first-child { text-align: left; }
tr.published td { color: #5b6b7b; } tr.first td { border-top: 1px solid #8797a8; }
.detail { color: #7a8896; font-size: .85em; } .scroll { overflow-x: auto; }
svg { display: block; margin: .6rem 0; max-width: 100%; height: auto; } svg text { font-size: 12px; fill: #1c2733; }
svg .title { font-weight: 600; } svg .track { fill: #edf1f4; } svg .bar { fill: #2f6f9f; }
details { border: 1px solid #d5dce3; border-radius: 4px; margin: .35rem 0; padding: .3rem .7rem; }
summary { cursor: pointer; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f5f7f9; padding: .6rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(32rem, 1fr)); gap: .5rem 2rem; }
.wrong { color: #a8321f; } .right { color: #1f7a44; } #search { width: 24rem; padding: .3rem; }
"""
_SCRIPT = """
document.getElementById("search").addEventListener("input", function () {
  const words = this.value.toLowerCase();
  for (const item of document.querySelectorAll("details.item"))
    item.hidden = words !== "" && !item.textContent.toLowerCase().includes(words);
});
"""


def _escape(text: str) -> str:
    return html.escape(printable(text), quote=True)


def html_page(runs: Sequence[Run], max_failures: int, extra: Sequence[str] = ()) -> str:
    """The page: scores, comparisons, charts by group, how answers were found, and failures to read.

    Args:
        max_failures: shown per task; the counts say how many there are in all.
        extra: further notes.
    """
    table = score_table(runs)
    found = pairs(runs)
    body = [
        "<h1>Evaluation report</h1>",
        "<p>Accuracy in percent, ± one standard error over items.</p>",
        _score_table(table),
        _list([*notes(runs, table), *extra]),
    ]
    if found:
        body += ["<h2>Comparisons on the same items</h2>", _list([pair_line(pair) for pair in found])]
    for run in runs:
        body.append(f"<h2>{_escape(run.label)}</h2>")
        body.append(f"<p>{_escape(run.model)}, {_escape(run.date)}</p>")
        body += [_task_section(task) for task in run.tasks]
    body.append('<h2>Failures</h2><p><input id="search" type="search" placeholder="search queries and responses"></p>')
    for run in runs:
        body += [_failure_section(run, task, max_failures) for task in run.tasks if task.items]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>Evaluation report</title><style>{_STYLE}</style></head><body>"
        + "\n".join(body)
        + f"<script>{_SCRIPT}</script></body></html>\n"
    )


def _score_table(table: ScoreTable) -> str:
    rows = [_row(name, cells, "") for name, cells in table.ours]
    for index, (name, cells) in enumerate(table.published):
        rows.append(_row(f"{name} (published)", cells, "published first" if index == 0 else "published"))
    header = "".join(f"<th>{_escape(column)}</th>" for column in ("model", *table.columns))
    return f'<div class="scroll"><table><thead><tr>{header}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _row(name: str, cells: Sequence[Cell], kind: str) -> str:
    shown = "".join(
        f'<td>{_escape(cell.text)} <span class="detail">{_escape(cell.detail)}</span></td>' for cell in cells
    )
    return f'<tr class="{kind}"><td>{_escape(name)}</td>{shown}</tr>'


def _list(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{_escape(line)}</li>" for line in lines) + "</ul>"


def _task_section(task: TaskResult) -> str:
    parts = [f"<h3>{_escape(task.title)}</h3>"]
    scores = [
        (name, score)
        for name, score in task.scores.items()
        if not task.items or not any(name.startswith(f"acc_{f}_") for f in _FACETS)  # with items, they are charts
    ]
    rows = "".join(
        f"<tr><td>{_escape(name)}</td><td>{percent(score.value)}"
        + (f' <span class="detail">±{100 * score.stderr:.1f}</span>' if score.stderr is not None else "")
        + "</td></tr>"
        for name, score in scores
    )
    parts.append(
        f"<p>{task.n_items:,} items, template {_escape(task.template)}, task version {_escape(task.version)}, grader "
        f"{_escape(task.grader_version)}</p>"
        f"<table><tbody>{rows}</tbody></table>"
    )
    charts = []
    by_group = groups(task)
    for facet in dict.fromkeys(group.facet for group in by_group):
        bars = [
            Bar(group.name, group.accuracy, f"{percent(group.accuracy)}% of {group.n_items:,}")
            for group in by_group
            if group.facet == facet
        ]
        charts.append(bar_chart(f"accuracy by {facet.replace('_', ' ')}", bars))
    n_responses = sum(len(item.responses) for item in task.items)
    if n_responses:
        bars = [
            Bar(name, count / n_responses, f"{count:,} ({percent(count / n_responses)}%)")
            for name, count in flag_counts(task).items()
        ]
        charts.append(bar_chart("responses: how the answer was found, flags, truncation", bars))
    return "".join(parts) + f'<div class="charts">{"".join(charts)}</div>'


_FACETS = ("level", "subject", "topic", "answer_type", "subfield", "picture")


def _failure_section(run: Run, task: TaskResult, limit: int) -> str:
    shown = failures(task, limit)
    wrong = sum(item.accuracy < 1 for item in task.items)
    title = f"{run.label}: {task.title}: {len(shown):,} of {wrong:,} items with a wrong response"
    return f"<h3>{_escape(title)}</h3>" + "".join(map(_failure, shown))


def _failure(item: Item) -> str:
    facets = ", ".join(f"{key} {value}" for key, value in item.metadata.items() if value not in (None, False))
    head = item.query if len(item.query) <= 110 else "…" + item.query[-110:]
    responses = "".join(map(_response, item.responses))
    return (
        f'<details class="item"><summary>{_escape(head)}</summary><p class="detail">{_escape(item.id)} '
        f"{_escape(facets)}</p><pre>{_escape(item.query)}</pre><p>reference: <b>{_escape(_reference(item))}</b></p>"
        f"{responses}</details>"
    )


def _reference(item: Item) -> str:
    value = json.loads(item.reference)
    return value if isinstance(value, str) else item.reference


def _response(graded: Graded) -> str:
    mark = "right" if graded.correct else "wrong"
    flags = ", ".join([*graded.flags, *(["likely truncated"] if graded.truncated else [])])
    found = f"answer: {graded.answer or '(none)'}; found by {graded.source}; {graded.reason}" + (
        f"; flags: {flags}" if flags else ""
    )
    return f'<p class="{mark}">{mark}: {_escape(found)}</p><pre>{_escape(graded.response)}</pre>'
