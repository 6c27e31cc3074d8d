"""Engines sample trials. The driver knows them only through :class:`Engine`.

An engine is fed continuously: the driver submits up to ``capacity`` trials, polls, and submits again as they finish.
In-process vLLM is in ``synth.engines.vllm_engine``; a deterministic tape for tests in ``synth.engines.tape``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from synth.records import Completion, Request
from synth.scheduler import TrialId

__all__ = ["Engine", "EngineError", "Health", "SamplingSettings"]


class EngineError(Exception):
    """The engine cannot start or go on; the message says what to do."""


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """How responses are sampled; the same for every trial of a run. ``top_k`` 0 is off."""

    temperature: float
    top_p: float
    top_k: int
    max_new_tokens: int
    stop: tuple[str, ...]
    ignore_eos: bool


@dataclass(frozen=True, slots=True)
class Health:
    """What a display may show. ``lost``: trials whose engine died, to be sampled again (each reported once)."""

    ok: bool
    n_replicas: int
    lost: tuple[TrialId, ...] = ()


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
