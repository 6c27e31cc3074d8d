"""The subcommands of ``dart-synth``: plan, curate, status, report, regrade, repair, temperature."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from dart_tasks.console import counted, first_line, printable, stdout_console
from dart_tasks.files import DataError, write_atomically
from synth.config import FiniteRange
from synth.options import EXIT_SET_ASIDE, OPTIONS_OF_QUERIES, config_from_options, run_options, take_only

__all__ = ["curate", "plan", "regrade", "repair", "report", "status", "temperature"]

Number = TypeVar("Number", int, float)


def _numbers(option: str, text: str, kind: Callable[[str], Number], least: int) -> list[Number]:
    """The numbers of a list such as 512,2048."""
    try:
        values = [kind(part) for part in text.split(",")]
    except ValueError:
        values = []
    if not values or not all(least <= value < math.inf for value in values):
        raise click.UsageError(f"{option} takes numbers from {least}, with commas between them (got {text!r})")
    return values


# ---------------------------------------------------------------------- status
@click.command(epilog="Example: dart-synth status runs/demo --json")
@click.argument("run_dir", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def status(run_dir: Path, as_json: bool) -> None:
    """Show how far a run is, while it works or afterwards."""
    from synth.display import print_state, set_aside_lines, snapshot
    from synth.ledger import LedgerError
    from synth.run import open_run
    from synth.usage import usage_lines

    try:
        opened = open_run(run_dir)
    except LedgerError as error:
        raise click.ClickException(str(error)) from error
    except (OSError, ValueError, KeyError) as error:
        raise click.ClickException(f"cannot read a run in {run_dir}: {error}") from error
    state = snapshot(opened.plan.scheduler, opened.plan.queries)
    if as_json:
        groups = {name: dataclasses.asdict(group) for name, group in [*state.groups.items(), ("all", state.total)]}
        finished = (run_dir / "dataset" / "README.md").is_file()
        told: dict[str, Any] = {"done": opened.plan.scheduler.done, "exported": finished, "groups": groups}
        told["set_aside"] = {opened.plan.queries[query].id: reason for query, reason in opened.set_aside}
        told["lengths"] = opened.all_lengths.summary()
        told["servers"] = {url: used.told() for url, used in opened.usage.items()}
        click.echo(json.dumps(told))
        return
    print_state(state)
    left = opened.plan.scheduler.expected_trials_left()
    set_aside = set_aside_lines(opened.set_aside, opened.plan.queries)
    for line in (*opened.all_lengths.lines(), *usage_lines(opened.usage), *set_aside):
        click.echo(line)
    word = "done" if opened.plan.scheduler.done else f"about {counted(round(left), 'trial')} left"
    click.echo(f"{word}; {counted(len(opened.attempts), 'attempt')}, {counted(opened.n_trials, 'trial')} recorded")


# ---------------------------------------------------------------------- regrade
@click.command(epilog="Example: dart-synth regrade runs/demo   (then again with --apply)")
@click.argument("run_dir", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--apply", is_flag=True, help="Take the new verdicts. Without it, only say what would change.")
@click.option("--grade-workers", type=click.IntRange(1, 1024), help="Grader processes.")
@click.option("--grade-timeout", type=FiniteRange(0, 86_400, min_open=True), default=5.0, show_default=True,
              help="Seconds for grading one response.")  # fmt: skip
def regrade(run_dir: Path, apply: bool, grade_workers: int | None, grade_timeout: float) -> None:
    """Judge a run's trials by this version's grader, so that a run of an older one can go on."""
    from dart_tasks.grading import GRADER_VERSION, GradingPool
    from synth.ledger import LedgerError
    from synth.regrade import regrade as judge_again

    try:
        with GradingPool(grade_workers, timeout_s=grade_timeout) as grader:
            changes = judge_again(
                run_dir, grader, GRADER_VERSION, apply=apply,
                progress=lambda n: click.echo(f"{counted(n, 'trial')} judged"),
            )  # fmt: skip
    except LedgerError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise _cannot_write(run_dir, error, "the run has its old verdicts, give the same command again") from error
    n_changed = changes.n_lost + changes.n_gained
    click.echo(
        f"grader {changes.old_version} -> {GRADER_VERSION}: {n_changed:,} of {counted(changes.n_trials, 'trial')} "
        f"count otherwise ({changes.n_lost:,} right -> wrong, {changes.n_gained:,} wrong -> right)"
    )
    for what, names in (("open again", changes.reopened), ("settled now", changes.settled)):
        shown = ", ".join(map(printable, names[:10])) + (", ..." if len(names) > 10 else "")
        click.echo(f"queries {what}: {len(names):,}{f' ({shown})' if names else ''}")
    click.echo("stored: the run's own command goes on from here" if apply else "nothing was stored: --apply does it")


# ---------------------------------------------------------------------- repair
@click.command(
    epilog="""\b
Examples:
  dart-synth repair runs/demo
  dart-synth repair runs/mine --strategy uniform -k 8 --dataset problems.jsonl --model ./model   (manifest.json is lost)
"""
)
@click.argument("run_dir", metavar="RUN", type=click.Path(path_type=Path))
@run_options
@click.pass_context
def repair(context: click.Context, /, run_dir: Path, preset: str, **options: Any) -> None:
    """Keep every sound row of a damaged ledger, so that the run can go on; the damaged one is kept beside it.

    Options, those of the run, are for one whose manifest.json is lost.
    """
    from synth.ledger import LedgerError
    from synth.repair import repair as save_what_is_sound
    from synth.repair import repair_manifest

    try:
        if any(context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in ("preset", *options)):
            n_trials = repair_manifest(run_dir, config_from_options(preset, options))
            click.echo(f"manifest.json is made anew, of the options given, for {counted(n_trials, 'trial')}; now "
                       f"`dart-synth regrade {run_dir} --apply`, as nothing tells which grader judged them, and then "
                       "the run's own command")  # fmt: skip
            return
        saved = save_what_is_sound(run_dir)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except LedgerError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise _cannot_write(run_dir, error, "copy the run to where there is room") from error
    if not saved.was_damaged:
        kept = counted(saved.n_kept, "trial")
        click.echo(f"nothing is damaged: {kept}, each as it was recorded; nothing was changed")
        return
    click.echo(f"sound and kept: {counted(saved.n_kept, 'trial')}; at least {saved.n_lost:,} lost, to be sampled "
               f"again; queries are from {saved.queries_from}")  # fmt: skip
    click.echo(f"the damaged ledger is {run_dir / 'ledger.sqlite.damaged'}; the run's own command goes on from here")


# ---------------------------------------------------------------------- temperature
class _Kept:
    """An engine that several runs use one after the other: closing it does nothing."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def close(self) -> None:
        """Leave it open for the next run."""


@click.command(
    epilog="Example: dart-synth temperature --preset demo --limit 50 --temperatures 0.7,1.0,1.3 --output runs/search"
)
@click.option(
    "--output", type=click.Path(path_type=Path), required=True, help="Folder of the runs, one by temperature."
)
@click.option("--temperatures", default="0.8,1.0,1.2,1.4,1.6", show_default=True)
@click.option("--trials", type=click.IntRange(1), default=8, show_default=True, help="Of every query.")
@run_options
@click.pass_context
def temperature(
    context: click.Context, /, output: Path, temperatures: str, trials: int, preset: str, **options: Any
) -> int:
    """Compare sampling temperatures on some queries: pass rate, duplicates, coverage at equal tokens."""
    from rich.table import Table

    from dart_tasks.grading import GRADER_VERSION, GradingPool
    from synth.display import set_aside_lines
    from synth.engines import EngineError, SetAside
    from synth.engines.factory import make_vllm_engine, sampling_settings
    from synth.ledger import Ledger, LedgerError
    from synth.manifest import ManifestMismatchError
    from synth.noise import quiet_maker
    from synth.run import load_run_queries, synthesise
    from synth.temperature import compare

    instead = {"strategy": "each query has --trials", "k": "--trials says that",
               "temperature": "--temperatures says that"}  # fmt: skip
    take_only(context, {parameter.name for parameter in context.command.params} - set(instead), instead)
    values = _numbers("--temperatures", temperatures, float, 0)
    base = config_from_options(preset, {**options, "strategy": "vanilla", "k": trials})
    shared: list[Any] = []

    def engine(config: Any, seed: int) -> Any:
        if config.engine != "vllm":  # servers and replicas are told with each run
            return quiet_maker(output, click.echo)(config, seed)
        if not shared:
            shared.append(quiet_maker(output, click.echo, make_vllm_engine)(config, seed))
        shared[0].use(sampling_settings(config))
        return _Kept(shared[0])

    results = []
    set_aside: list[SetAside] = []
    try:
        queries = load_run_queries(base)
        with GradingPool(base.grade_workers, timeout_s=base.grade_timeout_s) as grader:
            for value in values:
                config = dataclasses.replace(base, temperature=value)
                run_dir = output / f"temperature-{value:g}"
                done = synthesise(config, run_dir, queries, engine, grader, GRADER_VERSION, say=click.echo)
                set_aside.extend(done.progress.set_aside)
                with Ledger(run_dir, read_only=True) as ledger:
                    results.append((value, list(ledger.results())))
    except (ValueError, ManifestMismatchError) as error:
        raise click.UsageError(str(error)) from error
    except (EngineError, LedgerError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise _cannot_write(output, error, "committed trials are safe, give the same command again") from error
    finally:
        for opened in shared:
            opened.close()
    budget, rows = compare(results, len(queries), base.lenient_extraction)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("temperature", "pass rate", "duplicates", "cut", "tokens", "queries solved", "distinct correct"):
        table.add_column(heading, justify="right", overflow="fold")
    for row in rows:
        table.add_row(
            f"{row.temperature:g}", f"{row.pass_rate:.1%}", f"{row.duplicate_rate:.1%}", f"{row.truncated_rate:.1%}",
            f"{row.mean_tokens:.0f}", f"{row.coverage:.1%}", f"{row.n_distinct:,}",
        )  # fmt: skip
    stdout_console().print(table)
    click.echo(f"queries solved and distinct correct responses within the same {budget:,} tokens")
    for line in set_aside_lines(set_aside, queries):
        click.echo(line)
    return EXIT_SET_ASIDE if set_aside else 0


# ---------------------------------------------------------------------- report
@click.command(epilog="Example: dart-synth report runs/demo --output report.html")
@click.argument("run_dir", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="The page's file [default: RUN/report.html].")
def report(run_dir: Path, output: Path | None) -> None:
    """Write one self-contained HTML page: what the run was, figures, tables by difficulty, hardest queries."""
    from synth.ledger import LedgerError
    from synth.report import render_report

    try:
        page = render_report(run_dir)
    except (LedgerError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    path = output or run_dir / "report.html"
    try:
        write_atomically(path, page)
    except OSError as error:
        raise _cannot_write(path, error) from error
    click.echo(f"wrote {path}")


# ---------------------------------------------------------------------- curate
@click.command(
    epilog="""\b
Examples:
  dart-synth curate runs/demo --strategy uniform -k 4 --output data/uniform
  dart-synth curate runs/a runs/b --strategy prop2diff --size 20000 --decontaminate drop --output data/hard
"""
)
@click.argument("pools", metavar="POOL...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Folder of the data set.")
@click.option("--strategy", "strategy_name", default="uniform", show_default=True, help="As in a run.")
@click.option("-k", "--k", type=click.IntRange(1), help="As in a run.")
@click.option("--size", type=click.IntRange(1), help="Instead of k: the largest k that keeps no more responses.")
@click.option("--max-response-tokens", type=click.IntRange(1), help="Keep no longer responses, thoughts included.")
@click.option("--keep-thinking", is_flag=True, help="Write thoughts that the pools have apart into the responses.")
@click.option("--thinking-in", type=click.Choice(["content", "reasoning_content"]), help="As in a run.")
@click.option("--lenient-extraction", is_flag=True, help="Also keep answers that were not stated explicitly.")
@click.option(
    "--decontaminate",
    "check",
    type=click.Choice(["report", "drop", "off"]),
    default="report",
    show_default=True,
    help="Queries that overlap with a test set.",
)
@click.option("--originals", type=click.Path(path_type=Path), help="JSONL with query and response to mix in.")
@click.option("--format", "form", type=click.Choice(["parquet", "jsonl", "messages", "rl"]), default="parquet",
              show_default=True, help="messages: as in a run; rl: problems, for verl and TRL.")  # fmt: skip
@click.option("--pass-rate", "pass_rates", metavar="LOW:HIGH",
              help="With --format rl: problems with such pass rates, as 0.1:0.9.")  # fmt: skip
@click.option("--license", "licence", help="Of the data set, where its sources do not settle it.")
@click.option("--push-to-hub", metavar="OWNER/NAME", help="Publish the result; refused without a licence.")
def curate(
    pools: tuple[Path, ...], output: Path, strategy_name: str, k: int | None, size: int | None,
    max_response_tokens: int | None, keep_thinking: bool, thinking_in: str | None, lenient_extraction: bool, check: str,
    originals: Path | None, form: Any, pass_rates: str | None, licence: str | None,
    push_to_hub: str | None,
) -> None:  # fmt: skip
    """Build a data set of any strategy or size from pools, without sampling again."""
    from dart_tasks.licences import CardError, check_licence, source
    from synth.card import selection_card
    from synth.curate import open_pool, original_rows, select, selected_rows
    from synth.decontaminate import decontaminate
    from synth.export import Layout, configs_block, write_rows
    from synth.ledger import LedgerError
    from synth.strategy import get_strategy

    if pass_rates is not None and form != "rl":
        raise click.UsageError("--pass-rate goes with --format rl")
    of_responses = {
        "-k": k, "--size": size, "--originals": originals, "--push-to-hub": push_to_hub, "--license": licence,
        "--strategy": strategy_name != "uniform", "--max-response-tokens": max_response_tokens,
        "--keep-thinking": keep_thinking,
    }  # fmt: skip
    if form == "rl" and (given := [name for name, value in of_responses.items() if value]):
        raise click.UsageError(f"{given[0]} is of responses: --format rl writes problems")
    between = _range_of(pass_rates)
    if thinking_in and not (keep_thinking and form == "messages"):
        raise click.UsageError("--thinking-in goes with --format messages and --keep-thinking")
    layout = Layout(form, keep_thinking, thinking_in or "content")
    if k is not None and size is not None:
        raise click.UsageError("give -k or --size, not both")
    try:
        strategy = get_strategy(strategy_name)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    try:
        opened = [open_pool(path) for path in pools]
        leave_out, overlap = frozenset[str](), "not checked"
        if check != "off":
            queries = {query.id: query for pool in opened for query in pool.queries()}
            leave_out, overlap = decontaminate(list(queries.values()), check == "drop", click.echo)
        if form == "rl":
            _curate_problems(opened, lenient_extraction, leave_out, between, output)
            return
        selection = select(opened, strategy, k, size, lenient_extraction, leave_out, max_response_tokens)
        extra = original_rows(originals, layout) if originals else []
        sources = [source(name, role) for name, role in _sources(pools)]  # type: ignore[arg-type]
    except (DataError, LedgerError) as error:
        raise click.ClickException(str(error)) from error
    if not selection.n_kept:
        raise click.ClickException("nothing is left: no correct response in the pools fits")
    settings = {
        "strategy": f"{strategy.name}, k = {selection.k}",
        "pools": ", ".join(path.resolve().name for path in pools),
        "answers": "any extracted answer" if lenient_extraction else "explicitly stated only",
        "thoughts": "in the responses" if keep_thinking else "left out, where they are apart",
        "longest response": f"{max_response_tokens:,} tokens" if max_response_tokens else "as sampled",
        "duplicates": f"{selection.n_duplicates:,} left out",
        "overlap with test sets": overlap,
        "original solutions": f"{len(extra):,} mixed in",
    }
    title, total = f"DARS {strategy.name} responses", selection.n_kept + len(extra)
    try:
        card = selection_card(title, sources, total, layout.columns, settings, "", licence)
        if push_to_hub:
            check_licence(card, push_to_hub)
    except CardError as error:
        raise click.ClickException(str(error)) from error
    rows = (row for part in (selected_rows(opened, selection, layout), extra) for row in part)
    try:
        count = write_rows(iter(rows), layout.columns, output / "data" / layout.file_name)
        configs = configs_block(output, layout.file_name, ("default",))
        text = selection_card(title, sources, total, layout.columns, settings, configs, licence)
        write_atomically(output / "README.md", text)
    except (DataError, LedgerError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:  # as a disk that is full
        raise _cannot_write(output, error) from error
    short = sum(len(kept) < quota for kept, quota in zip(selection.kept, selection.quotas, strict=True))
    click.echo(
        f"{counted(count, 'response')} to {counted(len(selection.queries), 'query')} ({strategy.name}, "
        f"k = {selection.k}; {counted(short, 'query')} short of quota; "
        f"{counted(selection.n_duplicates, 'duplicate')} left out), "
        f"from {counted(selection.n_trials, 'trial')}, written to {output}"
    )
    if push_to_hub:
        _push(output, push_to_hub)


def _range_of(pass_rates: str | None) -> tuple[float, float]:
    low, colon, high = (pass_rates or "0:1").partition(":")
    try:
        values = float(low), float(high if colon else "?")
    except ValueError:
        values = 1.0, 0.0
    if not 0 <= values[0] <= values[1] <= 1:
        raise click.UsageError(f"--pass-rate takes LOW:HIGH between 0 and 1, as 0.1:0.9 (got {pass_rates!r})")
    return values


def _cannot_write(path: Path, error: OSError, instead: str = "give another --output") -> click.ClickException:
    return click.ClickException(f"cannot write {path} ({error.strerror or first_line(error)}): {instead}")


def _curate_problems(
    pools: Sequence[Any], lenient: bool, leave_out: frozenset[str], between: tuple[float, float], output: Path
) -> None:
    from synth.rl import problem_rows, write_problems

    rows, n_unknown = problem_rows(pools, lenient, leave_out, *between)
    if n_unknown:
        click.echo(f"left out, their pass rate unknown: {counted(n_unknown, 'problem')} without a graded trial")
    if not rows:
        raise click.ClickException(f"no problem has a pass rate between {between[0]:g} and {between[1]:g}")
    try:
        write_problems(rows, output / "data" / "train.parquet")
    except OSError as error:
        raise _cannot_write(output, error) from error
    n_queries = len({query.id for pool in pools for query in pool.queries()})
    click.echo(f"{len(rows):,} of {counted(n_queries, 'problem')}, with pass rates from {between[0]:g} to "
               f"{between[1]:g}, written to {output / 'data' / 'train.parquet'}")  # fmt: skip


def _sources(pools: Sequence[Path]) -> list[tuple[str, str]]:
    """Models and data sets of the pools, from the runs' manifests; a pool file alone tells its name only."""
    from synth.manifest import Manifest

    found: dict[tuple[str, str], None] = {}
    for pool in pools:
        manifest = Manifest.read(pool) or Manifest.read(pool.parent)
        if manifest is None:
            found[(str(pool), "training data")] = None
            continue
        found[(manifest.identity["model"], "synthesiser")] = None
        found.update(dict.fromkeys((spec["path"], "queries") for spec in manifest.identity["datasets"]))
    return list(found)


def _push(folder: Path, name: str) -> None:
    from huggingface_hub import HfApi

    try:
        api = HfApi()
        api.create_repo(name, repo_type="dataset", exist_ok=True)
        api.upload_folder(repo_id=name, repo_type="dataset", folder_path=str(folder))
    except Exception as error:  # network, permission, quota: the client raises many kinds
        raise click.ClickException(f"cannot push to {name}: {first_line(error)}") from error
    click.echo(f"pushed to {name}")


# ---------------------------------------------------------------------- plan
@click.command(
    epilog="""\b
Example: probe first, then ask what a cap would cost
  dart-synth --strategy vanilla -k 32 --output runs/probe
  dart-synth plan --run runs/probe --strategy prop2diff -k 192 --caps 512,2048,8192
"""
)
@click.option("--run", "run_dir", type=click.Path(path_type=Path), help="A run whose trials are the probe.")
@click.option("--caps", default="512,2048,8192", show_default=True, help="Trial caps to compare.")
@click.option("--samples-per-hour", type=FiniteRange(0, min_open=True), default=35_000, show_default=True,
              help="Of one GPU (an A100: 35,000).")  # fmt: skip
@run_options
@click.pass_context
def plan(
    context: click.Context, /, run_dir: Path | None, caps: str, samples_per_hour: float, preset: str, **options: Any
) -> None:
    """Forecast samples, tokens, GPU hours and coverage for several trial caps, with 95% intervals."""
    from rich.table import Table

    from synth.forecast import forecast
    from synth.ledger import LedgerError
    from synth.run import probes_of_queries, probes_of_run

    planned = {"run_dir", "caps", "samples_per_hour", "preset", "strategy", "k", "probe", "dataset_k"}
    planned |= {"lenient_extraction"} if run_dir else OPTIONS_OF_QUERIES
    whose = f"queries and trials are those of {run_dir}" if run_dir else "a forecast does not depend on it"
    take_only(context, planned, {"max_trials": "--caps says that", "dataset_max_trials": "--caps says that"}, whose)
    values = _numbers("--caps", caps, int, 1)
    config = config_from_options(preset, {**options, "max_trials": max(values)})
    try:
        known = probes_of_run(run_dir, config) if run_dir else probes_of_queries(config)
    except (LedgerError, ValueError, OSError) as error:
        raise click.UsageError(str(error)) from error
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("cap", "samples", "tokens", "GPU hours", "responses", "queries filled"):
        table.add_column(heading, justify="right", overflow="fold")
    for row in forecast(known.probes, values, known.tokens_correct, known.tokens_wrong):
        hours = [value / samples_per_hour for value in dataclasses.astuple(row.samples)]
        table.add_row(
            f"{row.max_trials:,}",
            _range(dataclasses.astuple(row.samples)),
            _range(dataclasses.astuple(row.tokens)) if known.tokens_correct else "-",
            _range(hours),
            _range(dataclasses.astuple(row.responses)),
            f"{row.coverage.mean:.1%} ({row.coverage.low:.1%} to {row.coverage.high:.1%})",
        )
    click.echo(f"{config.strategy}, k = {config.k}, {counted(len(known.probes), 'query')}; mean (95% interval)")
    stdout_console().print(table)


def _range(values: Sequence[float]) -> str:
    mean, low, high = (_short(value) for value in values)
    return f"{mean} ({low} to {high})"


def _short(value: float) -> str:
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:.3g}"
