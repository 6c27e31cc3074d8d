"""Does difficulty-aware sampling beat vanilla rejection sampling? Run it with ``make miniature``.

Usage::

    python -m experiments.miniature                          3 strategies, 5 seeds, 1 size: 70 minutes on two cores
    python -m experiments.miniature --full                   3 students, 3 sizes and all ablations: many hours
    python -m experiments.miniature --seeds 1 --queries-per-level 20 --size 60 --test-per-level 20 --student-steps 60 \\
        --output miniature-try                               minutes: does everything work?

Every stage is a command of the product, printed before it runs; its output goes to a log beside its folder. Interrupted
at any moment, the same command goes on where it stopped. The report is written at the end, from what is there.
"""

from __future__ import annotations

import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path

import click

from dart_tasks.console import first_line, run
from experiments.miniature.design import EQUAL_TRIALS, Grid, Settings
from experiments.miniature.results import equal_trials_k
from experiments.miniature.stages import (
    COMMAND_SETTINGS,
    Stage,
    StageError,
    environment_of_commands,
    pending,
    run_stages,
)

FULL_SIZES = (0.5, 1.0, 2.0)
"""Of the main size."""


@click.command(
    help=__doc__.split("\n\n")[0] if __doc__ else None,
    epilog="Examples: make miniature; python -m experiments.miniature --dry-run; --only-report --page page.md",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--full", is_flag=True, help="Also stronger students, three sizes, equal trials, and ablations: many hours."
)
@click.option("--seeds", type=click.IntRange(1), default=Settings.seeds, show_default=True, help="Repetitions.")
@click.option(
    "--queries-per-level",
    type=click.IntRange(1),
    default=Settings.queries_per_level,
    show_default=True,
    help="Training queries of each of the five levels.",
)
@click.option("--size", type=click.IntRange(1), default=Settings.main_size, show_default=True, help="Responses.")
@click.option(
    "--test-per-level",
    type=click.IntRange(1),
    default=Settings.test_per_level,
    show_default=True,
    help="Held-out problems of each level.",
)
@click.option("--epochs", type=click.IntRange(1), default=Settings.epochs, show_default=True, help="Of a fine-tuning.")
@click.option(
    "--student-at",
    type=click.FloatRange(0, 1, min_open=True),
    default=Settings.student_at,
    show_default=True,
    help="Share of the synthesiser's training after which the student is taken.",
)
@click.option(
    "--student-steps",
    type=click.IntRange(1),
    default=Settings.student_steps,
    show_default=True,
    help="Steps of that training in all; fewer only to try the pipeline.",
)
@click.option("--jobs", type=click.IntRange(1), default=2, show_default=True, help="Commands side by side.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("miniature"),
    show_default=True,
    help="Folder of all stages.",
)
@click.option("--page", type=click.Path(path_type=Path), help="The report [default: OUTPUT/miniature.md].")
@click.option("--dry-run", is_flag=True, help="List the stages that are left, and stop.")
@click.option("--only-report", is_flag=True, help="Write the report from what is there, and stop.")
def main(
    full: bool, seeds: int, queries_per_level: int, size: int, test_per_level: int, epochs: int, student_at: float,
    student_steps: int, jobs: int, output: Path, page: Path | None, dry_run: bool, only_report: bool,
) -> None:  # fmt: skip
    """Run what is left of the grid, then write the report."""
    if not Path("train/sft.py").is_file():
        raise click.ClickException("run it in the root of a checkout: train/sft.py is not here")
    sizes = tuple(max(1, round(size * part)) for part in FULL_SIZES)
    settings = replace(
        Settings(), seeds=seeds, queries_per_level=queries_per_level, sizes=sizes, main_size=size,
        test_per_level=test_per_level, test_per_variation=min(test_per_level, Settings.test_per_variation),
        epochs=epochs, student_at=student_at, student_steps=student_steps,
    )  # fmt: skip
    grid = Grid(settings, root=output)
    started = time.monotonic()
    try:
        if not only_report:
            _run(grid, full, jobs, dry_run)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except StageError as error:
        raise click.ClickException(f"{error}\nThe same command goes on from here.") from error
    except KeyboardInterrupt:
        click.echo("stopped; the same command goes on from here", err=True)
        sys.exit(130)
    if dry_run:
        return
    from experiments.miniature.report import write_report

    page = page or output / "miniature.md"
    try:
        write_report(grid, page)
    except FileNotFoundError as error:
        raise click.ClickException(first_line(error)) from error
    click.echo(f"wrote {page}" + ("" if only_report else f" ({(time.monotonic() - started) / 60:.0f} minutes)"))


def _run(grid: Grid, full: bool, jobs: int, dry_run: bool) -> None:
    if dry_run:
        left = pending([*_default(grid), *(_extra(grid) if full else [])], grid.root)
        for stage in left:
            click.echo(stage.name)
            for command in stage.commands:
                click.echo(f"  $ {shlex.join(command)}")
        click.echo(f"{len(left)} stages left")
        return
    settings = " ".join(f"{name}={value}" for name, value in COMMAND_SETTINGS.items())
    for part in (_default, _extra) if full else (_default,):  # the second depends on what the first finds
        stages = part(grid)
        click.echo(f"{len(pending(stages, grid.root))} stages to do, {jobs} at a time, each with {settings}")
        run_stages(stages, grid.root, jobs, environment_of_commands(), click.echo)


def _default(grid: Grid) -> list[Stage]:
    """Pools of all seeds first, beside the student's training, which they do not need."""
    cells = grid.cells()
    pools = [grid.data(*cell) for cell in cells]
    return [grid.student(), *pools, *grid.references().values(), *(grid.result(*cell) for cell in cells)]


def _extra(grid: Grid) -> list[Stage]:
    """Stronger students, which need no pools of their own; then seed by seed all else, so that some are complete early.

    Vanilla with as many trials as Prop2Diff has used is there as soon as that has run.
    """
    stronger = grid.stronger()
    stages = [other.references()["student"] for other in stronger]
    stages += [other.result(*cell) for cell in grid.cells() for other in stronger]
    for seed in range(grid.settings.seeds):
        if k := equal_trials_k(grid, seed):
            stages.append(grid.result(EQUAL_TRIALS, grid.settings.main_size, seed, k))
        stages += [grid.result(*cell) for cell in grid.extra_cells() if cell[2] == seed]
    return stages


if __name__ == "__main__":
    run(main, "python -m experiments.miniature")
