"""The ablations' quota functions, registered with ``dart-synth`` as a package would: by an entry point.

With this folder on PYTHONPATH: ``dart-synth --strategy miniature-log-odds ...``. Nothing needs to be installed.
"""

from __future__ import annotations

import math

from synth.strategy import QueryStats, Strategy

__all__ = ["log_odds", "per_level", "prop2diff_or_none"]

_SHARE_OF_LEVEL = {1: 0.10, 2: 0.18, 3: 0.26, 4: 0.60, 5: 0.79}


def _log_odds(stats: QueryStats, k: int) -> int:
    """Quota grows with the log of the odds of failing (half a trial added to each side): 1 if no probe trial failed."""
    wrong, correct = stats.n_trials - stats.n_correct + 0.5, stats.n_correct + 0.5
    most = math.log((stats.n_trials + 0.5) / 0.5)
    share = (math.log(wrong / correct) + most) / (2 * most) if stats.n_trials else 1.0
    return max(1, math.ceil(k * share))


def _per_level(stats: QueryStats, k: int) -> int:
    """The mean of Prop2Diff's quota over a level, for each of its queries alike: difficulty without a probe."""
    return max(1, round(k * _SHARE_OF_LEVEL.get(stats.level or 5, 1.0)))


def _prop2diff_or_none(stats: QueryStats, k: int) -> int:
    """Prop2Diff without its promise of at least one response to every query."""
    return round(k * stats.fail_rate)


log_odds = Strategy("miniature-log-odds", _log_odds)
per_level = Strategy("miniature-per-level", _per_level, needs_difficulty=False)
prop2diff_or_none = Strategy("miniature-or-none", _prop2diff_or_none)
