"""Weights and optimizer of a sharded run on disk: each rank writes its parts (torch's distributed checkpoint, DCP).

A checkpoint holds ``pytorch_model_fsdp_0`` and ``optimizer_0``, as accelerate's ``SHARDED_STATE_DICT`` does. It is read
on any number of ranks, sharded or not, and exported without a model in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from train.errors import UserError

__all__ = [
    "holds_shards",
    "load_optimizer",
    "load_weights",
    "load_whole_optimizer",
    "save_optimizer",
    "save_weights",
    "stored_tensors",
]

_WEIGHTS, _OPTIMIZER = "pytorch_model_fsdp_0", "optimizer_0"


def holds_shards(checkpoint: Path) -> bool:
    """Whether a checkpoint is of a sharded run."""
    return (checkpoint / _WEIGHTS).is_dir()


def save_weights(state: Mapping[str, torch.Tensor], checkpoint: Path) -> None:
    """Write a sharded model's state. Every rank must call it.

    Raises:
        UserError: the first rank does not see what another has written.
    """
    _save({"model": dict(state)}, checkpoint / _WEIGHTS)


def load_weights(state: Mapping[str, torch.Tensor], checkpoint: Path) -> None:
    """Fill a model's state in place, sharded as it may be. Every rank must call it."""
    _load({"model": dict(state)}, checkpoint / _WEIGHTS)


def save_optimizer(model: Any, optimizer: torch.optim.Optimizer, checkpoint: Path) -> None:
    """Write a sharded optimizer's state, by the names of the parameters. Every rank must call it."""
    _save({"optimizer": get_optimizer_state_dict(model, optimizer)}, checkpoint / _OPTIMIZER)


def load_optimizer(model: Any, optimizer: torch.optim.Optimizer, checkpoint: Path) -> None:
    """Restore what :func:`save_optimizer` wrote, for a model that is sharded in another way or not at all."""
    state = get_optimizer_state_dict(model, optimizer)
    _load({"optimizer": state}, checkpoint / _OPTIMIZER)
    set_optimizer_state_dict(model, optimizer, state)


def load_whole_optimizer(model: Any, optimizer: torch.optim.Optimizer, checkpoint: Path) -> None:
    """Restore a sharded optimizer from a checkpoint of an unsharded run, or of accelerate's ``FULL_STATE_DICT``.

    The first rank reads the file, and hands the others their parts.
    """
    whole: dict[str, Any] = {}
    if dist.get_rank() == 0:
        by_name = checkpoint / "optimizer.bin"
        path = by_name if by_name.is_file() else checkpoint / "optimizer.pt"
        whole = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        if path != by_name:
            whole = _named(whole, model, optimizer)
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    set_optimizer_state_dict(model, optimizer, whole, options=options)


def _named(state: Mapping[str, Any], model: Any, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """An optimizer's state by the names of the parameters, which it knows by their place."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    ordered = [names[parameter] for group in optimizer.param_groups for parameter in group["params"]]
    groups = [{**group, "params": [ordered[index] for index in group["params"]]} for group in state["param_groups"]]
    return {"state": {ordered[index]: values for index, values in state["state"].items()}, "param_groups": groups}


def stored_tensors(checkpoint: Path, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """The whole tensors of these names, read from a checkpoint by one process."""
    folder = checkpoint / _WEIGHTS
    stored = FileSystemReader(folder).read_metadata().state_dict_metadata
    state = {}
    for name in names:
        tensor = stored[f"model.{name}"]
        assert isinstance(tensor, TensorStorageMetadata)
        state[name] = torch.empty(tensor.size, dtype=tensor.properties.dtype)
    load({"model": state}, checkpoint_id=folder, no_dist=True)
    return state


def _save(state: dict[str, Any], folder: Path) -> None:
    save(state, checkpoint_id=folder)
    if dist.get_rank() == 0:
        parts = FileSystemReader(folder).read_metadata().storage_data or {}
        if absent := {part.relative_path for part in parts.values()} - {path.name for path in folder.iterdir()}:
            raise UserError(f"{min(absent)} is not in {folder}: do the machines share the output folder?")


def _load(state: dict[str, Any], folder: Path) -> None:
    load(state, checkpoint_id=folder, no_dist=not dist.is_initialized())
