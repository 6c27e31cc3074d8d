"""What a ``dart_math_*`` task is to do, read from lm-eval's ``metadata`` (the YAML's, overlaid by ``--metadata``).

lm-eval merges the model's arguments into the same mapping, so unknown keys are not errors here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dart_tasks.benchmarks import BENCHMARKS, Problem, load, load_problem_file
from dart_tasks.prompts import PromptTemplate, get_template

__all__ = ["SettingsError", "TaskSettings"]

_CHAT = "chat"
_EMBEDDED_HELDOUT = "embedded"


class SettingsError(ValueError):
    """Metadata that makes no sense; the message is one line."""


@dataclass(frozen=True)
class TaskSettings:
    """The resolved settings of one task.

    Attributes:
        benchmark: a name of :data:`dart_tasks.benchmarks.BENCHMARKS`, or ``generic`` for a problem file.
        problem_file: JSONL of problems to use instead of a benchmark; ``embedded`` names the held-out ones we ship.
        data_dir: folder of benchmark files, or None for the environment variable or the hub; ``mini`` is ours.
        template: the prompt template, or None for the model's own chat template.
        k: responses per item; more than one are sampled at ``temperature`` and ``top_p``.
    """

    benchmark: str
    problem_file: str | None = None
    data_dir: str | None = None
    verify: bool = True
    template: PromptTemplate | None = None
    k: int = 1
    temperature: float = 0.7
    top_p: float = 0.95

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> TaskSettings:
        """Read settings; keys: benchmark, problems, data_dir, verify, template, k, temperature, top_p."""
        benchmark = str(metadata.get("benchmark", "generic"))
        if benchmark not in BENCHMARKS and benchmark != "generic":
            raise SettingsError(f"unknown benchmark {benchmark!r}: choose one of {', '.join(BENCHMARKS)}")
        try:
            name = str(metadata.get("template", "alpaca"))
            template = None if name == _CHAT else get_template(name)
            k, temperature = int(metadata.get("k", 1)), float(metadata.get("temperature", 0.7))
            top_p = float(metadata.get("top_p", 0.95))
        except ValueError as error:
            raise SettingsError(str(error)) from None
        if k < 1:
            raise SettingsError(f"k must be at least 1 (got {k})")
        if temperature <= 0 and k > 1:
            raise SettingsError(f"temperature must be above 0 to sample {k} responses (got {temperature:g})")
        return cls(
            benchmark=benchmark,
            problem_file=metadata.get("problems"),
            data_dir=metadata.get("data_dir"),
            verify=bool(metadata.get("verify", True)),
            template=template,
            k=k,
            temperature=temperature,
            top_p=top_p,
        )

    @property
    def stop(self) -> tuple[str, ...]:
        """Strings at which a response must have ended."""
        return self.template.stop if self.template is not None else ()

    def problems(self) -> list[Problem]:
        """The problems to evaluate on.

        Raises:
            DataError: they cannot be had.
        """
        from dart_tasks import embedded

        if self.problem_file is not None:
            embedded_file = self.problem_file == _EMBEDDED_HELDOUT
            return load_problem_file(embedded.HELDOUT_PROBLEMS if embedded_file else self.problem_file)
        if self.data_dir == "mini":
            return load(self.benchmark, data_dir=embedded.MINI_DIR, verify=False)
        return load(self.benchmark, data_dir=self.data_dir, verify=self.verify)
