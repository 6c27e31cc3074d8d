"""Which card fits which recipe: the page docs/cards.md, from the same estimate as ``--dry-run``.

    python -m train.cards > docs/cards.md

For every recipe of the paper, at micro-batches of one pack: memory per GPU with all weights trained (sharded over 1 to
32 GPUs), with LoRA, and with LoRA beside weights in 4 bits; and the smallest usual card that holds it.
"""

from __future__ import annotations

import sys
from typing import Any

from train.estimate import adapter_memory_per_gpu, adapter_parameters, memory_per_gpu, model_size
from train.recipe import Recipe, load_recipe, recipe_names

__all__ = ["main", "page"]

_GIB = 1 << 30
_CARDS = (  # GiB that a program can have
    ("24 GB (RTX 3090, 4090, A10, L4)", 22.0),
    ("32 GB (RTX 5090)", 31.0),
    ("40 GB (A100)", 39.0),
    ("48 GB (L40S, A6000)", 44.0),
    ("80 GB (A100, H100)", 79.0),
    ("141 GB (H200)", 139.0),
)
_RESERVE_GIB = 3.0  # the allocator's and the communication library's own
_RANK = 64

_HEAD = """\
# Which card fits which recipe

Estimates of `--dry-run` (`train/estimate.py`) and {reserve:g} GiB for the allocator and the communication library,
with one pack of 4,096 tokens per micro-batch, bf16 and gradient checkpointing; the global batch stays 64 packs by
accumulation. Written by `python -m train.cards`; a test holds it to the code. The estimate is compared with real
steps on CPU, not yet with a GPU's allocator (`python -m train.gpu_check` does that). All weights: float32 master
weights, gradients and Adam, 16 bytes a parameter, sharded over the GPUs (FSDP2 or ZeRO-3). LoRA: rank {rank} on all
linear layers, a whole copy per GPU.

| recipe | train | GPUs | GiB per GPU | smallest card |
|---|---|---|---|---|
"""


def _config(recipe: Recipe) -> Any:
    from transformers import AutoConfig

    architecture = dict(recipe.estimate["architecture"])
    return AutoConfig.for_model(architecture.pop("model_type"), **architecture)


def _card(gib: float) -> str:
    return next((name for name, room in _CARDS if gib <= room), "none")


def _rows(recipe: Recipe) -> list[str]:
    config = _config(recipe)
    size, adapter, tokens = model_size(config), adapter_parameters(config, _RANK), recipe.max_length
    found = [
        ("all weights", str(gpus), memory_per_gpu(size, tokens, gpus, "full", True, 2)) for gpus in (1, 2, 4, 8, 16, 32)
    ]
    for name, in_4bit in (("LoRA", False), ("LoRA, 4 bits", True)):
        found.append((name, "1 or more", adapter_memory_per_gpu(size, adapter, tokens, True, 2, in_4bit)))
    rows = []
    for name, gpus, memory in found:
        gib = memory.total / _GIB + _RESERVE_GIB
        rows.append(f"| `{recipe.name}` | {name} | {gpus} | {gib:.0f} | {_card(gib)} |")
    return rows


def page() -> str:
    """The page, in Markdown."""
    recipes = [load_recipe(name) for name in recipe_names()]
    rows = [row for recipe in recipes if recipe.estimate for row in _rows(recipe)]
    return _HEAD.format(reserve=_RESERVE_GIB, rank=_RANK) + "\n".join(rows) + "\n"


def main() -> int:
    """Print the page."""
    print(page(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
