"""A deterministic engine: what a trial says is a function of (query, trial) alone, as if read from a tape.

Trials finish in an order that depends on their lengths and on how fast the driver is, as with a real engine; the
finished data set must not. Used to prove that a killed and resumed run ends with the data set of an unkilled one.
"""

from __future__ import annotations

import heapq
import random
import time
from collections.abc import Callable, Iterable, Sequence

from synth.engines import Health
from synth.records import Completion, Request
from synth.scheduler import TrialId

__all__ = ["TapeEngine"]

Tape = Callable[[Request], tuple[str, int]]
"""From a request to its response text and length in tokens."""


class TapeEngine:
    """Plays a tape; each token takes ``token_s`` seconds."""

    def __init__(self, tape: Tape, n_slots: int = 32, token_s: float = 0.0, jitter_seed: int | None = None) -> None:
        self._tape = tape
        self._slots = n_slots
        self._token_s = token_s
        self._random = random.Random(jitter_seed)
        self._running: dict[TrialId, tuple[str, int]] = {}
        self._events: list[tuple[float, float, TrialId]] = []
        self._clock_tokens = 0.0

    @property
    def description(self) -> str:
        return "tape"

    @property
    def capacity(self) -> int:
        return self._slots

    def submit(self, requests: Sequence[Request]) -> None:
        for request in requests:
            text, n_tokens = self._tape(request)
            self._running[request.id] = (text, n_tokens)
            heapq.heappush(self._events, (self._clock_tokens + n_tokens, self._random.random(), request.id))

    def poll(self, timeout_s: float) -> list[Completion]:
        while self._events:
            finish, _, trial = heapq.heappop(self._events)
            if trial not in self._running:
                continue
            if self._token_s:
                time.sleep((finish - self._clock_tokens) * self._token_s)
            self._clock_tokens = finish
            text, n_tokens = self._running.pop(trial)
            return [Completion(trial, text, n_tokens, "stop")]
        return []

    def abort(self, trials: Iterable[TrialId]) -> None:
        for trial in trials:
            self._running.pop(trial, None)

    def health(self) -> Health:
        return Health(ok=True, n_replicas=1)

    def close(self) -> None:
        self._running.clear()
        self._events.clear()
