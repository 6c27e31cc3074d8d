"""Engines sample trials. The driver knows them only through :class:`Engine`.

An engine is fed continuously: the driver submits up to ``capacity`` trials, polls, and submits again as they finish.
In-process vLLM is in ``synth.engines.vllm_engine``, vLLM replicas on a Ray cluster in ``synth.engines.ray_engine``,
OpenAI-compatible servers in ``synth.engines.openai_engine``; a deterministic tape for tests in ``synth.engines.tape``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from synth.records import Completion, Request
from synth.scheduler import TrialId

__all__ = ["Engine", "EngineError", "Health", "SamplingSettings", "SetAside"]


class EngineError(Exception):
    """The engine cannot start or go on; the message says what to do."""


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """How responses are sampled; the same for every trial of a run. ``top_k`` and ``min_p`` 0 are off.

    ``template_kwargs`` are told to the model's own chat template. The penalties change nothing at 0, 0 and 1.
    """

    temperature: float
    top_p: float
    top_k: int
    max_new_tokens: int
    stop: tuple[str, ...]
    ignore_eos: bool
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0


class SetAside(NamedTuple):
    """A query that cannot be sampled (too long for the model, refused everywhere, a killer of replicas), and why."""

    query: int
    reason: str


@dataclass(frozen=True, slots=True)
class Health:
    """How an engine fares.

    Attributes:
        ok: False once it cannot go on; ``message`` then says why, and where the same command would only fail again
            (``resumable`` False) what to change.
        n_replicas: replicas that answer now.
        waiting: trials that no replica has begun, as all are at their limits.
        trouble: what keeps replicas from answering now, for the display.
        lost: trials whose replica died, to be sampled again under the same numbers (each loss reported once).
        set_aside: queries not to be tried again (each reported once); their trials in flight are dropped.
    """

    ok: bool
    n_replicas: int
    lost: tuple[TrialId, ...] = ()
    set_aside: tuple[SetAside, ...] = ()
    message: str = ""
    resumable: bool = True
    trouble: str = ""
    waiting: tuple[TrialId, ...] = ()


class Engine(Protocol):
    """A source of completions. Not thread-safe: one driver calls it."""

    @property
    def description(self) -> str:
        """Kind, version and model, for the ledger."""

    @property
    def capacity(self) -> int:
        """Trials to keep submitted and unfinished; may change as replicas come and go."""

    def submit(self, requests: Sequence[Request]) -> None:
        """Take in trials; never blocks for their completion."""

    def poll(self, timeout_s: float) -> list[Completion]:
        """Trials finished since the last call; waits up to about ``timeout_s`` where there are none yet."""

    def abort(self, trials: Iterable[TrialId]) -> None:
        """Stop trials that are no longer wanted. One that finishes all the same may still be reported."""

    def health(self) -> Health:
        """Whether the engine is usable, and which trials it lost since the last call."""

    def close(self) -> None:
        """Free the engine's resources; trials in flight are lost."""
