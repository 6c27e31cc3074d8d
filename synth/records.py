"""The records that flow through a synthesis: a request to an engine, its completion, and the graded trial."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass, replace

from synth.scheduler import TrialId, TrialResult

__all__ = [
    "Completion",
    "Request",
    "Trial",
    "counts",
    "derived_seed",
    "normalise",
    "split_thought",
    "text_key",
    "thought_apart",
    "with_thought",
]


@dataclass(frozen=True, slots=True)
class Request:
    """One trial for an engine to sample.

    ``chat``: the prompt is a user's message for the model's own chat template, after ``turns``, as (role, content).
    """

    id: TrialId
    prompt: str
    chat: bool = False
    seed: int | None = None
    turns: tuple[tuple[str, str], ...] = ()

    @property
    def messages(self) -> list[dict[str, str]]:
        """The conversation so far, of a chat request."""
        return [{"role": role, "content": content} for role, content in (*self.turns, ("user", self.prompt))]


@dataclass(frozen=True, slots=True)
class Completion:
    """What an engine gives back. ``finish_reason`` is "stop" or "length"; ``replica`` tells engines of a run apart.

    ``reasoning`` is the thought where a server gives it apart from the response; ``n_tokens`` counts both, and
    ``n_thought_tokens`` the thought's and ``n_prompt_tokens`` the prompt's, where the engine counts them.
    """

    id: TrialId
    text: str
    n_tokens: int
    finish_reason: str
    replica: int = 0
    reasoning: str | None = None
    n_thought_tokens: int | None = None
    n_prompt_tokens: int | None = None


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
    reasoning: str | None = None
    """What the model thought before it answered; never graded."""
    n_thought_tokens: int | None = None
    """Its part of ``n_tokens``, by its share of the characters where the engine did not count."""
    n_prompt_tokens: int | None = None
    keep_thinking: bool = False

    @property
    def text_key(self) -> int:
        """By which duplicates are told: of all that would be kept."""
        return text_key(with_thought(self.response, self.reasoning) if self.keep_thinking else self.response)

    def result(self, lenient: bool) -> TrialResult:
        """What the scheduler sees."""
        right = counts(self.correct, self.explicit, self.finish_reason == "length", lenient)
        return TrialResult(right, self.text_key, self.graded)


def split_thought(text: str) -> tuple[str | None, str]:
    """(thought, response) of a text that begins with a thought; (None, text) of any other.

    The mark of its beginning may be missing where its end is there: many chat templates put it into the prompt. A
    thought that never ends has no response after it.
    """
    thought, mark, response = text.partition("</think>")
    before, opened, thought_text = thought.partition("<think>")
    if not (mark or opened) or (opened and before.strip()):
        return None, text
    return (thought_text if opened else thought).strip(), response.lstrip()


def with_thought(response: str, reasoning: str | None) -> str:
    """A response with its thought before it, as models write it; the inverse of :func:`split_thought`."""
    return response if reasoning is None else f"<think>\n{reasoning.strip()}\n</think>\n\n{response}"


def thought_apart(completion: Completion) -> Completion:
    """The completion with its thought apart from its response, and with the thought's length.

    Of a thought that a server gives apart, it may have left the rest in the text.
    """
    inside, text = split_thought(completion.text)
    reasoning = completion.reasoning
    if inside is not None:
        reasoning = "\n".join(filter(None, (reasoning, inside)))
    if reasoning is None:
        return completion
    n_thought_tokens = completion.n_thought_tokens
    if n_thought_tokens is None:
        share = len(reasoning) / max(1, len(reasoning) + len(text))
        n_thought_tokens = round(share * completion.n_tokens)
    return replace(completion, text=text, reasoning=reasoning, n_thought_tokens=n_thought_tokens)


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
