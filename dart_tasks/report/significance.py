"""Whether two models differ, judged on the same items.

Pairing matters: two models fail on much the same items, so a comparison of unpaired scores is far too wide.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Comparison", "compare", "holm", "mcnemar_p", "sign_flip_p", "wilson"]

_DRAWS = 2000
_FLIPS = 50_000
_SEED = 0


@dataclass(frozen=True)
class Comparison:
    """How much better the second model is, as a fraction, over the items both have.

    Attributes:
        low, high: 95% confidence interval by a paired bootstrap over items (within each benchmark).
        only_first, only_second: items that only one of them solves, where every item has one response.
        test: what the p-value is of: "McNemar" (exact, two-sided) on one benchmark whose items are wholly right or
            wrong; "sign-flip" where some are partly right, or over benchmarks.
        corrected_p: the p-value after Holm's correction for the tests shown together; a test alone needs none.
    """

    n_items: int
    difference: float
    low: float
    high: float
    only_first: int | None
    only_second: int | None
    test: str
    p_value: float
    corrected_p: float

    @property
    def significant(self) -> bool:
        """Whether the difference is significant at the 5% level after the correction."""
        return self.corrected_p < 0.05


def mcnemar_p(only_first: int, only_second: int) -> float:
    """The exact two-sided p-value of McNemar's test: a fair coin over the items that the models disagree on."""
    from scipy.stats import binomtest

    n = only_first + only_second
    return float(binomtest(only_first, n).pvalue) if n else 1.0


def sign_flip_p(differences: Sequence[np.ndarray]) -> float:
    """The two-sided p-value of a paired sign-flip test of the mean difference, benchmarks of equal weight.

    Were the models equal, each item's difference would as soon have the other sign. That is exact where both have
    equally many responses per item; where the numbers differ it holds for the mean, so over many items. Drawn with a
    fixed seed; signs of equal differences are drawn together, as a binomial.

    Args:
        differences: one array per benchmark, of differences of accuracy by item.
    """
    random = np.random.default_rng(_SEED)
    observed, draws = 0.0, np.zeros(_FLIPS)
    for values in differences:
        sizes, counts = np.unique(np.abs(values).round(12), return_counts=True)
        observed += values.mean()
        for size, count in zip(sizes, counts, strict=True):
            draws += size / len(values) * (2.0 * random.binomial(count, 0.5, _FLIPS) - count)
    extreme = int((np.abs(draws) >= abs(observed) - 1e-9).sum())
    return (1 + extreme) / (1 + _FLIPS)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for being looked at together, by Holm's step-down method (doi.org/10.2307/4615733)."""
    corrected, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = running
    return corrected


def wilson(accuracy: float, n_items: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share of items; wider than need be where an item's accuracy is itself a mean."""
    z = 1.959964
    scale = 1 + z**2 / n_items
    centre = (accuracy + z**2 / (2 * n_items)) / scale
    half = z / scale * math.sqrt(accuracy * (1 - accuracy) / n_items + z**2 / (4 * n_items**2))
    return max(0.0, centre - half), min(1.0, centre + half)


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
        distinct, counts = np.unique(values, return_counts=True)  # few, however many the items
        drawn = random.multinomial(len(values), counts / len(values), size=_DRAWS)
        draws += drawn @ distinct / len(values) / len(differences)
    low, high = np.quantile(draws, (0.025, 0.975))
    mean = float(np.mean([values.mean() for values in differences]))
    single = binary and len(differences) == 1
    p_value = mcnemar_p(only_first, only_second) if single else sign_flip_p(differences)
    return Comparison(
        n_items=sum(map(len, differences)),
        difference=mean,
        low=float(low),
        high=float(high),
        only_first=only_first if binary else None,
        only_second=only_second if binary else None,
        test="McNemar" if single else "sign-flip",
        p_value=p_value,
        corrected_p=p_value,
    )
