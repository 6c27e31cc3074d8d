"""``dart-grade``: judge one answer, or a file of responses.

dart-grade '\\frac{1}{2}' 'The answer is 0.5.' --explain
dart-grade file samples_dart_math_gsm8k.jsonl
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dart_tasks.console import counted, printable, run
from dart_tasks.files import replacing
from dart_tasks.problems.benchmarks import NAMES

if TYPE_CHECKING:
    from dart_tasks.grading import Case, Verdict
    from dart_tasks.grading.verdict import Reasoning

__all__ = ["main"]

BENCHMARKS = click.Choice(NAMES)


def _thoughts(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say what of a response is a thought."""
    for option in (
        click.option(
            "--thought-opened", is_flag=True, help="Responses begin inside a thought that the chat template opened."
        ),
        click.option("--no-reasoning", is_flag=True, help="Nothing is a thought."),
        click.option(
            "--reasoning", nargs=2, metavar="OPEN CLOSE", help="Tags of a thought [default: <think> and its like]."
        ),
    ):
        command = option(command)
    return command


_symbolic = click.option(
    "--symbolic/--no-symbolic", default=True, show_default=True, help="Ask SymPy where a pair is undecided."
)
_timeout = click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0.1),
    default=5.0,
    show_default=True,
    help="Seconds of a processor per case.",
)


class _PairByDefault(click.Group):
    """``dart-grade REF ANSWER`` is ``dart-grade pair REF ANSWER``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h", "--version"):
            args = ["pair", *args]
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, "REF ANSWER [OPTIONS]")
        formatter.write_usage(ctx.command_path, "file FILE [OPTIONS]", prefix="       ")
        formatter.write_usage(ctx.command_path, "serve [OPTIONS]", prefix="       ")


@click.group(cls=_PairByDefault, context_settings={"help_option_names": ["-h", "--help"]})
def dart_grade() -> None:
    """Judge maths answers against references.

    \b
    dart-grade '1/2' '0.5'                              is this answer right?
    dart-grade 18 '... The answer is $18.' --explain    and why?
    dart-grade file pool.jsonl --verdicts out.jsonl     a file of responses
    dart-grade serve --port 8321                        over HTTP, as a reward

    Exit status of REF ANSWER: 0 when equal, 3 when not.
    """


@dart_grade.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]})
@click.argument("reference", metavar="REF")
@click.argument("answer", metavar="ANSWER")
@click.option("-b", "--benchmark", type=BENCHMARKS, default="generic", show_default=True, help="Whose policy applies.")
@click.option("-q", "--question", help="The question's text: it settles whether order or a percent sign matters.")
@click.option("--tolerance", type=float, help="Accepted error: absolute for olympiadbench, relative otherwise.")
@_thoughts
@click.option("--native", is_flag=True, help='REF is JSON (a native type): true, 3.5, "[1, 2]".')
@_symbolic
@click.option("--explain", is_flag=True, help="Say which answer was found, how, and why it is equal or not.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
@click.pass_context
def pair(
    ctx: click.Context,
    reference: str,
    answer: str,
    benchmark: str,
    question: str | None,
    tolerance: float | None,
    reasoning: tuple[str, str] | None,
    no_reasoning: bool,
    thought_opened: bool,
    native: bool,
    symbolic: bool,
    explain: bool,
    as_json: bool,
) -> None:
    """Judge one ANSWER (a bare answer, or a whole response) against REF.

    \b
    dart-grade '\\frac{1}{2}' 0.5
    dart-grade '1, 2' 'x = 2 or x = 1' --explain
    dart-grade --native '[1, 2]' '(1, 2)' -b theoremqa
    dart-grade 5 '<r>7?</r> The answer is 5.' --reasoning '<r>' '</r>'
    """
    from dart_tasks.grading import grade

    if mistyped := next((text for text in (reference, answer) if re.match("--[a-z]{2}", text)), ""):
        name = mistyped.partition("=")[0]  # unknown options are let through for answers such as -5
        known = [option for parameter in ctx.command.params for option in parameter.opts]
        raise click.NoSuchOption(name, possibilities=get_close_matches(name, known), ctx=ctx)
    try:
        expected = json.loads(reference) if native else reference
        tags: Reasoning = None if no_reasoning else reasoning or "auto"
        verdict = grade(answer, expected, benchmark, question, tolerance, None, symbolic, tags, thought_opened)
    except json.JSONDecodeError as error:
        raise click.BadParameter(f"REF is not JSON ({error}); leave out --native for text") from None
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        click.echo(json.dumps(verdict.as_json()))
    else:
        click.echo("correct" if verdict.correct else "wrong")
        if explain:
            for name, value in (
                ("reference", str(expected)),
                ("answer", verdict.answer or "(none)"),
                ("found by", verdict.source + ("" if verdict.explicit else " (not stated explicitly)")),
                ("reason", verdict.reason),
                ("flags", ", ".join(verdict.flags) or "none"),
            ):
                click.echo(f"  {name + ':':11}{printable(value)}")
    ctx.exit(0 if verdict.correct else 3)


@dart_grade.command()
@click.argument("path", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-b", "--benchmark", type=BENCHMARKS, help="For rows that name no benchmark [default: generic].")
@click.option(
    "--verdicts", type=click.Path(dir_okay=False, path_type=Path), help="Write each verdict here, as JSON Lines."
)
@click.option("--workers", type=click.IntRange(1, 1024), help="Worker processes [default: one per core].")
@_timeout
@_symbolic
@_thoughts
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def file(
    path: Path,
    benchmark: str | None,
    verdicts: Path | None,
    workers: int | None,
    timeout_s: float,
    symbolic: bool,
    reasoning: tuple[str, str] | None,
    no_reasoning: bool,
    thought_opened: bool,
    as_json: bool,
) -> None:
    """Judge every response of FILE: a pool of ours, lm-eval's samples_*.jsonl, or rows with response and reference.

    \b
    dart-grade file runs/demo/pool.jsonl
    dart-grade file samples_dart_math_gsm8k.jsonl --verdicts verdicts.jsonl --json
    """
    from dart_tasks.cases import read_cases
    from dart_tasks.grading import GradingPool

    summary = _Summary()
    started = time.monotonic()
    try:
        out_file = replacing(verdicts) if verdicts else nullcontext()
        with out_file as out, GradingPool(workers, timeout_s) as pool, _progress(as_json) as advance:
            tags: Reasoning = None if no_reasoning else reasoning or "auto"
            cases = (
                (name, replace(case, symbolic=symbolic, reasoning=tags, thought_opened=thought_opened))
                for name, case in read_cases(path, benchmark)
            )
            for (identity, kind), verdict in pool.map(_tagged(cases)):
                summary.add(kind, verdict)
                advance()
                if out is not None:
                    out.write(json.dumps({"id": identity, "benchmark": kind, **verdict.as_json()}) + "\n")
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from None
    if not summary.total:
        raise click.ClickException(f"{path} holds no responses")
    click.echo(json.dumps(summary.as_dict()) if as_json else summary.table(time.monotonic() - started))


@dart_grade.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; there is no password.")
@click.option("--port", type=click.IntRange(0, 65535), default=8321, show_default=True, help="0 for any free one.")
@click.option(
    "-b", "--benchmark", type=BENCHMARKS, default="generic", show_default=True, help="Where a case names none."
)
@_thoughts
@click.option("--reward-truncated", is_flag=True, help="A cut response may be right, if it had stated its answer.")
@click.option("--reward-implicit", is_flag=True, help="An answer need not be stated: the last number counts too.")
@_symbolic
@click.option(
    "--hedge-penalty", type=click.FloatRange(min=0), default=0.0, help="For several answers where one is asked."
)
@click.option("--workers", type=click.IntRange(1, 1024), help="Worker processes [default: one per core, at most 4].")
@_timeout
@click.option(
    "--batch-timeout",
    "batch_timeout_s",
    type=click.FloatRange(min=0.1),
    default=120.0,
    show_default=True,
    help="Seconds per request; cases not judged by then have no reward.",
)
@click.option(
    "--max-body-mb", type=click.FloatRange(min=0.001), default=64, show_default=True, help="Size of a request."
)
@click.option("--read-timeout", "read_timeout_s", type=click.FloatRange(min=0.1), default=60, show_default=True,
              help="Seconds in which a request must have arrived.")  # fmt: skip
@click.option("--max-requests", type=click.IntRange(min=1), default=64, show_default=True,
              help="Requests read and judged at a time; others wait.")  # fmt: skip
def serve(
    host: str,
    port: int,
    benchmark: str,
    reasoning: tuple[str, str] | None,
    no_reasoning: bool,
    thought_opened: bool,
    reward_truncated: bool,
    reward_implicit: bool,
    symbolic: bool,
    hedge_penalty: float,
    workers: int | None,
    timeout_s: float,
    batch_timeout_s: float,
    max_body_mb: float,
    read_timeout_s: float,
    max_requests: int,
) -> None:
    """Judge over HTTP: POST /grade, GET /health, GET /metrics. SIGTERM ends it when all it took is answered.

    \b
    dart-grade serve --port 8321 --hedge-penalty 0.5
    curl -d '{"cases": [{"response": "It is \\\\boxed{4}.", "reference": "4"}]}' localhost:8321/grade
    """
    try:
        from dart_tasks.rewards import RewardOptions
        from dart_tasks.rewards.server import Limits
        from dart_tasks.rewards.server import serve as run_server
    except ImportError as error:
        raise click.ClickException(f"serve needs {error.name}: pip install aiohttp prometheus-client") from None
    options = RewardOptions(
        benchmark=benchmark,
        reasoning=None if no_reasoning else reasoning or "auto",
        thought_opened=thought_opened,
        zero_truncated=not reward_truncated,
        require_explicit=not reward_implicit,
        symbolic=symbolic,
        hedge_penalty=hedge_penalty,
        workers=workers,
        timeout_s=timeout_s,
        batch_timeout_s=batch_timeout_s,
    )
    limits = Limits(max_body_mb, read_timeout_s, max_requests, drain_s=batch_timeout_s + read_timeout_s)
    try:
        run_server(host, port, options, limits)
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror or error}") from None


def _tagged(cases: Iterable[tuple[str, Case]]) -> Iterator[tuple[tuple[str, str], Case]]:
    for identity, case in cases:
        yield (identity, case.benchmark), case


class _Summary:
    """Counts of verdicts by benchmark, by how the answer was found, by reason and by flag."""

    def __init__(self) -> None:
        self.by_benchmark: dict[str, Counter[str]] = defaultdict(Counter)
        self.by_source: Counter[str] = Counter()
        self.by_reason: Counter[str] = Counter()
        self.by_flag: Counter[str] = Counter()
        self.total = 0

    def add(self, benchmark: str, verdict: Verdict) -> None:
        self.total += 1
        counts = self.by_benchmark[benchmark]
        counts["total"] += 1
        counts["correct"] += verdict.correct
        counts["explicit"] += verdict.explicit
        self.by_source[verdict.source] += 1
        self.by_reason[("correct: " if verdict.correct else "wrong: ") + verdict.reason] += 1
        self.by_flag.update(verdict.flags)

    def as_dict(self) -> dict[str, Any]:
        return {
            "total": self.total,
            "correct": sum(counts["correct"] for counts in self.by_benchmark.values()),
            "benchmarks": {name: dict(self.by_benchmark[name]) for name in sorted(self.by_benchmark)},
            "sources": dict(self.by_source.most_common()),
            "reasons": dict(self.by_reason.most_common()),
            "flags": dict(self.by_flag.most_common()),
        }

    def table(self, seconds: float) -> str:
        rows = [f"{'benchmark':22}{'responses':>10}{'correct':>9}{'accuracy':>10}{'explicit':>10}"]
        for name in sorted(self.by_benchmark):
            counts = self.by_benchmark[name]
            total = counts["total"]
            shares = f"{counts['correct'] / total:>10.1%}{counts['explicit'] / total:>10.1%}"
            rows.append(f"{name:22}{total:>10,}{counts['correct']:>9,}{shares}")
        for title, counter in (("found by", self.by_source), ("reason", self.by_reason), ("flag", self.by_flag)):
            rows += ["", *(f"{title + ' ' + printable(key):60}{count:>10,}" for key, count in counter.most_common())][
                : 16 if counter else 0
            ]
        speed = self.total / max(seconds, 1e-9)
        rows.append(f"\n{counted(self.total, 'response')} in {seconds:.1f} s ({speed:,.0f}/s)")
        return "\n".join(rows)


def _progress(quiet: bool) -> AbstractContextManager[Any]:
    """A counter on the terminal's standard error; nothing in a pipe."""
    try:
        from rich.console import Console
        from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    except ImportError:  # the grader alone is installed
        return nullcontext(lambda: None)

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        return nullcontext(lambda: None)
    progress = Progress(TextColumn("grading"), MofNCompleteColumn(), TimeElapsedColumn(), console=console)
    task = progress.add_task("grading", total=None)

    class _Running(AbstractContextManager[Any]):
        def __enter__(self) -> Any:
            progress.start()
            return lambda: progress.advance(task)

        def __exit__(self, *_: object) -> None:
            progress.stop()

    return _Running()


def main() -> None:
    """The console script."""
    run(dart_grade, "dart-grade")


if __name__ == "__main__":
    main()
