"""Target tokens per second of ways to train on the same samples with the same model: ours, TRL's, transformers'.

Used by ``bench/train_throughput.py`` (CPU) and ``python -m train.gpu_check``. Samples and weights are drawn at random;
the loss counts responses only, everywhere; every way sees about as many real tokens in a micro-batch.
"""

from __future__ import annotations

import functools
import importlib.util
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from train.data import Encoded
from train.loader import PackDataset
from train.loss import install
from train.packing import pack_count
from train.recipe import Batching
from train.sharding import empty_model, fill, kept_once, open_mesh, shard
from train.trainer import PackedTrainer

__all__ = ["WAYS", "Setup", "Way", "draw", "ours"]

_SEED, _PAD = 0, 2


def draw(samples: int, vocabulary: int, scale: float = 1.0) -> Encoded:
    """Samples with the paper's spread of lengths (330 target tokens on average), ``scale`` times as long."""
    generator = np.random.default_rng(_SEED)
    sigma = 0.65
    targets = generator.lognormal(np.log(330 * scale) - sigma**2 / 2, sigma, samples).clip(2, 2040 * scale).astype(int)
    prompts = generator.lognormal(np.log(75 * scale), 0.6, samples).clip(2, 600 * scale).astype(int) + int(39 * scale)
    starts = np.concatenate([[0], np.cumsum(targets + prompts)])
    tokens = generator.integers(3, vocabulary, starts[-1], dtype=np.uint32)
    sets = np.zeros(samples, np.int32)
    is_target = np.repeat(np.tile([False, True], samples), np.stack([prompts, targets], axis=1).ravel())
    faults = np.zeros(samples, np.uint8)
    names = ("drawn",)
    return Encoded(tokens, starts, is_target, np.arange(samples), faults, sets, names, names, names, "drawn")


@dataclass(frozen=True)
class Setup:
    """What all ways share."""

    config: Any
    encoded: Encoded
    max_length: int
    """Tokens of a pack, or of the longest row."""
    training: dict[str, Any]
    """``TrainingArguments``: device, precision, optimizer."""

    def model(self, attention: str) -> Any:
        """The model with random float32 weights, the same every time."""
        torch.manual_seed(_SEED)
        with torch.device("cpu" if self.training["use_cpu"] else "cuda"):
            return AutoModelForCausalLM.from_config(self.config, attn_implementation=attention)

    def arguments(self, kind: Any = TrainingArguments, micro_batch: int = 1, **others: Any) -> Any:
        """One epoch on one device, without checkpoints and logs."""
        made = kind(
            output_dir=tempfile.mkdtemp(),
            per_device_train_batch_size=micro_batch,
            num_train_epochs=1,
            learning_rate=1e-3,
            seed=_SEED,
            disable_tqdm=True,
            **{"save_strategy": "no", "logging_strategy": "no", "report_to": "none", **self.training, **others},
        )
        made._n_gpu = min(made.n_gpu, 1)  # with several in one process the Trainer would cut packed rows apart
        return made


def ours(setup: Setup, attention: str = "packed_sdpa", sharded: bool = False, **others: Any) -> PackedTrainer:
    """Our trainer, a pack a step; ``sharded`` over this process alone."""
    lengths, kept = setup.encoded.lengths, np.arange(len(setup.encoded))
    count = pack_count(lengths, setup.max_length, _SEED, 1, 1)
    model = setup.model(attention)
    install(model)
    if sharded:
        source = model.state_dict()
        model = empty_model(setup.config, attention)
        install(model)
        device = torch.device("cpu" if setup.training["use_cpu"] else "cuda")
        shard(model, open_mesh(device), torch.bfloat16 if setup.training.get("bf16") else torch.float32)
        fill(kept_once(model), {name: functools.partial(source.__getitem__, name) for name in source})
    return PackedTrainer(
        model=model,
        args=setup.arguments(remove_unused_columns=False, **others),
        encoded=setup.encoded,
        dataset=PackDataset(lengths, kept, setup.max_length, _SEED, count),
        batching=Batching(1, 1, 1),
    )


def _rows(encoded: Encoded) -> list[dict[str, list[int]]]:
    rows = []
    for index in range(len(encoded)):
        ids, is_target = encoded.sample(index)
        rows.append({"input_ids": ids.tolist(), "labels": np.where(is_target, ids.astype(int), -100).tolist()})
    return rows


def _pad(rows: list[dict[str, list[int]]], length: int) -> dict[str, torch.Tensor]:
    def filled(values: list[int], filler: int) -> list[int]:
        return values + [filler] * (length - len(values))

    return {
        "input_ids": torch.tensor([filled(row["input_ids"], _PAD) for row in rows]),
        "labels": torch.tensor([filled(row["labels"], -100) for row in rows]),
        "attention_mask": torch.tensor([filled([1] * len(row["input_ids"]), 0) for row in rows]),
    }


def _padded(setup: Setup, to_max: bool = False, grouped: bool = False) -> Trainer:
    micro_batch = max(1, round(setup.max_length / float(setup.encoded.lengths.mean())))
    strategy = {"train_sampling_strategy": "group_by_length"} if grouped else {}

    def collate(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        return _pad(rows, setup.max_length if to_max else max(len(row["input_ids"]) for row in rows))

    return Trainer(
        model=setup.model("sdpa"),
        args=setup.arguments(micro_batch=micro_batch, remove_unused_columns=False, **strategy),
        train_dataset=_rows(setup.encoded),
        data_collator=collate,
    )


def _trl_packed(setup: Setup) -> Trainer:
    import datasets
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast
    from trl import SFTConfig, SFTTrainer

    vocabulary = {f"t{index}": index for index in range(setup.config.vocab_size)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="t0")), eos_token="t1", pad_token="t2"
    )
    rows = [
        {"input_ids": row["input_ids"], "completion_mask": [int(label != -100) for label in row["labels"]]}
        for row in _rows(setup.encoded)
    ]
    options = {"packing": True, "max_length": setup.max_length, "gradient_checkpointing": False, "bf16": False}
    arguments = setup.arguments(SFTConfig, **{**options, **setup.training})
    attention = "flash_attention_2" if importlib.util.find_spec("flash_attn") else "sdpa"
    data = datasets.Dataset.from_list(rows)
    return SFTTrainer(model=setup.model(attention), args=arguments, train_dataset=data, processing_class=tokenizer)


@dataclass(frozen=True)
class Way:
    """One way to train."""

    name: str
    build: Callable[[Setup], Trainer]
    module: str = ""
    """The package that it needs."""

    def make(self, setup: Setup) -> Trainer:
        """The trainer, ready to train, that prints nothing."""
        trainer = self.build(setup)
        trainer.remove_callback(PrinterCallback)
        return trainer

    @property
    def installed(self) -> bool:
        """Whether it can run."""
        return not self.module or importlib.util.find_spec(self.module) is not None


WAYS = (
    Way("ours: packed, one SDPA per sample", ours),
    Way("ours with transformers' dense-mask SDPA", lambda setup: ours(setup, "sdpa")),
    Way("TRL SFTTrainer, packing=True (bfd)", _trl_packed, "trl"),
    Way("Trainer, grouped by length", lambda setup: _padded(setup, grouped=True)),
    Way("Trainer, dynamic padding", _padded),
    Way("Trainer, padded to the maximum", lambda setup: _padded(setup, to_max=True)),
)
