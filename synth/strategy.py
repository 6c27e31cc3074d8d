"""Strategies: how many correct responses a query is to have, as a function of what is known about the query.

``uniform`` asks the same of every query; ``prop2diff`` in proportion to difficulty, ``max(1, ceil(k * fail rate))``,
so that every query keeps at least one; ``vanilla`` spends the same number of trials on every query and keeps what is
correct (DART-Math, arXiv 2407.13690, section 2.2 and Appendix A).

A strategy of your own is a function ``(stats: QueryStats, k: int) -> int``, registered by an entry point::

    [project.entry-points."dart_synth.strategies"]
    only-hard = "my_package:only_hard"        # def only_hard(stats, k): return k if stats.fail_rate > 0.5 else 0
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import entry_points

__all__ = [
    "ENTRY_POINT_GROUP",
    "STRATEGIES",
    "QueryStats",
    "QuotaFunction",
    "Strategy",
    "get_strategy",
    "strategy_names",
]

ENTRY_POINT_GROUP = "dart_synth.strategies"


@dataclass(frozen=True, slots=True)
class QueryStats:
    """What a quota may depend on. Frozen when the probe ends, so that a quota never moves while it is being filled.

    ``fail_rate`` is wrong / (correct + wrong) over the probe's trials (grader time-outs left out), or the known value
    from a column; 1.0 where nothing could be graded. For a strategy without ``needs_difficulty`` it is NaN.
    """

    fail_rate: float
    n_trials: int
    n_correct: int
    level: int | None = None
    domain: str | None = None


QuotaFunction = Callable[[QueryStats, int], int]


@dataclass(frozen=True, slots=True)
class Strategy:
    """A named quota function.

    ``needs_difficulty``: a fail rate is needed first (from a probe or a column).
    ``fixed_trials``: the quota is also the number of trials, whatever their outcome.
    ``default_k`` and ``default_max_trials`` are the paper's.
    """

    name: str
    quota: QuotaFunction
    needs_difficulty: bool = True
    fixed_trials: bool = False
    default_k: int = 40
    default_max_trials: int = 2048
    says: str = "k = {k}"
    """What the plan says of it."""


def _constant(stats: QueryStats, k: int) -> int:
    return k


def _prop2diff(stats: QueryStats, k: int) -> int:
    # A fail rate such as 1/3 is not exact in binary: 192 * (1 - 1/3) must not become 129 by a rounding error.
    fail_rate = Fraction(stats.fail_rate).limit_denominator(1_000_000)
    return max(1, math.ceil(k * fail_rate))


STRATEGIES: dict[str, Strategy] = {
    strategy.name: strategy
    for strategy in (
        Strategy(
            "uniform",
            _constant,
            needs_difficulty=False,
            default_k=40,
            default_max_trials=2048,
            says="correct responses of every query: {k}",
        ),
        Strategy(
            "prop2diff",
            _prop2diff,
            default_k=192,
            default_max_trials=8192,
            says="correct responses of a query: max(1, ceil({k} * fail rate))",
        ),
        Strategy(
            "vanilla",
            _constant,
            needs_difficulty=False,
            fixed_trials=True,
            default_k=52,
            default_max_trials=52,
            says="trials of every query: {k}",
        ),
    )
}


def strategy_names() -> list[str]:
    """Names of the built-in strategies and of those that installed packages register."""
    return [*STRATEGIES, *sorted({point.name for point in entry_points(group=ENTRY_POINT_GROUP)} - set(STRATEGIES))]


def get_strategy(name: str) -> Strategy:
    """A strategy by name; an entry point may name a :class:`Strategy` or a plain quota function.

    Raises:
        ValueError: no such strategy, or the entry point is neither.
    """
    if name in STRATEGIES:
        return STRATEGIES[name]
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name == name:
            loaded = point.load()
            if isinstance(loaded, Strategy):
                return loaded
            if callable(loaded):
                return Strategy(name, loaded)
            raise ValueError(f"entry point {name!r} in {ENTRY_POINT_GROUP} is neither a Strategy nor a function")
    raise ValueError(f"unknown strategy {name!r}: choose one of {', '.join(strategy_names())}")
