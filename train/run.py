"""One run, from options to an exported model: data, preflight, training, export."""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from dart_tasks.prompts import get_template
from train import show
from train.arguments import Options, training_arguments
from train.data import Encoded, encode
from train.errors import UsageError, UserError
from train.packing import Packing, epoch_packing, fingerprint, pack_count
from train.preflight import DataReport, check_data, check_tokenizer
from train.recipe import Batching, split_batch

__all__ = ["Prepared", "prepare", "run"]


@dataclass(frozen=True)
class Prepared:
    """The data of a run, ready to train on."""

    encoded: Encoded
    report: DataReport
    packing: Packing
    """The first epoch's packs, of indices into ``report.kept``."""
    packs: int
    """Packs per epoch."""
    epochs: int
    efficiency: float

    @property
    def lengths(self) -> Any:
        """Tokens of every sample that trains."""
        return self.encoded.lengths[self.report.kept]

    @property
    def targets(self) -> Any:
        """Target tokens of every sample that trains."""
        return self.encoded.target_lengths[self.report.kept]


def _batching(options: Options, world_size: int) -> Batching:
    given = options.given
    micro = int(options.training.get("per_device_train_batch_size", 1))
    accumulation = int(options.training.get("gradient_accumulation_steps", 1))
    return split_batch(
        options.global_batch,
        world_size,
        micro,
        micro if "per_device_train_batch_size" in given else None,
        accumulation if "gradient_accumulation_steps" in given else None,
    )


def resolve_model(name: str) -> str:
    """The folder of the embedded base model for ``embedded``; any other name as it is."""
    if name != "embedded":
        return name
    from dart_tasks import embedded

    return str(embedded.BASE_MODEL_DIR)


def _missing(options: Options, model: str) -> str:
    """What keeps this run from starting without a download, on a machine without an accelerator; empty if nothing."""
    import torch

    if torch.cuda.is_available() or options.dry_run:
        return ""
    remote = [s.source for s in options.data if not Path(s.source).exists()]
    if not Path(model).is_dir():
        return f"no GPU here, and {model} is not a local folder"
    if remote:
        return f"no GPU here, and {remote[0]} is not a local file or folder"
    return ""


def load_tokenizer(model: str) -> Any:
    """The model's tokenizer.

    Raises:
        UserError: there is none, or it cannot be had.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(model)
    except Exception as error:
        raise UserError(f"cannot load the tokenizer of --model {model}: {_first_line(error)}") from error


def load_config(model: str) -> Any:
    """The model's configuration, with sliding-window attention off for Mistral, as the paper trained.

    Raises:
        UserError: there is none, or it cannot be had.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(model)
    except Exception as error:
        raise UserError(f"cannot load --model {model}: {_first_line(error)}") from error
    if config.model_type == "mistral":
        config.sliding_window = None
    return config


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def prepare(options: Options, tokenizer: Any, vocab_size: int, seed: int, epochs: float, max_steps: int) -> Prepared:
    """Tokenise (or read the cache), check and pack."""
    check_tokenizer(tokenizer, vocab_size)
    encoded = encode(options.data, tokenizer, options.cache_dir)
    report = check_data(encoded, tokenizer, options.max_length, options.max_length_policy)
    lengths = encoded.lengths[report.kept]
    if max_steps > 0:
        fewest_packs = max(-(-int(lengths.sum()) // options.max_length), 1)
        whole_epochs = -(-max_steps * options.global_batch // fewest_packs)
    else:
        whole_epochs = max(int(np.ceil(epochs)), 1)
    packs = pack_count(lengths, options.max_length, seed, whole_epochs, options.global_batch)
    packing = epoch_packing(lengths, options.max_length, seed, 0, packs)
    return Prepared(encoded, report, packing, packs, whole_epochs, packing.efficiency(lengths, options.max_length))


def _identity(options: Options, model: str, arguments: Any, prepared: Prepared, batching: Batching) -> dict[str, Any]:
    """Everything that the weights depend on: a resumed run must agree."""
    names = [
        "learning_rate",
        "num_train_epochs",
        "max_steps",
        "lr_scheduler_type",
        "warmup_steps",
        "weight_decay",
        "optim",
        "adam_beta1",
        "adam_beta2",
        "adam_epsilon",
        "max_grad_norm",
        "seed",
        "bf16",
        "fp16",
    ]
    values = {name: getattr(arguments, name) for name in names}
    return {
        **{name: str(value.value if hasattr(value, "value") else value) for name, value in values.items()},
        "model": model,
        "data": prepared.encoded.key,
        "samples": sha256(prepared.report.kept.tobytes()).hexdigest()[:16],
        "packing": fingerprint(prepared.packing),
        "max_length": options.max_length,
        "global_batch": batching.global_batch,
    }


def _check_launch(options: Options, arguments: Any) -> str:
    """How the model is distributed; fails where fewer processes run, or otherwise, than was asked for."""
    from accelerate import PartialState

    names = {"NO": "no", "FSDP": "fsdp", "DEEPSPEED": "deepspeed"}
    kind = PartialState().distributed_type.value
    if os.environ.get("ACCELERATE_USE_FSDP", "").lower() in ("true", "1"):
        kind = "FSDP"
    elif os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() in ("true", "1"):
        kind = "DEEPSPEED"
    name = names.get(kind, "ddp")
    if options.expect_processes not in (None, arguments.world_size):
        raise UserError(
            f"{options.expect_processes} processes were expected, {arguments.world_size} run: on CPU start them with "
            "ACCELERATE_USE_CPU=true accelerate launch --multi_gpu --num_processes N (plain --cpu starts one)"
        )
    if options.expect_distributed not in (None, name):
        raise UserError(f"the model was expected to be distributed by {options.expect_distributed}, not {name}")
    if name == "fsdp" and arguments.device.type == "cpu":
        raise UserError(
            "accelerate's FSDP turns into DDP on CPU without a word: use the ddp or cpu configuration there"
        )
    return name


def _seed_of_order(options: Options) -> int:
    data_seed = options.training.get("data_seed")
    return int(options.training.get("seed", 42) if data_seed is None else data_seed)


def run(options: Options) -> int:
    """Do what the options ask for; the exit code.

    Raises:
        UserError: the run is refused or fails; nothing was half-written.
    """
    model_name = resolve_model(options.model)
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    rank_zero = os.environ.get("RANK", "0") == "0"
    if reason := _missing(options, model_name):
        if rank_zero:
            show.recipe(options)
        raise UsageError(
            f"{reason}: pass --data and --model, or try --recipe demo on the dataset of dart-synth --preset demo"
        )
    if options.dry_run:
        from train.dry_run import dry_run

        return dry_run(options, model_name)

    batching = _batching(options, world_size)
    import torch

    if not torch.cuda.is_available():
        os.environ.setdefault("ACCELERATE_USE_CPU", "true")
    arguments = training_arguments(options, batching.micro_batch, batching.accumulation)
    distributed = _check_launch(options, arguments)
    if arguments.device.type == "cpu" and not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // world_size))
    config = load_config(model_name)
    tokenizer = load_tokenizer(model_name)
    with arguments.main_process_first(desc="tokenising"):
        prepared = prepare(
            options,
            tokenizer,
            config.get_text_config().vocab_size,
            _seed_of_order(options),
            arguments.num_train_epochs,
            arguments.max_steps,
        )
    return _train(options, arguments, model_name, config, tokenizer, prepared, batching, distributed)


def _load_model(model_name: str, config: Any, attention: str) -> Any:
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        return AutoModelForCausalLM.from_pretrained(
            model_name, config=config, dtype=torch.float32, attn_implementation=attention
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise UserError(f"cannot load --model {model_name} with {attention} attention: {_first_line(error)}") from error


def _train(
    options: Options,
    arguments: Any,
    model_name: str,
    config: Any,
    tokenizer: Any,
    prepared: Prepared,
    batching: Batching,
    distributed: str,
) -> int:
    import torch
    from transformers.trainer_callback import PrinterCallback, ProgressCallback

    from train.attention import choose_attention, register
    from train.card import write_card
    from train.checkpoints import STAGING, write_json
    from train.estimate import flops_per_epoch, model_size, peak_flops
    from train.export import export_model
    from train.loader import PackDataset
    from train.loss import install
    from train.preflight import check_model
    from train.trainer import PackedTrainer, StopOnSignal, WrappedProbe

    main = arguments.process_index == 0
    output_dir = Path(arguments.output_dir)
    register()
    attention = choose_attention(options.attention, arguments.device, arguments.bf16 or arguments.fp16)
    identity = _identity(options, model_name, arguments, prepared, batching)
    resume = _resume_point(arguments, output_dir, identity, main)

    if main:
        show.plan(options, arguments, model_name, prepared, batching, distributed, attention)
        show.example(prepared, tokenizer)
    model = _load_model(model_name, config, attention)
    if main and model.device.type != "meta" and not attention.startswith("flash"):
        check_model(model, [attention, "sdpa" if model._supports_sdpa else "eager"])
    install(model)

    size = model_size(config)
    flops = flops_per_epoch(size, prepared.lengths, prepared.targets)
    tokens = int(prepared.lengths.sum())
    device_name = torch.cuda.get_device_name() if arguments.device.type == "cuda" else "cpu"
    stop, probe, progress = StopOnSignal(), WrappedProbe(), show.Progress()
    trainer = PackedTrainer(
        model=model,
        args=arguments,
        encoded=prepared.encoded,
        dataset=PackDataset(
            prepared.encoded.lengths, prepared.report.kept, options.max_length, _seed_of_order(options), prepared.packs
        ),
        batching=batching,
        flops_per_token=flops / tokens,
        peak_flops=peak_flops(device_name),
        callbacks=[stop, probe, progress],
    )
    probe.trainer = trainer
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    if main:
        output_dir.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(output_dir / STAGING, ignore_errors=True)  # what a killed run was writing
        write_json(output_dir / "run.json", {"identity": identity, "recipe": dataclasses.asdict(options.recipe)})
    started = time.monotonic()
    result = trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    elapsed = time.monotonic() - started
    if stop.received:
        if main:
            show.line(
                f"stopped by signal {stop.received} at step {trainer.state.global_step}: the same command resumes"
            )
        return 128 + stop.received
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if main:
        template = get_template(options.data[0].template)
        unwrapped = trainer.accelerator.unwrap_model(trainer.model_wrapped)
        export_model(unwrapped, state, tokenizer, template, output_dir, options.export_dtype)
        write_card(
            output_dir,
            base=options.model if options.model != "embedded" else model_name,
            data=[training_set.source for training_set in options.data],
            recipe=show.card_rows(options, arguments, prepared, batching),
            licence=options.licence or None,
            scores=options.scores,
        )
        show.summary(trainer, prepared, result, elapsed, output_dir)
        shutil.rmtree(output_dir / STAGING, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
    return 0


def _resume_point(arguments: Any, output_dir: Path, identity: dict[str, Any], main: bool) -> Path | None:
    """The checkpoint to go on from: the one named, else the newest complete one of the same run.

    Raises:
        UserError: the output folder holds another run.
    """
    import json

    from train.checkpoints import checkpoints, latest_complete, problem

    chosen = Path(arguments.resume_from_checkpoint) if arguments.resume_from_checkpoint else None
    if chosen and (reason := problem(chosen)):
        raise UserError(f"--resume_from_checkpoint {chosen} is not a complete checkpoint: {reason}")
    if chosen is None and not checkpoints(output_dir):
        return None
    record = (chosen.resolve().parent if chosen else output_dir) / "run.json"
    recorded = json.loads(record.read_text(encoding="utf-8"))["identity"] if record.is_file() else {}
    different = sorted(name for name in identity if recorded.get(name) != identity[name])
    if different:
        first = different[0]
        raise UserError(
            f"{record.parent} holds the checkpoints of another run ({', '.join(different)} differ; {first} was "
            f"{recorded.get(first)}, is {identity[first]}): choose another --output_dir, or delete it"
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
