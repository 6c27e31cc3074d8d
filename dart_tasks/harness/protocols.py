"""Scores of one item from the verdicts on its k responses: mean@k, pass@k and maj@k.

Averages over items of these values, with the usual standard error of a mean, are clustered by item: the k responses of
one item are not independent, the items are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

__all__ = ["Majority", "majority", "pass_at_k", "pass_ks"]


@dataclass(frozen=True)
class Majority:
    """The outcome of a vote: the credit it earns, the leading answer (of the earliest leading class) and its votes."""

    credit: float
    answer: str
    votes: int


def pass_at_k(n: int, correct: int, k: int) -> float:
    """The unbiased estimate of the chance that at least one of k responses is right, from ``correct`` of n.

    Source: Chen et al. 2021 (arXiv 2107.03374), equation 1: ``1 - C(n - c, k) / C(n, k)``.
    """
    if not 0 < k <= n or not 0 <= correct <= n:
        raise ValueError(f"pass@{k} needs 1 <= k <= n and 0 <= correct <= n, got n={n}, correct={correct}")
    return 1.0 - comb(n - correct, k) / comb(n, k)


def pass_ks(n: int) -> tuple[int, ...]:
    """The k for which pass@k is reported from n responses: the powers of two from 2 up to n, and n itself."""
    powers = [2**exponent for exponent in range(1, n.bit_length()) if 2**exponent < n]
    return (*powers, n) if n > 1 else ()


def majority(classes: Sequence[Sequence[int]], answers: Sequence[str], correct: Sequence[bool]) -> Majority:
    """The vote of answers, grouped into classes of mathematically equal ones.

    Args:
        classes: index groups of equal answers; responses without an answer are in no class and do not vote.
        answers: the extracted answer of each response.
        correct: the verdict on each response. A class is right if most of its members are.

    With t classes tied at the top the credit is 1/t if a right one is among them, so that nothing depends on order.
    """
    if not classes:
        return Majority(0.0, "", 0)
    votes = max(len(members) for members in classes)
    leaders = [members for members in classes if len(members) == votes]
    right = [members for members in leaders if 2 * sum(correct[index] for index in members) >= len(members)]
    return Majority(min(1, len(right)) / len(leaders), answers[min(min(members) for members in leaders)], votes)
