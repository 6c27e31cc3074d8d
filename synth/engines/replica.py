"""What runs inside a Ray actor: one engine, driven by calls that each last a fraction of a second."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from synth.engines import Engine, EngineError, SetAside
from synth.records import Completion, Request
from synth.scheduler import TrialId

__all__ = ["Replica", "ReplicaInfo", "Report"]


@dataclass(frozen=True, slots=True)
class ReplicaInfo:
    """A replica that has started, or ``error``: why it cannot."""

    description: str = ""
    capacity: int = 0
    host: str = ""
    pid: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What a call brought: trials that finished, and queries that the engine refuses."""

    completions: list[Completion]
    refused: list[SetAside]


class Replica:
    """One engine. ``number`` is unique in an attempt at a run, also over replacements."""

    def __init__(self, number: int, make_engine: Callable[[], Engine]) -> None:
        self._number = number
        self._running: set[TrialId] = set()
        self._error = ""
        try:
            self._engine = make_engine()
        except EngineError as error:
            self._error = str(error)

    def describe(self) -> ReplicaInfo:
        """Returns once the engine has loaded."""
        if self._error:
            return ReplicaInfo(error=self._error)
        return ReplicaInfo(self._engine.description, self._engine.capacity, socket.gethostname(), os.getpid())

    def work(self, start: Sequence[Request], stop: Sequence[TrialId], budget_s: float) -> Report:
        """Start and stop trials, then run the engine until the time is over or nothing is left to run."""
        if stop:
            self._engine.abort(stop)
            self._running.difference_update(stop)
        refused = []
        for request in start:
            try:
                self._engine.submit([request])
                self._running.add(request.id)
            except EngineError as error:
                refused.append(SetAside(request.id.query, str(error)))
        refused += self._engine.health().set_aside
        gone = {query for query, _ in refused}
        self._running = {trial for trial in self._running if trial.query not in gone}
        completions: list[Completion] = []
        deadline_s = time.monotonic() + budget_s
        while self._running and (left_s := deadline_s - time.monotonic()) > 0:
            for done in self._engine.poll(left_s):
                self._running.discard(done.id)
                completions.append(replace(done, replica=self._number))
        return Report(completions, refused)

    def close(self) -> None:
        """Free the engine's resources."""
        if not self._error:
            self._engine.close()
