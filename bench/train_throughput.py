"""Target tokens per second of one training epoch: ours against TRL's and transformers' own ways to batch.

    OMP_NUM_THREADS=1 python bench/train_throughput.py [--samples 128]

Same model (a random 0.9M-parameter Llama), samples and optimizer, one CPU thread, one after the other in one run;
about as many real tokens in every micro-batch. Time is CPU time, so that other work on the machine does not count.
The loss counts responses only, everywhere.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("ACCELERATE_USE_CPU", "true")

import numpy as np
import torch
import transformers
from rich.console import Console
from rich.table import Table
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from train.attention import register
from train.data import Encoded
from train.loader import PackDataset
from train.loss import install
from train.packing import pack_count
from train.recipe import Batching
from train.trainer import PackedTrainer

VOCABULARY, CAPACITY, PAD, SEED = 512, 1024, 2, 0


def draw(samples: int) -> Encoded:
    """Samples with the paper's spread of lengths, a third as long."""
    generator = np.random.default_rng(SEED)
    targets = np.clip(generator.lognormal(np.log(110) - 0.65**2 / 2, 0.65, samples), 2, 680).astype(int)
    prompts = np.clip(generator.lognormal(np.log(25), 0.6, samples), 2, 200).astype(int) + 13
    starts = np.concatenate([[0], np.cumsum(targets + prompts)])
    tokens = generator.integers(3, VOCABULARY, starts[-1], dtype=np.uint32)
    rows = np.arange(samples)
    return Encoded(
        tokens, starts, prompts.astype(np.int32), rows, np.zeros(samples, np.int32), ("drawn",), ("alpaca",), "drawn"
    )


def model(attention: str) -> Any:
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        tie_word_embeddings=True,
        max_position_embeddings=4096,
    )
    config._attn_implementation = attention
    return LlamaForCausalLM(config)


def settings(micro_batch: int, **others: Any) -> dict[str, Any]:
    return {
        "output_dir": tempfile.mkdtemp(),
        "per_device_train_batch_size": micro_batch,
        "num_train_epochs": 1,
        "learning_rate": 1e-3,
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "seed": SEED,
        **others,
    }


def ours(encoded: Encoded, attention: str = "packed_sdpa") -> Trainer:
    lengths, kept = encoded.lengths, np.arange(len(encoded))
    count = pack_count(lengths, CAPACITY, SEED, 1, 1)
    trained = model(attention)
    install(trained)
    arguments = TrainingArguments(**settings(1, remove_unused_columns=False))
    dataset = PackDataset(lengths, kept, CAPACITY, SEED, count)
    return PackedTrainer(model=trained, args=arguments, encoded=encoded, dataset=dataset, batching=Batching(1, 1, 1))


def rows_of(encoded: Encoded) -> list[dict[str, list[int]]]:
    rows = []
    for index in range(len(encoded)):
        ids, prompt = encoded.sample(index)
        tokens = ids.astype(int).tolist()
        rows.append({"input_ids": tokens, "labels": [-100] * prompt + tokens[prompt:]})
    return rows


def pad(rows: list[dict[str, list[int]]], length: int) -> dict[str, torch.Tensor]:
    def filled(values: list[int], filler: int) -> list[int]:
        return values + [filler] * (length - len(values))

    return {
        "input_ids": torch.tensor([filled(row["input_ids"], PAD) for row in rows]),
        "labels": torch.tensor([filled(row["labels"], -100) for row in rows]),
        "attention_mask": torch.tensor([filled([1] * len(row["input_ids"]), 0) for row in rows]),
    }


def padded(encoded: Encoded, to_max: bool = False, grouped: bool = False) -> Trainer:
    micro_batch = max(1, round(CAPACITY / float(encoded.lengths.mean())))
    strategy = {"train_sampling_strategy": "group_by_length"} if grouped else {}
    arguments = TrainingArguments(**settings(micro_batch, remove_unused_columns=False, **strategy))

    def collate(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        return pad(rows, CAPACITY if to_max else max(len(row["input_ids"]) for row in rows))

    return Trainer(model=model("sdpa"), args=arguments, train_dataset=rows_of(encoded), data_collator=collate)


def trl_packed(encoded: Encoded) -> Trainer:
    import datasets
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast
    from trl import SFTConfig, SFTTrainer

    vocabulary = {f"t{index}": index for index in range(VOCABULARY)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="t0")), eos_token="t1", pad_token="t2"
    )
    rows = [
        {"input_ids": row["input_ids"], "completion_mask": [int(label != -100) for label in row["labels"]]}
        for row in rows_of(encoded)
    ]
    arguments = SFTConfig(**settings(1, packing=True, max_length=CAPACITY, gradient_checkpointing=False, bf16=False))
    return SFTTrainer(
        model=model("sdpa"), args=arguments, train_dataset=datasets.Dataset.from_list(rows), processing_class=tokenizer
    )


WAYS: list[tuple[str, str | None, Callable[[Encoded], Trainer]]] = [
    ("ours: packed, one SDPA per sample", None, ours),
    ("ours with transformers' dense-mask SDPA", None, lambda encoded: ours(encoded, "sdpa")),
    ("TRL SFTTrainer, packing=True (bfd)", "trl", trl_packed),
    ("Trainer, grouped by length", None, lambda encoded: padded(encoded, grouped=True)),
    ("Trainer, dynamic padding", None, padded),
    ("Trainer, padded to the maximum", None, lambda encoded: padded(encoded, to_max=True)),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=128)
    encoded = draw(parser.parse_args().samples)
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    register()
    targets = int(encoded.target_lengths.sum())
    print(
        f"{platform.machine()}, one thread; torch {torch.__version__}, transformers {transformers.__version__}; "
        f"{len(encoded)} samples, {int(encoded.lengths.sum()):,} tokens, {targets:,} targets, up to {CAPACITY} a row"
    )
    table = Table("way", "CPU seconds", "target tokens/s", "ours is faster", box=None)
    own = 0.0
    for name, module, make in WAYS:
        if module and importlib.util.find_spec(module) is None:
            table.add_row(name, "not installed", "", "")
            continue
        trainer = make(encoded)
        started = time.process_time()
        trainer.train()
        seconds = time.process_time() - started
        own = own or seconds
        table.add_row(name, f"{seconds:.1f}", f"{targets / seconds:,.0f}", f"{seconds / own:.2f}x")
        for leftover in Path(trainer.args.output_dir).glob("*"):
            leftover.unlink()
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
