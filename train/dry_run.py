"""``--dry-run``: what a run would be and cost, without loading weights.

It needs the model's configuration and tokenizer and the data. Where they cannot be had (no network), the recipe's own
``estimate`` stands in: the published sizes of the model and statistics of the data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from train import show
from train.arguments import Options
from train.errors import UserError
from train.estimate import (
    PEAK_FLOPS,
    MemoryEstimate,
    ModelSize,
    Sharding,
    adapter_memory_per_gpu,
    adapter_parameters,
    flops_per_epoch,
    memory_per_gpu,
    model_size,
)
from train.model import load_config, load_tokenizer
from train.packing import pack_count
from train.prepare import prepare
from train.processes import batching

__all__ = ["dry_run"]

_SEED = 42
_GIB = 1 << 30
_DEVICES = ("A100", "H100")


@dataclass(frozen=True)
class _Lengths:
    """Tokens and target tokens of every sample, and how they were found."""

    tokens: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]
    packs: int
    sizes: dict[int, int]
    """How many packs have which size."""
    origin: str
    left_out: str = ""
    """Samples that do not train, in words."""


def _measured(options: Options, model_name: str, config: Any) -> _Lengths:
    tokenizer = load_tokenizer(model_name)
    epochs = float(options.training.get("num_train_epochs", 3))
    max_steps = int(options.training.get("max_steps", -1))
    prepared = prepare(options, tokenizer, config, epochs, max_steps)
    show.example(prepared, tokenizer)
    sizes = prepared.packs_by_size(options.pack_sizes)
    left_out = f"; left out: {prepared.report.reasons}" if prepared.report.left_out else ""
    return _Lengths(prepared.lengths, prepared.targets, prepared.packs, sizes, "counted", left_out)


def _assumed(options: Options) -> _Lengths:
    """Lengths drawn from the statistics of the paper's data that the recipe states."""
    stated = options.recipe.estimate
    generator = np.random.default_rng(_SEED)
    samples, sigma = int(stated["samples"]), 0.65
    mean = float(stated["response_tokens"])
    responses = np.clip(generator.lognormal(np.log(mean) - sigma**2 / 2, sigma, samples), 1, 2048).astype(np.int64)
    queries = generator.lognormal(np.log(float(stated["query_tokens"])), 0.6, samples).astype(np.int64)
    tokens = np.minimum(responses + queries + 38, options.max_length)
    packs = pack_count(tokens, options.pack_sizes, _SEED, 1, options.global_batch)
    sizes = {options.max_length: packs}
    return _Lengths(tokens, np.minimum(responses, tokens), packs, sizes, "assumed from the recipe's statistics")


def _sizes(options: Options, model_name: str) -> tuple[Any, _Lengths, str]:
    from transformers import AutoConfig

    stated = options.recipe.estimate
    may_assume = bool(stated) and options.model == options.recipe.model
    try:
        config = load_config(model_name)
        return config, _measured(options, model_name, config), ""
    except UserError as error:
        if not may_assume:
            raise
        architecture = dict(stated["architecture"])
        config = AutoConfig.for_model(architecture.pop("model_type"), **architecture)
        return config, _assumed(options), f"{error}; the recipe's own figures are used"


def _memory(
    options: Options, config: Any, size: ModelSize, tokens: int, gpus: int, checkpointing: bool, bytes_per_value: int
) -> list[tuple[str, MemoryEstimate]]:
    """Memory per GPU by how the model is distributed."""
    if options.lora:
        adapter = adapter_parameters(config, options.lora.r)
        kept = options.load_in_4bit
        memory = adapter_memory_per_gpu(size, adapter, tokens, checkpointing, bytes_per_value, kept)
        return [(f"ddp, LoRA{' in 4 bits' if kept else ''}", memory)]
    kinds: tuple[tuple[Sharding, str], ...] = (("full", "fsdp2 or zero3"), ("none", "ddp"))
    return [(name, memory_per_gpu(size, tokens, gpus, kind, checkpointing, bytes_per_value)) for kind, name in kinds]


def dry_run(options: Options, model_name: str) -> int:
    """Print samples, packs, steps, memory and hours; the exit code.

    Raises:
        UserError: model or data cannot be had, and the recipe has no figures for them.
    """
    config, lengths, note = _sizes(options, model_name)
    size = model_size(config)
    gpus = options.expect_processes or options.recipe.gpus
    training = options.training
    spread = batching(options, gpus)
    epochs = float(training.get("num_train_epochs", 3))
    steps = lengths.packs // options.global_batch
    warm_up = float(training.get("warmup_steps", 0))
    max_steps = int(training.get("max_steps", -1))
    total = max_steps if max_steps > 0 else int(np.ceil(steps * epochs))
    epochs = total / steps
    flops = flops_per_epoch(size, lengths.tokens, lengths.targets)
    checkpointing = bool(training.get("gradient_checkpointing", False))
    half = bool(training.get("bf16")) or bool(training.get("fp16"))
    micro_tokens = spread.micro_batch * options.max_length
    rows = [
        ("recipe", options.recipe.title),
        ("model", f"{options.model}: {size.parameters / 1e9:.3g} B parameters"),
        ("samples", f"{len(lengths.tokens):,} ({lengths.origin}{lengths.left_out})"),
        ("tokens", f"{int(lengths.tokens.sum()):,} an epoch, targets {int(lengths.targets.sum()):,}"),
        (
            "packs",
            f"{show.sizes(lengths.sizes)}, "
            f"{lengths.tokens.sum() / sum(size * packs for size, packs in lengths.sizes.items()):.2%} full",
        ),
        (
            "step",
            f"{options.global_batch} packs = {gpus} processes x {spread.accumulation} micro-batches x "
            f"{spread.micro_batch}",
        ),
        ("steps", f"{steps:,} an epoch, {total:,} in all"),
        ("warm-up", f"{int(np.ceil(warm_up * total)) if warm_up < 1 else int(warm_up):,} steps"),
        ("FLOPs", f"{flops:.3g} an epoch, {flops * epochs:.3g} in all"),
    ]
    for name, memory in _memory(options, config, size, micro_tokens, gpus, checkpointing, 2 if half else 4):
        parts = ", ".join(
            f"{label} {value / _GIB:.3g}"
            for label, value in (
                ("states", memory.states),
                ("gathered weights", memory.gathered),
                ("activations", memory.activations),
                ("logits", memory.logits),
            )
        )
        rows.append((f"memory per GPU, {name}", f"about {memory.total / _GIB:.3g} GiB ({parts})"))
    for device in _DEVICES:
        hours = flops / (PEAK_FLOPS[device] * options.utilisation * gpus) / 3600
        rows.append(
            (
                f"time on {gpus} {device}",
                f"{hours:.2g} h an epoch, {hours * epochs:.3g} h in all at {options.utilisation:.0%} utilisation",
            )
        )
    show.table("dry run", rows)
    if note:
        show.line(f"note: {note}")
    return 0
