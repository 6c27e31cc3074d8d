"""Intervals by a hierarchical bootstrap: seeds are drawn again, and problems within each level, for all arms alike.

Drawing the same seeds and problems for every arm pairs the comparisons: arms share a seed's training queries and all
share the test problems, so that differences are known better than the accuracies themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bootstrap", "Estimate"]

Outcomes = NDArray[np.float64]
"""1 where solved: one row for each seed, one column for each problem."""


_PRINTED = 0.0005  # a tenth of a point, rounded


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95% interval."""

    mean: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """For a difference: ``higher``, ``lower``, or ``unresolved`` where the interval, as printed, reaches zero."""
        return "higher" if self.low >= _PRINTED else "lower" if self.high <= -_PRINTED else "unresolved"


class Bootstrap:
    """The draws, made once and used for every arm.

    Args:
        n_seeds: rows of the outcomes.
        strata: the columns of each group of problems, as levels.
    """

    def __init__(self, n_seeds: int, strata: Mapping[str, Sequence[int]], n_draws: int = 5000, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self._columns = {name: np.asarray(columns, dtype=np.intp) for name, columns in strata.items()}
        self._seeds = random.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=n_draws) / n_seeds
        self._problems = {
            name: random.multinomial(len(columns), np.full(len(columns), 1 / len(columns)), size=n_draws) / len(columns)
            for name, columns in self._columns.items()
        }

    def _draws(self, outcomes: Outcomes, names: Sequence[str]) -> NDArray[np.float64]:
        """The unweighted mean over the named strata, in every draw."""
        parts = [
            np.einsum("ds,sp,dp->d", self._seeds, outcomes[:, self._columns[name]], self._problems[name], optimize=True)
            for name in names
        ]
        return np.asarray(np.mean(parts, axis=0))

    def _mean(self, outcomes: Outcomes, names: Sequence[str]) -> float:
        return float(np.mean([outcomes[:, self._columns[name]].mean() for name in names]))

    def accuracy(self, outcomes: Outcomes, names: Sequence[str]) -> Estimate:
        """Accuracy over the named strata, each of the same weight."""
        return _estimate(self._mean(outcomes, names), self._draws(outcomes, names))

    def difference(self, first: Outcomes, second: Outcomes, names: Sequence[str]) -> Estimate:
        """How much higher the second is."""
        mean = self._mean(second, names) - self._mean(first, names)
        return _estimate(mean, self._draws(second, names) - self._draws(first, names))


def _estimate(mean: float, draws: NDArray[np.float64]) -> Estimate:
    low, high = np.quantile(draws, (0.025, 0.975))
    return Estimate(mean, float(low), float(high))
