"""``dart-synth``: sample responses until every query has its quota of correct ones."""

from __future__ import annotations

import importlib.util
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dart_tasks.console import counted, first_line, printable, run, stdout_console
from dart_tasks.files import DataError
from synth import commands
from synth.config import RunConfig, rows
from synth.data import is_at_hand
from synth.options import EXIT_SET_ASIDE, config_from_options, run_options, take_only

if TYPE_CHECKING:
    from dart_tasks.problems.record import Problem
    from synth.display import Display

__all__ = ["command", "main"]

_EPILOG = """\b
Examples:
  dart-synth --preset demo --output runs/demo
  dart-synth --strategy prop2diff                      (the paper's recipe: needs a GPU)
  dart-synth --engine ray --ray-address auto --replicas 64 --output runs/prop2diff
  dart-synth --engine openai --endpoint http://node7:8000/v1 --endpoint http://node8:8000/v1 --output runs/served
  dart-synth --strategy uniform -k 8 --dataset problems.jsonl --model ./model --prompt-template model --output runs/mine

A run that was stopped or killed resumes when the same command is given again.

\b
Exit codes: 0 every query is settled; 1 failed; 2 bad usage; 3 finished, but queries were set aside
(no server or model took them: listed at the end, tried again by the same command); 130 stopped.
"""


@click.group(invoke_without_command=True, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--output", "run_dir", type=click.Path(path_type=Path), metavar="RUN", help="Folder of the run.")
@click.option("--dry-run", is_flag=True, help="Print the plan and the first prompt, and stop.")
@run_options
@click.pass_context
def command(context: click.Context, /, run_dir: Path | None, dry_run: bool, preset: str, **options: Any) -> int | None:
    """Sample, grade and keep correct responses until every query's quota is met (DARS, arXiv 2407.13690)."""
    if context.invoked_subcommand is not None:
        take_only(context, (), {}, f"it goes after {context.invoked_subcommand}")
        return None
    config = config_from_options(preset, options)
    run_dir = run_dir or Path("runs") / f"{config.strategy}-{preset}"
    print_plan(config, preset, run_dir)
    try:
        config.template()
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if config.temperature == 0 and config.max_trials > 1:
        click.echo(
            "temperature 0 gives the same response every time: trials after a query's first are wasted", err=True
        )
    if config.reproducible and config.engine == "openai":
        click.echo(
            "--reproducible: a vLLM server on a CPU may die of seeded requests unless it was started with "
            "--no-enable-chunked-prefill", err=True,
        )  # fmt: skip
    if dry_run:
        _show_first_prompt(config)
        return None
    _check_at_hand(config)
    return _synthesise(config, run_dir)


for _subcommand in (
    commands.curate, commands.plan, commands.regrade, commands.repair, commands.report, commands.status,
    commands.temperature,
):  # fmt: skip
    command.add_command(_subcommand)


def main() -> None:
    """Entry point of ``dart-synth``."""
    run(command, "dart-synth")


# ---------------------------------------------------------------------- the plan
def print_plan(config: RunConfig, preset: str, run_dir: Path) -> None:
    """Show every setting of the run: a table in a terminal, plain lines when piped."""
    said = {"preset": preset, **rows(config), "output": str(run_dir)}
    lines = [(name, line) for name, text in said.items() for line in text.split("\n")]
    if not sys.stdout.isatty():
        for name, value in lines:
            click.echo(f"{name:<12} {printable(value)}")
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(title="dart-synth", title_justify="left", box=None, pad_edge=False, show_header=False)
    for name, value in lines:
        table.add_row(Text(name, style="bold"), Text(printable(value)))
    stdout_console().print(table)


def _show_first_prompt(config: RunConfig) -> None:
    from synth.dry_run import first_prompt

    _check_files(config)
    try:
        lines = first_prompt(config)
    except (DataError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    click.echo("\n" + "\n".join(lines))


# ---------------------------------------------------------------------- what must be at hand
def _check_files(config: RunConfig) -> None:
    """Refuse a path of queries that is mistyped."""
    for spec in config.datasets:
        is_file = Path(spec.path).suffix in (".jsonl", ".json", ".parquet", ".csv")
        if (is_file or spec.path.startswith((".", "/"))) and not Path(spec.path).exists():
            raise click.UsageError(f"no data set {spec.path}")


def _check_at_hand(config: RunConfig) -> None:
    """Refuse in one line, before anything is downloaded, what cannot work on this machine."""
    _check_files(config)
    if config.engine == "openai":  # the servers have the model
        return
    model = Path(config.model)
    if not model.is_dir() and (model.is_absolute() or config.model.count("/") != 1 or config.model.startswith(".")):
        raise click.UsageError(f"no model folder {config.model}: give --model a folder or a hub name (owner/name)")
    if model.is_dir() and not (model / "config.json").is_file():
        raise click.UsageError(f"{config.model} is not a model folder: it has no config.json")
    if config.adapter and not (Path(config.adapter) / "adapter_config.json").is_file():
        raise click.UsageError(f"--adapter {config.adapter} is not an adapter's folder: it has no adapter_config.json")
    if config.engine == "ray":  # its nodes have vLLM and the GPUs
        if importlib.util.find_spec("ray") is None:
            raise click.UsageError("--engine ray needs Ray: install dart-math-suite[ray]")
        return
    missing = []
    if importlib.util.find_spec("vllm") is None:
        missing.append("vLLM (install dart-math-suite[vllm], or [cpu])")
    if not _has_gpu():
        if not model.is_dir():
            missing.append("a GPU")
            if not _model_is_cached(config):
                missing.append(f"the model {config.model}")
        missing += [f"the data set {spec.path}" for spec in config.datasets if not is_at_hand(spec)]
    if missing:
        raise click.UsageError(
            f"not at hand here: {', '.join(missing)}; nothing was downloaded: "
            "try --preset demo, which needs none of it, or give local --model and --dataset"
        )


def _has_gpu() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())


def _model_is_cached(config: RunConfig) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(config.model, "config.json", revision=config.revision), str)


# ---------------------------------------------------------------------- the run
def _synthesise(config: RunConfig, run_dir: Path) -> int:
    from dart_tasks.grading import GRADER_VERSION, GradingPool
    from synth.display import LiveDisplay, PlainDisplay, print_state, set_aside_lines, snapshot
    from synth.engines import EngineError
    from synth.ledger import LedgerError
    from synth.manifest import ManifestMismatchError
    from synth.noise import quiet_maker
    from synth.run import load_run_queries, synthesise
    from synth.usage import usage_lines

    try:
        queries = load_run_queries(config, click.echo)
        click.echo(f"{'queries':<12} {len(queries):,}")
        _check_queries(config, queries)
        stop = threading.Event()
        display = LiveDisplay(queries, stdout_console()) if sys.stdout.isatty() else PlainDisplay(queries)
        grading = GradingPool(config.grade_workers, timeout_s=config.grade_timeout_s)
        with _draining(stop, display), grading as grader, display:
            report = synthesise(
                config, run_dir, queries, quiet_maker(run_dir, click.echo), grader, GRADER_VERSION,
                observer=display, stop=stop, say=click.echo,
            )  # fmt: skip
    except DataError as error:
        raise click.UsageError(str(error)) from error
    except ManifestMismatchError as error:
        raise click.UsageError(str(error)) from error
    except (EngineError, LedgerError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:  # as a disk that is full
        reason = f"{first_line(error)}: committed trials are safe, give the same command again"
        raise click.ClickException(f"cannot write to {run_dir}: {reason}") from error
    print_state(snapshot(report.plan.scheduler, queries))
    for line in set_aside_lines(report.progress.set_aside, queries):
        click.echo(line)
    for line in usage_lines(report.usage):
        click.echo(line)
    if report.exported is None:
        click.echo(f"stopped: this attempt recorded {counted(report.progress.n_trials, 'trial')} in {run_dir}; "
                   "give the same command again to go on")  # fmt: skip
        return 130
    click.echo(
        f"{counted(report.exported.n_responses, 'response')} to {counted(report.exported.n_queries, 'query')}, "
        f"from {counted(report.exported.n_trials, 'trial')}, written to {run_dir / 'dataset'}"
    )
    if report.exported.n_thoughts and not config.keep_thinking:
        click.echo(f"thoughts of {counted(report.exported.n_thoughts, 'trial')} are in the pool's column `reasoning`; "
                   "--keep-thinking would write them into the responses")  # fmt: skip
    return EXIT_SET_ASIDE if report.progress.set_aside else 0


def _check_queries(config: RunConfig, queries: Sequence[Problem]) -> None:
    """Refuse what can be told once the queries are known."""
    from synth.prompting import prompt_maker

    try:
        prompt_maker(config, {query.benchmark for query in queries})
    except ValueError as error:
        raise click.UsageError(str(error)) from error


@contextmanager
def _draining(stop: threading.Event, display: Display) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) asks the run to finish what is in flight; a second one ends it at once.

    So does the first one before anything is in flight.
    """

    def on_signal(number: int, frame: object) -> None:
        if stop.is_set() or not display.has_begun:
            raise KeyboardInterrupt
        stop.set()
        click.echo("stopping: finishing what is in flight (again to stop at once)", err=True)

    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
