"""The command line's options, made of the settings' declarations, and how they become a configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from synth.config import PRESETS, RunConfig, Setting, flag_of, resolve, settings
from synth.data import KNOWN_DATASETS, DatasetSpec

__all__ = ["EXIT_SET_ASIDE", "OPTIONS_OF_QUERIES", "config_from_options", "run_options", "take_only"]

EXIT_SET_ASIDE = 3
"""Exit code of a run that finished without some of its queries."""
Function = TypeVar("Function", bound=Callable[..., Any])

_PRESET = click.option(
    "--preset", type=click.Choice(list(PRESETS)), default="paper", show_default=True,
    help="Where values come from that no option gives; demo needs neither GPU nor network.",
)  # fmt: skip
_DATASET = click.option(
    "--dataset", multiple=True, metavar="NAME|FILE|FOLDER|OWNER/NAME",
    help=f"Queries to run; repeatable. Known by name: {', '.join(KNOWN_DATASETS)}.",
)  # fmt: skip
_OF_DATASETS = {
    "configs": "Hub configuration, as algebra,geometry",
    "split": "Split",
    "query_column": "Column of the query",
    "answer_column": "Column of the answer or solution",
    "level_column": "Column of the level",
    "domain_column": "Column of the domain",
    "id_column": "Column of a unique id",
    "fail_rate_column": "Column of known fail rates (0 to 1; no probe is needed)",
    "benchmark": "Grading policy (math, gsm8k, ..., generic)",
}
"""Fields of a DatasetSpec that are options: given once for all data sets, or once for each."""
OPTIONS_OF_QUERIES = {"dataset", "limit", "balance_levels", "where", "skip_bad_rows", *_OF_DATASETS}
"""Options that decide which queries there are, as click names them."""


def _option(name: str, said: Setting, default: Any) -> Callable[[Function], Function]:
    flags = said.flags or (flag_of(name),)
    if said.kind is bool and "/" not in flags[0]:
        flags = (f"{flags[0]}/--no-{flags[0].removeprefix('--')}",)
    help_text = f"{said.engine}: {said.help}" if said.engine else said.help
    if not isinstance(default, bool) and default not in (None, (), 0):
        help_text += f"  [default: {default}]"
    return click.option(
        *flags, type=None if said.kind is bool else said.kind, default=None, help=help_text, metavar=said.metavar,
        multiple=said.parse is not None,
    )  # fmt: skip


def run_options(command: Function) -> Function:
    """Add every option of a synthesis to a click command."""
    options = [_PRESET]
    for field in dataclasses.fields(RunConfig):
        said: Setting = field.metadata["setting"]
        if field.name == "datasets":
            options.append(_DATASET)
            for name, text in _OF_DATASETS.items():
                help_text = f"{text}; one for all data sets, or one for each."
                options.append(click.option(_dataset_flag(name), name, multiple=True, help=help_text))
        else:
            options.append(_option(field.name, said, field.default))
    for option in reversed(options):
        command = option(command)
    return command


def config_from_options(preset: str, options: dict[str, Any]) -> RunConfig:
    """The resolved configuration, from options by the names that click gives them.

    Raises:
        click.UsageError: values that cannot be used.
    """
    given = {name: value for name, value in options.items() if value is not None and value != ()}
    try:
        values: dict[str, Any] = {}
        for name, said in settings().items():
            option = flag_of(name).removeprefix("--").replace("-", "_")
            if option in given:
                value = given[option]
                values[name] = tuple(said.parse(text) for text in value) if said.parse else value
        per_dataset = {name: given[name] for name in _OF_DATASETS if name in given}
        if sources := given.get("dataset"):
            values["datasets"] = tuple(
                _dataset(source, i, len(sources), per_dataset) for i, source in enumerate(sources)
            )
        elif per_dataset:
            raise click.UsageError("column, split and benchmark options need --dataset")
        # A preset's arguments are vLLM's: of no use to a server.
        base = () if values.get("engine") == "openai" else PRESETS[preset]().engine_args
        values["engine_args"] = tuple(dict((*base, *values.get("engine_args", ()))).items())
        return resolve(preset, values)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def take_only(context: click.Context, names: Collection[str | None], instead: Mapping[str, str], why: str = "") -> None:
    """Refuse an option that would change nothing, rather than pass it over; ``instead`` or ``why`` says the reason."""
    for parameter in context.command.params:
        name = parameter.name or ""
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE and name not in names:
            raise click.UsageError(f"{parameter.opts[-1]} cannot be given here: {instead.get(name, why)}")


def _dataset_flag(name: str) -> str:
    return "--dataset-config" if name == "configs" else "--" + name.replace("_", "-")


def _dataset(source: str, index: int, count: int, options: dict[str, Sequence[str]]) -> DatasetSpec:
    changes: dict[str, Any] = {}
    for name, values in options.items():
        if len(values) not in (1, count):
            raise ValueError(
                f"{_dataset_flag(name)}: give it once, or once for each of the {count} data sets (got {len(values)})"
            )
        value = values[index if len(values) == count else 0]
        changes[name] = tuple(value.split(",")) if name == "configs" else value
    return dataclasses.replace(KNOWN_DATASETS.get(source, DatasetSpec(source)), **changes)
