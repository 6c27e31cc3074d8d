"""How long responses are, of thoughts and answers apart: from the ledger's narrow columns, so at any size of run."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

from dart_tasks.console import counted
from synth.ledger import StoredResult

__all__ = ["Lengths", "spread"]


@dataclass
class Lengths:
    """Lengths in tokens, a value for each trial in each array; ``thoughts`` are 0 where there was none."""

    thoughts: array[int] = field(default_factory=lambda: array("i"))
    answers: array[int] = field(default_factory=lambda: array("i"))
    n_cut: int = 0
    """Trials that ended at the length limit."""
    n_thinking: int = 0
    """Trials with a thought."""

    def add(self, row: StoredResult) -> None:
        """Take in a trial."""
        thought = row.n_thought_tokens or 0
        self.thoughts.append(thought)
        self.answers.append(row.n_tokens - thought)
        self.n_cut += row.truncated
        self.n_thinking += row.n_thought_tokens is not None

    def extend(self, other: Lengths) -> None:
        """Take in what another has seen."""
        self.thoughts.extend(other.thoughts)
        self.answers.extend(other.answers)
        self.n_cut += other.n_cut
        self.n_thinking += other.n_thinking

    def __len__(self) -> int:
        return len(self.answers)

    def summary(self) -> dict[str, float]:
        """For machines."""
        n = max(1, len(self))
        return {
            "n_cut": self.n_cut, "n_with_thought": self.n_thinking,
            "mean_thought_tokens": sum(self.thoughts) / n, "mean_answer_tokens": sum(self.answers) / n,
        }  # fmt: skip

    def lines(self) -> list[str]:
        """The same in words, a line of each kind."""
        if not len(self):
            return []
        total = [thought + answer for thought, answer in zip(self.thoughts, self.answers, strict=True)]
        said = [f"tokens of a response: {spread(total)}; cut at the limit: {self.n_cut / len(self):.1%}"]
        if self.n_thinking:
            of_all = f"{self.n_thinking:,} of {counted(len(self), 'trial')}"
            said.append(f"of these, thought: {spread(self.thoughts)}; in {of_all}")
            said.append(f"of these, answer: {spread(self.answers)}")
        return said


def spread(values: Sequence[int]) -> str:
    """Mean, median and the length that 95% stay under."""
    ranked = sorted(values)
    median, most = ranked[len(ranked) // 2], ranked[min(len(ranked) - 1, len(ranked) * 95 // 100)]
    return f"mean {sum(ranked) / len(ranked):,.0f}, median {median:,}, 95% up to {most:,}"
