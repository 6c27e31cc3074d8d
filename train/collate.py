"""From packs to the tensors of one micro-batch: a single row without padding.

A micro-batch of several packs is one long row of samples. ``position_ids`` restart at 0 with every sample; there is no
attention mask. Labels are the tokens of responses and EOS; the prompts', which include every sample's first token, are
masked, so no sample is asked to predict the next one's beginning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from train.data import Encoded
from train.loss import IGNORE, boundaries

__all__ = ["Collator", "collate_samples"]


def collate_samples(encoded: Encoded, samples: npt.NDArray[np.int64]) -> dict[str, Any]:
    """One row of ``samples``: ``input_ids``, ``position_ids``, ``labels`` of shape (1, tokens), ``sample_ids``.

    And what the forward pass would have to ask the device for: ``target_positions``, and where samples end.

    Without samples the row is two tokens that count for nothing: a rank with an empty pack still steps.
    """
    tokens: list[npt.NDArray[np.int64]] = []
    labels: list[npt.NDArray[np.int64]] = []
    positions: list[npt.NDArray[np.int64]] = []
    for index in samples:
        ids, is_target = encoded.sample(int(index))
        row = ids.astype(np.int64)
        target = np.where(is_target, row, IGNORE)
        target[0] = IGNORE
        tokens.append(row)
        labels.append(target)
        positions.append(np.arange(len(row)))
    if not tokens:
        tokens, labels, positions = [np.zeros(2, np.int64)], [np.full(2, IGNORE)], [np.arange(2)]
    row_labels = np.concatenate(labels)
    return {
        "input_ids": torch.from_numpy(np.concatenate(tokens))[None],
        "position_ids": torch.from_numpy(np.concatenate(positions))[None],
        "labels": torch.from_numpy(row_labels)[None],
        "target_positions": torch.from_numpy(np.flatnonzero(row_labels[1:] != IGNORE)),
        **boundaries([len(part) for part in tokens]),
        "sample_ids": torch.from_numpy(np.asarray(samples, dtype=np.int64).copy()),
    }


@dataclass(frozen=True)
class Collator:
    """Picklable ``collate_fn``: a list of packs (arrays of sample indices) to one row."""

    encoded: Encoded

    def __call__(self, packs: Sequence[npt.NDArray[np.int64]]) -> dict[str, Any]:
        return collate_samples(self.encoded, np.concatenate(packs))
