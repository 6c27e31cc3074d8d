"""Packing: many samples to one training row, none lost, split or doubled.

Best-fit-decreasing: the longest sample first, each into the row with the least room that still holds it. Rows are kept
by free length, and one integer has a bit set per free length in use, so that the best row is one shift and one lowest
set bit away. It runs in windows of shuffled samples, redrawn each epoch: which samples share a row stays random, and
the result is a pure function of (lengths, seed, epoch).

Every epoch has the same number of packs, a multiple of the global batch: where the last step would be short, packs are
halved between samples (never inside one) until it is full.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from train.mixture import Mixture

__all__ = ["Packing", "best_fit_decreasing", "epoch_packing", "fingerprint", "pack_count"]

WINDOW = 50_000
"""Samples per window: large enough for 99.6% efficiency on the paper's data (bench/packing.py), small enough to mix."""

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Packing:
    """Packs in training order: pack i holds samples ``samples[starts[i]:starts[i + 1]]``."""

    samples: IntArray
    starts: IntArray

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, pack: int) -> IntArray:
        if not 0 <= pack < len(self):
            raise IndexError(pack)
        return self.samples[self.starts[pack] : self.starts[pack + 1]]

    def efficiency(self, lengths: npt.NDArray[np.integer], capacity: int) -> float:
        """Share of ``capacity`` tokens per pack that are real tokens."""
        return float(lengths[self.samples].sum() / (len(self) * capacity)) if len(self) else 1.0


def best_fit_decreasing(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Indices of ``lengths`` in packs of at most ``capacity``, by best fit, longest first (ties in index order).

    Raises:
        ValueError: a length is outside 1..capacity.
    """
    if len(lengths) and not 1 <= min(lengths) <= max(lengths) <= capacity:
        raise ValueError(f"lengths must be in 1..{capacity} (got {min(lengths)}..{max(lengths)})")
    packs: list[list[int]] = []
    open_packs: list[list[int]] = [[] for _ in range(capacity + 1)]  # by free length
    free_lengths = 0  # bit f set: open_packs[f] is not empty
    for index in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        length = lengths[index]
        fitting = free_lengths >> length
        if fitting:
            free = length + (fitting & -fitting).bit_length() - 1
            candidates = open_packs[free]
            pack = candidates.pop()
            if not candidates:
                free_lengths ^= 1 << free
            packs[pack].append(index)
            free -= length
        else:
            pack = len(packs)
            packs.append([index])
            free = capacity - length
        if free:
            if not open_packs[free]:
                free_lengths |= 1 << free
            open_packs[free].append(pack)
    return packs


def _generator(seed: int, epoch: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([seed, epoch]))


def _draw(
    lengths: npt.NDArray[np.integer], capacity: int, seed: int, epoch: int, window: int, mixture: Mixture | None
) -> list[IntArray]:
    """The epoch's packs in training order, before they are brought to a whole number of steps."""
    generator = _generator(seed, epoch)
    order = np.arange(len(lengths)) if mixture is None else mixture(epoch)
    generator.shuffle(order)
    packs: list[IntArray] = []
    for start in range(0, len(order), window):
        chosen = order[start : start + window]
        packs += [chosen[pack] for pack in best_fit_decreasing(lengths[chosen].tolist(), capacity)]
    return [packs[i] for i in generator.permutation(len(packs))]


def pack_count(
    lengths: npt.NDArray[np.integer],
    capacity: int,
    seed: int,
    epochs: int,
    multiple: int,
    window: int = WINDOW,
    mixture: Mixture | None = None,
) -> int:
    """Packs per epoch: the most that any of ``epochs`` needs, rounded up to a ``multiple`` (the global batch)."""
    needed = max(len(_draw(lengths, capacity, seed, epoch, window, mixture)) for epoch in range(epochs))
    return -(-needed // multiple) * multiple


def _halve_until(packs: list[IntArray], count: int) -> list[IntArray]:
    """Halve the packs with most samples until there are ``count``; add empty ones once every pack has one sample."""
    heap = [(-len(pack), index) for index, pack in enumerate(packs)]
    heapq.heapify(heap)
    while len(packs) < count and heap and heap[0][0] < -1:
        size, index = heap[0]
        middle = -size // 2
        packs.append(packs[index][middle:])
        packs[index] = packs[index][:middle]
        heapq.heapreplace(heap, (-len(packs[index]), index))
        heapq.heappush(heap, (-len(packs[-1]), len(packs) - 1))
    return packs + [np.empty(0, dtype=np.int64) for _ in range(count - len(packs))]


def epoch_packing(
    lengths: npt.NDArray[np.integer],
    capacity: int,
    seed: int,
    epoch: int,
    count: int | None = None,
    window: int = WINDOW,
    mixture: Mixture | None = None,
) -> Packing:
    """The packs of one epoch, exactly ``count`` of them if given (see :func:`pack_count`).

    Args:
        mixture: the samples of each epoch; without it, every one once.

    Raises:
        ValueError: a length is outside 1..capacity, or the epoch needs more than ``count`` packs.
    """
    packs = _draw(lengths, capacity, seed, epoch, window, mixture)
    if count is not None:
        if len(packs) > count:
            raise ValueError(f"epoch {epoch} needs {len(packs):,} packs, more than {count:,}")
        if len(packs) < count:
            packs = _halve_until(packs, count)
            order = _generator(seed, epoch).permutation(count)  # so that the halves are not all in the last step
            packs = [packs[i] for i in order]
    starts = np.zeros(len(packs) + 1, dtype=np.int64)
    np.cumsum([len(pack) for pack in packs], out=starts[1:])
    samples = np.concatenate(packs) if packs else np.empty(0, dtype=np.int64)
    return Packing(samples.astype(np.int64, copy=False), starts)


def fingerprint(packing: Packing) -> str:
    """A short hash of which sample is where, to recognise the same packing on resume."""
    return sha256(packing.samples.tobytes() + packing.starts.tobytes()).hexdigest()[:16]
