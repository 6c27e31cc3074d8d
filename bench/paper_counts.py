"""Do the paper's published numbers fit together? Fit pass rates to one row, predict the others.

    python bench/paper_counts.py

Published (arXiv 2407.13690): mean responses per query for GSM8K and MATH level 1 to 5. Fitted: the Hard row (Prop2Diff,
k 192), one mean per group, each group's pass rates Beta-distributed with the same a + b. Predicted: the Uniform row
(k 40), about 5M samples for Uniform at a cap of 2,048 and over 15M for Prop2Diff beyond 8k, and both data sets' sizes.
The data sets come from the long run (about 150M samples), so both rows are taken at a cap of 65,536. A mean cannot tell
a + b: it is varied, and everything is shown for each value.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.stats import beta

from synth.population import chance_filled, expected_kept, expected_trials, prop2diff_quota

GROUPS = {
    # group: (queries, Hard, Uniform)
    "GSM8K": (7473, 8.5, 39.9),
    "MATH 1": (564, 14.3, 40.0),
    "MATH 2": (1348, 33.5, 40.0),
    "MATH 3": (1592, 54.9, 39.8),
    "MATH 4": (1690, 79.6, 39.5),
    "MATH 5": (2304, 107.1, 37.1),
}
UNIFORM_SIZE, HARD_SIZE = 590_705, 585_392
HARD_CAP, UNIFORM_CAP, DATA_CAP = 8192, 2048, 65_536
_GRID = (np.arange(2000) + 0.5) / 2000


def pass_rates(mean: float, concentration: float) -> np.ndarray:
    """Quantiles of a Beta distribution."""
    return beta.ppf(_GRID, mean * concentration, (1 - mean) * concentration)


def fit_mean(hard: float, concentration: float) -> float:
    """The mean pass rate at which Prop2Diff keeps ``hard`` responses a query."""

    def miss(mean: float) -> float:
        p = pass_rates(mean, concentration)
        return float(expected_kept(p, prop2diff_quota(p, 192), DATA_CAP).mean()) - hard

    means = np.linspace(0.999, 0.02, 60)  # the easy branch: kept responses first grow with difficulty
    values = [miss(mean) for mean in means]
    for high, low, before, after in zip(means, means[1:], values, values[1:], strict=False):
        if before <= 0 <= after:
            return float(brentq(miss, low, high))
    return float(means[int(np.argmax(values))])


def main() -> None:
    """Print one block for each a + b, then the sensitivity."""
    for concentration in (0.5, 0.7, 0.75, 0.8, 1.0, 2.0):
        print(f"\na + b = {concentration:g}")
        print(f"{'group':<8}{'pass rate':>10}{'Hard':>8}{'fitted':>8}{'Uniform':>9}{'predicted':>10}{'error':>8}")
        totals = np.zeros(5)
        for group, (count, hard, uniform) in GROUPS.items():
            mean = fit_mean(hard, concentration)
            p = pass_rates(mean, concentration)
            quota = prop2diff_quota(p, 192)
            kept_hard = expected_kept(p, quota, DATA_CAP).mean()
            kept = expected_kept(p, 40, DATA_CAP).mean()
            error = kept / uniform - 1
            print(f"{group:<8}{mean:>10.3f}{hard:>8.1f}{kept_hard:>8.1f}{uniform:>9.1f}{kept:>10.1f}{error:>8.1%}")
            uniform_trials = expected_trials(p, 40, UNIFORM_CAP).mean()
            hard_trials = expected_trials(p, quota, HARD_CAP).mean()
            filled_share = chance_filled(p, 40, UNIFORM_CAP).mean()
            totals += count * np.array([uniform_trials, hard_trials, kept, kept_hard, filled_share])
        samples, hard_samples, size, hard_size, filled = totals
        n = sum(count for count, *_ in GROUPS.values())
        print(f"Uniform: {samples / 1e6:.2f}M samples (about 5M), {filled / n:.1%} filled (over 90%), "
              f"{size:,.0f} responses ({size / UNIFORM_SIZE - 1:+.1%})")  # fmt: skip
        print(f"Hard: {hard_samples / 1e6:.2f}M samples (over 15M), {hard_size:,.0f} responses "
              f"({hard_size / HARD_SIZE - 1:+.1%})")  # fmt: skip


if __name__ == "__main__":
    main()
