"""``transformers.Trainer`` on packs: our data order, whole checkpoints, and a stop where training goes wrong.

Everything else (optimizer, schedule, DDP, FSDP2, ZeRO-3, precision, logging integrations) is the Trainer's own.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import torch
from transformers import Trainer, TrainerCallback

from train.checkpoints import STAGING, publish, rotate
from train.collate import Collator
from train.data import Encoded
from train.errors import DivergenceError
from train.loader import PackDataset, StepSampler
from train.preflight import check_loss
from train.recipe import Batching

__all__ = ["LossGuard", "PackedTrainer", "StopOnSignal"]


class LossGuard:
    """Stops a run whose loss is not finite or explodes, and names the samples of the micro-batch where it happened
    (where only the gradient is not finite: those of the step on that rank).

    *Explodes* means twice as bad as guessing among all tokens alike, or, after a warm-up, more than two nats and four
    times above the running mean.
    """

    warm_up = 10
    decay = 0.9

    def __init__(self, vocab_size: int, name: Callable[[int], str]) -> None:
        self._limit = 2 * math.log(vocab_size)
        self._name = name
        self._mean = 0.0
        self._seen = 0

    def check(self, loss: float, targets: int, samples: list[int], step: int) -> None:
        """One micro-batch's mean loss over its ``targets`` tokens, in nats.

        Raises:
            DivergenceError: see the class.
        """
        if not targets:  # an empty pack's zero says nothing, and would pull the running mean down
            return
        if not math.isfinite(loss):
            problem = f"the loss is {loss}"
        elif loss > self._limit:
            problem = f"the loss is {loss:.2f}, twice as bad as guessing ({self._limit:.2f})"
        elif self._seen >= self.warm_up and loss > 4 * self._mean + 2:
            problem = f"the loss jumped from about {self._mean:.2f} to {loss:.2f}"
        else:
            self._seen += 1
            self._mean = loss if self._seen == 1 else self.decay * self._mean + (1 - self.decay) * loss
            return
        self._stop(problem, "the micro-batch", samples, step)

    def check_gradient(self, norm: float, samples: list[int], step: int) -> None:
        """The norm of a step's gradient, before it is applied: one that is not finite would spoil every weight.

        Raises:
            DivergenceError: it is not finite.
        """
        if not math.isfinite(norm):
            self._stop(f"the gradient's norm is {norm}", "the step on this process", samples, step)

    def _stop(self, problem: str, part: str, samples: list[int], step: int) -> NoReturn:
        named = ", ".join(self._name(sample) for sample in samples[:20])
        more = f" and {len(samples) - 20} more" if len(samples) > 20 else ""
        raise DivergenceError(f"stopped in step {step}: {problem}. Samples of {part}: {named}{more}")


class PackedTrainer(Trainer):  # type: ignore[misc]
    """A Trainer over packs. The model must have been given its loss by :func:`train.loss.install`."""

    def __init__(
        self,
        *,
        encoded: Encoded,
        dataset: PackDataset,
        batching: Batching,
        flops_per_token: float = 0.0,
        peak_flops: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(train_dataset=dataset, data_collator=Collator(encoded), **kwargs)
        self._signal = StopOnSignal()
        self.add_callback(self._signal)
        self.add_callback(_WrappedProbe(self))
        self._packs = dataset
        self._batching = batching
        self._guard = LossGuard(self.model.config.get_text_config().vocab_size, encoded.name)
        self._flops_per_token = flops_per_token
        self._peak_flops = peak_flops
        self._tokens = 0
        self._targets: torch.Tensor | int = 0
        self._metered_since = 0.0
        self._staging = False
        self._step_samples: list[int] = []
        self._logged_targets = 0

    @property
    def stopped_by(self) -> int:
        """The signal that ended training early; 0 if none did."""
        return self._signal.received

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

    def _run_epoch(self, *arguments: Any, **options: Any) -> None:
        # Resumed from its last step in the middle of an epoch, the Trainer would take one step more.
        if self.state.global_step >= self.state.max_steps:
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
        self._step_samples = []
        return batches, items

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """This micro-batch's share of the step's loss, scaled so that the mean over ranks is the whole."""
        samples = inputs.pop("sample_ids").tolist()
        self._step_samples += samples
        result = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        loss = result[0] if return_outputs else result
        targets = int((inputs["labels"][..., 1:] != -100).sum())
        share = float(loss.detach()) / self.accelerator.num_processes
        mean = share * int(num_items_in_batch) / max(targets, 1)
        self._guard.check(mean, targets, samples, self.state.global_step + 1)
        return result

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        if not self.args.fp16:  # there the scaler expects such steps, and skips them
            value = float(norm.item() if isinstance(norm, torch.Tensor) else norm)
            self._guard.check_gradient(value, self._step_samples, self.state.global_step + 1)
        return norm

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
        self.accelerator.wait_for_everyone()  # every rank's random state is part of it
        if self.args.should_save:
            output_dir = Path(self.args.output_dir)
            published = publish(output_dir / STAGING / f"checkpoint-{self.state.global_step}", output_dir)
            rotate(output_dir, self.args.save_total_limit, published)
        self.accelerator.wait_for_everyone()


class StopOnSignal(TrainerCallback):  # type: ignore[misc]
    """SIGTERM (pre-emption) and the first Ctrl-C save a checkpoint at the next step and end the run."""

    def __init__(self) -> None:
        self.received = 0

    def _handle(self, number: int, _frame: Any) -> None:
        if self.received and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        if args.world_size > 1:  # one rank's signal is everyone's, in the same step
            received = torch.tensor(self.received, device=args.device)
            torch.distributed.all_reduce(received, op=torch.distributed.ReduceOp.MAX)
            self.received = int(received)
        if self.received:
            control.should_save = True
            control.should_training_stop = True
        return control


class _WrappedProbe(TrainerCallback):  # type: ignore[misc]
    """Runs the neighbour-swap probe on the wrapped model, in the run's own precision, before the first step."""

    def __init__(self, trainer: PackedTrainer) -> None:
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        model = self._trainer.model_wrapped
        vocab_size = self._trainer.accelerator.unwrap_model(model).config.get_text_config().vocab_size
        check_loss(model, vocab_size, args.device)
