"""A run's configuration: every setting is declared once, with all that the commands, plan and card say of it.

A field of :class:`RunConfig` is a setting. Its declaration tells its type, default, bound and help, whether two
attempts at a run must agree on it, and how it reads in the plan and on the card::

    top_k: int = setting(0, "Top-k sampling, as 50; 0 is off.", click.IntRange(0), row="sampling", show=_top_k)
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import click

from dart_tasks.console import counted
from dart_tasks.prompts import PromptTemplate, get_template
from synth.data import KNOWN_DATASETS, DatasetSpec
from synth.strategy import get_strategy

__all__ = ["MODEL_TEMPLATE", "PRESETS", "FiniteRange", "RunConfig", "Setting", "flag_of", "resolve", "rows", "settings"]

MODEL_TEMPLATE = "model"
"""Prompt template name for the model's own chat template."""
Show = Callable[["RunConfig"], str]


@dataclass(frozen=True)
class Setting:
    """What is said of a setting, besides its name, type and default.

    Attributes:
        help: one line, with an example where the value is not plain.
        kind: click's type, with its bound; None where there is no option of that name alone (see ``synth.options``).
        flags: the option, where it is not the field's name.
        metavar: what stands for the value in the help.
        parse: from each value of a repeatable option to an item of the field.
        least: the smallest value, where the message should say so.
        engine: the only engine that knows it.
        identity: whether two attempts at a run must agree on it.
        row: the line of the plan that it is part of.
        show: its part of that line, "" for none; several lines where there are line feeds.
    """

    help: str
    kind: Any = None
    flags: tuple[str, ...] = ()
    metavar: str | None = None
    parse: Callable[[str], Any] | None = None
    least: int | None = None
    engine: str | None = None
    identity: bool = True
    row: str = ""
    show: Show = lambda config: ""


class FiniteRange(click.FloatRange):
    """As click's, which lets "nan" pass, and "inf" where the range has no end."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number; a usage error where it is none, or beyond the range."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


def setting(default: Any, help: str, kind: Any = None, **said: Any) -> Any:
    """Declare a field of :class:`RunConfig`."""
    return dataclasses.field(default=default, metadata={"setting": Setting(help, kind, **said)})


# ---------------------------------------------------------------------- parts of the plan's lines
def _strategy(config: RunConfig) -> str:
    return f"{config.strategy}: {get_strategy(config.strategy).says.format(k=config.k)}"


def _probe(config: RunConfig) -> str:
    return f"{counted(config.probe, 'trial')} to estimate each fail rate" if config.probe else "none"


def _futility(config: RunConfig) -> str:
    return f"stopped when the chance to fill is under {config.futility:g}" if config.futility else ""


def _of_datasets(what: str, values: tuple[tuple[str, int], ...]) -> str:
    return ", ".join(f"{what} {value:,} of {name}" for name, value in values)


def _datasets(config: RunConfig) -> str:
    return "\n".join(
        spec.path if Path(spec.path).exists() else f"{spec.path} (split {spec.split})" for spec in config.datasets
    )


def _limit(config: RunConfig) -> str:
    return f"{counted(config.limit, 'query')} of each data set" if config.limit else ""


def _where(config: RunConfig) -> str:
    return "\n".join(f"{column} in {', '.join(values)}" for column, values in config.where)


def _shortened(text: str) -> str:
    return json.dumps(text if len(text) <= 60 else text[:57] + "...", ensure_ascii=False)


def _exemplars(config: RunConfig) -> str:
    if config.exemplars:
        return f"exemplars of {Path(config.exemplars).name}" + (f", {config.num_fewshot}" if config.num_fewshot else "")
    return f"{config.num_fewshot}-shot, exemplars of the query's benchmark" if config.num_fewshot else ""


def _address(url: str) -> str:
    """An endpoint without what may be secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")


def _place(config: RunConfig) -> str:
    if config.engine == "ray":
        cluster = config.ray_address or "a Ray cluster started here"
        return f"{counted(config.replicas, 'vLLM replica')} on {cluster}, {counted(config.n_slots, 'slot')} each"
    if config.engine == "openai":
        limits = [f"{counted(config.n_slots, 'request')} at a time"]
        for limit, unit in ((config.requests_per_minute, "request"), (config.tokens_per_minute, "token")):
            limits += [f"{counted(limit, unit)} a minute"] if limit else []
        limits += [f"price {i:g} in, {o:g} out" for i, o in zip(config.price_in, config.price_out, strict=False)]
        return f"servers at {', '.join(map(_address, config.endpoints))}, {', '.join(limits)} each"
    return f"vLLM in this process, {counted(config.n_slots, 'slot')}"


# ---------------------------------------------------------------------- parsers of repeatable options
def _parse_where(text: str) -> tuple[str, tuple[str, ...]]:
    column, equals, values = text.partition("=")
    if not equals or not column or not values:
        raise ValueError(f"--where takes COLUMN=VALUE,... (got {text!r})")
    return column, tuple(values.split(","))


def _parse_of_dataset(text: str) -> tuple[str, int]:
    name, _, number = text.rpartition("=")
    if not name or not number.isdecimal() or int(number) < 1:
        raise ValueError(f"--dataset-k and --dataset-max-trials take NAME=NUMBER, as math=8 (got {text!r})")
    return name, int(number)


def _parse_resource(text: str) -> tuple[str, float]:
    name, equals, amount = text.partition("=")
    try:
        return name, float(amount if equals else "?")
    except ValueError:
        raise ValueError(f"--replica-resource takes NAME=AMOUNT (got {text!r})") from None


def _parse_price(text: str) -> float:
    with suppress(ValueError):
        if 0 <= (price := float(text)) < math.inf:
            return price
    raise ValueError(f"--price-in and --price-out take the price of a million tokens, as 0.15 (got {text!r})")


def _parse_header(text: str) -> tuple[str, str]:
    name, colon, value = (part.strip() for part in text.partition(":"))
    if not colon or not value or not re.fullmatch(r"[\w!#$%&'*+.^`|~-]+", name, re.ASCII) or not value.isprintable():
        raise ValueError("--header takes 'NAME: VALUE' (the one given is not shown, as it may be secret)")
    return name, value


def _parse_engine_arg(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip("-"):
        raise ValueError(f"--engine-arg takes NAME=VALUE (got {text!r})")
    try:
        parsed = json.loads(value.lower() if value in ("True", "False") else value)
    except json.JSONDecodeError:
        parsed = value
    return name.strip("-").replace("-", "_"), parsed


@dataclass(frozen=True)
class RunConfig:
    """Everything a synthesis depends on. The defaults are DART-Math's recipe (arXiv 2407.13690, 3.1 and Appendix A).

    Units: ``max_new_tokens`` in tokens, ``probe``, ``max_trials`` and ``k`` in trials or responses per query (``k`` and
    ``max_trials`` 0: the strategy's own); ``futility`` is a probability; times in seconds.
    """

    strategy: str = setting(
        "prop2diff", "uniform, prop2diff, vanilla, or one that an installed package registers.", str,
        row="strategy", show=_strategy,
    )  # fmt: skip
    k: int = setting(
        0,
        "Correct responses a query (prop2diff: at fail rate 1; vanilla: trials), as 40.",
        int,
        flags=("-k", "--k"),
        least=1,
    )
    probe: int = setting(
        32, "Trials that estimate a query's fail rate before its quota is frozen.", int, row="probe", show=_probe
    )
    max_trials: int = setting(
        0, "Trials a query may use at most, as 2048.", int, least=1,
        row="cap", show=lambda c: f"{counted(c.max_trials, 'trial')} of a query",
    )  # fmt: skip
    dataset_k: tuple[tuple[str, int], ...] = setting(
        (), "k of one data set, as gsm8k-fix=8, instead of -k; repeatable.", str, metavar="NAME=K",
        parse=_parse_of_dataset, row="strategy", show=lambda c: _of_datasets("k", c.dataset_k),
    )  # fmt: skip
    dataset_max_trials: tuple[tuple[str, int], ...] = setting(
        (), "Cap of one data set, as math=8192, instead of --max-trials; repeatable.", str, metavar="NAME=N",
        parse=_parse_of_dataset, row="cap", show=lambda c: _of_datasets("cap", c.dataset_max_trials),
    )  # fmt: skip
    futility: float = setting(
        0.0, "Stop a query when its chance to fill by the cap is below this, as 0.01; 0 is off.",
        FiniteRange(0, 1), row="cap", show=_futility,
    )  # fmt: skip
    datasets: tuple[DatasetSpec, ...] = setting(
        (KNOWN_DATASETS["math"], KNOWN_DATASETS["gsm8k-fix"]), "Queries to run.", row="data set", show=_datasets
    )
    limit: int | None = setting(
        None, "At most this many queries of each data set.", click.IntRange(1), row="limit", show=_limit
    )
    balance_levels: bool = setting(
        False, "Take the limit evenly over the levels.", bool,
        row="limit", show=lambda c: "evenly over levels" if c.limit and c.balance_levels else "",
    )  # fmt: skip
    where: tuple[tuple[str, tuple[str, ...]], ...] = setting(
        (), "Keep rows with these values, as level=4,5; repeatable.", str,
        metavar="COLUMN=VALUE,...", parse=_parse_where, row="where", show=_where,
    )  # fmt: skip
    skip_bad_rows: bool = setting(
        False, "Leave out rows without text or reference answer, and count them.", bool, identity=False
    )
    model: str = setting(
        "deepseek-ai/deepseek-math-7b-rl", "Local folder or hub name of the model that samples.", str,
        row="model", show=lambda c: c.model + (f" @ {c.revision}" if c.revision else ""),
    )  # fmt: skip
    model_name: str = setting(
        "", "What the model is called in the run and on its card, wherever it is: a folder here, another name at a "
        "server.", str, identity=False, row="model", show=lambda c: f"known as {c.model_name}" if c.model_name else "",
    )  # fmt: skip
    revision: str | None = setting(None, "Revision of the model on the hub.", str)
    trust_remote_code: bool = setting(False, "Let the model's own code run.", bool)
    adapter: str | None = setting(
        None, "Folder of a LoRA adapter that samples with the model; engines vllm and ray.", str, metavar="FOLDER",
        row="model", show=lambda c: f"with adapter {c.adapter}" if c.adapter else "",
    )  # fmt: skip
    prompt_template: str = setting(
        "deepseekmath", "A template's name (alpaca, ...), a file with {query} in it, or the model's own.", str,
        metavar="NAME|FILE|model", row="prompt", show=lambda c: Path(c.prompt_template).name,
    )  # fmt: skip
    chat_template_kwargs: str = setting(
        "", "What the model's own chat template is told, as '{\"enable_thinking\": true}'.", str, metavar="JSON",
        row="prompt", show=lambda c: c.chat_template_kwargs,
    )  # fmt: skip
    system_message: str = setting(
        "", "What the model's own chat template gets as system message, as 'Put the answer in \\boxed{}.'.", str,
        row="prompt", show=lambda c: f"system message {_shortened(c.system_message)}" if c.system_message else "",
    )  # fmt: skip
    num_fewshot: int = setting(
        0, "Exemplars before each query: of its benchmark (GSM8K's for a problem of none), or of --exemplars.",
        click.IntRange(0), row="prompt", show=_exemplars,
    )  # fmt: skip
    exemplars: str | None = setting(
        None, "Exemplars of your own: JSON lines with query and response; all, or the first --num-fewshot.", str,
        metavar="FILE", identity=False,
    )  # fmt: skip
    keep_thinking: bool = setting(
        False, "Write thoughts into the responses of the data set (the pool has them in any case).", bool,
        row="prompt", show=lambda c: "thoughts kept" if c.keep_thinking else "",
    )  # fmt: skip
    temperature: float = setting(
        1.6, "Sampling temperature.", FiniteRange(0),
        row="sampling", show=lambda c: f"temperature {c.temperature:g}",
    )  # fmt: skip
    top_p: float = setting(
        0.95, "Nucleus sampling.", FiniteRange(0, 1, min_open=True),
        row="sampling", show=lambda c: f"top-p {c.top_p:g}",
    )  # fmt: skip
    top_k: int = setting(
        0, "Top-k sampling, as 50; 0 is off.", click.IntRange(0),
        row="sampling", show=lambda c: f"top-k {c.top_k or 'off'}",
    )  # fmt: skip
    min_p: float = setting(
        0.0, "Leave out tokens less likely than this share of the likeliest one, as 0.05; 0 is off.",
        FiniteRange(0, 1), row="sampling", show=lambda c: f"min-p {c.min_p:g}" if c.min_p else "",
    )  # fmt: skip
    presence_penalty: float = setting(
        0.0, "Taken from the logits of tokens that the response has already.", FiniteRange(-2, 2),
        row="sampling", show=lambda c: f"presence penalty {c.presence_penalty:g}" if c.presence_penalty else "",
    )  # fmt: skip
    frequency_penalty: float = setting(
        0.0, "The same, for each time that it has them.", FiniteRange(-2, 2),
        row="sampling", show=lambda c: f"frequency penalty {c.frequency_penalty:g}" if c.frequency_penalty else "",
    )  # fmt: skip
    repetition_penalty: float = setting(
        1.0, "Divides the logits of tokens that prompt or response have already; 1 is off.",
        FiniteRange(0, min_open=True), row="sampling",
        show=lambda c: f"repetition penalty {c.repetition_penalty:g}" if c.repetition_penalty != 1 else "",
    )  # fmt: skip
    max_new_tokens: int = setting(
        2048, "Tokens a response may have.", int, least=1,
        row="sampling", show=lambda c: f"at most {counted(c.max_new_tokens, 'token')}",
    )  # fmt: skip
    stop: tuple[str, ...] = setting(
        (), "A string that ends a response, besides the template's; repeatable.", str, parse=str,
        row="sampling", show=lambda c: f"stopped at {', '.join(map(json.dumps, c.stop))}" if c.stop else "",
    )  # fmt: skip
    ignore_eos: bool = setting(
        False, "Go on after the end-of-text token.", bool,
        row="sampling", show=lambda c: "end of text ignored" if c.ignore_eos else "",
    )  # fmt: skip
    lenient_extraction: bool = setting(
        False, "Also accept answers that were not stated explicitly.", bool,
        flags=("--lenient-extraction/--strict-extraction",), row="grading",
        show=lambda c: "any extracted answer" if c.lenient_extraction else "explicitly stated answers only",
    )  # fmt: skip
    grade_timeout_s: float = setting(
        5.0, "Seconds for grading one response.", FiniteRange(0, 86_400, min_open=True), flags=("--grade-timeout",),
        identity=False, row="grading", show=lambda c: f"{c.grade_timeout_s:g} s per response",
    )  # fmt: skip
    seed: int = setting(0, "Seed of the run.", int, row="seed", show=lambda c: str(c.seed))
    reproducible: bool = setting(
        False, "Seeds per trial: repeatable, but slower.", bool,
        row="seed", show=lambda c: "one for each trial" if c.reproducible else "another for the engine at each attempt",
    )  # fmt: skip
    engine: Literal["vllm", "ray", "openai"] = setting(
        "vllm", "vLLM in this process, vLLM replicas on a Ray cluster, or OpenAI-compatible servers.",
        click.Choice(["vllm", "ray", "openai"]), identity=False, row="engine", show=_place,
    )  # fmt: skip
    n_slots: int = setting(
        256, "Trials that run at once, on each replica (vLLM's max_num_seqs) or endpoint.", int,
        flags=("--slots",), least=1, identity=False,
    )  # fmt: skip
    engine_args: tuple[tuple[str, Any], ...] = setting(
        (), "Further vLLM engine argument, as tensor_parallel_size=4; with --engine openai, a field of the request "
        "(null leaves one out); repeatable.", str, flags=("--engine-arg",), metavar="NAME=VALUE",
        parse=_parse_engine_arg, identity=False, row="engine",
        show=lambda c: ", ".join(f"{name}={value}" for name, value in c.engine_args),
    )  # fmt: skip
    replicas: int = setting(1, "Engines to keep up.", click.IntRange(1), engine="ray", identity=False)
    replica_cpus: float = setting(1.0, "CPUs of each replica.", FiniteRange(0), engine="ray", identity=False)
    replica_gpus: float | None = setting(
        None, "GPUs of each replica; one, or as many as it is parallel, where the cluster has GPUs.",
        FiniteRange(0), engine="ray", identity=False,
    )  # fmt: skip
    replica_resources: tuple[tuple[str, float], ...] = setting(
        (), "Custom resource that each replica needs, as A100=1; repeatable.", str, flags=("--replica-resource",),
        metavar="NAME=AMOUNT", parse=_parse_resource, engine="ray", identity=False,
    )  # fmt: skip
    ray_address: str | None = setting(
        None, "An existing cluster, as auto on its head node; else one is started here.", str, engine="ray",
        identity=False,
    )  # fmt: skip
    endpoints: tuple[str, ...] = setting(
        (), "Base URL of a server, as http://node7:8000/v1; repeatable.", str, flags=("--endpoint",), metavar="URL",
        parse=str, engine="openai", identity=False,
    )  # fmt: skip
    request_timeout_s: float = setting(
        600.0, "Seconds for one answer, its time in the server's queue included.",
        FiniteRange(0, 86_400, min_open=True), flags=("--request-timeout",), engine="openai", identity=False,
    )  # fmt: skip
    api_key_env: str = setting(
        "OPENAI_API_KEY", "Environment variable with the key, which is stored nowhere.", str, metavar="NAME",
        engine="openai", identity=False,
    )  # fmt: skip
    headers: tuple[tuple[str, str], ...] = setting(
        (), "A header of every request; $VARIABLE for a value from the environment; stored and shown nowhere; "
        "repeatable.", str, flags=("--header",), metavar="'NAME: VALUE'", parse=_parse_header, engine="openai",
        identity=False, row="engine", show=lambda c: ", ".join(f"header {name}" for name, _ in c.headers),
    )  # fmt: skip
    requests_per_minute: int | None = setting(
        None, "Requests that each endpoint may be sent in a minute.", click.IntRange(1), engine="openai",
        identity=False,
    )  # fmt: skip
    tokens_per_minute: int | None = setting(
        None, "Tokens of prompts and responses that each endpoint may be asked for in a minute.", click.IntRange(1),
        engine="openai", identity=False,
    )  # fmt: skip
    price_in: tuple[float, ...] = setting(
        (), "Price of a million prompt tokens, as 0.15; once for all endpoints, or once for each.", str,
        metavar="PRICE", parse=_parse_price, engine="openai", identity=False,
    )  # fmt: skip
    price_out: tuple[float, ...] = setting(
        (), "The same of response tokens.", str, metavar="PRICE", parse=_parse_price, engine="openai", identity=False,
    )  # fmt: skip
    grade_workers: int | None = setting(None, "Grader processes.", click.IntRange(1, 1024), identity=False)
    dataset_format: Literal["parquet", "jsonl", "messages"] = setting(
        "parquet", "Of the data set; messages: conversations instead of query and response, as Parquet.",
        click.Choice(["parquet", "jsonl", "messages"]), flags=("--format",), identity=False,
    )  # fmt: skip
    thinking_in: Literal["content", "reasoning_content"] = setting(
        "content", "Where conversations have the thoughts that --keep-thinking writes: in <think> tags before the "
        "response, or in a field of their own.", click.Choice(["content", "reasoning_content"]), identity=False,
    )  # fmt: skip

    def identity(self) -> dict[str, Any]:
        """The settings that two attempts at one run must agree on, as JSON values."""
        values = json.loads(json.dumps(dataclasses.asdict(self)))
        values["model"] = self.model_name or self.model
        return {name: values[name] for name, said in settings().items() if said.identity}

    def k_of(self, dataset: str) -> int:
        """k of a data set's queries."""
        return dict(self.dataset_k).get(dataset, self.k)

    def cap_of(self, dataset: str) -> int:
        """The most trials of a query of a data set (of strategies whose k is a number of trials, that)."""
        if get_strategy(self.strategy).fixed_trials:
            return self.k_of(dataset)
        return dict(self.dataset_max_trials).get(dataset, self.max_trials)

    @property
    def most_trials(self) -> int:
        """The most trials of any query."""
        return max(map(self.cap_of, ("", *dict(self.dataset_k), *dict(self.dataset_max_trials))))

    def priced_endpoints(self) -> list[tuple[str, float | None, float | None]]:
        """Each endpoint's address with its prices."""
        if self.engine != "openai":
            return []
        count = len(self.endpoints)
        given = self.price_in, self.price_out
        prices = [price * count if len(price) == 1 else price or (None,) * count for price in given]
        return list(zip(map(_address, self.endpoints), *prices, strict=True))

    def template(self) -> PromptTemplate | None:
        """The prompt template; None for the model's own.

        Raises:
            ValueError: no such template.
        """
        return None if self.prompt_template == MODEL_TEMPLATE else get_template(self.prompt_template)


def _canonical(config: RunConfig) -> str:
    """The chat template's arguments in one spelling."""
    if not config.chat_template_kwargs:
        return ""
    if config.prompt_template != MODEL_TEMPLATE:
        raise ValueError("--chat-template-kwargs goes with --prompt-template model")
    try:
        arguments = json.loads(config.chat_template_kwargs)
    except json.JSONDecodeError:
        arguments = None
    if not isinstance(arguments, dict):
        raise ValueError(f"--chat-template-kwargs takes a JSON object (got {config.chat_template_kwargs!r})")
    return json.dumps(arguments, sort_keys=True)


def settings() -> dict[str, Setting]:
    """Every setting's declaration, by its field's name."""
    return {field.name: field.metadata["setting"] for field in dataclasses.fields(RunConfig)}


def flag_of(name: str) -> str:
    """The option of a field, as people write it."""
    said = settings()[name]
    return said.flags[-1].split("/")[0] if said.flags else "--" + name.replace("_", "-")


def rows(config: RunConfig, *, identity: bool | None = None) -> dict[str, str]:
    """The plan's lines: each row's name and what its settings say; with ``identity``, of such settings alone."""
    found: dict[str, list[str]] = {}
    for said in settings().values():
        if said.row and identity in (None, said.identity) and (part := said.show(config)):
            found.setdefault(said.row, []).append(part)
    return {row: ", ".join(parts) for row, parts in found.items()}


# ---------------------------------------------------------------------- presets
def _demo() -> RunConfig:
    """The tiny embedded model on the embedded problems: about a minute on two CPU cores."""
    from dart_tasks import embedded

    return replace(
        RunConfig(),
        probe=8,
        k=16,
        max_trials=128,
        datasets=(DatasetSpec(str(embedded.TRAIN_PROBLEMS), "embedded", benchmark="generic"),),
        limit=200,
        balance_levels=True,
        model=str(embedded.MODEL_DIR),
        prompt_template="alpaca",
        temperature=1.0,
        top_p=1.0,
        max_new_tokens=256,
        futility=0.01,
        engine_args=(("enforce_eager", True), ("max_model_len", 1024), ("dtype", "float32")),
        n_slots=128,
    )


PRESETS: dict[str, Callable[[], RunConfig]] = {"paper": RunConfig, "demo": _demo}


# Fields of a request that --engine-arg may leave out but not change: the run and its card would tell another value.
_REQUEST_FIELDS = {
    **{name: name for name in (
        "model", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty",
        "frequency_penalty", "stop", "ignore_eos", "seed", "chat_template_kwargs",
    )},
    "max_tokens": "max_new_tokens", **dict.fromkeys(("n", "stream", "messages", "prompt"), ""),
}  # fmt: skip


def resolve(preset: str, overrides: Mapping[str, Any]) -> RunConfig:
    """A preset with the settings that were given; k and the cap default to the strategy's own.

    Raises:
        ValueError: an unknown strategy, or values that do not go together.
    """
    base = PRESETS[preset]()
    for name, said in settings().items():
        if said.least is not None and overrides.get(name, said.least) < said.least:
            raise ValueError(f"{flag_of(name)} must be at least {said.least} (got {overrides[name]})")
        if name in overrides and said.engine not in (None, overrides.get("engine", base.engine)):
            engine = overrides.get("engine", base.engine)
            raise ValueError(f"{flag_of(name)} goes with --engine {said.engine} (got --engine {engine})")
    config = replace(base, **overrides)
    strategy = get_strategy(config.strategy)
    if config.k == 0 or (config.strategy != base.strategy and "k" not in overrides):
        config = replace(config, k=min(strategy.default_k, 8) if preset == "demo" else strategy.default_k)
    if strategy.fixed_trials or config.max_trials == 0:
        config = replace(config, max_trials=config.k if strategy.fixed_trials else strategy.default_max_trials)
    known_fail_rates = all(spec.fail_rate_column for spec in config.datasets)
    if not strategy.needs_difficulty or (known_fail_rates and "probe" not in overrides):
        config = replace(config, probe=0)
    config = replace(config, chat_template_kwargs=_canonical(config))
    for name, prices in (("price_in", config.price_in), ("price_out", config.price_out)):
        if len(prices) not in (0, 1, len(config.endpoints)):
            raise ValueError(
                f"{flag_of(name)}: give it once, or once for each of the {len(config.endpoints)} endpoints "
                f"(got {len(prices)})"
            )
    if bool(config.price_in) != bool(config.price_out):
        raise ValueError("--price-in and --price-out go together")
    if config.adapter and config.engine == "openai":
        raise ValueError("--adapter goes with --engine vllm or ray; of a server name the adapter as --model")
    if config.system_message and config.prompt_template != MODEL_TEMPLATE:
        raise ValueError("--system-message goes with --prompt-template model (a template of text can hold it itself)")
    if "thinking_in" in overrides and not (config.keep_thinking and config.dataset_format == "messages"):
        raise ValueError("--thinking-in goes with --format messages and --keep-thinking")
    for name, value in config.engine_args if config.engine == "openai" else ():
        if name == "seed" and value is None and config.reproducible:
            raise ValueError("--engine-arg seed=null leaves out what --reproducible asks for")
        if value is not None and name in _REQUEST_FIELDS:
            option = _REQUEST_FIELDS[name]
            raise ValueError(f"--engine-arg {name}: {flag_of(option) if option else 'the run itself'} says that")
    if config.engine == "openai":
        from synth.engines.endpoints import api_root, header_value

        if not config.endpoints:
            raise ValueError("--engine openai needs --endpoint URL, as http://localhost:8000/v1")
        for url in config.endpoints:
            api_root(url)
        for name, text in config.headers:
            header_value(name, text)
    if strategy.fixed_trials and config.dataset_max_trials:
        raise ValueError(f"--dataset-max-trials: the trials of --strategy {strategy.name} are its k: use --dataset-k")
    caps = ("--max-trials", config.max_trials), *(("--dataset-max-trials", cap) for _, cap in config.dataset_max_trials)
    for option, cap in caps:
        if config.probe > cap:
            raise ValueError(f"--probe {config.probe} exceeds {option} {cap}")
    if strategy.needs_difficulty and config.probe < 1 and not known_fail_rates:
        raise ValueError(f"--strategy {strategy.name} needs a probe: --probe must be at least 1 (got {config.probe})")
    return config
