"""What a ``dart_math_*`` task is to do, read from lm-eval's ``metadata`` (the YAML's, overlaid by ``--metadata``).

lm-eval merges the model's arguments into the same mapping, so unknown keys are errors here only where they are near to
ours, or another name of k; those of the command's ``--metadata`` are all checked, by the task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dart_tasks.files import DataError
from dart_tasks.harness.fewshot import Shot, read_shots
from dart_tasks.problems import BENCHMARKS, Problem, load, load_problem_file
from dart_tasks.problems.record import GENERIC
from dart_tasks.prompts import PromptTemplate, get_template

__all__ = ["KEYS", "REASONING_TOKENS", "SettingsError", "TaskSettings", "check_sampling"]

CHAT = "chat"  # for template: the model's own
MINI = "mini"  # for data_dir: our own items
_EMBEDDED_HELDOUT = "embedded"
REASONING_TOKENS = 32_768
MOST_RESPONSES = 65_536  # to an item: lm-eval makes the requests of a task all at once
_ALIASES_OF_K = ("n", "repeats", "samples", "n_samples", "num_samples", "num_return_sequences", "best_of")
KEYS = (
    *("benchmark", "problems", "exemplars", "data_dir", "verify"),
    *("template", "stop", "k", "temperature", "top_p", "protocol"),
)


class SettingsError(ValueError):
    """Metadata that makes no sense; the message is one line."""


@dataclass(frozen=True)
class TaskSettings:
    """The resolved settings of one task.

    Attributes:
        benchmark: a name of :data:`dart_tasks.problems.BENCHMARKS`, or ``generic`` for a problem file.
        problem_file: problems of one's own instead of a benchmark; ``embedded`` names the held-out ones we ship.
        exemplars: of one's own, for few-shot prompts.
        data_dir: folder of benchmark files, or None for the environment variable or the hub; ``mini`` is ours.
        template: the prompt template, or None for the model's own chat template.
        stop: strings at which a response must have ended.
        k: responses per item; more than one are sampled at ``temperature`` and ``top_p``.
        reasoning: for models that think before they answer: sampled whatever k is, without stop strings, and with
            as many new tokens as :data:`REASONING_TOKENS` or the context allow.
    """

    benchmark: str
    problem_file: str | None = None
    exemplars: tuple[Shot, ...] = ()
    data_dir: str | None = None
    verify: bool = True
    template: PromptTemplate | None = None
    stop: tuple[str, ...] = ()
    k: int = 1
    temperature: float = 0.7
    top_p: float = 0.95
    reasoning: bool = False

    @property
    def sampled(self) -> bool:
        """Whether responses are sampled, rather than decoded greedily."""
        return self.k > 1 or self.reasoning

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> TaskSettings:
        """Read settings from the keys that docs/evaluation.md lists.

        Raises:
            SettingsError: a value that makes no sense, or a key that is a misspelt one of these.
        """
        _refuse_misspelt(metadata)
        benchmark = _text(metadata, "benchmark") or GENERIC
        if benchmark not in BENCHMARKS and benchmark != GENERIC:
            raise SettingsError(f"unknown benchmark {benchmark!r}: choose one of {', '.join(BENCHMARKS)}")
        if metadata.get("problems") is not None and benchmark != GENERIC:
            raise SettingsError(f"problems of one's own are no {benchmark}: use --tasks dart_math_demo for them")
        try:
            name = _file(metadata, "template") or "alpaca"
            template = None if name == CHAT else get_template(name)
        except ValueError as error:
            raise SettingsError(str(error)) from None
        except OSError as error:
            raise SettingsError(f"cannot read the template: {error.strerror}") from None
        if (protocol := _text(metadata, "protocol")) not in (None, "reasoning"):
            raise SettingsError(f"unknown protocol {protocol!r}: the only one by name is reasoning")
        reasoning = protocol is not None
        if reasoning and metadata.get("think_end_token") is not None:
            raise SettingsError(
                "leave think_end_token out of --model_args: lm-eval would drop thoughts, and take one without an end "
                "for an answer; the grader tells them apart"
            )
        stop = metadata.get("stop", template.stop if template is not None and not reasoning else ())
        if not isinstance(stop, list | tuple) or not all(isinstance(text, str) and text for text in stop):
            raise SettingsError(f'stop must be a list of texts, as ["### Instruction:"] (got {stop!r})')
        if not isinstance(verify := metadata.get("verify", True), bool):
            raise SettingsError(f"verify must be true or false, without quotes (got {verify!r})")
        k = metadata.get("k", 1)
        if not isinstance(k, int) or isinstance(k, bool) or k < 1:
            raise SettingsError(f"k must be a whole number of at least 1 (got {k!r})")
        if k > MOST_RESPONSES:
            raise SettingsError(f"k may be {MOST_RESPONSES:,} at most (got {k:,})")
        temperature = _number(metadata, "temperature", 0.6 if reasoning else 0.7)
        top_p = _number(metadata, "top_p", 0.95)
        check_sampling(k > 1 or reasoning, temperature, top_p)
        return cls(
            benchmark=benchmark,
            problem_file=_file(metadata, "problems"),
            exemplars=_exemplars(metadata),
            data_dir=_text(metadata, "data_dir"),
            verify=verify,
            template=template,
            stop=tuple(stop),
            k=k,
            temperature=temperature,
            top_p=top_p,
            reasoning=reasoning,
        )

    def problems(self) -> list[Problem]:
        """The problems to evaluate on.

        Raises:
            DataError: they cannot be had.
        """
        from dart_tasks import embedded

        if self.problem_file is not None:
            embedded_file = self.problem_file == _EMBEDDED_HELDOUT
            return load_problem_file(embedded.HELDOUT_PROBLEMS if embedded_file else self.problem_file)
        if self.benchmark == GENERIC:
            raise DataError('name a file of problems in metadata, as {"problems": "mine.jsonl"}')
        if self.data_dir == MINI:
            return load(self.benchmark, data_dir=embedded.MINI_DIR, verify=False)
        return load(self.benchmark, data_dir=self.data_dir, verify=self.verify)


def check_sampling(sampled: bool, temperature: float, top_p: float) -> None:
    """Refuse parameters with which nothing can be sampled, where it is to be.

    Raises:
        SettingsError: they cannot.
    """
    if sampled and not temperature > 0:
        raise SettingsError(f"temperature must be above 0 to sample responses (got {temperature:g})")
    if sampled and not 0 < top_p <= 1:
        raise SettingsError(f"top_p must be above 0 and at most 1 (got {top_p:g})")


def _refuse_misspelt(metadata: Mapping[str, Any]) -> None:
    for key in metadata:
        near = ["k"] if key.lower() in _ALIASES_OF_K else get_close_matches(key.lower(), KEYS, n=1, cutoff=0.85)
        if near and key not in KEYS:
            raise SettingsError(f"unknown setting {key!r}: did you mean {near[0]!r}?")


def _text(metadata: Mapping[str, Any], key: str) -> str | None:
    value = metadata.get(key)
    if value is not None and not isinstance(value, str):
        raise SettingsError(f"{key} must be a text (got {value!r})")
    return value


def _file(metadata: Mapping[str, Any], key: str) -> str | None:
    """A path, which in a YAML may be that of a file beside it; or what is no path but a name."""
    name, source = _text(metadata, key), metadata.get("config_source")
    if name is not None and isinstance(source, str) and (beside := Path(source).parent / name).is_file():
        return str(beside)
    return name


def _exemplars(metadata: Mapping[str, Any]) -> tuple[Shot, ...]:
    name = _file(metadata, "exemplars")
    try:
        return read_shots(Path(name)) if name is not None else ()
    except DataError as error:
        raise SettingsError(str(error)) from None


def _number(metadata: Mapping[str, Any], key: str, default: float) -> float:
    value = metadata.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SettingsError(f"{key} must be a number (got {value!r})")
    return float(value)
