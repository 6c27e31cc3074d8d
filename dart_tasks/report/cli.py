"""``dart-report``: lm-eval results as tables, a page, a model card; comparison of models; regrading."""

from __future__ import annotations

import gc
import json
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
  dart-report results_DATE.json --judge math-verify --csv responses.csv     # where do two judges differ?
  dart-report samples_gsm8k_DATE.jsonl --judge math-verify                  # of any lm-eval task
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
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all figures and lists as JSON.")
@click.option("--csv", "csv_path", type=click.Path(path_type=Path), help="Write a row for each response as CSV.")
@click.option(
    "--judge",
    type=click.Choice(["math-verify"]),
    help="Let a second judge grade every response too, and list those on which the two differ.",
)
@click.option("--math-verify", "judge", flag_value="math-verify", hidden=True)
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
    json_path: Path | None,
    csv_path: Path | None,
    judge: str | None,
    is_regrade: bool,
    card_path: Path | None,
    base: str | None,
    datasets: tuple[str, ...],
    synthesisers: tuple[str, ...],
    licence: str | None,
) -> None:
    """Report on FILES, the results_*.json of lm-eval runs of dart_math tasks, or sample logs of any task.

    Prints a table of accuracies beside the published ones. Samples logged beside the results (--log_samples) add the
    accuracy by group, paired comparisons and responses to read. A sample log (samples_*.jsonl) alone will do for these,
    also one of another task whose target is an answer: our grader then judges it.
    """
    from dataclasses import replace

    from dart_tasks.licences import CardError
    from dart_tasks.report.data import as_csv, as_json
    from dart_tasks.report.results import read_logs, read_runs, told_apart
    from dart_tasks.report.summary import summarise
    from dart_tasks.report.text import markdown, print_terminal

    outputs = (html_path, markdown_path, json_path, csv_path, card_path)
    if is_regrade and (any(outputs) or labels or judge):
        raise click.UsageError("--regrade only lists differences: leave the other options out")
    if is_regrade and any(path.suffix == ".json" for path in files):
        raise click.UsageError("--regrade takes sample logs (samples_*.jsonl), not results")
    if card_path and len(files) != 1:
        raise click.UsageError("--model-card takes one results file")
    if card_path and not base:
        raise click.UsageError("--model-card needs --base, the model it was fine-tuned from")
    try:
        if is_regrade:
            _regrade(files)
            return
        logs = [path for path in files if ".jsonl" in path.suffixes]
        with console.working("reading samples"):
            runs = [run for path in files if path not in logs for run in read_runs(path)]
        runs += read_logs(logs)
        if labels and len(labels) != len(runs):
            found = ", ".join(run.label for run in runs)
            raise click.UsageError(f"--label: {len(labels)} labels for {len(runs)} runs ({found})")
        names = labels or told_apart(runs)
        runs = [replace(run, label=" ".join(name.split())) for run, name in zip(runs, names, strict=True)]
        if judge:
            from dart_tasks.report.judges import judged_runs

            runs = judged_runs(runs)
        with console.working("comparing"):
            report = summarise(runs)
        if html_path:
            from dart_tasks.report.page import html_page

            with console.working(f"writing {html_path.name}"):
                page = html_page(report, max_responses)
            _write(html_path, page)
        if markdown_path:
            _write(markdown_path, markdown(report))
        if json_path:
            _write(json_path, json.dumps(as_json(report), indent=1) + "\n")
        if csv_path:
            _write(csv_path, as_csv(runs))
        print_terminal(report)
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
            f"{console.printable(path.name)}: {console.counted(result.n_responses, 'response')}, accuracy {before} -> "
            f"{100 * result.now:.2f} with grader {GRADER_VERSION}, "
            f"{console.counted(len(result.changes), 'verdict')} changed"
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
