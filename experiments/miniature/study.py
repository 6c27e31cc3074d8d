"""The results with their intervals, and how numbers are written."""

from __future__ import annotations

import statistics as stats
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from dart_tasks.embedded.problems import LEVELS
from experiments.miniature.design import Arm, Grid
from experiments.miniature.results import Results, Run
from experiments.miniature.statistics import Bootstrap, Estimate

__all__ = ["COLUMNS", "GROUPS", "HARD", "LEVEL_NAMES", "Study", "n_trials", "percent", "points", "table"]

LEVEL_NAMES = tuple(f"level {level}" for level in LEVELS)
HARD = LEVEL_NAMES[3:]
GROUPS: dict[str, tuple[str, ...]] = {"all levels": LEVEL_NAMES, "levels 4 and 5": HARD}
COLUMNS: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in LEVEL_NAMES}, "longer chains": ("longer",), "other wording": ("wording",),
}  # fmt: skip


@dataclass(frozen=True)
class Study:
    """The results with the draws for their intervals."""

    grid: Grid
    results: Results

    @cached_property
    def bootstrap(self) -> Bootstrap:
        return Bootstrap(len(self.results.seeds), self.results.strata())

    @property
    def size(self) -> int:
        return self.grid.settings.main_size

    def accuracy(self, arm: str, groups: Sequence[str], size: int | None = None) -> Estimate:
        return self.bootstrap.accuracy(self.results.outcomes(arm, size or self.size), groups)

    def difference(self, first: str, second: str, groups: Sequence[str], size: int | None = None) -> Estimate:
        size = size or self.size
        return self.bootstrap.difference(
            self.results.outcomes(first, size), self.results.outcomes(second, size), groups
        )

    def runs(self, arm: str, size: int | None = None) -> list[Run]:
        return self.results.runs[arm, size or self.size]

    def mean(self, arm: str, value: Callable[[Run], float], size: int | None = None) -> float:
        return stats.fmean(value(run) for run in self.runs(arm, size))

    def present(self, arms: Sequence[Arm], size: int | None = None) -> list[Arm]:
        return [arm for arm in arms if (arm.name, size or self.size) in self.results.runs]


# ---------------------------------------------------------------------- texts of numbers
def percent(estimate: Estimate) -> str:
    """As ``61.2 (59.8 to 62.7)``."""
    return f"{100 * estimate.mean:.1f} ({100 * estimate.low:.1f} to {100 * estimate.high:.1f})"


def points(estimate: Estimate) -> str:
    """As ``+1.2 (-0.3 to +2.6)``; bold where the interval leaves zero out."""
    text = f"{100 * estimate.mean:+.1f} ({100 * estimate.low:+.1f} to {100 * estimate.high:+.1f})"
    return text if estimate.verdict == "unresolved" else f"**{text}**"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is left-aligned."""
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def n_trials(run: Run) -> float:
    """Trials that the run's pool cost."""
    return sum(query.n_trials for query in run.pool)
