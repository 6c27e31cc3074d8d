"""What a pool's trials tell of each query's fail rate, which depends on how they came to be sampled.

Where sampling went on until the last correct response needed, correct / trials overrates the pass rate: the run chose
to stop at a success. Then (k - 1) / (n - 1) is unbiased (Haldane 1945, "On a method of estimating frequencies"), and
says nothing where k is 1. A probe's trials are sampled whatever comes of them, so where there is a
probe they alone count.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dart_tasks.problems.record import Problem
from synth.config import RunConfig
from synth.strategy import QueryStats, get_strategy

__all__ = ["Evidence", "Sampled", "as_trials_suggest", "sampled_by"]


@dataclass(frozen=True, slots=True)
class Sampled:
    """How a query's trials came about.

    Attributes:
        probe: the first ones that were sampled whatever came of them; 0 where there was no probe.
        stop: distinct correct responses at which sampling ended; None where the number of trials was fixed.
        fail_rate: known before anything was sampled.
    """

    probe: int = 0
    stop: int | None = None
    fail_rate: float | None = None


@dataclass(slots=True)
class Evidence:
    """Counts over those of a query's trials that tell its pass rate, given in trial order."""

    sampled: Sampled
    n_graded: int = 0
    n_correct: int = 0
    _keys: set[int] = field(default_factory=set)

    def add(self, number: int, correct: bool, graded: bool, text_key: int) -> None:
        """Take in the next trial."""
        stop = self.sampled.stop
        if (self.sampled.probe and number >= self.sampled.probe) or (stop is not None and len(self._keys) >= stop):
            return
        self.n_graded += graded
        self.n_correct += correct
        if correct and stop is not None:
            self._keys.add(text_key)
            if len(self._keys) == stop:  # the success that ended it is no evidence
                self.n_graded, self.n_correct = self.n_graded - 1, self.n_correct - 1


def sampled_by(config: RunConfig, query: Problem) -> Sampled:
    """How a run samples a query.

    Raises:
        ValueError: its strategy is not installed.
    """
    if query.fail_rate is not None:
        return Sampled(fail_rate=query.fail_rate)
    strategy = get_strategy(config.strategy)
    if strategy.needs_difficulty or strategy.fixed_trials:
        return Sampled(probe=config.probe)
    return Sampled(
        stop=strategy.quota(QueryStats(math.nan, 0, 0, query.level, query.domain), config.k_of(query.dataset))
    )


def as_trials_suggest(trials: Iterable[tuple[str, bool, int]]) -> Mapping[str, Sampled]:
    """How a pool that does not say was sampled, from (query id, correct, text key) of its trials in order.

    A run with a fixed number has as many trials of every query. Where those of the fewest do not all end in a success,
    they are a probe. Else the queries with most successes, short of the largest number of trials, tell the stop.
    """
    ends: dict[str, tuple[int, bool]] = {}
    keys: dict[str, set[int]] = {}
    for query_id, correct, text_key in trials:
        ends[query_id] = ends.get(query_id, (0, False))[0] + 1, correct
        keys.setdefault(query_id, set()).update([text_key] if correct else [])
    fewest, most = (choose([n for n, _ in ends.values()] or [0]) for choose in (min, max))
    how = Sampled()
    if fewest < most:
        if not all(right for n, right in ends.values() if n == fewest):
            how = Sampled(probe=fewest)
        else:
            stop = max(len(keys[query_id]) for query_id, (n, _) in ends.items() if n < most)
            if all(ends[query_id][1] for query_id, own in keys.items() if len(own) == stop):
                how = Sampled(stop=stop)
    return dict.fromkeys(ends, how)
