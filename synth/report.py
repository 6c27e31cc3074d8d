"""One self-contained HTML page about a run: what it was, the paper's figures, tables by difficulty, failures to read.

No script and no outside resource; all text from models and data sets is escaped.
"""

from __future__ import annotations

import base64
import heapq
import html
import io
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dart_tasks.console import counted, printable
from synth.config import rows
from synth.display import group_name, snapshot
from synth.ledger import Ledger, PoolRow
from synth.lengths import Lengths
from synth.run import OpenedRun, open_run
from synth.usage import usage_lines

__all__ = ["render_report"]

_N_HARDEST, _N_SET_ASIDE = 12, 100
_STYLE = """
:root { color-scheme: light dark; --text: #1d2430; --back: #fff; --soft: #5b6675; --line: #dde2e8; --block: #f4f6f8; }
@media (prefers-color-scheme: dark) {
  :root { --text: #dfe6ec; --back: #14191f; --soft: #9aa9b8; --line: #313c47; --block: #1d242c; }
}
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: var(--text);
  background: var(--back); overflow-wrap: anywhere; }
h1, h2 { font-weight: 600; } .scroll { overflow-x: auto; } table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top; }
th:first-child, td:first-child { text-align: left; } th, td { overflow-wrap: normal; }
.words td, .words th { text-align: left; } .words td:last-child { overflow-wrap: anywhere; min-width: 9rem; }
.words td:first-child { white-space: nowrap; }
img { max-width: 100%; background: #fff; border-radius: 4px; }
pre { white-space: pre-wrap; background: var(--block); padding: .6rem; border-radius: 4px; font-size: 13px; }
summary { cursor: pointer; } .quiet { color: var(--soft); }
"""
_STATES = (("filled", "#2b7bba"), ("exhausted", "#d9822b"), ("futile", "#b0461e"), ("set aside", "#7a3fa0"),
           ("open", "#8797a8"))  # fmt: skip


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
        hardest = _hardest(run)
        failures = _failures(ledger, hardest)
    name = _escape(run_dir.resolve().name)
    rates, whose = _fail_rates(run)
    parts = [
        f"<h1>{name}</h1>",
        f"<p>{_escape(_summary(run))}</p>",
        *(f"<p>{_escape(line[0].upper() + line[1:])}.</p>" for line in run.all_lengths.lines()),
        "<h2>The run</h2>",
        _table((), list(_settings(run).items()), "words"),
        _table(("attempt", "began", "engine", "seed", "trials"), _attempts(run), "words"),
        *(f"<p>{_escape(line)}.</p>" for line in usage_lines(run.usage)),
        "<h2>By difficulty</h2>",
        _difficulty_table(run),
        "<h2>Responses per query against difficulty</h2>",
        _image(_plot_quotas(run, rates, whose), f"Responses per query against {whose}"),
        f"<p class=quiet>A dot is the queries of one {whose} and one number of kept responses, the larger the more of "
        "them; a line above it is the quota they were to reach.</p>",
        "<h2>Coverage against cap</h2>",
        _image(_plot_coverage(run), "Share of queries with their quota against trials per query"),
        "<h2>Length of responses</h2>",
        _image(_plot_lengths(run.all_lengths), "Histogram of tokens of thoughts and answers"),
        "<h2>Queries set aside</h2>",
        _set_aside(run),
        "<h2>Hardest queries</h2>",
        "".join(_hard_query(run, index, failures.get(index)) for index in hardest) or "<p>None.</p>",
    ]
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    head += f"<title>dart-synth: {name}</title><style>{_STYLE}</style>"
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _escape(text: str) -> str:
    return html.escape(printable(text))


def _state(run: OpenedRun, index: int) -> str:
    """A query's status as the page names it; what was set aside is open for the next attempt."""
    if index in {refused.query for refused in run.set_aside}:
        return "set aside"
    scheduler = run.plan.scheduler
    status = scheduler.state(index).status.value
    if scheduler.fixed_trials and status == "exhausted":  # it has had its trials, which is all that was wanted
        return "filled"
    return status if status in dict(_STATES) else "open"


def _summary(run: OpenedRun) -> str:
    total = snapshot(run.plan.scheduler, run.plan.queries).total
    states = Counter(_state(run, index) for index in range(len(run.plan.queries)))
    told = ", ".join(f"{states[name]:,} {name}" for name, _ in _STATES if states[name])
    rate = f"{total.pass_rate()} of them correct, " if total.n_trials else ""
    return (
        f"{run.config.strategy}, k = {run.config.k}: {total.n_kept:,} of {counted(total.quota, 'response')} for "
        f"{counted(total.n_queries, 'query')} ({told}), from {counted(total.n_trials, 'trial')}; {rate}"
        f"{counted(total.n_correct - total.n_distinct, 'duplicate')}, {counted(total.n_ungraded, 'grader time-out')}."
    )


def _settings(run: OpenedRun) -> dict[str, str]:
    """What two attempts at the run must agree on; where it ran is said of each attempt."""
    return {**rows(run.config, identity=True), "grader": f"dart_tasks.grading {run.grader_version}"}


def _attempts(run: OpenedRun) -> list[tuple[str, ...]]:
    return [
        (str(number), began, engine, str(seed), f"{run.trials_of_attempts[number]:,}")
        for number, began, engine, seed in run.attempts
    ]


def _set_aside(run: OpenedRun) -> str:
    if not run.set_aside:
        return "<p>None.</p>"
    shown = [(run.plan.queries[query].id, reason) for query, reason in run.set_aside[:_N_SET_ASIDE]]
    more = f"; the first {_N_SET_ASIDE} are shown" if len(run.set_aside) > _N_SET_ASIDE else ""
    said = f"<p>{len(run.set_aside):,}{more}. The run's own command tries them again.</p>"
    return said + _table(("query", "why"), shown, "words")


def _difficulty_table(run: OpenedRun) -> str:
    state = snapshot(run.plan.scheduler, run.plan.queries)
    head = (
        "difficulty", "queries", "filled", "responses", "per query", "quota", "trials", "pass rate", "duplicates",
        "time-outs", "cut", "tokens of thought", "tokens of answer",
    )  # fmt: skip
    table = []
    for name, g in [*state.groups.items(), ("all", state.total)]:
        lengths = run.all_lengths if g is state.total else run.lengths.get(name, Lengths())
        mean, n = lengths.summary(), len(lengths)
        of_trials = (
            g.pass_rate(), f"{g.n_correct - g.n_distinct:,}", f"{g.n_ungraded:,}", f"{lengths.n_cut / n:.1%}",
            f"{mean['mean_thought_tokens']:,.0f}", f"{mean['mean_answer_tokens']:,.0f}",
        ) if n else ("-",) * 6  # fmt: skip
        table.append((
            name, f"{g.n_queries:,}", f"{g.n_filled:,}", f"{g.n_kept:,}", f"{g.n_kept / g.n_queries:.1f}",
            f"{g.quota:,}", f"{g.n_trials:,}", *of_trials,
        ))  # fmt: skip
    return _table(head, table)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    top = "<tr>" + "".join(f"<th>{_escape(cell)}</th>" for cell in head) + "</tr>" if head else ""
    body = "".join("<tr>" + "".join(f"<td>{_escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table class="{kind}">{top}{body}</table></div>'


def _hardest(run: OpenedRun) -> list[int]:
    """Sampled queries with the lowest pass rates, the most tried first."""

    def key(index: int) -> tuple[float, int]:
        state = run.plan.scheduler.state(index)
        return state.n_correct / state.n_graded, -state.n_graded

    sampled = [i for i in range(len(run.plan.queries)) if run.plan.scheduler.state(i).n_graded]
    return heapq.nsmallest(_N_HARDEST, sampled, key=key)


def _failures(ledger: Ledger, indexes: Sequence[int]) -> dict[int, _Failure]:
    answers: dict[int, Counter[str]] = {index: Counter() for index in indexes}
    samples: dict[tuple[int, str], PoolRow] = {}
    wanted = frozenset(indexes)
    for row in ledger.pool_where(lambda query, trial: query in wanted):
        if row.graded and not row.correct:
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
    bound = f", pass rate under {1 - 0.05 ** (1 / state.n_graded):.2%}" if not state.n_correct else ""
    ungraded = f", {state.n_ungraded:,} more could not be graded" if state.n_ungraded else ""
    told = f"{group_name(query)}: {state.n_correct} of {counted(state.n_graded, 'trial')} correct{bound}{ungraded}"
    text = f"<details><summary>{_escape(query.id)} <span class=quiet>{_escape(told)}</span></summary>"
    text += f"<pre>{_escape(query.query)}</pre><p>Reference: {_escape(str(query.reference))}</p>"
    if failure is not None:
        text += f"<p>Most common wrong answer, {counted(failure.count, 'time')}: {_escape(failure.answer)}</p>"
        text += f"<pre>{_escape(failure.response)}</pre>"
    return text + "</details>"


# ---------------------------------------------------------------------- figures
def _figure() -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 3.6), layout="constrained")  # small, so that its words can be read on a telephone
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _image(figure: Any, label: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=180)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img width="720" alt="{_escape(label)}" src="data:image/png;base64,{data}">'


def _fail_rates(run: OpenedRun) -> tuple[list[float], str]:
    """Each query's fail rate, NaN where nothing is known, and what it was measured on."""
    if any(rate is not None for rate in run.plan.fail_rates):
        probed = run.config.probe and "fail rate of the probe"
        return [math.nan if rate is None else rate for rate in run.plan.fail_rates], probed or "known fail rate"
    states = [run.plan.scheduler.state(index) for index in range(len(run.plan.queries))]
    return [1 - s.n_correct / s.n_graded if s.n_graded else math.nan for s in states], "fail rate over all trials"


def _plot_quotas(run: OpenedRun, rates: Sequence[float], whose: str) -> Any:
    figure, axes = _figure()
    known = [index for index, rate in enumerate(rates) if not math.isnan(rate)]
    kept = {index: len(run.plan.scheduler.accepted(index)) for index in known}
    allotted = sorted({(rates[index], run.plan.scheduler.state(index).quota or 0) for index in known})
    if allotted:
        axes.plot(*zip(*allotted, strict=True), "_", color="#1d2430", markersize=11, label="quota")
    for name, colour in _STATES:
        dots = Counter((rates[index], kept[index]) for index in known if _state(run, index) == name)
        if dots:
            sizes = [min(400.0, 14.0 * n) for n in dots.values()]
            axes.scatter(
                *zip(*dots, strict=True), s=sizes, alpha=0.6, color=colour, linewidths=0, label=f"kept, {name}"
            )
    axes.set(xlabel=whose, ylabel="responses", xlim=(-0.04, 1.04))
    axes.set_ylim(bottom=0)
    if allotted:
        axes.legend(frameon=False, markerscale=0.8)
    return figure


def _plot_coverage(run: OpenedRun) -> Any:
    figure, axes = _figure()
    n_queries = len(run.plan.queries)
    ends = sorted(run.plan.scheduler.state(i).n_decided for i in range(n_queries) if _state(run, i) == "filled")
    axes.step([0, *ends], [i / n_queries for i in range(len(ends) + 1)], where="post")
    axes.set(xlabel="trials per query", ylabel="queries filled", ylim=(0, 1))
    if ends and ends[-1] > 20:
        axes.set_xscale("symlog", linthresh=10)
    axes.set_xlim(left=0)
    return figure


def _plot_lengths(lengths: Lengths) -> Any:
    figure, axes = _figure()
    parts = {"answer": lengths.answers, "thought": lengths.thoughts} if lengths.n_thinking else {"": lengths.answers}
    axes.hist(list(parts.values()), bins=40, histtype="stepfilled", alpha=0.6, label=list(parts))
    n_cut = f"{lengths.n_cut:,} of {counted(len(lengths), 'response')}"
    axes.set(xlabel=f"tokens ({n_cut} cut at the limit)", ylabel="trials")
    if lengths.n_thinking:
        axes.legend(frameon=False)
    return figure
