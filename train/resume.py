"""Which checkpoint a run goes on from, and that it is its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from train import show
from train.arguments import Options
from train.checkpoints import checkpoints, latest_complete, problem
from train.errors import UserError
from train.packing import fingerprint
from train.prepare import Prepared

__all__ = ["identity_of", "resume_point"]

_ARGUMENTS = (
    "learning_rate",
    "num_train_epochs",
    "max_steps",
    "lr_scheduler_type",
    "lr_scheduler_kwargs",
    "warmup_steps",
    "weight_decay",
    "optim",
    "optim_args",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "max_grad_norm",
    "neftune_noise_alpha",
    "seed",
    "bf16",
    "fp16",
)


def identity_of(options: Options, model: str, arguments: Any, prepared: Prepared) -> dict[str, Any]:
    """Everything that the weights depend on: a resumed run must agree."""
    values = {name: getattr(arguments, name) for name in _ARGUMENTS}
    return {
        **{name: str(value.value if hasattr(value, "value") else value) for name, value in values.items()},
        "model": model,
        "data": prepared.encoded.key,
        "samples": sha256(prepared.report.kept.tobytes()).hexdigest()[:16],
        "packing": fingerprint(prepared.packing),
        **({"lora": f"{options.lora}{' in 4 bits' if options.load_in_4bit else ''}"} if options.lora else {}),
        "max_length": options.max_length,
        **({"pack_length": options.pack_sizes[0]} if len(options.pack_sizes) > 1 else {}),
        "global_batch": options.global_batch,
    }


def resume_point(arguments: Any, output_dir: Path, identity: Mapping[str, Any], main: bool) -> Path | None:
    """The checkpoint to go on from: the one named, else the newest complete one of the same run.

    Raises:
        UserError: the output folder, or that of the checkpoint named, holds another run.
    """
    chosen = Path(arguments.resume_from_checkpoint) if arguments.resume_from_checkpoint else None
    if chosen and (reason := problem(chosen)):
        raise UserError(f"{chosen} is not a complete checkpoint: {reason}")
    if chosen is None and not checkpoints(output_dir):
        return None
    record = (chosen.resolve().parent if chosen else output_dir) / "run.json"
    try:
        recorded = json.loads(record.read_text(encoding="utf-8"))["identity"] if record.is_file() else {}
    except (ValueError, TypeError, LookupError):
        raise UserError(f"{record} is damaged: choose another --output_dir, or delete the folder") from None
    different = sorted(name for name in {*identity, *recorded} if recorded.get(name) != identity.get(name))
    if different:
        first = different[0]
        raise UserError(
            f"{record.parent} holds the checkpoints of another run ({', '.join(different)} differ; {first} was "
            f"{recorded.get(first, 'not given')}, is {identity.get(first, 'not given')}): choose another "
            "--output_dir, or delete it"
        )
    if chosen:
        return chosen
    checkpoint, skipped = latest_complete(output_dir)
    if main:
        for text in skipped:
            show.line(f"warning: {text}")
        if checkpoint:
            show.line(f"resuming from {checkpoint}")
    return checkpoint
