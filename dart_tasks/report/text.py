"""A report as Markdown and in the terminal. Text from models and data is inert in both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dart_tasks.cards import markdown_text
from dart_tasks.console import counted, printable, stdout_console
from dart_tasks.report.results import Run, Score, TaskResult
from dart_tasks.report.summary import (
    Agreement,
    Cell,
    Disagreement,
    Group,
    Pair,
    Report,
    ScoreTable,
    agreement,
    disagreements,
    flag_counts,
    groups,
    percent,
)

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["interval_text", "markdown", "pair_line", "pairs_note", "print_terminal", "score_text"]

_SHORT = {
    "CollegeMath": "College",
    "DeepMind-Mathematics": "DeepMind",
    "OlympiadBench-Math": "Olympiad",
    "TheoremQA": "Theorem",
    "in-domain": "in",
    "out-of-domain": "out",
    "average": "avg",
}


def _short(column: str) -> str:
    """A column title for a terminal; the mini items keep their mark."""
    title, mini, _ = column.partition(" (mini)")
    return _SHORT.get(title, title) + ("*" if mini else "")


def _joined(cell: Cell) -> str:
    return f"{cell.text} {cell.detail}".strip()


def pair_line(pair: Pair) -> str:
    """A comparison in one line."""
    result = pair.result
    line = (
        f"{pair.title}: {pair.second} vs {pair.first}: {100 * result.difference:+.1f} points "
        f"(95% {100 * result.low:+.1f} to {100 * result.high:+.1f}, {counted(result.n_items, 'item')}"
    )
    if result.test == "McNemar":
        line += f"; only {pair.second} right {result.only_second}, only {pair.first} right {result.only_first}"
    line += f", {result.test} p = {result.p_value:.2g}, corrected {result.corrected_p:.2g}"
    return f"{line}): {'significant' if result.significant else 'not significant'} at 5%"


def agreement_line(run: Run, task: TaskResult, found: Agreement) -> str:
    """How far the judges agree on a task, in one line."""
    return (
        f"{run.label}, {task.title}: Math-Verify agrees on {percent(found.share)}% of "
        f"{counted(found.n, 'response')} (right by "
        f"both {found.both_right:,}, only by ours {found.only_ours:,}, only by Math-Verify {found.only_theirs:,})."
    )


def disagreement_line(found: Disagreement) -> str:
    """A response on which the judges differ, with both reasons, in one line."""
    ours, theirs = found.graded, found.judged
    words = {True: "right", False: "wrong"}
    line = (
        f"{found.item.id} #{found.trial}, reference {found.item.reference_text!r}: ours {words[ours.correct]}, "
        f"{ours.answer!r} found by {ours.source} ({ours.reason}); Math-Verify {words[theirs.correct]}, "
        f"{theirs.answer!r} ({theirs.reason})"
    )
    return " ".join(line.split())


def _judged(report: Report) -> Iterator[tuple[str, list[str]]]:
    """Per run and task, the line on agreement and those on what the judges differ in."""
    differing: dict[tuple[int, int], list[str]] = {}
    for found in disagreements(report.runs):
        differing.setdefault((id(found.run), id(found.task)), []).append(disagreement_line(found))
    for run in report.runs:
        for task in run.tasks:
            if counts := agreement(task):
                yield agreement_line(run, task, counts), differing.get((id(run), id(task)), [])


def pairs_note(found: Sequence[Pair]) -> str:
    """How the comparisons were tested, and for how many tests they are corrected."""
    return (
        f"Comparisons: {len(found):,} test{'s' * (len(found) != 1)}, judged by p-values corrected for all of them "
        "together (Holm); the 95% intervals are not. McNemar's exact test where every item is wholly right or "
        "wrong, else a paired sign-flip test of the mean accuracy over items."
    )


def interval_text(group: Group) -> str:
    """A group's 95% interval, in percent."""
    return " to ".join(map(percent, group.interval))


def other_scores(run: Run) -> list[tuple[str, ...]]:
    """The metrics beside accuracy: a header, a row for each task that has any, and one of those that all tasks have."""
    found = [(task.title, {name: task.scores[name] for name in task.scores if _is_other(name)}) for task in run.tasks]
    names = dict.fromkeys(name for _, scores in found for name in scores)
    shown = [name for name in names if "trunc" not in name or any(s[name].value for _, s in found if name in s)]
    titles = [title for title, _ in found]
    means = {name: mean for name in shown if (mean := run.mean(titles, name)) is not None}
    if means and len(titles) > 1:
        found.append((f"mean of {len(titles)}", means))
    rows = [
        (title, *(score_text(scores[name], name) if name in scores else "" for name in shown))
        for title, scores in found
        if not scores.keys().isdisjoint(shown)
    ]
    return [("benchmark", *shown), *rows] if rows else []


def _is_other(name: str) -> bool:
    """Not a group's accuracy, which has a place of its own."""
    others = ("acc_relative_tolerance", "truncated", "likely_truncated", "unfinished_thinking")
    return "@" in name or name in others or name.endswith("_tokens")


def score_text(score: Score, name: str) -> str:
    """A metric's value with its standard error, in percent if it is no length in tokens."""
    if name.endswith("_tokens"):
        return f"{score.value:,.1f}" + (f" ±{score.stderr:,.1f}" if score.stderr is not None else "")
    return percent(score.value) + (f" ±{100 * score.stderr:.1f}" if score.stderr is not None else "")


def markdown(report: Report) -> str:
    """The report as Markdown: scores beside the published ones, comparisons, groups, how answers were found."""
    table, runs, found = report.table, report.runs, report.pairs
    lines = ["# Evaluation report", "", "Accuracy in percent, ± one standard error over items.", ""]
    lines += _markdown_table(("model", *table.columns), [(name, *map(_joined, cells)) for name, cells in table.ours])
    if table.published:
        lines += ["", "## Published", ""]
        published = [(name, *map(_joined, cells)) for name, cells in table.published]
        lines += _markdown_table(("model", *table.columns), published)
    lines += ["", *(f"- {markdown_text(note)}" for note in report.notes)]
    for run in runs:
        if others := other_scores(run):
            lines += ["", f"## {markdown_text(run.label)}: other metrics", ""]
            lines += _markdown_table(others[0], others[1:])
    if found:
        lines += [
            "",
            "## Comparisons on the same items",
            "",
            markdown_text(pairs_note(found)),
            "",
            *(f"- {markdown_text(pair_line(pair))}" for pair in found),
        ]
    if judged := list(_judged(report)):
        lines += ["", "## A second judge", ""]
        for line, differing in judged:
            lines += [f"- {markdown_text(line)}", *(f"  - {markdown_text(found)}" for found in differing)]
    for run in runs:
        rows = [
            (task.title, group.facet.replace("_", " "), group.name, percent(group.accuracy), interval_text(group),
             f"{group.n_items:,}")
            for task in run.tasks
            for group in groups(task)
        ]  # fmt: skip
        if rows:
            lines += ["", f"## {markdown_text(run.label)}: by group", ""]
            lines += _markdown_table(("benchmark", "by", "group", "accuracy", "95% (Wilson)", "items"), rows)
        flags = [(task.title, name, f"{count:,}") for task in run.tasks for name, count in flag_counts(task).items()]
        if flags:
            lines += ["", f"## {markdown_text(run.label)}: how answers were found", ""]
            lines += _markdown_table(("benchmark", "what", "responses"), flags)
    return "\n".join(lines) + "\n"


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(cell if cell == "---" else markdown_text(cell) for cell in line) + " |" for line in lines]


def print_terminal(report: Report) -> None:
    """Print the score table, comparisons and notes; plain text where the output is not a terminal."""
    from rich.text import Text

    console = stdout_console(soft_wrap=True)
    console.print(_rich_table(report.table, console.is_terminal))
    for run in report.runs:
        if others := other_scores(run):
            console.print(_rich_others(others, run.label, console.is_terminal))
    for pair in report.pairs:
        console.print(Text(printable(pair_line(pair))))
    for note in [*([pairs_note(report.pairs)] if report.pairs else []), *report.notes]:
        console.print(Text(printable(f"- {note}")))
    for line, differing in _judged(report):
        for text in (line, *(f"  {found}" for found in differing)):
            console.print(Text(printable(text)))


def _rich_table(table: ScoreTable, terminal: bool) -> Table:
    from rich.text import Text

    mini = any(column.endswith("(mini)") for column in table.columns)
    title = "accuracy (%)" + (", * on the embedded mini items" if mini else "")
    shown = _empty_table(title, ("model", *map(_short, table.columns)), terminal)
    for name, cells in table.ours:
        shown.add_row(Text(printable(name), style="bold"), *(Text(_joined(cell)) for cell in cells))
    if table.published:
        shown.add_section()
        for name, cells in table.published:
            shown.add_row(Text(f"{name} (published)", style="dim"), *(Text(cell.text, style="dim") for cell in cells))
    return shown


def _rich_others(rows: Sequence[Sequence[str]], label: str, terminal: bool) -> Table:
    from rich.text import Text

    shown = _empty_table(f"{label}: other metrics (%, lengths in tokens)", rows[0], terminal)
    for row in rows[1:]:
        shown.add_row(*(Text(printable(cell)) for cell in row))
    return shown


def _empty_table(title: str, header: Sequence[str], terminal: bool) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=box.SIMPLE if terminal else box.ASCII, title=Text(printable(title)), title_justify="left")
    shown.add_column(header[0], overflow="fold")
    for column in header[1:]:
        shown.add_column(Text(printable(column)), justify="right", no_wrap=True)
    return shown
