"""One run, from options to an exported model: data, preflight, training, export."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dart_tasks.console import first_line
from dart_tasks.files import write_atomically
from train import show
from train.arguments import Options, training_arguments
from train.errors import UsageError, UserError
from train.hub import check_pushable, open_repository, upload
from train.model import load_config, load_model, load_tokenizer, missing, resolve_model, set_attention
from train.prepare import Prepared, prepare, seed_of_order
from train.processes import batching, check_agreement, check_launch
from train.recipe import Batching
from train.resume import identity_of, resume_point
from train.sharding import take_over

if TYPE_CHECKING:
    from train.export import Fetch
    from train.trainer import PackedTrainer

__all__ = ["run"]


@dataclass(frozen=True)
class _Run:
    """What is known before the first step."""

    options: Options
    arguments: Any
    model_name: str
    config: Any
    tokenizer: Any
    prepared: Prepared
    batching: Batching
    distributed: str

    @property
    def main(self) -> bool:
        return bool(self.arguments.process_index == 0)

    @property
    def output_dir(self) -> Path:
        return Path(self.arguments.output_dir)


def run(options: Options) -> int:
    """Do what the options ask for; the exit code.

    Raises:
        UserError: the run is refused or fails; nothing was half-written.
    """
    model_name = resolve_model(options.model)
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if reason := missing(options, model_name):
        if os.environ.get("RANK", "0") == "0":
            show.recipe(options)
        raise UsageError(
            f"{reason}: pass --data and --model, or try --recipe demo on the dataset of dart-synth --preset demo"
        )
    _check_writable(Path(options.output_dir))
    check_pushable(options, _card(options, model_name, {}))  # scores and licence: hours before they are needed
    if options.dry_run:
        from train.dry_run import dry_run

        return dry_run(options, model_name)

    sharded = take_over()
    spread = batching(options, world_size)
    import torch

    if not torch.cuda.is_available():
        os.environ.setdefault("ACCELERATE_USE_CPU", "true")
    arguments = training_arguments(options, spread.micro_batch, spread.accumulation)
    distributed = check_launch(options, arguments, sharded)
    if arguments.device.type == "cpu" and not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // world_size))
    config = load_config(model_name)
    tokenizer = load_tokenizer(model_name)
    with arguments.main_process_first(desc="tokenising"):
        prepared = prepare(options, tokenizer, config, arguments.num_train_epochs, arguments.max_steps)
    return _train(_Run(options, arguments, model_name, config, tokenizer, prepared, spread, distributed))


def _check_writable(output_dir: Path) -> None:
    """Hours before it is needed.

    Raises:
        UserError: the output folder cannot be made or written to.
    """
    existing = next(path for path in (output_dir.absolute(), *output_dir.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise UserError(f"cannot write to --output_dir {output_dir}: {existing} is no folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"cannot write to --output_dir {output_dir}: no permission in {existing}")


def _train(this: _Run) -> int:
    import torch

    from train.attention import choose_attention, register
    from train.checkpoints import STAGING
    from train.lora import add_adapter, keep_in, trained_share
    from train.loss import install
    from train.preflight import check_model, is_partitioned
    from train.sharded_checkpoints import holds_shards

    options, arguments, output_dir = this.options, this.arguments, this.output_dir
    register()
    attention = choose_attention(options.attention, arguments.device, arguments.bf16 or arguments.fp16, this.config)
    identity = identity_of(options, this.model_name, arguments, this.prepared)
    checkpoint = resume_point(arguments, output_dir, identity, this.main)
    check_agreement("run", sha256(str(sorted(identity.items())).encode()).hexdigest()[:12], arguments.world_size)
    check_agreement("checkpoint to resume from", checkpoint.name if checkpoint else "none", arguments.world_size)

    if this.main:
        show.plan(options, arguments, this.model_name, this.prepared, this.batching, this.distributed, str(attention))
        show.example(this.prepared, this.tokenizer)
    if checkpoint and options.export_checkpoint and not options.lora and holds_shards(checkpoint):
        _export_stored(this, checkpoint)
        return 0
    row_tokens = this.batching.micro_batch * options.max_length
    if this.distributed == "fsdp":
        model = _load_sharded(this, attention.name, row_tokens)
        check_model(model, [attention.name, _plain_attention(model)], _precision(arguments) != torch.float32)
    else:
        model = _load(this, attention.on_cpu)
        if this.main and not is_partitioned(model):
            check_model(model, [*filter(None, [attention.on_cpu]), _plain_attention(model)])
        if attention.on_cpu != attention.name:
            set_attention(model, attention.name)
        if options.lora:
            model = add_adapter(keep_in(_precision(arguments), model), options.lora, arguments.seed)
        install(model, row_tokens)
    if this.main and options.lora:
        show.line(f"adapter        {trained_share(model)}")

    try:
        output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to --output_dir {output_dir}: {error.strerror}") from error
    repository = open_repository(options) if this.main and options.push_to_hub else ""
    trainer = _trainer(this, model)
    if this.main:
        shutil.rmtree(output_dir / STAGING, ignore_errors=True)  # what a killed run was writing
        if not options.export_checkpoint:
            record = {
                "identity": identity,
                "recipe": dataclasses.asdict(options.recipe),
                "command": options.command,
                "folder": str(Path.cwd()),
            }
            write_atomically(output_dir / "run.json", json.dumps(record, indent=2))
    started = time.monotonic()
    result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    elapsed = time.monotonic() - started
    if trainer.stopped_by:
        if this.main:
            show.line(
                f"stopped by signal {trainer.stopped_by} at step {trainer.state.global_step}: the same command resumes"
            )
        return 128 + trainer.stopped_by
    best = trainer.load_best()
    exported = _export(this, trainer)
    if this.main:
        if options.export_checkpoint:
            show.line(f"exported {checkpoint} to {output_dir}")
        else:
            show.summary(trainer, this.prepared, result, elapsed, output_dir, best)
        shutil.rmtree(output_dir / STAGING, ignore_errors=True)
        if repository:
            upload(options, repository, exported)
            show.line(f"pushed to {repository}")
    trainer.accelerator.wait_for_everyone()
    return 0


def _precision(arguments: Any) -> Any:
    """The dtype of the forward pass."""
    import torch

    return torch.bfloat16 if arguments.bf16 else torch.float16 if arguments.fp16 else torch.float32


def _load(this: _Run, attention: str | None) -> Any:
    """The base model in float32, for its checks as well, or in 4 bits.

    Raises:
        UserError: it cannot be had, or weights in 4 bits cannot be distributed so.
    """
    options, arguments = this.options, this.arguments
    if not options.load_in_4bit:
        return load_model(this.model_name, this.config, attention)
    dtype = _precision(arguments)
    if this.distributed not in ("no", "ddp"):
        raise UserError(f"--load-in-4bit cannot be sharded by {this.distributed}: use one process per GPU (ddp)")
    from train.lora import keep_trainable, quantization

    how = {"quantization_config": quantization(dtype), "device_map": {"": arguments.device}}
    return keep_trainable(load_model(this.model_name, this.config, attention, dtype, **how))


def _plain_attention(model: Any) -> str:
    return "sdpa" if model._supports_sdpa else "eager"


def _load_sharded(this: _Run, attention: str, row_tokens: int) -> Any:
    """The model with its loss, and with its adapter if it is to have one, in parts over all ranks.

    Raises:
        UserError: it cannot be had.
    """
    from accelerate.utils import broadcast_object_list

    from train.lora import add_adapter, first_weights, keep_in, plain_name
    from train.loss import install
    from train.sharding import empty_model, fill, kept_once, open_mesh, shard, whole_weights

    options, arguments = this.options, this.arguments
    if options.load_in_4bit:
        raise UserError("--load-in-4bit cannot be sharded by fsdp: use one process per GPU (ddp)")
    try:
        model = empty_model(this.config, attention)
    except (ValueError, ImportError) as error:
        raise UserError(f"--model {this.model_name} with {attention} attention: {first_line(error)}") from error
    source: dict[str, Any] = {}
    if options.lora:
        model = add_adapter(keep_in(_precision(arguments), model), options.lora, arguments.seed)
        source = first_weights(model, arguments.seed)
    install(model, row_tokens)
    shard(model, open_mesh(arguments.device), _precision(arguments))
    state, problem = kept_once(model), ""
    if this.main:
        names = {name: plain_name(name) for name in state if name not in source}
        try:
            read = whole_weights(this.model_name, this.config, names.values())
            source |= {name: read[plain] for name, plain in names.items() if plain in read}
        except UserError as error:
            problem = str(error)
    if problem := broadcast_object_list([problem])[0]:  # the others would wait, and fail with a traceback
        raise UserError(problem)
    fill(state, source)
    return model


def _trainer(this: _Run, model: Any) -> PackedTrainer:
    """The Trainer with our callbacks in place of its printers."""
    import torch
    from transformers.trainer_callback import PrinterCallback, ProgressCallback

    from train.estimate import flops_per_epoch, model_size, peak_flops
    from train.loader import PackDataset
    from train.trainer import PackedTrainer

    options, prepared = this.options, this.prepared
    flops = flops_per_epoch(model_size(this.config), prepared.lengths, prepared.targets)
    device_name = torch.cuda.get_device_name() if this.arguments.device.type == "cuda" else "cpu"
    trainer = PackedTrainer(
        model=model,
        args=this.arguments,
        encoded=prepared.encoded,
        dataset=PackDataset(
            prepared.encoded.lengths,
            prepared.report.kept,
            options.pack_sizes,
            seed_of_order(options),
            prepared.packs,
            prepared.mixture,
            options.global_batch,
        ),
        batching=this.batching,
        held_out=prepared.held_out,
        keep_best=options.keep_best,
        save_minutes=options.save_minutes,
        no_more_steps=options.export_checkpoint is not None,
        on_divergence=options.on_divergence,
        flops_per_token=flops / int(prepared.lengths.sum()),
        peak_flops=peak_flops(device_name),
        callbacks=[show.Progress()],
    )
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    return trainer


def _export(this: _Run, trainer: PackedTrainer) -> list[str]:
    """Gather the weights (every rank takes part) and write model and card; the names of the files.

    A sharded model is gathered layer by layer; at any time one file's weights are in memory.
    """
    import torch

    from train.export import by_layer
    from train.sharding import is_sharded, untied, whole

    model = trainer.accelerator.unwrap_model(trainer.model_wrapped)
    sharded = is_sharded(model)
    state = model.state_dict() if sharded else trainer.accelerator.get_state_dict(trainer.model_wrapped)
    state = untied(model, state)

    def fetch(names: Sequence[str]) -> dict[str, torch.Tensor]:
        return {name: whole(state[name]) for name in names}

    adapter = [name for name in state if ".lora_" in name]
    if not this.main:
        for group in [adapter, *by_layer(state)] if sharded else []:
            fetch(group)
        return []
    if not this.options.lora:
        return _write(this, model, list(state), fetch)
    from train.lora import empty_plain_model, merged_state, save_adapter

    dtype = getattr(torch, this.options.export_dtype)
    files = save_adapter(model, fetch(adapter), this.output_dir, _card(this.options, this.model_name, _rows(this)))
    plain = empty_plain_model(model)
    return _write(this, plain, list(state), lambda names: merged_state(model, fetch(names), dtype)) + files


def _export_stored(this: _Run, checkpoint: Path) -> None:
    """Export a sharded run's checkpoint, file by file, without a model in memory or the GPUs it was trained on."""
    from train.sharded_checkpoints import stored_tensors
    from train.sharding import empty_model, kept_once

    if not this.main:
        return
    model = empty_model(this.config, None)
    this.output_dir.mkdir(parents=True, exist_ok=True)
    _write(this, model, list(kept_once(model)), lambda names: stored_tensors(checkpoint, names))
    show.line(f"exported {checkpoint} to {this.output_dir}")


def _rows(this: _Run) -> dict[str, str]:
    return show.card_rows(this.options, this.arguments, this.prepared, this.batching)


def _write(this: _Run, model: Any, names: list[str], fetch: Fetch) -> list[str]:
    """Write the model's files and its card; their names."""
    from train.export import export_model

    options = this.options
    encoded = this.prepared.encoded
    template, ends = encoded.chat_templates[0], encoded.end_tokens(this.prepared.report.kept)
    dtype = options.export_dtype
    files = export_model(model, names, fetch, this.tokenizer, template, this.output_dir, dtype, ends)
    (this.output_dir / "README.md").write_text(_card(options, this.model_name, _rows(this)), encoding="utf-8")
    return [*files, "README.md"]


def _card(options: Options, model_name: str, rows: dict[str, str]) -> str:
    from train.card import card

    return card(
        Path(options.output_dir).resolve().name,
        base=options.model if options.model != "embedded" else model_name,
        data=[training_set.source for training_set in options.data],
        recipe=rows,
        licence=options.licence or None,
        scores=options.scores,
    )
