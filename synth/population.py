"""Populations of pass rates, and the exact cost of a quota under a cap.

The number of trials until the q-th success at pass rate p, cut at a cap N, has mean
``(q/p) * P(Bin(N+1, p) >= q+1) + N * P(Bin(N, p) < q)``; kept responses are ``min(q, Bin(N, p))`` in distribution.
"""

from __future__ import annotations

from typing import Any

__all__ = ["chance_filled", "expected_kept", "expected_trials", "expected_trials_squared", "prop2diff_quota"]

Array = Any  # numpy arrays and scalars; numpy is imported late


def _at_least(n: Array, k: Array, p: Array) -> Array:
    """P(Bin(n, p) >= k), elementwise."""
    import numpy as np
    from scipy.special import betainc

    n, k, p = np.broadcast_arrays(np.asarray(n, float), np.asarray(k, float), np.asarray(p, float))
    inside = (k > 0) & (k <= n)
    values = betainc(np.where(inside, k, 1.0), np.where(inside, n - k + 1, 1.0), p)
    return np.where(inside, values, np.where(k <= 0, 1.0, 0.0))


def chance_filled(pass_rate: Array, quota: Array, max_trials: Array) -> Array:
    """Chance that a query has its quota within the cap."""
    return _at_least(max_trials, quota, pass_rate)


def expected_trials(pass_rate: Array, quota: Array, max_trials: Array) -> Array:
    """Mean number of trials until the quota is full, or the cap."""
    import numpy as np

    p = np.maximum(np.asarray(pass_rate, float), 1e-100)
    quota = np.asarray(quota, float)
    unfilled = 1.0 - chance_filled(p, quota, max_trials)
    return (quota / p) * _at_least(max_trials + 1, quota + 1, p) + max_trials * unfilled


def expected_trials_squared(pass_rate: Array, quota: Array, max_trials: Array) -> Array:
    """Mean of the square of that number."""
    import numpy as np

    p = np.maximum(np.asarray(pass_rate, float), 1e-100)
    quota, cap = np.asarray(quota, float), np.asarray(max_trials, float)
    rising = (quota / p) * ((quota + 1) / p) * _at_least(cap + 2, quota + 2, p)  # of T(T+1), where T is within the cap
    within = (quota / p) * _at_least(cap + 1, quota + 1, p)
    return rising - within + cap**2 * (1.0 - chance_filled(p, quota, cap))


def expected_kept(pass_rate: Array, quota: Array, max_trials: Array) -> Array:
    """Mean number of responses kept: by Wald's identity, pass rate times the mean number of trials."""
    return pass_rate * expected_trials(pass_rate, quota, max_trials)


def prop2diff_quota(pass_rate: Array, k: int) -> Array:
    """``max(1, ceil(k * fail rate))``, elementwise."""
    import numpy as np

    return np.maximum(1, np.ceil(k * (1.0 - np.asarray(pass_rate, float)) - 1e-9)).astype(int)
