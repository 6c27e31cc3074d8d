"""The command line's options and how they become a configuration."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from synth.config import PRESETS, RunConfig, resolve
from synth.data import KNOWN_DATASETS, DatasetSpec

__all__ = ["EXIT_SET_ASIDE", "config_from_options", "run_options"]

EXIT_SET_ASIDE = 3
"""Exit code of a run that finished without some of its queries."""
Function = TypeVar("Function", bound=Callable[..., Any])

_DATASET_OPTIONS = {
    "split": "split", "query_column": "query_column", "answer_column": "answer_column", "level_column": "level_column",
    "domain_column": "domain_column", "id_column": "id_column", "fail_rate_column": "fail_rate_column",
    "benchmark": "benchmark",
}  # fmt: skip

_OPTIONS: list[Callable[[Function], Function]] = [
    click.option("--preset", type=click.Choice(list(PRESETS)), default="paper", show_default=True,
                 help="Where values come from that no option gives; demo needs neither GPU nor network."),
    click.option("--strategy", help="uniform, prop2diff, vanilla, or one that an installed package registers."),
    click.option("-k", "--k", type=int, help="Correct responses a query (prop2diff: at fail rate 1; vanilla: trials)."),
    click.option("--max-trials", type=int, help="Trials a query may use at most."),
    click.option("--probe", type=int, help="Trials that estimate a query's fail rate before its quota is frozen."),
    click.option("--futility", type=click.FloatRange(0, 1),
                 help="Stop a query when its chance to fill by the cap is below this; 0 is off."),
    click.option("--dataset", multiple=True, metavar="NAME|FILE|FOLDER|OWNER/NAME",
                 help=f"Queries to run; repeatable. Known by name: {', '.join(KNOWN_DATASETS)}."),
    click.option("--dataset-config", multiple=True, help="Hub configuration; one for all data sets, or one for each."),
    click.option("--split", multiple=True, help="Split; one for all data sets, or one for each."),
    click.option("--query-column", multiple=True, help="Column of the query; one for all, or one for each."),
    click.option("--answer-column", multiple=True, help="Column of the answer or solution; as above."),
    click.option("--level-column", multiple=True, help="Column of the level."),
    click.option("--domain-column", multiple=True, help="Column of the domain."),
    click.option("--id-column", multiple=True, help="Column of a unique id."),
    click.option("--fail-rate-column", multiple=True, help="Column of known fail rates (0 to 1): no probe is needed."),
    click.option("--benchmark", multiple=True, help="Grading policy: math, gsm8k, ..., generic."),
    click.option("--where", multiple=True, metavar="COLUMN=VALUE,...", help="Keep rows with these values; repeatable."),
    click.option("--limit", type=click.IntRange(1), help="At most this many queries of each data set."),
    click.option("--balance-levels/--no-balance-levels", default=None, help="Take the limit evenly over the levels."),
    click.option("--model", help="Local folder or hub name of the model that samples."),
    click.option("--revision", help="Revision of the model on the hub."),
    click.option("--prompt-template", metavar="NAME|FILE|model", help="A name, a file, or the model's own."),
    click.option("--temperature", type=click.FloatRange(0), help="Sampling temperature."),
    click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), help="Nucleus sampling."),
    click.option("--top-k", type=click.IntRange(0), help="Top-k sampling; 0 is off."),
    click.option("--max-new-tokens", type=int, help="Tokens a response may have."),
    click.option("--stop", multiple=True, help="A string that ends a response, besides the template's; repeatable."),
    click.option("--ignore-eos/--no-ignore-eos", default=None, help="Go on after the end-of-text token."),
    click.option("--lenient-extraction/--strict-extraction", default=None,
                 help="Also accept answers that were not stated explicitly."),
    click.option("--seed", type=int, help="Seed of the run."),
    click.option("--reproducible/--no-reproducible", default=None, help="Seeds per trial: repeatable, but slower."),
    click.option("--engine", type=click.Choice(["vllm", "ray", "openai"]),
                 help="vLLM in this process (default), vLLM replicas on a Ray cluster, or OpenAI-compatible servers."),
    click.option("--slots", "n_slots", type=int,
                 help="Trials that run at once, on each replica (vLLM's max_num_seqs) or endpoint."),
    click.option("--engine-arg", multiple=True, metavar="NAME=VALUE",
                 help="Further vLLM engine argument, as tensor_parallel_size=4; with --engine openai, a field of the "
                      "request (null leaves one out); repeatable."),
    click.option("--replicas", type=click.IntRange(1), help="ray: engines to keep up."),
    click.option("--replica-cpus", type=click.FloatRange(0), help="ray: CPUs of each; default 1."),
    click.option("--replica-gpus", type=click.FloatRange(0),
                 help="ray: GPUs of each; by default one, or as many as it is parallel, where the cluster has GPUs."),
    click.option("--replica-resource", multiple=True, metavar="NAME=AMOUNT",
                 help="ray: custom resource that each needs; repeatable."),
    click.option("--ray-address", help="ray: an existing cluster, as auto on its head node; default: start one here."),
    click.option("--endpoint", "endpoints", multiple=True, metavar="URL",
                 help="openai: base URL of a server, as http://node7:8000/v1; repeatable."),
    click.option("--request-timeout", "request_timeout_s", type=click.FloatRange(0, min_open=True),
                 help="openai: seconds for one answer, its time in the server's queue included; default 600."),
    click.option("--api-key-env", metavar="NAME",
                 help="openai: environment variable with the key; default OPENAI_API_KEY. Stored nowhere."),
    click.option("--trust-remote-code", is_flag=True, default=None, help="Let the model's own code run."),
    click.option("--grade-workers", type=click.IntRange(1), help="Grader processes."),
    click.option("--grade-timeout", "grade_timeout_s", type=click.FloatRange(0, min_open=True), help="In seconds."),
    click.option("--format", "dataset_format", type=click.Choice(["parquet", "jsonl"]), help="Of the data set."),
]  # fmt: skip


def run_options(command: Function) -> Function:
    """Add every option of a synthesis to a click command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def config_from_options(preset: str, options: dict[str, Any]) -> RunConfig:
    """The resolved configuration.

    Raises:
        click.UsageError: values that cannot be used.
    """
    given = {name: value for name, value in options.items() if value is not None and value != ()}
    per_dataset = {name: given.pop(name, ()) for name in (*_DATASET_OPTIONS, "dataset_config")}
    names = given.pop("dataset", ())
    if names:
        given["datasets"] = tuple(_dataset(name, i, len(names), per_dataset) for i, name in enumerate(names))
    elif any(per_dataset.values()):
        raise click.UsageError("column, split and benchmark options need --dataset")
    if "where" in given:
        given["where"] = tuple(_where(text) for text in given["where"])
    if "engine_arg" in given:
        extra = [_engine_arg(text) for text in given.pop("engine_arg")]
        given["engine_args"] = tuple({**dict(PRESETS[preset]()["engine_args"]), **dict(extra)}.items())
        if given.get("engine") == "openai":
            given["engine_args"] = tuple(dict(extra).items())
    elif given.get("engine") == "openai":
        given["engine_args"] = ()  # a preset's are vLLM's
    if "replica_resource" in given:
        given["replica_resources"] = tuple(_resource(text) for text in given.pop("replica_resource"))
    try:
        return resolve(preset, given)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _dataset(name: str, index: int, count: int, options: dict[str, Sequence[str]]) -> DatasetSpec:
    import dataclasses

    spec = KNOWN_DATASETS.get(name, DatasetSpec(name))
    changes: dict[str, Any] = {}
    for option, values in options.items():
        if not values:
            continue
        if len(values) not in (1, count):
            flag = "--" + option.replace("_", "-")
            raise click.UsageError(
                f"{flag}: give it once, or once for each of the {count} data sets (got {len(values)})"
            )
        value = values[index if len(values) == count else 0]
        if option == "dataset_config":
            changes["configs"] = tuple(value.split(","))
        else:
            changes[_DATASET_OPTIONS[option]] = value
    return dataclasses.replace(spec, **changes)


def _where(text: str) -> tuple[str, tuple[str, ...]]:
    column, equals, values = text.partition("=")
    if not equals or not column or not values:
        raise click.UsageError(f"--where takes COLUMN=VALUE,... (got {text!r})")
    return column, tuple(values.split(","))


def _resource(text: str) -> tuple[str, float]:
    name, equals, amount = text.partition("=")
    try:
        return name, float(amount if equals else "?")
    except ValueError:
        raise click.UsageError(f"--replica-resource takes NAME=AMOUNT (got {text!r})") from None


def _engine_arg(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip("-"):
        raise click.UsageError(f"--engine-arg takes NAME=VALUE (got {text!r})")
    try:
        parsed = json.loads(value.lower() if value in ("True", "False") else value)
    except json.JSONDecodeError:
        parsed = value
    return name.strip("-").replace("-", "_"), parsed
