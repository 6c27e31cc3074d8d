"""Sharded training by PyTorch's own FSDP2 (``fully_shard``): every rank keeps its part of every weight.

    accelerate launch --config_file train/launch/fsdp2-8gpu.yaml train/sft.py --recipe mistral-7b --output_dir OUT

accelerate's configuration asks for it and starts the processes; sharding, loading and checkpoints are ours. So a run on
CPUs (gloo), which tests can kill and resume, takes the very path of one on GPUs: accelerate itself turns FSDP into DDP
on CPUs without a word. It also groups the last norm with the vocabulary projection, which may then be called only once
a step, and ours is called in chunks.

No rank holds a whole model beside others. The model is made without weights, sharded, and filled tensor by tensor: the
first rank reads each from its safetensors file and hands every rank its part.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, distribute_tensor

from dart_tasks.console import first_line
from train.errors import UserError
from train.lora import in_memory, plain, plain_name

__all__ = [
    "empty_model",
    "fill",
    "is_sharded",
    "kept_once",
    "open_mesh",
    "shard",
    "take_over",
    "untied",
    "whole",
    "whole_weights",
]


def take_over() -> bool:
    """Whether the launch configuration asks for FSDP. accelerate and transformers are told nothing of it from here on.

    Raises:
        UserError: it asks for a kind of FSDP that this trainer does not have.
    """
    if os.environ.get("ACCELERATE_USE_FSDP", "").lower() not in ("true", "1"):
        return False
    refused = {
        ("FSDP_VERSION", "1"): "fsdp_version: 1; sharding is FSDP2's here, so give 2",
        ("FSDP_RESHARD_AFTER_FORWARD", "false"): "fsdp_reshard_after_forward: false; layers are freed after use here",
        ("FSDP_OFFLOAD_PARAMS", "true"): "fsdp_offload_params, which this trainer does not have",
        ("FSDP_ACTIVATION_CHECKPOINTING", "true"): "fsdp_activation_checkpointing; use --gradient_checkpointing true",
    }
    for (name, value), text in refused.items():
        if os.environ.get(name, "").lower() == value:
            raise UserError(f"the launch configuration asks for {text}")
    os.environ["ACCELERATE_USE_FSDP"] = "false"
    return True


def is_sharded(model: Any) -> bool:
    """Whether ``model`` went through :func:`shard`."""
    from torch.distributed.fsdp import FSDPModule

    return isinstance(model, FSDPModule)


def open_mesh(device: torch.device) -> Any:
    """The device mesh of all ranks. A process that was started alone is a group of one."""
    if not dist.is_initialized():
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=torch._C._distributed_c10d.HashStore(), rank=0, world_size=1)
    return init_device_mesh(device.type, (dist.get_world_size(),))


def empty_model(config: Any, attention: str | None) -> Any:
    """The model of ``config`` in float32 without weights (on the meta device); its buffers are real."""
    from accelerate import init_empty_weights
    from transformers import AutoModelForCausalLM

    with init_empty_weights(include_buffers=False):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation=attention)
    model.tie_weights()
    return model


def shard(model: Any, mesh: Any, dtype: torch.dtype) -> Any:
    """Shard an empty model over ``mesh``: each block apart, embeddings, last norm and projection together.

    Weights and gradients stay in their own precision; layers are gathered and computed in ``dtype``, gradients summed
    in float32. What is left is room for each rank's part, to be filled.
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    half = dtype != torch.float32
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32) if half else MixedPrecisionPolicy()
    blocks = set(plain(model)._no_split_modules or ())  # transformers' own names of what is repeated
    for module in model.modules():
        if type(module).__name__ in blocks:
            fully_shard(module, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)
    buffers = dict(model.named_buffers())
    model.to_empty(device=mesh.device_type)  # of several GPUs, the current one
    for name, buffer in model.named_buffers():
        buffer.copy_(buffers[name])
    plain(model).tie_weights()
    return model


def kept_once(model: Any) -> dict[str, torch.Tensor]:
    """The model's state (of a sharded one, its parts), tied weights once."""
    return untied(model, model.state_dict())


def untied(model: Any, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A model's state with tied weights once: gathered from shards, they no longer share memory to be known by."""
    tied = plain(model).all_tied_weights_keys or {}
    return {name: tensor for name, tensor in state.items() if plain_name(name) not in tied}


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor gathered from all ranks, which must all call this; one that is not sharded as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


@torch.no_grad()
def fill(state: Mapping[str, torch.Tensor], source: Mapping[str, Callable[[], torch.Tensor]]) -> None:
    """Fill ``state`` in place with the tensors of ``source``, which only the first rank needs to have.

    At any time the first rank holds one whole tensor, the others none.

    Raises:
        UserError: a tensor is missing, or of another shape.
    """
    first = dist.get_rank() == 0
    for name, target in state.items():
        if first:
            if name not in source:
                raise UserError(f"{name} is not among the weights to load")
            value = source[name]().to(target.device, target.dtype)
            if value.shape != target.shape:
                raise UserError(f"{name} has the shape {tuple(value.shape)}, not {tuple(target.shape)}")
        else:
            value = torch.empty(target.shape, dtype=target.dtype, device=target.device)
        if isinstance(target, DTensor):
            target.copy_(distribute_tensor(value, target.device_mesh, target.placements))
        else:
            dist.broadcast(value, 0)
            target.copy_(value)


def whole_weights(folder: str, config: Any, names: Collection[str]) -> dict[str, Callable[[], torch.Tensor]]:
    """How to read the tensors ``names`` of a model folder or hub id, one at a time from its safetensors files.

    Some formats are converted when they are read, and only transformers knows how: such a model is loaded whole.

    Raises:
        UserError: it cannot be had.
    """
    from train.model import load_model

    try:
        found = _stored(folder)
    except Exception as error:  # of safetensors and the hub
        raise UserError(f"cannot load --model {folder}: {first_line(error)}") from error
    if not set(names) <= found.keys():
        state = load_model(folder, config, None).state_dict()
        found = {name: functools.partial(state.__getitem__, name) for name in state}
    return found


def _stored(folder: str) -> dict[str, Callable[[], torch.Tensor]]:
    from safetensors import safe_open
    from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file
    from transformers.utils.hub import get_checkpoint_shard_files

    def find(name: str) -> str | None:
        path: str | None = cached_file(folder, name, _raise_exceptions_for_missing_entries=False)
        return path

    if index := find(SAFE_WEIGHTS_INDEX_NAME):
        paths, _ = get_checkpoint_shard_files(folder, index)
    else:
        paths = [path for path in map(find, (SAFE_WEIGHTS_NAME, "adapter_model.safetensors")) if path]
    files: dict[str, Any] = {}
    for path in paths:
        file = safe_open(path, "pt")
        files.update(dict.fromkeys(file.keys(), file))  # type: ignore[no-untyped-call]
    return {in_memory(name): functools.partial(file.get_tensor, name) for name, file in files.items()}
