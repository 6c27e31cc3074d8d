"""The records that flow through a synthesis: a request to an engine, its completion, and the graded trial."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass

from synth.scheduler import TrialId, TrialResult

__all__ = ["Completion", "Request", "Trial", "counts", "derived_seed", "normalise", "text_key"]


@dataclass(frozen=True, slots=True)
class Request:
    """One trial for an engine to sample. ``chat``: the prompt is a user's message for the model's own chat template."""

    id: TrialId
    prompt: str
    chat: bool = False
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """What an engine gives back. ``finish_reason`` is "stop" or "length"; ``replica`` tells engines of a run apart."""

    id: TrialId
    text: str
    n_tokens: int
    finish_reason: str
    replica: int = 0


@dataclass(frozen=True, slots=True)
class Trial:
    """One graded trial, as the ledger keeps it.

    ``graded`` is False where the grader ran out of time or memory: that is not "wrong". ``attempt`` numbers the process
    that sampled it (the ledger keeps each attempt's engine and seed); ``seed`` is set in reproducible runs only.
    """

    id: TrialId
    response: str
    n_tokens: int
    finish_reason: str
    answer: str
    correct: bool
    explicit: bool
    graded: bool
    source: str
    reason: str
    flags: tuple[str, ...]
    attempt: int
    replica: int = 0
    seed: int | None = None

    def result(self, lenient: bool) -> TrialResult:
        """What the scheduler sees."""
        right = counts(self.correct, self.explicit, self.finish_reason == "length", lenient)
        return TrialResult(right, text_key(self.response), self.graded)


def counts(correct: bool, explicit: bool, truncated: bool, lenient: bool) -> bool:
    """Whether a trial is a success: its answer is right and stated explicitly (or ``lenient``), and it came to its end.

    A response cut at the length limit (``truncated``) is a failed one even where it had stated the
    answer before: a model trained on it would learn not to stop.
    """
    return bool(correct and (lenient or explicit) and not truncated)


def normalise(text: str) -> str:
    """The form in which two responses are compared: NFKC, runs of white space as one space."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


def derived_seed(*parts: object, n_bits: int = 31) -> int:
    """A seed that follows from what it is for, as (run's seed, attempt): the same on every machine."""
    return text_key("/".join(map(str, parts))) & (1 << n_bits) - 1


def text_key(text: str) -> int:
    """A signed 64-bit key of the normalised text, the same on every machine and in every process."""
    digest = hashlib.blake2b(normalise(text).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
