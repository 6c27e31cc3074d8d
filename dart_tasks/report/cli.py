"""``dart-report``: lm-eval results as tables, a page, a model card; comparison of models; regrading."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import NoReturn

import click

from dart_tasks import console
from dart_tasks.files import DataError, write_atomically

__all__ = ["command", "main"]

_EXAMPLES = """
\b
Examples:
  lm_eval --model hf --model_args pretrained=MODEL --tasks dart_math_suite --output_path out --log_samples
  dart-report out/*/results_*.json                        # a table beside the published models
  dart-report out/*BASE/results_*.json out/*MODEL/results_*.json --html report.html   # compared on the same items
  dart-report results_DATE.json --markdown report.md --math-verify
  dart-report results_DATE.json --model-card MODEL/README.md --base mistralai/Mistral-7B-v0.1 --data DATASET
  dart-report --regrade out/*/samples_*.jsonl             # the same responses under today's grader
"""


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EXAMPLES,
    no_args_is_help=True,
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--html",
    "html_path",
    type=click.Path(path_type=Path),
    help="Write a self-contained page with responses to read, wrong and right ones.",
)
@click.option("--markdown", "markdown_path", type=click.Path(path_type=Path), help="Write the report as Markdown.")
@click.option(
    "--label",
    "labels",
    multiple=True,
    help="A name for each run, in order (repeat the option); a file with several prompt variants holds several runs.",
)
@click.option(
    "--max-responses",
    default=5000,
    show_default=True,
    type=click.IntRange(0),
    help="Responses that the page shows: wrong ones first, then a fixed sample of the right ones.",
)
@click.option("--math-verify", is_flag=True, help="Also show how often Math-Verify agrees with our verdicts.")
@click.option(
    "--regrade", "is_regrade", is_flag=True, help="FILES are sample logs: grade them again, list differences."
)
@click.option(
    "--model-card",
    "card_path",
    type=click.Path(path_type=Path),
    help="Write a Hugging Face model card (one results file).",
)
@click.option("--base", help="With --model-card: the base model it was fine-tuned from.")
@click.option("--data", "datasets", multiple=True, help="With --model-card: a training dataset (repeatable).")
@click.option("--synthesiser", "synthesisers", multiple=True, help="With --model-card: a model that made the data.")
@click.option("--license", "licence", help="With --model-card: the licence, where the sources leave a choice.")
def command(
    files: tuple[Path, ...],
    html_path: Path | None,
    markdown_path: Path | None,
    labels: tuple[str, ...],
    max_responses: int,
    math_verify: bool,
    is_regrade: bool,
    card_path: Path | None,
    base: str | None,
    datasets: tuple[str, ...],
    synthesisers: tuple[str, ...],
    licence: str | None,
) -> None:
    """Report on FILES, the results_*.json of lm-eval runs of dart_math tasks.

    Prints a table of accuracies beside the published ones. Samples logged beside the results (--log_samples) add the
    accuracy by group, paired comparisons and failures.
    """
    from dataclasses import replace

    from dart_tasks.licences import CardError
    from dart_tasks.report.agreement import math_verify_agreement
    from dart_tasks.report.results import read_runs, told_apart
    from dart_tasks.report.summary import percent, summarise
    from dart_tasks.report.text import markdown, print_terminal

    if is_regrade and (html_path or markdown_path or card_path or labels or math_verify):
        raise click.UsageError("--regrade only lists differences: leave the other options out")
    if card_path and len(files) != 1:
        raise click.UsageError("--model-card takes one results file")
    if card_path and not base:
        raise click.UsageError("--model-card needs --base, the model it was fine-tuned from")
    try:
        if is_regrade:
            _regrade(files)
            return
        runs = [run for path in files for run in read_runs(path)]
        if labels and len(labels) != len(runs):
            found = ", ".join(run.label for run in runs)
            raise click.UsageError(f"--label: {len(labels)} labels for {len(runs)} runs ({found})")
        runs = [replace(run, label=label) for run, label in zip(runs, labels or told_apart(runs), strict=True)]
        extra = []
        for run in runs if math_verify else ():
            for task in run.tasks:
                agreement = math_verify_agreement(task)
                extra.append(
                    f"{run.label}, {task.title}: Math-Verify agrees on {percent(agreement.share)}% of {agreement.n:,} "
                    f"responses (right by both {agreement.both_right:,}, only by ours {agreement.only_ours:,}, only by "
                    f"Math-Verify {agreement.only_math_verify:,})."
                )
        report = summarise(runs)
        report = replace(report, notes=(*report.notes, *extra))
        print_terminal(report)
        if markdown_path:
            _write(markdown_path, markdown(report))
        if html_path:
            from dart_tasks.report.page import html_page

            _write(html_path, html_page(report, max_responses))
        if card_path:
            from dart_tasks.report.model_card import card_of_run

            assert base is not None
            whole = replace(
                runs[0],
                label=labels[0] if labels else Path(runs[0].model).name,
                tasks=tuple(task for run in runs for task in run.tasks),
            )
            _write(card_path, card_of_run(whole, base, datasets, synthesisers, licence))
    except (DataError, CardError) as error:
        raise click.ClickException(str(error)) from None


def _regrade(files: tuple[Path, ...]) -> None:
    from dart_tasks.grading import GRADER_VERSION
    from dart_tasks.report.regrade import regrade

    for path in files:
        result = regrade(path)
        before = "not graded before" if result.before is None else f"{100 * result.before:.2f}"
        click.echo(
            f"{console.printable(path.name)}: {result.n_responses:,} responses, accuracy {before} -> "
            f"{100 * result.now:.2f} with grader {GRADER_VERSION}, {len(result.changes):,} verdicts changed"
        )
        for change in result.changes:
            verdicts = f"{'right' if change.before else 'wrong'} -> {'right' if change.now else 'wrong'}"
            line = f"  {change.item} #{change.trial}: {verdicts}: {change.answer!r}"
            line += f" for {change.reference} ({change.reason})"
            click.echo(console.printable(line.replace("\n", " ")))


def _write(path: Path, text: str) -> None:
    try:
        write_atomically(path, text)
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror}") from None
    click.echo(f"wrote {path}", err=True)


def main() -> NoReturn:
    """The console script's entry."""
    gc.disable()  # a quarter of the time on 100,000 samples, which refer to each other nowhere
    console.run(command, "dart-report")
