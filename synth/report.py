"""One self-contained HTML page about a run: the paper's figures, tables by difficulty, and failures to look at.

No script and no outside resource; all text from models and data sets is escaped.
"""

from __future__ import annotations

import base64
import heapq
import html
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dart_tasks.console import printable
from synth.display import group_name, snapshot
from synth.ledger import Ledger, PoolRow
from synth.run import OpenedRun, open_run
from synth.strategy import STRATEGIES, QueryStats

__all__ = ["render_report"]

_N_HARDEST = 12
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1d2430; }
h1, h2 { font-weight: 600; } table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #dde2e8; }
th:first-child, td:first-child { text-align: left; } img { max-width: 100%; }
pre { white-space: pre-wrap; background: #f4f6f8; padding: .6rem; border-radius: 4px; font-size: 13px; }
summary { cursor: pointer; } .quiet { color: #5b6675; }
"""


@dataclass(frozen=True, slots=True)
class _Failure:
    """The wrong answer closest to being right: the most common one of a query."""

    answer: str
    count: int
    response: str


def render_report(run_dir: Path) -> str:
    """The page's HTML.

    Raises:
        LedgerError: no run there.
    """
    run = open_run(run_dir)
    with Ledger(run_dir, read_only=True) as ledger:
        lengths = [
            (row.n_tokens, row.result(run.config.lenient_extraction).correct, row.truncated) for row in ledger.results()
        ]
        hardest = _hardest(run)
        failures = _failures(ledger, hardest)
    parts = [
        f"<h1>{_escape(run_dir.resolve().name)}</h1>",
        f"<p>{_escape(_summary(run))}</p>",
        "<h2>By difficulty</h2>",
        _difficulty_table(run),
        "<h2>Responses per query against difficulty</h2>",
        _image(_plot_quotas(run), "Responses per query against fail rate"),
        "<h2>Coverage against cap</h2>",
        _image(_plot_coverage(run), "Share of queries with their quota against trials per query"),
        "<h2>Length of responses</h2>",
        _image(_plot_lengths(lengths), "Histogram of tokens of correct and wrong responses"),
        "<h2>Hardest queries</h2>",
        "".join(_hard_query(run, index, failures.get(index)) for index in hardest) or "<p>None.</p>",
    ]
    title = f"dart-synth: {_escape(run_dir.resolve().name)}"
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _escape(text: str) -> str:
    return html.escape(printable(text))


def _summary(run: OpenedRun) -> str:
    total = snapshot(run.plan.scheduler, run.plan.queries).total
    state = "finished" if run.plan.scheduler.done else "not finished"
    return (
        f"{run.config.strategy}, k = {run.config.k}, {state}: {total.n_kept:,} of {total.quota:,} responses for "
        f"{total.n_queries:,} queries ({total.n_filled:,} filled), from {total.n_trials:,} trials; "
        f"{total.n_correct - total.n_distinct:,} duplicates, {total.n_ungraded:,} grader time-outs."
    )


def _difficulty_table(run: OpenedRun) -> str:
    state = snapshot(run.plan.scheduler, run.plan.queries)
    head = (
        "difficulty",
        "queries",
        "filled",
        "responses",
        "per query",
        "trials",
        "pass rate",
        "duplicates",
        "time-outs",
    )
    rows = [
        (
            name, f"{g.n_queries:,}", f"{g.n_filled:,}", f"{g.n_kept:,}", f"{g.n_kept / g.n_queries:.1f}",
            f"{g.n_trials:,}", f"{g.pass_rate:.1%}" if g.n_trials else "-", f"{g.n_correct - g.n_distinct:,}",
            f"{g.n_ungraded:,}",
        )
        for name, g in [*state.groups.items(), ("all", state.total)]
    ]  # fmt: skip
    return _table(head, rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{_escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{_escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def _hardest(run: OpenedRun) -> list[int]:
    """Sampled queries with the lowest pass rates, the most tried first."""

    def key(index: int) -> tuple[float, int]:
        state = run.plan.scheduler.state(index)
        return state.n_correct / state.n_finished, -state.n_finished

    sampled = [i for i in range(len(run.plan.queries)) if run.plan.scheduler.state(i).n_finished]
    return heapq.nsmallest(_N_HARDEST, sampled, key=key)


def _failures(ledger: Ledger, indexes: Sequence[int]) -> dict[int, _Failure]:
    answers: dict[int, Counter[str]] = {index: Counter() for index in indexes}
    samples: dict[tuple[int, str], PoolRow] = {}
    wanted = frozenset(indexes)
    for row in ledger.pool_where(lambda query, trial: query in wanted):
        if not row.correct:
            answers[row.query][row.answer] += 1
            samples.setdefault((row.query, row.answer), row)
    found = {}
    for index, counts in answers.items():
        if counts:
            answer, count = max(counts.items(), key=lambda item: (bool(item[0]), item[1], item[0]))
            found[index] = _Failure(answer, count, samples[index, answer].response)
    return found


def _hard_query(run: OpenedRun, index: int, failure: _Failure | None) -> str:
    query, state = run.plan.queries[index], run.plan.scheduler.state(index)
    bound = f", pass rate under {1 - 0.05 ** (1 / state.n_finished):.2%}" if not state.n_correct else ""
    told = f"{group_name(query)}: {state.n_correct} of {state.n_finished} trials correct{bound}"
    text = f"<details><summary>{_escape(query.id)} <span class=quiet>{_escape(told)}</span></summary>"
    text += f"<pre>{_escape(query.query)}</pre><p>Reference: {_escape(str(query.reference))}</p>"
    if failure is not None:
        text += f"<p>Most common wrong answer, {failure.count} times: {_escape(failure.answer)}</p>"
        text += f"<pre>{_escape(failure.response)}</pre>"
    return text + "</details>"


# ---------------------------------------------------------------------- figures
def _figure() -> tuple[Any, Any]:
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.use("Agg")
    figure = Figure(figsize=(7.5, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _image(figure: Any, label: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{_escape(label)}" src="data:image/png;base64,{data}">'


def _rates(run: OpenedRun) -> list[float]:
    states = [run.plan.scheduler.state(i) for i in range(len(run.plan.queries))]
    return [1 - s.n_correct / s.n_finished if s.n_finished else float("nan") for s in states]


def _plot_quotas(run: OpenedRun) -> Any:
    figure, axes = _figure()
    rates = _rates(run)
    kept = [len(run.plan.scheduler.accepted(i)) for i in range(len(rates))]
    axes.scatter(rates, kept, s=12, alpha=0.5, label=f"kept ({run.config.strategy})")
    grid = [i / 100 for i in range(101)]
    for name in ("uniform", "prop2diff"):
        own = name == run.config.strategy
        k = run.config.k if own else max(1, round(sum(kept) / max(1, len(kept))))
        if name == "prop2diff" and not own:  # the k that asks as much of these queries
            mean = sum(r for r in rates if r == r) / max(1, sum(r == r for r in rates))
            k = max(1, round(k / max(mean, 1e-3)))
        quotas = [STRATEGIES[name].quota(QueryStats(rate, 1, 0), k) for rate in grid]
        axes.plot(grid, quotas, linewidth=1, label=f"quota, {name}, k = {k}")
    axes.set(xlabel="fail rate over all trials", ylabel="responses")
    axes.legend(frameon=False)
    return figure


def _plot_coverage(run: OpenedRun) -> Any:
    figure, axes = _figure()
    states = [run.plan.scheduler.state(i) for i in range(len(run.plan.queries))]
    ends = sorted(s.n_decided for s in states if s.status.value == "filled")
    axes.step([0, *ends], [i / len(states) for i in range(len(ends) + 1)], where="post")
    axes.set(xlabel="trials per query", ylabel="queries filled", ylim=(0, 1))
    if ends and ends[-1] > 20:
        axes.set_xscale("symlog", linthresh=10)
    return figure


def _plot_lengths(lengths: Sequence[tuple[int, bool, bool]]) -> Any:
    figure, axes = _figure()
    values = [[n for n, right, _ in lengths if right is side] for side in (True, False)]
    cut = sum(truncated for *_, truncated in lengths)
    axes.hist(values, bins=40, stacked=True, label=["correct", "wrong"])
    axes.set(xlabel=f"tokens ({cut:,} of {len(lengths):,} responses were cut at the limit)", ylabel="trials")
    axes.legend(frameon=False)
    return figure
