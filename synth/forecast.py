"""What a run will cost, from a probe: samples, tokens and coverage for several caps, with 95% intervals.

Pass rates have an unknown distribution over a fixed grid. Each draw resamples the queries' probes (bootstrap), starts
at random weights, and fits them by EM: what the probe tells is fitted, what it cannot tell apart (a pass rate of 0 from
one of 0.001) stays as random as the start. Every query's pass rate is then drawn given its probe, and the run is played
to its end. So an interval holds what the probe leaves open about queries and population, and the luck of sampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["CapForecast", "Interval", "Probe", "forecast"]

Array = Any  # numpy is imported late

_N_GRID = 60
_EM_STEPS = 40
_START_CONCENTRATION = 0.3
"""Of the Dirichlet distribution of starts: low, so that starts differ much."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What is known of a query: finished trials, correct ones, the quota it is to reach, or its pass rate itself."""

    n_trials: int
    n_correct: int
    quota: int
    pass_rate: float = -1.0
    """Negative where it is not known."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its central 95% interval."""

    mean: float
    low: float
    high: float

    @property
    def width(self) -> float:
        """Of the interval, relative to the mean."""
        return (self.high - self.low) / self.mean if self.mean else 0.0


@dataclass(frozen=True, slots=True)
class CapForecast:
    """The end of a run under a cap. Samples and tokens include the probe's; coverage is the share of filled queries."""

    max_trials: int
    samples: Interval
    tokens: Interval
    responses: Interval
    coverage: Interval


def forecast(
    probes: Sequence[Probe],
    caps: Sequence[int],
    tokens_correct: float = 1.0,
    tokens_wrong: float = 1.0,
    n_draws: int = 300,
    seed: int = 0,
) -> list[CapForecast]:
    """Forecast a run for each cap.

    Args:
        probes: one for each query.
        tokens_correct, tokens_wrong: mean tokens of a correct and of a wrong response.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    kinds, counts = np.unique(
        np.array([(p.n_trials, p.n_correct, p.quota, p.pass_rate) for p in probes]), axis=0, return_counts=True
    )
    grid = _grid()
    tables = [_Table(kinds, grid, cap, tokens_correct, tokens_wrong) for cap in caps]
    likelihood = _likelihood(kinds, grid)
    weights = rng.dirichlet(np.full(len(grid), _START_CONCENTRATION), size=n_draws)
    resampled = rng.multinomial(counts.sum(), counts / counts.sum(), size=n_draws)
    for _ in range(_EM_STEPS):
        share = resampled / np.maximum(weights @ likelihood.T, 1e-300)
        weights *= share @ likelihood
        weights /= weights.sum(axis=1, keepdims=True)
    draws: list[list[tuple[float, float, float, float]]] = [[] for _ in caps]
    for population in weights:
        posterior = likelihood * population + 1e-300
        posterior /= posterior.sum(axis=1, keepdims=True)
        members = rng.multinomial(counts, posterior)  # queries of each kind at each pass rate
        for drawn, table in zip(draws, tables, strict=True):
            drawn.append(table.play(members, rng))
    forecasts = []
    for cap, drawn in zip(caps, draws, strict=True):
        samples, tokens, responses, filled = np.array(drawn).T
        forecasts.append(
            CapForecast(
                cap, _interval(samples), _interval(tokens), _interval(responses), _interval(filled / len(probes))
            )
        )
    return forecasts


def _grid() -> Array:
    """Pass rates from 0 to 1, denser at the ends, where costs differ most."""
    import numpy as np

    logits = np.linspace(np.log(2e-4 / (1 - 2e-4)), np.log(0.999 / 0.001), _N_GRID - 2)
    return np.concatenate([[0.0], 1 / (1 + np.exp(-logits)), [1.0]])


def _likelihood(kinds: Array, grid: Array) -> Array:
    import numpy as np
    from scipy.special import xlog1py, xlogy

    n, k, known = kinds[:, :1], kinds[:, 1:2], kinds[:, 3:]
    log_likelihood = xlogy(k, grid) + xlog1py(n - k, -grid)
    likelihood = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))
    nearest = np.abs(grid - known) == np.abs(grid - known).min(axis=1, keepdims=True)
    return np.where(known < 0, likelihood, nearest)


class _Table:
    """Moments of what a query of each kind and pass rate still costs under a cap."""

    def __init__(self, kinds: Array, grid: Array, cap: int, tokens_correct: float, tokens_wrong: float) -> None:
        import numpy as np

        from synth.population import chance_filled, expected_trials, expected_trials_squared

        n, k, quota, _ = kinds.T[:, :, None]
        within = np.minimum(n, cap)  # of a probe longer than the cap only its first trials would have run
        n, k = within, np.floor(k * within / np.maximum(n, 1))
        need, left = np.maximum(0, quota - k), np.maximum(0, cap - n)
        runs = (need > 0) & (left > 0)
        need1, left1 = np.maximum(need, 1), np.maximum(left, 1)
        self._mean = np.where(runs, expected_trials(grid, need1, left1), 0.0)
        second = np.where(runs, expected_trials_squared(grid, need1, left1), 0.0)
        self._variance = np.maximum(0.0, second - self._mean**2)
        self._chance = np.where(need == 0, 1.0, np.where(runs, chance_filled(grid, need1, left1), 0.0))
        self._per_trial = grid * tokens_correct + (1 - grid) * tokens_wrong
        self._grid, self._left = grid, np.where(runs, left, 0)
        self._probe_trials, self._probe_correct = n, np.minimum(k, quota)
        self._probe_tokens = k * tokens_correct + (n - k) * tokens_wrong

    def play(self, members: Array, rng: Any) -> tuple[float, float, float, float]:
        """Samples, tokens, responses and filled queries of one possible run."""
        import numpy as np

        spread = np.sqrt(members * self._variance) * rng.standard_normal(members.shape)
        further = np.clip(members * self._mean + spread, 0, members * self._left)
        samples = (members * self._probe_trials).sum() + further.sum()
        tokens = (members * self._probe_tokens).sum() + (further * self._per_trial).sum()
        responses = (members * self._probe_correct).sum() + (further * self._grid).sum()
        filled = rng.binomial(members, np.clip(self._chance, 0.0, 1.0)).sum()
        return float(samples), float(tokens), float(responses), float(filled)


def _interval(values: Array) -> Interval:
    import numpy as np

    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high))
