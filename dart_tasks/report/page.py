"""The report as one HTML page: no network, no file beside it, every text from models and data escaped."""

from __future__ import annotations

import html
import json
from collections import Counter
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
    right_sample,
    score_table,
)
from dart_tasks.report.text import interval_text, pair_line, pairs_note

__all__ = ["html_page"]

_STYLE = """
:root { color-scheme: light dark; --text: #1c2733; --back: #ffffff; --soft: #5b6b7b; --line: #d5dce3; --rule: #8797a8;
  --block: #f5f7f9; --track: #e4eaef; --bar: #5b9bc9; --wrong: #a8321f; --right: #1f7a44; }
@media (prefers-color-scheme: dark) {
  :root { --text: #dfe6ec; --back: #14191f; --soft: #9aa9b8; --line: #313c47; --rule: #5d6d7d;
    --block: #1d242c; --track: #2a343e; --bar: #3f7fae; --wrong: #f08a76; --right: #6cc795; }
}
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); margin: 2rem auto;
  max-width: 96rem; padding: 0 1rem; overflow-wrap: anywhere; }
p, ul { max-width: 72rem; } ul { padding-left: 1.2rem; }
h1 { font-size: 1.6rem; } h2 { margin-top: 2.4rem; border-bottom: 1px solid var(--line); } h3 { margin-bottom: .3rem; }
.scroll { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; margin: .6rem 0; overflow-wrap: normal; }
th, td { padding: .25rem .6rem; text-align: right; vertical-align: top; } td { white-space: nowrap; }
th { vertical-align: bottom; border-bottom: 2px solid var(--rule); font-weight: 600; }
td:first-child, th:first-child { text-align: left; }
.scores td:first-child, .scores th:first-child { position: sticky; left: 0; background: var(--back); min-width: 8rem;
  max-width: 18rem; white-space: normal; overflow-wrap: anywhere; }
.scores .detail { display: block; }
tr.published td { color: var(--soft); } tr.first td { border-top: 1px solid var(--rule); }
.detail { color: var(--soft); font-size: .85em; }
svg { display: block; margin: .6rem 0; max-width: 100%; min-width: 36rem; height: auto; }
svg text { font-size: 12px; fill: var(--text); } svg .title { font-weight: 600; } svg .track { fill: var(--track); }
svg .bar { fill: var(--bar); } svg .whisker { stroke: var(--text); fill: none; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(36rem, 100%), 1fr)); gap: .5rem 2rem; }
details { border: 1px solid var(--line); border-radius: 4px; margin: .35rem 0; padding: .3rem .7rem; }
summary { cursor: pointer; }
summary .row { display: inline-grid; grid-template-columns: 1fr 1fr; gap: 0 1rem; width: calc(100% - 1.6rem);
  vertical-align: top; }
summary .head { grid-column: 1 / 3; }
pre { white-space: pre-wrap; background: var(--block); padding: .6rem; }
.wrong { color: var(--wrong); } .right { color: var(--right); }
#search { width: min(24rem, 100%); padding: .3rem; } #verdict { padding: .3rem; }
"""
_SCRIPT = """
const search = document.getElementById("search"), verdict = document.getElementById("verdict");
function show() {
  const words = search.value.toLowerCase();
  let shown = 0;
  for (const item of document.querySelectorAll("details.item")) {
    let found = false;
    for (const response of item.querySelectorAll(".response")) {
      response.hidden = verdict.value !== "all" && response.dataset.verdict !== verdict.value;
      found ||= !response.hidden;
    }
    item.hidden = !found || (words !== "" && !item.textContent.toLowerCase().includes(words));
    shown += !item.hidden;
  }
  document.getElementById("shown").textContent = shown.toLocaleString("en") + " items";
}
search.addEventListener("input", show);
verdict.addEventListener("change", show);
show();
"""
_FILTER = (
    '<p><input id="search" type="search" placeholder="search queries and responses"> '
    '<label>responses: <select id="verdict"><option value="all">all</option><option value="wrong">wrong</option>'
    '<option value="right">right</option></select></label> <output id="shown"></output></p>'
)
_CLOSED = 60
"""Characters of a reference or an answer in a closed row."""


def _escape(text: str) -> str:
    return html.escape(printable(text), quote=True)


def html_page(runs: Sequence[Run], max_failures: int, max_right: int, extra: Sequence[str] = ()) -> str:
    """The page: scores, comparisons, charts by group, how answers were found, and responses to read.

    Args:
        max_failures: items with a wrong response shown per task; the counts say how many there are in all.
        max_right: items without one shown per task, a fixed sample.
        extra: further notes.
    """
    table = score_table(runs)
    found = pairs(runs)
    body = [
        "<h1>Evaluation report</h1>",
        "<p>Accuracy in percent, ± one standard error over items; groups with Wilson's 95% interval.</p>",
        _score_table(table),
        _list([*notes(runs, table), *extra]),
    ]
    if found:
        body += ["<h2>Comparisons on the same items</h2>", f"<p>{_escape(pairs_note(found))}</p>"]
        body.append(_list([pair_line(pair) for pair in found]))
    for run in runs:
        body.append(f"<h2>{_escape(run.label)}</h2>")
        body.append(f"<p>{_escape(run.model)}, {_escape(run.date)}</p>")
        body += [_task_section(task) for task in run.tasks]
    body.append(f"<h2>Responses</h2>{_FILTER}")
    for run in runs:
        body += [_response_section(run, task, max_failures, max_right) for task in run.tasks if task.items]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Evaluation report</title><style>{_STYLE}</style></head><body>"
        + "\n".join(body)
        + f"<script>{_SCRIPT}</script></body></html>\n"
    )


def _score_table(table: ScoreTable) -> str:
    """The table with the means before the benchmarks, the average first: what a narrow screen shows."""
    means = [name for name in ("average", "in-domain", "out-of-domain") if name in table.columns]
    order = [*map(table.columns.index, means), *(n for n, name in enumerate(table.columns) if name not in means)]
    rows = [_row(name, [cells[n] for n in order], "") for name, cells in table.ours]
    for index, (name, cells) in enumerate(table.published):
        kind = "published first" if index == 0 else "published"
        rows.append(_row(f"{name} (published)", [cells[n] for n in order], kind))
    header = "".join(f"<th>{_escape(column)}</th>" for column in ("model", *(table.columns[n] for n in order)))
    return (
        f'<div class="scroll" tabindex="0"><table class="scores"><thead><tr>{header}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


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
        f'<div class="scroll"><table><tbody>{rows}</tbody></table></div>'
    )
    charts = []
    by_group = groups(task)
    for facet in dict.fromkeys(group.facet for group in by_group):
        bars = [
            Bar(
                group.name,
                group.accuracy,
                f"{percent(group.accuracy)}% ({interval_text(group)}) of {group.n_items:,}",
                group.interval,
            )
            for group in by_group
            if group.facet == facet
        ]
        charts.append(bar_chart(f"accuracy by {facet.replace('_', ' ')}, with 95% intervals over items", bars))
    n_responses = sum(len(item.responses) for item in task.items)
    if n_responses:
        bars = [
            Bar(name, count / n_responses, f"{count:,} ({percent(count / n_responses)}%)")
            for name, count in flag_counts(task).items()
        ]
        charts.append(bar_chart("responses: how the answer was found, flags, truncation", bars))
    shown = "".join(f'<div class="scroll">{chart}</div>' for chart in charts)
    return "".join(parts) + f'<div class="charts">{shown}</div>'


_FACETS = ("level", "subject", "topic", "answer_type", "subfield", "picture")


def _response_section(run: Run, task: TaskResult, max_failures: int, max_right: int) -> str:
    wrong, right = failures(task, max_failures), right_sample(task, max_right)
    n_wrong = sum(item.accuracy < 1 for item in task.items)
    title = (
        f"{run.label}: {task.title}: {len(wrong):,} of {n_wrong:,} items with a wrong response, "
        f"{len(right):,} of {len(task.items) - n_wrong:,} without"
    )
    shown = [_item(item, "item") for item in wrong] + [_item(item, "item sampled") for item in right]
    return f"<h3>{_escape(title)}</h3>" + "".join(shown)


def _item(item: Item, kind: str) -> str:
    facets = ", ".join(f"{key} {value}" for key, value in item.metadata.items() if value not in (None, False))
    head = item.query if len(item.query) <= 110 else "…" + item.query[-110:]
    responses = "".join(map(_response, item.responses))
    return (
        f'<details class="{kind}"><summary><span class="row"><span class="head">{_escape(head)}</span>'
        f"<span>reference: <b>{_escape(_cut(_reference(item)))}</b></span><span>answer: {_answers(item)}</span></span>"
        f'</summary><p class="detail">{_escape(item.id)} '
        f"{_escape(facets)}</p><pre>{_escape(item.query)}</pre><p>reference: <b>{_escape(_reference(item))}</b></p>"
        f"{responses}</details>"
    )


def _answers(item: Item) -> str:
    """The answers of an item in its closed row: the three most frequent, wrong ones first, with how often each came."""
    counts = Counter((graded.correct, graded.answer or "(none)") for graded in item.responses)
    ranked = sorted(counts.items(), key=lambda entry: (entry[0][0], -entry[1]))
    shown = [
        f'<b class="{_verdict(correct)}">{_escape(_cut(answer))}</b>' + (f" ×{count}" if count > 1 else "")
        for (correct, answer), count in ranked[:3]
    ]
    return ", ".join([*shown, *(["…"] if len(ranked) > 3 else [])])


def _cut(text: str) -> str:
    return text if len(text) <= _CLOSED else text[: _CLOSED - 1] + "…"


def _verdict(correct: bool) -> str:
    return "right" if correct else "wrong"


def _reference(item: Item) -> str:
    value = json.loads(item.reference)
    return value if isinstance(value, str) else item.reference


def _response(graded: Graded) -> str:
    mark = _verdict(graded.correct)
    flags = ", ".join([*graded.flags, *(["likely truncated"] if graded.truncated else [])])
    found = f"answer: {graded.answer or '(none)'}; found by {graded.source}; {graded.reason}" + (
        f"; flags: {flags}" if flags else ""
    )
    return (
        f'<div class="response" data-verdict="{mark}"><p class="{mark}">{mark}: {_escape(found)}</p>'
        f"<pre>{_escape(graded.response)}</pre></div>"
    )
