"""When a run's loss has left its course: judged on whole optimizer steps, over all processes, by target tokens."""

from __future__ import annotations

import math
from typing import Literal, get_args

__all__ = ["ON_DIVERGENCE", "LossGuard", "OnDivergence"]

OnDivergence = Literal["stop", "warn", "ignore"]
"""What to do when the loss explodes. What is not finite always stops the run."""

ON_DIVERGENCE = get_args(OnDivergence)


class LossGuard:
    """Finds the step in which a run's loss explodes.

    *Explodes* means twice as bad as guessing among all tokens alike and twice as bad as at the start, or, after a
    warm-up, more than two nats and four times above the running mean. Steps are judged together until they hold
    ``least_targets`` target tokens: a few odd labels among few are no divergence.
    """

    least_targets = 256
    warm_up = 10
    decay = 0.9

    def __init__(self, vocab_size: int) -> None:
        self._guessing = math.log(vocab_size)
        self._start = math.nan
        self._loss = 0.0
        self._targets = 0
        self._mean_loss = 0.0
        self._mean_targets = 0.0
        self._judged = 0

    def problem(self, loss: float, targets: int) -> str:
        """What is wrong with a step of mean ``loss`` (nats) over ``targets`` target tokens; empty if nothing is."""
        self._loss += loss * targets
        self._targets += targets
        if self._targets < self.least_targets:
            return ""
        judged, weight = self._loss / self._targets, self._targets
        self._loss, self._targets = 0.0, 0
        found = ""
        if not self._judged:
            self._start = judged
        elif judged > 2 * max(self._guessing, self._start):
            worst = "guessing" if self._guessing > self._start else "at the start"
            found = f"the loss is {judged:.2f}, twice as bad as {worst} ({2 * max(self._guessing, self._start):.2f})"
        elif self._judged >= self.warm_up and judged > 4 * (mean := self._mean_loss / self._mean_targets) + 2:
            found = f"the loss jumped from about {mean:.2f} to {judged:.2f}"
        self._judged += 1
        self._mean_loss = self.decay * self._mean_loss + (1 - self.decay) * judged * weight
        self._mean_targets = self.decay * self._mean_targets + (1 - self.decay) * weight
        return found
