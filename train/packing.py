"""Packing: many samples to one training row, none lost, split or doubled.

Best-fit-decreasing: the longest sample first, each into the row with the least room that still holds it. Rows are kept
by free length, and one integer has a bit set per free length in use, so that the best row is one shift and one lowest
set bit away. It runs in windows of shuffled samples, redrawn each epoch: which samples share a row stays random, and
the result is a pure function of (lengths, seed, epoch).

A sample that is longer than packs opens one of twice, four times, ... the size, which is filled like the others: a few
long samples do not make every pack long (:func:`pack_sizes`).

Every epoch has the same number of packs, a multiple of the global batch: where the last step would be short, packs are
halved between samples (never inside one) until it is full.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from train.mixture import Mixture

__all__ = [
    "Packing",
    "Sizes",
    "best_fit_decreasing",
    "epoch_packing",
    "fewest_packs",
    "fingerprint",
    "pack_count",
    "pack_sizes",
]

WINDOW = 50_000
"""Samples per window: large enough for 99.6% efficiency on the paper's data (bench/packing.py), small enough to mix."""

IntArray = npt.NDArray[np.int64]
Sizes = int | Sequence[int]
"""Tokens of a pack at most, and ascending those of packs that longer samples open."""


def pack_sizes(usual: int, longest: int) -> tuple[int, ...]:
    """``usual``, and its doublings up to ``longest``, the most that a sample may have."""
    sizes = [usual]
    while sizes[-1] < longest:
        sizes.append(min(2 * sizes[-1], longest))
    return tuple(sizes)


def _ascending(sizes: Sizes) -> Sequence[int]:
    return (sizes,) if isinstance(sizes, int) else sizes


def _rooms(tokens: npt.NDArray[np.integer], sizes: Sizes) -> npt.NDArray[np.int64]:
    """The smallest sizes that hold so many tokens."""
    ascending = np.asarray(_ascending(sizes), dtype=np.int64)
    return ascending[np.searchsorted(ascending, tokens)]


def fewest_packs(lengths: npt.NDArray[np.integer], sizes: Sizes) -> int:
    """A lower bound of the packs that samples need."""
    usual = _ascending(sizes)[0]
    long = lengths[lengths > usual]
    return max(-(-int(lengths.sum() - _rooms(long, sizes).sum()) // usual), int(len(long) > 0), 1)


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

    def rooms(self, lengths: npt.NDArray[np.integer], sizes: Sizes) -> npt.NDArray[np.int64]:
        """The size of each pack: the smallest that holds its samples."""
        ends = np.concatenate([[0], np.cumsum(lengths[self.samples])])
        return _rooms(np.diff(ends[self.starts]), sizes)

    def efficiency(self, lengths: npt.NDArray[np.integer], sizes: Sizes) -> float:
        """Share of the packs' sizes that are real tokens."""
        return float(lengths[self.samples].sum() / self.rooms(lengths, sizes).sum()) if len(self) else 1.0


def best_fit_decreasing(lengths: Sequence[int], sizes: Sizes) -> list[list[int]]:
    """Indices of ``lengths`` in packs of ``sizes``, by best fit, longest first (ties in index order).

    Raises:
        ValueError: a length is outside 1..the largest size.
    """
    sizes = _ascending(sizes)
    capacity = sizes[-1]
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
            free = sizes[bisect_left(sizes, length)] - length
        if free:
            if not open_packs[free]:
                free_lengths |= 1 << free
            open_packs[free].append(pack)
    return packs


def _generator(seed: int, epoch: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([seed, epoch]))


def _draw(
    lengths: npt.NDArray[np.integer], sizes: Sizes, seed: int, epoch: int, window: int, mixture: Mixture | None
) -> list[IntArray]:
    """The epoch's packs in training order, before they are brought to a whole number of steps."""
    generator = _generator(seed, epoch)
    order = np.arange(len(lengths)) if mixture is None else mixture(epoch)
    generator.shuffle(order)
    packs: list[IntArray] = []
    for start in range(0, len(order), window):
        chosen = order[start : start + window]
        packs += [chosen[pack] for pack in best_fit_decreasing(lengths[chosen].tolist(), sizes)]
    return [packs[i] for i in generator.permutation(len(packs))]


def pack_count(
    lengths: npt.NDArray[np.integer],
    sizes: Sizes,
    seed: int,
    epochs: int,
    multiple: int,
    window: int = WINDOW,
    mixture: Mixture | None = None,
) -> int:
    """Packs per epoch: the most that any of ``epochs`` needs, rounded up to a ``multiple`` (the global batch)."""
    needed = max(len(_draw(lengths, sizes, seed, epoch, window, mixture)) for epoch in range(epochs))
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
    sizes: Sizes,
    seed: int,
    epoch: int,
    count: int | None = None,
    window: int = WINDOW,
    mixture: Mixture | None = None,
    step: int = 1,
) -> Packing:
    """The packs of one epoch, exactly ``count`` of them if given (see :func:`pack_count`).

    Args:
        mixture: the samples of each epoch; without it, every one once.
        step: packs of an optimizer step (the global batch). Where packs have several sizes, those of a step are in
            order of size: what ranks compute at the same time is then alike, and none waits long for another.

    Raises:
        ValueError: a length is outside 1..the largest size, or the epoch needs more than ``count`` packs.
    """
    packs = _draw(lengths, sizes, seed, epoch, window, mixture)
    if count is not None:
        if len(packs) > count:
            raise ValueError(f"epoch {epoch} needs {len(packs):,} packs, more than {count:,}")
        if len(packs) < count:
            packs = _halve_until(packs, count)
            order = _generator(seed, epoch).permutation(count)  # so that the halves are not all in the last step
            packs = [packs[i] for i in order]
    packing = _joined(packs)
    if len(_ascending(sizes)) == 1:
        return packing
    order = np.lexsort((-packing.rooms(lengths, sizes), np.arange(len(packs)) // step))
    return _joined([packs[i] for i in order])


def _joined(packs: Sequence[IntArray]) -> Packing:
    starts = np.zeros(len(packs) + 1, dtype=np.int64)
    np.cumsum([len(pack) for pack in packs], out=starts[1:])
    samples = np.concatenate(packs) if packs else np.empty(0, dtype=np.int64)
    return Packing(samples.astype(np.int64, copy=False), starts)


def fingerprint(packing: Packing) -> str:
    """A short hash of which sample is where, to recognise the same packing on resume."""
    return sha256(packing.samples.tobytes() + packing.starts.tobytes()).hexdigest()[:16]
