"""The results with their intervals, and how numbers are written."""

from __future__ import annotations

import statistics as stats
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from dart_tasks.embedded.problems import LEVELS
from experiments.miniature.design import Arm, Grid
from experiments.miniature.results import Results, Run
from experiments.miniature.statistics import Bootstrap, Estimate

__all__ = ["COLUMNS", "EASY", "GROUPS", "HARD", "LEVEL_NAMES", "Study", "n_trials", "percent", "points", "table"]

LEVEL_NAMES = tuple(f"level {level}" for level in LEVELS)
EASY, HARD = LEVEL_NAMES[:3], LEVEL_NAMES[3:]
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
    def bootstraps(self) -> Callable[[int], Bootstrap]:
        """The draws for a number of seeds, made once."""
        return cache(lambda n_seeds: Bootstrap(n_seeds, self.results.strata()))

    @property
    def size(self) -> int:
        return self.grid.settings.main_size

    def seeds(self, arm: str, size: int | None = None) -> list[int]:
        return [run.seed for run in self.runs(arm, size)]

    def accuracy(self, arm: str, groups: Sequence[str], size: int | None = None) -> Estimate:
        seeds = self.seeds(arm, size)
        return self.bootstraps(len(seeds)).accuracy(self.results.outcomes(arm, size or self.size, seeds), groups)

    def difference(self, first: str, second: str, groups: Sequence[str], size: int | None = None) -> Estimate:
        """How much higher the second is, over the seeds that both have."""
        seeds = sorted(set(self.seeds(first, size)) & set(self.seeds(second, size)))
        less, more = (self.results.outcomes(arm, size or self.size, seeds) for arm in (first, second))
        return self.bootstraps(len(seeds)).difference(less, more, groups)

    def reference(self, name: str, groups: Sequence[str]) -> Estimate:
        """Accuracy of a model that no seed changes: the student before, or the synthesiser."""
        return self.bootstraps(len(self.results.seeds)).accuracy(self.results.reference(name), groups)

    def gain(self, arm: str, groups: Sequence[str]) -> Estimate:
        """How much an arm of the default grid raised the student."""
        before = self.results.reference("student")
        after = self.results.outcomes(arm, self.size, self.results.seeds)
        return self.bootstraps(len(before)).difference(before, after, groups)

    def effect(self, arm: str) -> NDArray[np.float64]:
        """An arm of the default grid minus vanilla: a row for each seed, a column for each problem."""
        arms = (self.results.outcomes(name, self.size, self.results.seeds) for name in (arm, "vanilla"))
        return np.subtract(*arms)

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
