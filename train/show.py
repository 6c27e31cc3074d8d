"""What a run prints: the plan, one example with its mask, progress, and the summary. Plain text when piped."""

from __future__ import annotations

import itertools
import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Table
from rich.text import Text
from transformers import TrainerCallback

from dart_tasks.console import counted, printable, stdout_console

if TYPE_CHECKING:
    from train.arguments import Options
    from train.prepare import Prepared
    from train.recipe import Batching

__all__ = ["Progress", "card_rows", "example", "line", "plan", "recipe", "sizes", "summary", "table"]

_SHOWN_CHARACTERS = 600
_SHOWN_TURNS = 3
_LOOKED_AT = 100


def line(text: str) -> None:
    """One line of plain text."""
    print(printable(text), flush=True)


def table(title: str, rows: list[tuple[str, str]]) -> None:
    """Names and values in two columns."""
    grid = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    grid.add_column()
    grid.add_column()
    for name, value in rows:
        grid.add_row(Text(name), Text(printable(value)))
    stdout_console().print(grid)


def _recipe_rows(options: Options) -> list[tuple[str, str]]:
    data = "; ".join(f"{s.source} ({s.query} -> {s.response}, {s.template} prompt)" for s in options.data)
    return [
        ("recipe", options.recipe.title),
        ("model", options.model),
        ("data", data),
        ("packs", f"{' to '.join(_ends(options.pack_sizes))} tokens, {options.global_batch} per optimizer step"),
        *((name, str(value)) for name, value in options.training.items() if name != "output_dir"),
        ("output", options.output_dir),
    ]


def recipe(options: Options) -> None:
    """The plan as far as it is known without data or model."""
    table("plan", _recipe_rows(options))


def plan(
    options: Options,
    arguments: Any,
    model: str,
    prepared: Prepared,
    batching: Batching,
    distributed: str,
    attention: str,
) -> None:
    """The whole plan, resolved."""
    report, lengths, held = prepared.report, prepared.lengths, prepared.held_out
    steps = prepared.packs // batching.global_batch
    total = arguments.max_steps if arguments.max_steps > 0 else math.ceil(steps * arguments.num_train_epochs)
    precision = "bf16" if arguments.bf16 else "fp16" if arguments.fp16 else "float32"
    table(
        "plan",
        [
            ("recipe", options.recipe.title),
            ("model", model),
            *(
                ("data", f"{source} ({form})")
                for source, form in zip(prepared.encoded.sources, prepared.encoded.forms, strict=True)
            ),
            ("samples", f"{len(lengths):,}" + (f" (left out: {report.reasons})" if report.left_out else "")),
            ("tokens", f"{int(lengths.sum()):,}, of which targets {int(prepared.targets.sum()):,}"),
            *(
                [("held out", f"{counted(len(held), 'sample')} in {counted(len(held.packs), 'pack')}")]
                if (held := prepared.held_out)
                else []
            ),
            ("packs", _packs(options, prepared)),
            (
                "step",
                f"{batching.global_batch} packs = {batching.world_size} processes x {batching.accumulation} "
                f"micro-batches x {batching.micro_batch}",
            ),
            ("steps", f"{steps:,} an epoch, {total:,} in all, {arguments.get_warmup_steps(total):,} of warm-up"),
            ("learning rate", f"{arguments.learning_rate:g}, {getattr(arguments.lr_scheduler_type, 'value', '')}"),
            ("precision", f"{precision}, {_kept(options)}"),
            ("attention", attention),
            ("distributed", f"{distributed}, {arguments.world_size} process(es) on {arguments.device.type}"),
            ("checkpoints", _saving(options, arguments)),
            ("output", str(arguments.output_dir)),
        ],
    )


def sizes(packs_by_size: Mapping[int, int]) -> str:
    """How many packs have which size."""
    return ", ".join(f"{packs:,} of up to {counted(size, 'token')}" for size, packs in packs_by_size.items())


def _packs(options: Options, prepared: Prepared) -> str:
    return f"{sizes(prepared.packs_by_size(options.pack_sizes))}, {prepared.efficiency:.2%} full"


def _ends(ascending: Sequence[int]) -> list[str]:
    return [f"{size:,}" for size in dict.fromkeys((ascending[0], ascending[-1]))]


def _saving(options: Options, arguments: Any) -> str:
    strategy = arguments.save_strategy.value
    parts = {"no": "", "epoch": "every epoch", "steps": f"every {arguments.save_steps:g} steps"}
    regular = parts.get(strategy, strategy)
    timed = f"every {options.save_minutes:g} minutes" if options.save_minutes else ""
    return " and ".join(part for part in (regular, timed) if part) or "none before a signal"


def _kept(options: Options) -> str:
    """In what precision the weights are kept."""
    if not options.lora:
        return "float32 master weights"
    return f"frozen weights in {'4 bits (NF4)' if options.load_in_4bit else 'the same'}, adapter in float32"


def card_rows(options: Options, arguments: Any, prepared: Prepared, batching: Batching) -> dict[str, str]:
    """The recipe as the model card tells it."""
    return {
        "recipe": options.recipe.name,
        "learning rate": f"{arguments.learning_rate:g}, {getattr(arguments.lr_scheduler_type, 'value', '')}",
        "epochs": f"{arguments.num_train_epochs:g}" if arguments.max_steps <= 0 else f"{arguments.max_steps} steps",
        "samples": f"{len(prepared.lengths):,}",
        "target tokens": f"{int(prepared.targets.sum()):,} an epoch",
        "packs": _packs(options, prepared),
        "global batch": f"{batching.global_batch} packs",
        **({"adapter": f"LoRA {options.lora}, merged"} if options.lora else {}),
        **({"frozen weights": "4 bits (NF4), as trained"} if options.load_in_4bit else {}),
        "prompts": ", ".join(dict.fromkeys(prepared.encoded.forms)),
        "precision": "bf16" if arguments.bf16 else "fp16" if arguments.fp16 else "float32",
        "seed": str(arguments.seed),
    }


def example(prepared: Prepared, tokenizer: Any) -> None:
    """One decoded sample, that with most turns of the first ones: targets bright, the rest dim."""
    samples = [prepared.encoded.sample(int(index)) for index in prepared.report.kept[:_LOOKED_AT]]
    ids, is_target = max(samples, key=lambda sample: np.count_nonzero(np.diff(sample[1])))
    console = stdout_console()
    edges = [0, *(np.flatnonzero(np.diff(is_target)) + 1).tolist(), len(ids)]
    for start, end in itertools.pairwise(edges[: 2 * _SHOWN_TURNS + 1]):
        text = printable(tokenizer.decode(ids[start:end].tolist()))
        if is_target[start]:
            console.print(Text("example (response and EOS: targets)"))
            console.print(Text(text[:_SHOWN_CHARACTERS] + "\n", style="bold"))
        else:
            console.print(Text("\nexample (prompt: no loss)" if not start else "example (next prompt: no loss)"))
            console.print(Text(text[-_SHOWN_CHARACTERS:], style="dim"))
    if len(edges) > 2 * _SHOWN_TURNS + 1:
        console.print(Text(f"... and {len(edges) // 2 - _SHOWN_TURNS} more turns\n"))


class Progress(TrainerCallback):  # type: ignore[misc]
    """A bar in a terminal, a line per log elsewhere: loss, learning rate, gradient norm, target tokens/s, MFU."""

    def __init__(self) -> None:
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None
        self._started = (0.0, 0)
        """When the first of this process's steps was done, and its number: the first one alone is slower."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not state.is_world_process_zero or args.disable_tqdm or not sys.stdout.isatty():
            return
        self._bar = RichProgress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[log]}"),
        )
        self._task = self._bar.add_task("training", total=state.max_steps, completed=state.global_step, log="")
        self._bar.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not self._started[1]:
            self._started = time.monotonic(), state.global_step
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if not state.is_world_process_zero or not logs:
            return
        if "eval_loss" in logs:
            by_set = {name[5:-5]: loss for name, loss in logs.items() if name.endswith("_loss") and name != "eval_loss"}
            parts = "; ".join(f"{source} {loss:.4f}" for source, loss in by_set.items()) if len(by_set) > 1 else ""
            line(f"step {state.global_step}/{state.max_steps}  held-out loss {logs['eval_loss']:.4f}  {parts}".rstrip())
        if "loss" not in logs:
            return
        text = f"loss {logs['loss']:.4f}  lr {logs['learning_rate']:.2e}"
        if "grad_norm" in logs:
            text += f"  grad norm {logs['grad_norm']:.3f}"
        text += f"  {logs['target_tokens_per_s']:,.0f} target tokens/s"
        if "mfu" in logs:
            text += f"  MFU {logs['mfu']:.1%}"
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, log=text)
        else:
            left = self._left(state.global_step, state.max_steps)
            line(f"{time.strftime('%H:%M:%S')}  step {state.global_step}/{state.max_steps}  {text}{left}")

    def _left(self, step: int, steps: int) -> str:
        """The time that is left, at the pace so far."""
        since, first = self._started
        if step <= first or step >= steps:
            return ""
        left_s = round((time.monotonic() - since) / (step - first) * (steps - step))
        return f"  {left_s // 3600}:{left_s // 60 % 60:02}:{left_s % 60:02} left"

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._bar is not None:
            self._bar.stop()


def summary(
    trainer: Any, prepared: Prepared, result: Any, elapsed_s: float, output_dir: Path, best: int | None
) -> None:
    """What the run did. ``best`` is the step whose weights were exported where it is not the last."""
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    held = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    rows = [
        ("steps", f"{trainer.state.global_step:,}"),
        ("loss", f"{losses[0]:.4f} at first, {losses[-1]:.4f} at last" if losses else f"{result.training_loss:.4f}"),
        *([("held-out loss", f"{held[0]:.4f} at first, {held[-1]:.4f} at last")] if held else []),
        ("target tokens", f"{trainer.target_tokens_seen:,} in {elapsed_s:,.1f} s"),
        ("target tokens/s", f"{trainer.target_tokens_seen / max(elapsed_s, 1e-9):,.0f}"),
        ("packing", f"{prepared.efficiency:.2%} full"),
        ("model", f"{output_dir}{f', of step {best}: the lowest held-out loss' if best else ''}"),
    ]
    table("\nsummary", rows)
