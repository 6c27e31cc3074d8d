"""How often each training set is seen in an epoch: ``--data SOURCE,weight=2`` twice, ``weight=0.5`` by halves.

The whole part of a weight is how many times every sample of the set is in an epoch. For the rest a share of the set is
added, the next one every epoch, in an order drawn from the seed: over the epochs all samples are seen equally often.
What is in an epoch is a pure function of (seed, epoch) and the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Mixture", "mixture"]

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Mixture:
    """The samples of each epoch, as indices; some of them several times, or not at all."""

    sets: npt.NDArray[np.integer]
    """The training set of each sample."""
    weights: tuple[float, ...]
    """Of each training set."""
    seed: int

    def __call__(self, epoch: int) -> IntArray:
        """The samples of one epoch, by set."""
        parts = []
        for index, weight in enumerate(self.weights):
            members = np.flatnonzero(self.sets == index)
            whole, share = divmod(weight, 1)
            parts += [members] * int(whole)
            start, end = (round(share * len(members) * number) for number in (epoch, epoch + 1))
            order = np.random.Generator(np.random.PCG64([self.seed, index, 1])).permutation(members)
            parts.append(order[np.arange(start, end) % max(len(members), 1)])
        return np.concatenate(parts).astype(np.int64)


def mixture(sets: npt.NDArray[np.integer], weights: Sequence[float], seed: int) -> Mixture | None:
    """The mixture of these weights; None where every sample is in every epoch once."""
    return None if set(weights) == {1.0} else Mixture(sets, tuple(weights), seed)
