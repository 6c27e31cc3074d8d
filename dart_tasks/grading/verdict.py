"""What is graded and what comes of it: a case, its verdict, and the verdict's one form in JSON.

>>> Verdict(True, "5", "boxed", True, "same text").as_json()["answer"]
'5'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

__all__ = ["Case", "Reasoning", "Reference", "Verdict"]

Reference: TypeAlias = str | int | float | bool | Sequence[object]
Reasoning: TypeAlias = tuple[str, str] | Literal["auto"] | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the grader decided, and why.

    Attributes:
        correct: whether the answer equals the reference.
        answer: the extracted text.
        source: the cue it was found by: json, boxed, hashes, answer_tag, final_answer, answer_is; whole, output,
            last_formula, last_number, last_sentence, none.
        explicit: the response states it as its answer (the first six sources), rather than it being merely last.
        reason: why it is equal or not, in a few words.
        flags: what went wrong around it: truncated, unfinished_thinking (the response ends inside a thought), undecided
            (computer algebra did not end in time, or cannot tell), timeout, stalled (the machine was too busy), memory,
            crashed, error.
    """

    correct: bool
    answer: str
    source: str
    explicit: bool
    reason: str
    flags: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The form in which verdicts are written: in samples logged by lm-eval, in files, between processes."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Verdict:
        """The verdict of a row that :meth:`as_json` gave; further keys are left out.

        Raises:
            KeyError: the row is no verdict.
        """
        return cls(
            bool(row["correct"]),
            str(row["answer"]),
            str(row["source"]),
            bool(row["explicit"]),
            str(row["reason"]),
            tuple(map(str, row["flags"])),
        )


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to grade; the arguments of :func:`grade`."""

    response: str
    reference: Reference
    benchmark: str = "generic"
    question: str | None = None
    tolerance: float | str | None = None
    finish_reason: str | None = None
    symbolic: bool = True
    reasoning: Reasoning = "auto"
    thought_opened: bool = False
