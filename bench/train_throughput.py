"""Target tokens per second of one training epoch: ours against TRL's and transformers' own ways to batch.

    OMP_NUM_THREADS=1 python bench/train_throughput.py [--samples 128]

Same model (a random 0.9M-parameter Llama), samples (a third as long as the paper's) and optimizer, one CPU thread, one
after the other in one run (train/throughput.py). Time is CPU time, so that other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("ACCELERATE_USE_CPU", "true")

import torch
import transformers
from rich.console import Console
from rich.table import Table
from transformers import LlamaConfig

from train.attention import register
from train.throughput import WAYS, Setup, draw

VOCABULARY, MAX_LENGTH = 512, 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=128)
    encoded = draw(parser.parse_args().samples, VOCABULARY, scale=1 / 3)
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    register()
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        tie_word_embeddings=True,
        max_position_embeddings=4096,
    )
    setup = Setup(config, encoded, MAX_LENGTH, {"use_cpu": True})
    targets = int(encoded.target_lengths.sum())
    print(
        f"{platform.machine()}, one thread; torch {torch.__version__}, transformers {transformers.__version__}; "
        f"{len(encoded)} samples, {int(encoded.lengths.sum()):,} tokens, {targets:,} targets, up to {MAX_LENGTH} a row"
    )
    table = Table("way", "CPU seconds", "target tokens/s", "ours is faster", box=None)
    own = 0.0
    for way in WAYS:
        if not way.installed:
            table.add_row(way.name, "not installed", "", "")
            continue
        trainer = way.make(setup)
        started = time.process_time()
        trainer.train()
        seconds = time.process_time() - started
        own = own or seconds
        table.add_row(way.name, f"{seconds:.1f}", f"{targets / seconds:,.0f}", f"{seconds / own:.2f}x")
        shutil.rmtree(trainer.args.output_dir, ignore_errors=True)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
