"""Recipes: what the paper trained with, one YAML file per row of its table (DART-Math, arXiv 2407.13690, Appendix A.1).

``train/recipes/mistral-7b.yaml``, for instance, holds::

    model: mistralai/Mistral-7B-v0.1
    data: hkust-nlp/dart-math-hard
    max_length: 4096
    global_batch: 64
    training:
      learning_rate: 1.0e-5
      num_train_epochs: 3

``training`` takes any name of ``transformers.TrainingArguments``; flags on the command line override it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from train.errors import UsageError

__all__ = ["DATASETS", "RECIPES_DIR", "Batching", "Recipe", "load_recipe", "recipe_names", "split_batch"]

RECIPES_DIR = Path(__file__).resolve().parent / "recipes"

DATASETS = {"hard": "hkust-nlp/dart-math-hard", "uniform": "hkust-nlp/dart-math-uniform"}
"""Short names for the paper's two datasets (Prop2Diff and Uniform)."""


@dataclass(frozen=True)
class Recipe:
    """A named configuration. ``global_batch`` counts packs per optimizer step, ``max_length`` tokens per pack."""

    name: str
    model: str
    data: str
    global_batch: int
    max_length: int
    gpus: int
    """Processes of the published run: what ``--dry-run`` assumes."""
    description: str = ""
    prompt_template: str = "alpaca"
    save_minutes: float = 15
    """A checkpoint at least this often; 0: only as ``training`` says."""
    training: Mapping[str, Any] = field(default_factory=dict)
    estimate: Mapping[str, Any] = field(default_factory=dict)
    """Architecture and data statistics for ``--dry-run`` without a network."""

    @property
    def title(self) -> str:
        """Name and description."""
        return f"{self.name}: {self.description}" if self.description else self.name


_KINDS: Mapping[str, type] = {
    **dict.fromkeys(("global_batch", "max_length", "gpus"), int),
    "save_minutes": float,
    **dict.fromkeys(("training", "estimate"), dict),
}
"""What the keys of a recipe hold where it is not a text."""

_NAMES: Mapping[type, str] = {int: "a whole number", float: "a number", dict: "names and values", str: "a text"}


def recipe_names() -> list[str]:
    """The recipes that come with the project."""
    return sorted(path.stem for path in RECIPES_DIR.glob("*.yaml"))


def load_recipe(name_or_path: str) -> Recipe:
    """A recipe by name, or from a YAML file.

    Raises:
        UsageError: no such recipe, or a key is missing or unknown.
    """
    path = RECIPES_DIR / f"{name_or_path}.yaml"
    if not path.is_file():
        path = Path(name_or_path)
    if not path.is_file():
        raise UsageError(f"unknown recipe {name_or_path!r}: choose one of {', '.join(recipe_names())}, or a YAML file")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"recipe {path.name} is not YAML in UTF-8: {' '.join(str(error).split())}") from None
    known = {f.name for f in fields(Recipe)} - {"name"}
    if not isinstance(content, dict):
        raise UsageError(f"recipe {path.name} has no keys (known: {', '.join(sorted(known))})")
    if unknown := set(map(str, content)) - known:
        raise UsageError(
            f"recipe {path.name}: unknown keys {', '.join(sorted(unknown))} (known: {', '.join(sorted(known))})"
        )
    given = {name: value for name, value in content.items() if value is not None}
    for name, value in given.items():
        kind = _KINDS.get(name, str)
        try:
            given[name] = kind(value if kind is dict else str(value))  # YAML takes 1e3 and "64" for texts
        except (TypeError, ValueError):
            raise UsageError(f"recipe {path.name}: {name} is {value!r}, not {_NAMES[kind]}") from None
    needed = [f.name for f in fields(Recipe) if f.default is MISSING and f.default_factory is MISSING]
    if absent := [name for name in needed if name not in {"name", *given}]:
        raise UsageError(f"recipe {path.name}: it has no {', '.join(absent)}")
    return Recipe(name=path.stem, **given)


@dataclass(frozen=True)
class Batching:
    """How one optimizer step's packs are spread: ranks x micro-batches x packs per micro-batch."""

    world_size: int
    accumulation: int
    micro_batch: int

    @property
    def global_batch(self) -> int:
        """Packs per optimizer step."""
        return self.world_size * self.accumulation * self.micro_batch


def split_batch(
    global_batch: int, world_size: int, preferred_micro: int, micro: int | None = None, accumulation: int | None = None
) -> Batching:
    """Spread ``global_batch`` packs over ``world_size`` ranks, exactly.

    A micro-batch or accumulation that is given is kept; else the largest one up to ``preferred_micro`` is taken.

    Raises:
        UsageError: it cannot be done: the batch would not be the recipe's.
    """
    if global_batch % world_size:
        raise UsageError(
            f"a global batch of {global_batch} packs cannot be spread over {world_size} processes evenly: "
            f"use a number that divides it, or change it with --global-batch"
        )
    per_rank = global_batch // world_size
    if micro is None and accumulation is None:
        micro = max(size for size in range(1, min(preferred_micro, per_rank) + 1) if per_rank % size == 0)
    if micro is None:
        assert accumulation is not None
        micro = max(per_rank // accumulation, 1)
    if accumulation is None:
        accumulation = max(per_rank // micro, 1)
    batching = Batching(world_size, accumulation, micro)
    if batching.global_batch != global_batch:
        raise UsageError(
            f"{world_size} processes x {accumulation} micro-batches x {micro} packs make {batching.global_batch} a "
            f"step, not {global_batch}: leave one of the two flags out, or change --global-batch"
        )
    return batching
