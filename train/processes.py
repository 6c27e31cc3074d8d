"""The processes of a run: how the global batch is spread over them, how the model is, and that they agree."""

from __future__ import annotations

import os
from typing import Any

from train.arguments import Options
from train.errors import UserError
from train.recipe import Batching, split_batch

__all__ = ["batching", "check_agreement", "check_launch"]


_UNSUPPORTED = {
    "ACCELERATE_USE_PARALLELISM_CONFIG": "tensor, context or sequence parallelism",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
}
"""Ways of distribution in which several processes would need the same packs, and are dealt different ones."""


def batching(options: Options, world_size: int) -> Batching:
    """The recipe's global batch over ``world_size`` processes, with the parts that flags ask for.

    Raises:
        UsageError: it cannot be done.
    """
    given = frozenset() if options.export_checkpoint else options.given  # of a run on more GPUs
    micro = int(options.training.get("per_device_train_batch_size", 1))
    accumulation = int(options.training.get("gradient_accumulation_steps", 1))
    return split_batch(
        options.global_batch,
        world_size,
        micro,
        micro if "per_device_train_batch_size" in given else None,
        accumulation if "gradient_accumulation_steps" in given else None,
    )


def check_launch(options: Options, arguments: Any, sharded: bool = False) -> str:
    """How the model is distributed (``sharded``: by :mod:`train.sharding`).

    Raises:
        UserError: fewer processes run, or otherwise, than was asked for; or one process would use several GPUs.
    """
    from accelerate import PartialState

    for variable, what in _UNSUPPORTED.items():
        if os.environ.get(variable, "").lower() in ("true", "1"):
            raise UserError(
                f"accelerate launch asks for {what}: not supported, use ddp, FSDP2 or ZeRO-3 (train/launch)"
            )
    names = {"NO": "no", "FSDP": "fsdp", "DEEPSPEED": "deepspeed"}
    kind = "FSDP" if sharded else PartialState().distributed_type.value
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() in ("true", "1"):
        kind = "DEEPSPEED"
    name = names.get(kind, "ddp")
    if options.export_checkpoint:  # of a run that was started in another way
        return name
    if options.expect_processes not in (None, arguments.world_size):
        raise UserError(
            f"{options.expect_processes} processes were expected, {arguments.world_size} run: on CPU start them with "
            "ACCELERATE_USE_CPU=true accelerate launch --multi_gpu --num_processes N (plain --cpu starts one)"
        )
    if options.expect_distributed not in (None, name):
        raise UserError(f"the model was expected to be distributed by {options.expect_distributed}, not {name}")
    if sharded and arguments.fp16:
        raise UserError("a sharded run has no loss scaling for fp16: use --bf16 true, or full precision")
    if arguments.n_gpu > 1:  # the Trainer would wrap the model in DataParallel, which cuts packed rows apart
        raise UserError(
            f"one process sees {arguments.n_gpu} GPUs: start one for each with accelerate launch --multi_gpu "
            f"--num_processes {arguments.n_gpu}, or show it one with CUDA_VISIBLE_DEVICES=0"
        )
    return name


def check_agreement(what: str, value: str, world_size: int) -> None:
    """Every process must have come to the same ``value``. All of them must call it.

    Raises:
        UserError: they differ, as where machines do not share the output folder.
    """
    if world_size == 1:
        return
    from accelerate.utils import gather_object

    values = sorted(set(gather_object([value])))
    if len(values) > 1:
        raise UserError(f"the processes disagree about the {what} ({', '.join(values)}): do all see the same files?")
