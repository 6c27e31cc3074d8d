"""``transformers.Trainer`` on packs: our data order, whole checkpoints, and a stop where training goes wrong.

Everything else (optimizer, schedule, DDP, FSDP2, ZeRO-3, precision, logging integrations) is the Trainer's own.
"""

from __future__ import annotations

import contextlib
import functools
import math
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import torch
from accelerate.utils import gather_object
from transformers import Trainer, TrainerCallback, set_seed

from dart_tasks.console import first_line
from train.checkpoints import STAGING, problem, publish, rotate
from train.collate import Collator
from train.data import Encoded
from train.divergence import LossGuard, OnDivergence
from train.errors import UserError
from train.heldout import HeldOut, losses
from train.loader import PackDataset, StepSampler
from train.preflight import check_loss
from train.recipe import Batching
from train.sharded_checkpoints import (
    holds_shards,
    load_optimizer,
    load_weights,
    load_whole_optimizer,
    save_optimizer,
    save_weights,
)
from train.sharding import fill, is_sharded, kept_once, whole, whole_weights
from train.show import line

__all__ = ["PackedTrainer", "SaveInTime"]

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class PackedTrainer(Trainer):  # type: ignore[misc]
    """A Trainer over packs. The model must have been given its loss by :func:`train.loss.install`."""

    def __init__(
        self,
        *,
        encoded: Encoded,
        dataset: PackDataset,
        batching: Batching,
        held_out: HeldOut | None = None,
        keep_best: bool = False,
        save_minutes: float = 0,
        no_more_steps: bool = False,
        on_divergence: OnDivergence = "stop",
        flops_per_token: float = 0.0,
        peak_flops: float | None = None,
        **kwargs: Any,
    ) -> None:
        self._sharded = is_sharded(kwargs["model"])
        super().__init__(train_dataset=dataset, eval_dataset=held_out, data_collator=Collator(encoded), **kwargs)
        self._held_out = held_out
        self._keep_best = keep_best
        self._in_time = SaveInTime(60 * save_minutes)
        self.add_callback(self._in_time)
        self.add_callback(_WrappedProbe(self))
        self._packs = dataset
        self._no_more_steps = no_more_steps
        self._batching = batching
        self._encoded = encoded
        self._guard = LossGuard(self.model.config.get_text_config().vocab_size)
        self._on_divergence = on_divergence
        self._flops_per_token = flops_per_token
        self._peak_flops = peak_flops
        self._tokens = 0
        self._targets: torch.Tensor | int = 0
        self._metered_since = 0.0
        self._staging = False
        self._step: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []  # share of the loss, targets, samples
        self._step_targets: torch.Tensor | int = 0
        self._logged_targets = 0

    @property
    def stopped_by(self) -> int:
        """The signal that ended training early; 0 if none did."""
        return self._in_time.stopped_by

    @property
    def target_tokens_seen(self) -> int:
        """Target tokens of all ranks since this process started."""
        return self._logged_targets + int(self._targets)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps per epoch."""
        return self._packs.count // self._batching.global_batch

    def _current_epoch(self) -> int:
        # Not state.epoch: a resumed run creates its iterator before anything else knows the epoch.
        return int(self.state.global_step) // self.steps_per_epoch

    def create_accelerator_and_postprocess(self) -> None:
        """accelerate's part. A sharded model needs no wrapper of it, but mixed precision and compilation."""
        super().create_accelerator_and_postprocess()
        if self._sharded:
            self.accelerator.prepare_model = functools.partial(self.accelerator.prepare_model, evaluation_mode=True)

    def get_train_dataloader(self) -> Any:
        """This rank's micro-batches. Not prepared by accelerate: the sampler already deals packs to ranks."""
        workers = self.args.dataloader_num_workers
        return torch.utils.data.DataLoader(
            self._packs,
            batch_sampler=StepSampler(self._packs.count, self._batching, self.args.process_index, self._current_epoch),
            collate_fn=self.data_collator,
            # Its own: creating an iterator draws a number, and dropout must not depend on how often that happens.
            generator=torch.Generator(),
            num_workers=workers,
            pin_memory=self.args.dataloader_pin_memory and self.args.device.type == "cuda",
            persistent_workers=self.args.dataloader_persistent_workers and workers > 0,
            prefetch_factor=self.args.dataloader_prefetch_factor if workers else None,
        )

    def create_optimizer(self, *arguments: Any, **options: Any) -> Any:
        """The Trainer's own. Raises UserError where it cannot be had."""
        with _usable(f"--optim {getattr(self.args.optim, 'value', self.args.optim)}"):
            return super().create_optimizer(*arguments, **options)

    def create_scheduler(self, *arguments: Any, **options: Any) -> Any:
        """The Trainer's own. Raises UserError where its options are wrong."""
        with _usable(f"--lr_scheduler_type {self.args.lr_scheduler_type.value}"):
            return super().create_scheduler(*arguments, **options)

    def _run_epoch(self, *arguments: Any, **options: Any) -> None:
        # Resumed from its last step in the middle of an epoch, the Trainer would take one step more.
        if self._no_more_steps or self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return
        super()._run_epoch(*arguments, **options)

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        """The step's micro-batches and its target tokens over all ranks, counted for the meters as well."""
        if not self._metered_since:
            self._metered_since = time.monotonic()
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        self._tokens += sum(batch["input_ids"].numel() for batch in batches)
        self._targets = self._targets + items
        self._step, self._step_targets = [], items
        return batches, items

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """This micro-batch's share of the step's loss, scaled so that the mean over ranks is the whole."""
        samples = inputs.pop("sample_ids")
        result = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        loss = result[0] if return_outputs else result
        targets = (inputs["labels"][..., 1:] != -100).sum()
        self._step.append((loss.detach() / self.accelerator.num_processes, targets, samples))
        return result

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """The step's gradient norm. Before the step is applied, it and the loss are judged, by all ranks alike."""
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        size, loss, targets = self._judged(norm)
        if not math.isfinite(loss):
            self._stop(f"the loss is {loss}")
        if not math.isfinite(size) and not self.args.fp16:  # fp16's scaler expects such steps, and skips them
            self._stop(f"the gradient's norm is {size}")
        problem = self._guard.problem(loss, int(targets))
        if problem and self._on_divergence == "stop":
            self._stop(problem)
        if problem and self._on_divergence == "warn" and self.is_world_process_zero():
            line(f"warning: step {self.state.global_step + 1}: {problem}")
        return norm

    def _judged(self, norm: Any) -> tuple[float, float, float]:
        """The gradient's norm, the loss and the target tokens of the step, of all ranks; and what any rank wishes.

        One question to the device: at each the host would wait until the step is computed.
        """
        loss = torch.stack([share for share, *_ in self._step]).sum().double()
        wishes = self._in_time.wishes(self.args.process_index)
        shared = torch.stack([loss, *(torch.full_like(loss, wish) for wish in wishes)])
        if self.args.world_size > 1:
            torch.distributed.all_reduce(shared)
        known = torch.stack([_scalar(norm, loss), _scalar(self._step_targets, loss)])
        size, targets, total, *agreed = torch.cat([known, shared]).tolist()
        self._in_time.agree(*agreed)
        return size, total, targets

    def _stop(self, problem: str) -> NoReturn:
        """End the run, naming the samples of the step's worst micro-batch over all ranks. Every rank must call it."""

        def mean(part: tuple[torch.Tensor, ...]) -> float:
            value = float(part[0]) * int(self._step_targets) / max(int(part[1]), 1)
            return value if math.isfinite(value) else math.inf

        worst = max(self._step, key=mean)
        samples = worst[2].tolist()
        named = ", ".join(self._encoded.name(sample) for sample in samples[:20])
        named += f" and {len(samples) - 20} more" if len(samples) > 20 else ""
        _, named = max(gather_object([(mean(worst), named)]))
        raise UserError(
            f"stopped in step {self.state.global_step + 1}: {problem}. Samples of the micro-batch with the highest "
            f"loss: {named}"
        )

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """The held-out loss, overall and by data set. With ``keep_best`` the lowest so far is saved as a checkpoint."""
        assert self._held_out is not None
        args, state = self.args, self.state
        found = losses(self.model_wrapped, self._held_out, args.device, args.process_index, args.world_size)
        metrics = {f"eval_{source}_loss" if source else "eval_loss": loss for source, loss in found.items()}
        self.log(metrics)
        self.control: Any = self.callback_handler.on_evaluate(args, state, self.control, metrics)
        if self._keep_best and (state.best_metric is None or found[""] < state.best_metric):
            state.best_metric, state.best_global_step = found[""], state.global_step  # of the checkpoint's own state
            self.control.should_save = True
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add throughput since the last log: target tokens/s over all ranks; MFU where the peak is known."""
        if "loss" in logs:
            elapsed = max(time.monotonic() - self._metered_since, 1e-9)
            targets = int(self._targets)
            self._logged_targets += targets
            logs["target_tokens_per_s"] = targets / elapsed
            if self._peak_flops and self._flops_per_token:
                logs["mfu"] = self._tokens * self._flops_per_token / elapsed / self._peak_flops
            self._tokens, self._targets, self._metered_since = 0, 0, time.monotonic()
        super().log(logs, start_time)

    # Checkpoints of sharded models: weights and optimizer are ours, the rest is the Trainer's.

    def _trained(self) -> dict[str, torch.Tensor]:
        """What a sharded checkpoint holds of the model: beside an adapter, not the frozen weights."""
        frozen = {name for name, parameter in self.model.named_parameters() if not parameter.requires_grad}
        return {name: tensor for name, tensor in kept_once(self.model).items() if name not in frozen}

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """The weights of a checkpoint. Every rank must call it."""
        if not self._sharded:
            super().save_model(output_dir, _internal_call)
            return
        assert output_dir is not None
        if self.args.should_save:
            self.model.config.save_pretrained(output_dir)
        save_weights(self._trained(), Path(output_dir))

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self._sharded:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        save_optimizer(self.model, self.optimizer.optimizer, Path(output_dir))
        if self.args.should_save:
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir, "scheduler.pt"))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        checkpoint = Path(resume_from_checkpoint)
        if holds_shards(checkpoint):
            load_weights(self._trained(), checkpoint)
        elif self._sharded:
            self._fill(checkpoint)
        elif (checkpoint / "pytorch_model_fsdp.bin").is_file():
            raise UserError(
                f"{checkpoint} is of a sharded run of an earlier version: start it as that was, "
                "or on CPUs with accelerate launch --config_file train/launch/fsdp2-cpu.yaml"
            )
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _fill(self, checkpoint: Path) -> None:
        """Take the weights of an unsharded run's checkpoint, which the first rank reads."""
        state = self._trained()
        source = whole_weights(str(checkpoint), self.model.config, state) if self.args.process_index == 0 else {}
        fill(state, source)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None or not (self._sharded or holds_shards(Path(checkpoint))):
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        load = load_optimizer if holds_shards(Path(checkpoint)) else load_whole_optimizer
        load(self.model, self.optimizer.optimizer, Path(checkpoint))
        self.lr_scheduler.load_state_dict(torch.load(Path(checkpoint, "scheduler.pt"), weights_only=True))

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Each rank's random state; of ranks that were not there, one that the step and the rank decide."""
        rank, ranks = self.args.process_index, self.args.world_size
        name = f"rng_state_{rank}.pth" if ranks > 1 else "rng_state.pth"
        if checkpoint is None or Path(checkpoint, name).is_file():
            super()._load_rng_state(checkpoint)
        else:
            set_seed(self.args.seed + (int(self.state.global_step) << 20) + rank)

    def load_best(self) -> int | None:
        """Take the weights of the lowest held-out loss where they are kept; their step. Every rank must call it."""
        best = self.state.best_global_step if self._keep_best else None
        folder = Path(self.args.output_dir) / f"checkpoint-{best}"
        if best is None or best == self.state.global_step or problem(folder, contents=False):
            return None
        if self.is_deepspeed_enabled:
            self.state.best_model_checkpoint = str(folder)
            self._load_best_model()
        else:
            self._load_from_checkpoint(str(folder))
        return int(best)

    # Checkpoints. The Trainer writes to the folder that `_get_output_dir` names: one aside, renamed once it is whole.

    def _get_output_dir(self, trial: Any) -> str:
        folder: str = super()._get_output_dir(trial)
        return str(Path(folder) / STAGING) if self._staging else folder

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self._staging = True
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self._staging = False
            self.state.best_model_checkpoint = None  # where it was staged: the Trainer would look for it at the end
        self.accelerator.wait_for_everyone()  # every rank's random state is part of it
        if self.args.should_save:
            output_dir = Path(self.args.output_dir)
            published = publish(output_dir / STAGING / f"checkpoint-{self.state.global_step}", output_dir)
            rotate(output_dir, self.args.save_total_limit, published, self.state.best_global_step)
        self.accelerator.wait_for_everyone()


@contextlib.contextmanager
def _usable(flag: str) -> Iterator[None]:
    """One line for a package that is not installed, or options that do not fit."""
    try:
        yield
    except (ImportError, ValueError, TypeError) as error:
        raise UserError(f"{flag} cannot be used so: {first_line(error)}") from error


def _scalar(value: Any, like: torch.Tensor) -> torch.Tensor:
    """A number, tensor or sharded tensor as one of the kind of ``like``, without asking the device for it."""
    if not isinstance(value, torch.Tensor):
        return torch.full_like(like, value)
    return whole(value).to(like)


class SaveInTime(TrainerCallback):  # type: ignore[misc]
    """Saves a checkpoint ``interval_s`` after the last one (0: never), by the clock of the first rank.

    SIGTERM (pre-emption) and the first Ctrl-C save one at the next step and end the run.
    """

    def __init__(self, interval_s: float) -> None:
        self.stopped_by = 0
        self._received = 0
        self._interval_s = interval_s or math.inf
        self._saved_at = time.monotonic()
        self._due = False

    def _handle(self, number: int, _frame: Any) -> None:
        if self._received and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._received = number

    def wishes(self, rank: int) -> list[bool]:
        """What this rank asks of all: to stop for either signal, and to save."""
        due = rank == 0 and time.monotonic() - self._saved_at >= self._interval_s
        return [*(self._received == number for number in _SIGNALS), due]

    def agree(self, *ranks: float) -> None:
        """Take how many ranks had each of these wishes: all do the same at the end of the same step."""
        self.stopped_by = next((number for number, n in zip(_SIGNALS, ranks, strict=False) if n), 0)
        self._due = ranks[-1] > 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        state.best_model_checkpoint = None  # a resumed state names the folder where it was staged
        self._saved_at = time.monotonic()
        for number in _SIGNALS:
            signal.signal(number, self._handle)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._saved_at = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        if self.stopped_by or self._due:
            control.should_save = True
        if self.stopped_by:
            control.should_training_stop = True
        return control


class _WrappedProbe(TrainerCallback):  # type: ignore[misc]
    """Runs the neighbour-swap probe on the wrapped model, in the run's own precision, before the first step."""

    def __init__(self, trainer: PackedTrainer) -> None:
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        model = self._trainer.model_wrapped
        vocab_size = self._trainer.accelerator.unwrap_model(model).config.get_text_config().vocab_size
        check_loss(model, vocab_size, args.device, args.bf16 or args.fp16)
