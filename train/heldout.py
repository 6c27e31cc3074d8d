"""Held-out loss: cross-entropy over the target tokens of samples that do not train, packed, exact, by data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from train.collate import collate_samples
from train.data import Encoded
from train.packing import Sizes, best_fit_decreasing

__all__ = ["HeldOut", "draw", "held_out", "losses"]

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class HeldOut:
    """Packs of samples that do not train, none of which holds samples of two data sets."""

    encoded: Encoded
    packs: tuple[IntArray, ...]
    sets: tuple[int, ...]
    """The data set of each pack, as an index into ``encoded.sources``."""

    def __len__(self) -> int:
        """The number of samples."""
        return sum(len(pack) for pack in self.packs)


def held_out(encoded: Encoded, samples: IntArray, sizes: Sizes) -> HeldOut:
    """``samples`` in packs of ``sizes``, each data set apart."""
    packs: list[IntArray] = []
    sets: list[int] = []
    for index in range(len(encoded.sources)):
        own = samples[encoded.sets[samples] == index]
        made = best_fit_decreasing(encoded.lengths[own].tolist(), sizes)
        packs += [own[pack] for pack in made]
        sets += [index] * len(made)
    return HeldOut(encoded, tuple(packs), tuple(sets))


def draw(encoded: Encoded, samples: IntArray, share: float, seed: int) -> npt.NDArray[np.bool_]:
    """Which of ``samples`` are held out: about ``share`` of the queries, with all their responses.

    A response to a query that trains would tell little. Each query is drawn by a hash of its prompt and the seed, so
    that neither order nor other data change which it is. A conversation goes by its first prompt, with all its turns.
    """
    drawn: dict[bytes, bool] = {}
    chosen = np.zeros(len(samples), dtype=bool)
    for position, sample in enumerate(encoded.first_of_row[samples].tolist()):
        ids, is_target = encoded.sample(sample)
        prompt = np.asarray(ids[: int(is_target.argmax())]).tobytes()
        if prompt not in drawn:
            digest = sha256(f"{seed}:".encode() + prompt).digest()
            drawn[prompt] = int.from_bytes(digest[:8], "big") < share * 2**64
        chosen[position] = drawn[prompt]
    return chosen


@torch.no_grad()
def losses(model: Any, data: HeldOut, device: torch.device, rank: int, world_size: int) -> dict[str, float]:
    """Mean loss in nats over target tokens: of all under ``""``, and of each data set under its source.

    Every rank must call it, and each runs the model equally often: sharded models gather their weights at each call.

    Args:
        model: the wrapped model with the forward pass of :func:`train.loss.install`.
    """
    sums = torch.zeros(len(data.encoded.sources), 2, dtype=torch.float64, device=device)
    training = model.training
    model.eval()
    for first in range(0, len(data.packs), world_size):
        mine = first + rank
        samples = data.packs[mine] if mine < len(data.packs) else np.empty(0, dtype=np.int64)
        row: dict[str, Any] = collate_samples(data.encoded, samples)
        del row["sample_ids"]
        targets = len(row["target_positions"])
        row = {key: value.to(device) if isinstance(value, torch.Tensor) else value for key, value in row.items()}
        loss = model(**row, num_items_in_batch=1).loss
        if targets:
            sums[data.sets[mine]] += torch.stack([loss.double(), loss.new_tensor(targets).double()])
    model.train(training)
    if world_size > 1:
        torch.distributed.all_reduce(sums)
    by_set: Sequence[tuple[float, float]] = sums.tolist()
    named = zip(data.encoded.sources, by_set, strict=True)
    whole = sum(total for total, _ in by_set) / sum(count for _, count in by_set)
    return {"": whole, **{source: total / count for source, (total, count) in named if count}}
