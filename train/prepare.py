"""The data of a run: tokenised, checked and packed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from train.arguments import Options
from train.data import Encoded, encode
from train.errors import UserError
from train.heldout import HeldOut, draw, held_out
from train.mixture import Mixture, mixture
from train.packing import Packing, epoch_packing, fewest_packs, pack_count
from train.preflight import DataReport, check_data, check_tokenizer

__all__ = ["Prepared", "prepare", "seed_of_order"]


@dataclass(frozen=True)
class Prepared:
    """The data of a run, ready to train on."""

    encoded: Encoded
    report: DataReport
    packing: Packing
    """The first epoch's packs, of indices into ``report.kept``."""
    packs: int
    """Packs per epoch."""
    epochs: int
    efficiency: float
    mixture: Mixture | None
    """The samples of each epoch where training sets have weights: indices into ``report.kept``."""
    held_out: HeldOut | None

    @property
    def lengths(self) -> Any:
        """Tokens of every sample of the first epoch."""
        return self.encoded.lengths[self._first_epoch]

    @property
    def targets(self) -> Any:
        """Target tokens of every sample of the first epoch."""
        return self.encoded.target_lengths[self._first_epoch]

    def packs_by_size(self, sizes: Sequence[int]) -> dict[int, int]:
        """How many packs of the first epoch have which size."""
        rooms = self.packing.rooms(self.encoded.lengths[self.report.kept], sizes).tolist()
        return dict(sorted(Counter(rooms).items()))

    @property
    def _first_epoch(self) -> Any:
        kept = self.report.kept
        return kept if self.mixture is None else kept[self.mixture(0)]


def seed_of_order(options: Options) -> int:
    """The seed of which sample is in which pack, and when: ``--data_seed``, else ``--seed``."""
    data_seed = options.training.get("data_seed")
    return int(options.training.get("seed", 42) if data_seed is None else data_seed)


def prepare(options: Options, tokenizer: Any, config: Any, epochs: float, max_steps: int) -> Prepared:
    """Tokenise (or read the cache), check and pack.

    Raises:
        UserError: tokenizer or data are such that the run would train wrongly.
    """
    text_config = config.get_text_config()
    positions = getattr(text_config, "max_position_embeddings", None)
    seed = seed_of_order(options)
    check_tokenizer(tokenizer, text_config.vocab_size)
    encoded = encode(options.data, tokenizer, options.cache_dir)
    report = check_data(encoded, options.max_length, options.max_length_policy, positions)
    held: HeldOut | None = None
    if options.eval_split:
        chosen = draw(encoded, report.kept, options.eval_split, seed)
        held = held_out(encoded, report.kept[chosen], options.pack_sizes)
        report = replace(report, kept=report.kept[~chosen])
    elif options.eval_data:
        try:
            other = encode(options.eval_data, tokenizer, options.cache_dir)
        except UserError as error:
            raise UserError(str(error).replace("--data ", "--eval-data ", 1)) from error
        kept = check_data(other, options.max_length, options.max_length_policy, positions).kept
        held = held_out(other, kept, options.pack_sizes)
    if held is not None and not (len(held) and len(report.kept)):
        missing = "train" if len(held) else "measure the held-out loss on"
        raise UserError(f"--eval-split {options.eval_split:g} leaves no sample to {missing}")
    lengths = encoded.lengths[report.kept]
    mixed = mixture(encoded.sets[report.kept], [training_set.weight for training_set in options.data], seed)
    epoch_lengths = lengths if mixed is None else lengths[mixed(0)]
    if not len(epoch_lengths):
        raise UserError("the weights of --data leave no sample in an epoch: raise them")
    sizes = options.pack_sizes
    if max_steps > 0:
        fewest_steps = -(-fewest_packs(epoch_lengths, sizes) // options.global_batch)
        whole_epochs = -(-max_steps // fewest_steps)
    else:
        whole_epochs = max(int(np.ceil(epochs)), 1)
    packs = pack_count(lengths, sizes, seed, whole_epochs, options.global_batch, mixture=mixed)
    packing = epoch_packing(lengths, sizes, seed, 0, packs, mixture=mixed, step=options.global_batch)
    efficiency = packing.efficiency(lengths, sizes)
    return Prepared(encoded, report, packing, packs, whole_epochs, efficiency, mixed, held)
