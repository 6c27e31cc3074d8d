"""Which pack is trained when, and on which rank: a pure function of (seed, epoch), the same at any number of ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch

from train.mixture import Mixture
from train.packing import Packing, Sizes, epoch_packing
from train.recipe import Batching

__all__ = ["PackDataset", "StepSampler"]


class PackDataset(torch.utils.data.Dataset[npt.NDArray[np.int64]]):
    """The packs of all epochs: item ``epoch * count + i`` is pack i of that epoch, as an array of sample indices.

    It holds no epoch of its own, so data-loader workers and resumed runs cannot be at the wrong one.
    """

    def __init__(
        self,
        lengths: npt.NDArray[np.int64],
        kept: npt.NDArray[np.int64],
        sizes: Sizes,
        seed: int,
        count: int,
        mixture: Mixture | None = None,
        step: int = 1,
    ) -> None:
        self.count = count
        self._lengths = lengths[kept]
        self._kept = kept
        self._sizes = sizes
        self._seed = seed
        self._mixture = mixture
        self._step = step
        self._epoch = -1
        self._packing: Packing | None = None

    def __len__(self) -> int:
        """Packs per epoch."""
        return self.count

    def packing(self, epoch: int) -> Packing:
        """One epoch's packs, of indices into the kept samples (the last one asked for is remembered)."""
        if self._packing is None or epoch != self._epoch:
            self._packing = epoch_packing(
                self._lengths, self._sizes, self._seed, epoch, self.count, mixture=self._mixture, step=self._step
            )
            self._epoch = epoch
        return self._packing

    def __getitem__(self, item: int) -> npt.NDArray[np.int64]:
        epoch, pack = divmod(item, self.count)
        return self._kept[self.packing(epoch)[pack]]


class StepSampler(torch.utils.data.Sampler[list[int]]):
    """One rank's micro-batches of an epoch.

    Optimizer step s trains packs ``s * global_batch`` onwards at any number of ranks: consecutive blocks of
    ranks x micro-batch packs, of which each rank takes its slice.
    """

    def __init__(self, count: int, batching: Batching, rank: int, epoch: Callable[[], int]) -> None:
        self._count = count
        self._batching = batching
        self._rank = rank
        self._epoch = epoch

    def __len__(self) -> int:
        return self._count // (self._batching.world_size * self._batching.micro_batch)

    def __iter__(self) -> Iterator[list[int]]:
        size = self._batching.micro_batch
        first = self._epoch() * self._count
        for block in range(first, first + self._count, self._batching.world_size * size):
            start = block + self._rank * size
            yield list(range(start, start + size))
