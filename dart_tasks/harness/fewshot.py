r"""Few-shot exemplars for base models, and the prompts and messages made of them.

Every exemplar was written for this project, in the style of its benchmark; none is a benchmark item. Solutions end with
``The answer is \boxed{...}.``, which is how a base model learns where to put its answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dart_tasks.files import DataError, read_jsonl
from dart_tasks.problems.benchmarks import BENCHMARKS
from dart_tasks.problems.record import GENERIC, Exemplar
from dart_tasks.prompts import PromptTemplate

__all__ = ["Shot", "exemplars", "messages", "prompt", "read_shots"]

_BOXED_INSTRUCTION = r"Please reason step by step, and put your final answer within \boxed{}."


class Shot(NamedTuple):
    """A problem with the response that shows how to answer."""

    query: str
    response: str


def read_shots(path: Path) -> tuple[Shot, ...]:
    """Exemplars of one's own: JSON Lines with ``query`` and ``response``.

    Raises:
        DataError: no such file, or a row that lacks one of them.
    """
    shots = []
    for number, row in read_jsonl(path):
        query, response = row.get("query"), row.get("response")
        if not isinstance(query, str) or not isinstance(response, str):
            raise DataError(f"line {number} of {path} has no query and response")
        shots.append(Shot(query, response))
    if not shots:
        raise DataError(f"{path} has no exemplars")
    return tuple(shots)


def exemplars(benchmark: str, shots: int, own: Sequence[Shot] = ()) -> Sequence[Exemplar | Shot]:
    """The first ``shots`` exemplars: one's own, or a benchmark's; problems of none have GSM8K's.

    Raises:
        ValueError: there are not that many.
    """
    available = own or BENCHMARKS["gsm8k" if benchmark == GENERIC else benchmark].exemplars
    if not 0 <= shots <= len(available):
        most = len(available)
        raise ValueError(
            f"{benchmark} has {most} exemplars, {shots} were asked for: pass --num_fewshot {most}, or fewer"
        )
    return available[:shots]


def prompt(template: PromptTemplate, shots: Sequence[Exemplar | Shot], query: str) -> str:
    """The exemplars and the query, each in the template, with a blank line between."""
    parts = []
    for exemplar in shots:
        head = template.render(exemplar.query)
        parts.append(f"{head}{'' if head[-1].isspace() else ' '}{exemplar.response}\n\n")
    return "".join(parts) + template.render(query)


def messages(
    benchmark: str, shots: Sequence[Exemplar | Shot], query: str, system: str | None = None
) -> list[dict[str, str]]:
    r"""The exemplars and the query as chat turns; a query that does not say how to answer is told ``\boxed``."""
    record = BENCHMARKS.get(benchmark)
    # A problem of one's own may say so itself; that of a benchmark may speak of a box for other reasons.
    instructs = r"\boxed" in query if record is None else record.instructs
    ending = "" if instructs else f"\n{_BOXED_INSTRUCTION}"
    turns = [{"role": "system", "content": system}] if system else []
    for exemplar in shots:
        turns.append({"role": "user", "content": exemplar.query + ending})
        turns.append({"role": "assistant", "content": exemplar.response})
    return [*turns, {"role": "user", "content": query + ending}]
