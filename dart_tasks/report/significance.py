"""Whether two models differ, judged on the same items.

Pairing matters: two models fail on much the same items, so a comparison of unpaired scores is far too wide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Comparison", "compare", "mcnemar_p"]

_DRAWS = 2000
_SEED = 0


@dataclass(frozen=True)
class Comparison:
    """How much better the second model is, as a fraction, over the items both have.

    Attributes:
        low, high: 95% confidence interval by a paired bootstrap over items (within each benchmark).
        only_first, only_second: items that only one of them solves, where every item has one response.
        p_value: exact two-sided McNemar test of those; None where items have several responses, or over benchmarks.
    """

    n_items: int
    difference: float
    low: float
    high: float
    only_first: int | None
    only_second: int | None
    p_value: float | None

    @property
    def significant(self) -> bool:
        """Whether the difference is significant at the 5% level, by McNemar's test where it applies."""
        return self.p_value < 0.05 if self.p_value is not None else not self.low <= 0.0 <= self.high


def mcnemar_p(only_first: int, only_second: int) -> float:
    """The exact two-sided p-value of McNemar's test: a fair coin over the items that the models disagree on."""
    from scipy.stats import binomtest

    n = only_first + only_second
    return float(binomtest(only_first, n).pvalue) if n else 1.0


def compare(first: Sequence[Mapping[str, float]], second: Sequence[Mapping[str, float]]) -> Comparison | None:
    """Compare accuracies by item id, one mapping per benchmark of equal weight; None if one has no shared items."""
    differences, only_first, only_second, binary = [], 0, 0, True
    for before, after in zip(first, second, strict=True):
        shared = sorted(before.keys() & after.keys())
        if not shared:
            return None
        pairs = np.array([(before[key], after[key]) for key in shared])
        differences.append(pairs[:, 1] - pairs[:, 0])
        binary = binary and bool(np.isin(pairs, (0.0, 1.0)).all())
        only_first += int((pairs[:, 0] > pairs[:, 1]).sum())
        only_second += int((pairs[:, 1] > pairs[:, 0]).sum())
    if not differences:
        return None
    random = np.random.default_rng(_SEED)
    draws = np.zeros(_DRAWS)
    for values in differences:
        counts = random.multinomial(len(values), np.full(len(values), 1 / len(values)), size=_DRAWS)
        draws += counts @ values / len(values) / len(differences)
    low, high = np.quantile(draws, (0.025, 0.975))
    mean = float(np.mean([values.mean() for values in differences]))
    single = binary and len(differences) == 1
    return Comparison(
        n_items=sum(map(len, differences)),
        difference=mean,
        low=float(low),
        high=float(high),
        only_first=only_first if binary else None,
        only_second=only_second if binary else None,
        p_value=mcnemar_p(only_first, only_second) if single else None,
    )
