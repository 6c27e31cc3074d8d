"""What a run shows while it works: a live table in a terminal, a plain line now and then when piped."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dart_tasks.console import counted, printable, stdout_console
from dart_tasks.problems.record import Problem
from synth.scheduler import Scheduler, Status

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from synth.driver import Progress
    from synth.engines import SetAside

__all__ = [
    "Display",
    "LiveDisplay",
    "PlainDisplay",
    "Snapshot",
    "group_name",
    "print_state",
    "set_aside_lines",
    "snapshot",
]

_N_SET_ASIDE = 20
_LEAST_TIMED = 20  # trials since the first ones; before, loading the model would count as slowness


@dataclass(slots=True)
class Group:
    """Counts of the queries of one difficulty."""

    n_queries: int = 0
    n_settled: int = 0
    n_filled: int = 0
    n_kept: int = 0
    quota: int = 0
    n_trials: int = 0
    n_correct: int = 0
    n_distinct: int = 0
    n_ungraded: int = 0

    def pass_rate(self, n_decimals: int = 1) -> str:
        """Share of the trials that could be graded which are correct, in percent; "-" where there is none."""
        n_graded = self.n_trials - self.n_ungraded
        return f"{self.n_correct / n_graded:.{n_decimals}%}" if n_graded else "-"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run's state by difficulty, and in all."""

    groups: dict[str, Group]
    total: Group


def group_name(query: Problem) -> str:
    """The line of the table a query belongs to: its level, or its data set where levels are unknown."""
    return f"level {query.level}" if query.level is not None else query.dataset


def snapshot(scheduler: Scheduler, queries: Sequence[Problem]) -> Snapshot:
    """Count queries, quotas and trials by difficulty."""
    groups: dict[str, Group] = defaultdict(Group)
    total = Group()
    for index, query in enumerate(queries):
        state = scheduler.state(index)
        is_filled = state.status is Status.FILLED or (scheduler.fixed_trials and state.status is Status.EXHAUSTED)
        for group in (groups[group_name(query)], total):
            group.n_queries += 1
            group.n_settled += not scheduler.is_open(index)
            group.n_filled += is_filled
            group.n_kept += state.n_kept
            group.quota += state.quota or 0
            group.n_trials += state.n_finished
            group.n_correct += state.n_correct
            group.n_distinct += state.n_distinct
            group.n_ungraded += state.n_ungraded
    return Snapshot(dict(sorted(groups.items())), total)


def set_aside_lines(set_aside: Sequence[SetAside], queries: Sequence[Problem]) -> Iterator[str]:
    """Which queries could not be sampled, and why; the first twenty of them."""
    for query, reason in set_aside[:_N_SET_ASIDE]:
        yield f"set aside: query {printable(queries[query].id)}: {printable(reason)}"
    if set_aside:
        more = f" (the first {_N_SET_ASIDE} are listed)" if len(set_aside) > _N_SET_ASIDE else ""
        yield f"queries set aside: {len(set_aside):,}{more}; give the same command again to try them again"


def duration(seconds: float) -> str:
    """``1h05m``, ``3m07s`` or ``12s``."""
    whole = int(seconds)
    if whole >= 3600:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 60}m{whole % 60:02d}s" if whole >= 60 else f"{whole}s"


class Display:
    """Common clock-keeping: when to show, rates, time left."""

    def __init__(self, queries: Sequence[Problem], every_s: float) -> None:
        self._queries = queries
        self._every_s = every_s
        self._started_s = self._shown_s = time.monotonic()
        self._trouble = ""
        self._first: tuple[float, int] | None = None  # when trials began to come, and how many there were
        self.has_begun = False

    def update(self, progress: Progress, scheduler: Scheduler, n_running: int, n_grading: int) -> None:
        """Show the state if it is time to."""
        self.has_begun = True
        now = time.monotonic()
        if now - self._shown_s >= self._every_s or progress.trouble != self._trouble:
            self._shown_s, self._trouble = now, progress.trouble
            self.show(
                progress, snapshot(scheduler, self._queries), scheduler.expected_trials_left(), n_running, n_grading
            )

    def show(self, progress: Progress, state: Snapshot, trials_left: float, n_running: int, n_grading: int) -> None:
        """Show the state now."""
        raise NotImplementedError

    def speed(self, progress: Progress, state: Snapshot, trials_left: float) -> str:
        """Tokens/s, acceptance, duplicates, time-outs and time left, in one line."""
        now = time.monotonic()
        elapsed = max(1e-9, now - self._started_s)
        total = state.total
        parts = [
            f"{progress.n_tokens / elapsed:,.0f} tokens/s",
            f"{progress.n_trials / elapsed:,.1f} trials/s",
            f"correct {total.pass_rate(0)}",
            f"duplicates {total.n_correct - total.n_distinct:,}",
            f"grader time-outs {total.n_ungraded:,}",
        ]
        self._first = self._first or ((now, progress.n_trials) if progress.n_trials else None)
        if self._first and (n_timed := progress.n_trials - self._first[1]) >= _LEAST_TIMED:
            parts.append(f"about {duration(trials_left * (now - self._first[0]) / n_timed)} left")
        if progress.trouble:
            parts.append(printable(progress.trouble))
        if progress.draining:
            parts.append("stopping: finishing what is in flight")
        return ", ".join(parts)


class PlainDisplay(Display):
    """A line every ``every_s`` seconds, for pipes and logs."""

    def __init__(self, queries: Sequence[Problem], every_s: float = 10.0) -> None:
        super().__init__(queries, every_s)

    def show(self, progress: Progress, state: Snapshot, trials_left: float, n_running: int, n_grading: int) -> None:
        """Print one line."""
        total = state.total
        elapsed = duration(time.monotonic() - self._started_s)
        settled = f"{total.n_settled:,}/{counted(total.n_queries, 'query')} settled"
        kept = f"{total.n_kept:,} of {counted(total.quota, 'response')}"
        print(f"[{elapsed}] {settled}, {kept}, {self.speed(progress, state, trials_left)}", flush=True)

    def __enter__(self) -> PlainDisplay:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class LiveDisplay(Display):
    """A table by difficulty that redraws itself."""

    def __init__(self, queries: Sequence[Problem], console: Console, every_s: float = 0.5) -> None:
        super().__init__(queries, every_s)
        from rich.live import Live

        self._live = Live(console=console, auto_refresh=False, transient=True)

    def show(self, progress: Progress, state: Snapshot, trials_left: float, n_running: int, n_grading: int) -> None:
        """Redraw."""
        table = state_table(state, self._live.console.width)
        table.caption = f"{self.speed(progress, state, trials_left)} | running {n_running}, grading {n_grading}"
        self._live.update(table, refresh=True)

    def __enter__(self) -> LiveDisplay:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()


_HEADINGS = (
    "diffi-\nculty",
    "queries",
    "settled",
    "filled",
    "respon-\nses",
    "of\nquota",
    "trials",
    "pass\nrate",
    "dupli-\ncates",
    "time-\nouts",
)
_BAR = 20  # characters
_WIDTH_WITH_BAR = 110


def print_state(state: Snapshot) -> None:
    """The table on standard output."""
    console = stdout_console()
    console.print(state_table(state, console.width))


def state_table(state: Snapshot, width: int) -> Table:
    """Quota filled by difficulty, for a console of this many columns: a narrow one has no room for the bars."""
    from rich.table import Table
    from rich.text import Text

    has_bar = width >= _WIDTH_WITH_BAR
    table = Table(box=None, pad_edge=False, header_style="bold", caption_justify="left")
    for heading in _HEADINGS:
        one_line = heading.replace("-\n", "").replace("\n", " ")
        table.add_column(one_line if has_bar else heading, justify="right" if table.columns else "left")
    if has_bar:
        table.add_column("quota filled", width=_BAR)
    for name, group in [*state.groups.items(), ("all", state.total)]:
        share = group.n_kept / group.quota if group.quota else 0.0
        bar = Text("█" * round(_BAR * share) + "░" * (_BAR - round(_BAR * share)))
        table.add_row(
            Text(name),
            f"{group.n_queries:,}", f"{group.n_settled:,}", f"{group.n_filled:,}", f"{group.n_kept:,}",
            f"{group.quota:,}", f"{group.n_trials:,}", group.pass_rate(),
            f"{group.n_correct - group.n_distinct:,}", f"{group.n_ungraded:,}", *((bar,) if has_bar else ()),
            style="bold" if name == "all" else "",
        )  # fmt: skip
    return table
