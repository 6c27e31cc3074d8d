"""Which replica runs which trial, and which trials are suspected of killing replicas: pure book-keeping.

Everything that runs on a replica when it dies is a suspect, but hard queries run everywhere, and a node may be taken
away three times without any query being at fault. So a trial that was present at two deaths runs from then on apart:
as the only such trial on its replica, beside none but trials of queries that have finished one since they last saw a
death. If that replica dies as well, the query is set aside. A trial that finishes is cleared.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from synth.records import Request
from synth.scheduler import TrialId

__all__ = ["DEATHS", "Dispatcher", "Work"]

DEATHS = 3
"""Deaths of replicas at which a trial was present that set its query aside."""


class Work(NamedTuple):
    """What to tell a replica: trials to start, and trials to stop."""

    start: list[Request]
    stop: list[TrialId]


class _Replica:
    __slots__ = ("in_flight", "room", "stop")

    def __init__(self, room: int) -> None:
        self.room = room
        self.in_flight: set[TrialId] = set()
        self.stop: list[TrialId] = []


class Dispatcher:
    """Trials waiting and in flight. Each is in one place only."""

    def __init__(self) -> None:
        self._waiting: dict[TrialId, Request] = {}
        self._suspects: dict[TrialId, Request] = {}  # waiting too, for a replica of their own
        self._replicas: dict[int, _Replica] = {}
        self._place: dict[TrialId, int] = {}
        self._deaths: dict[TrialId, int] = {}
        self._proven: set[int] = set()  # queries that have finished a trial since the last death they were present at

    def __len__(self) -> int:
        return len(self._waiting) + len(self._suspects) + len(self._place)

    def join(self, replica: int, room: int) -> None:
        """A replica can take up to ``room`` trials."""
        self._replicas[replica] = _Replica(room)

    def submit(self, requests: Iterable[Request]) -> None:
        """Trials to run. One that is waiting or in flight already is not taken twice."""
        for request in requests:
            if request.id not in self._place:
                (self._suspects if self._is_suspect(request.id) else self._waiting)[request.id] = request

    def take(self, replica: int) -> Work:
        """What a replica is to do next. Trials are shared out evenly where they do not fill every replica."""
        state = self._replicas[replica]
        share = -(-len(self) // len(self._replicas))
        n_free = min(state.room, share) - len(state.in_flight)
        start: list[Request] = []
        apart = any(self._is_suspect(trial) for trial in state.in_flight) if self._deaths else False
        if n_free > 0 and self._suspects and not apart:
            apart = True  # until the suspects are through, only what is proven starts elsewhere
            if all(trial.query in self._proven for trial in state.in_flight):
                start.append(self._suspects.pop(next(iter(self._suspects))))
        can_start = (trial for trial in self._waiting if not apart or trial.query in self._proven)
        for trial in list(itertools.islice(can_start, max(0, n_free - len(start)))):
            start.append(self._waiting.pop(trial))
        for request in start:
            state.in_flight.add(request.id)
            self._place[request.id] = replica
        stop, state.stop = state.stop, []
        return Work(start, stop)

    def is_idle(self, replica: int) -> bool:
        """Whether nothing runs there."""
        return not self._replicas[replica].in_flight

    def finished(self, replica: int, trial: TrialId) -> bool:
        """A replica reports a trial; False where it was not running there (any more)."""
        if self._place.get(trial) != replica:
            return False
        del self._place[trial]
        self._replicas[replica].in_flight.discard(trial)
        self._deaths.pop(trial, None)
        self._proven.add(trial.query)
        return True

    def abort(self, trials: Iterable[TrialId]) -> None:
        """Trials that are no longer wanted."""
        for trial in trials:
            self._waiting.pop(trial, None)
            self._suspects.pop(trial, None)
            if (replica := self._place.pop(trial, None)) is not None:
                self._replicas[replica].in_flight.discard(trial)
                self._replicas[replica].stop.append(trial)

    def died(self, replica: int) -> tuple[list[TrialId], list[int]]:
        """A replica is gone: returns its trials, and queries now to be set aside."""
        lost = sorted(self._replicas.pop(replica).in_flight)
        guilty: set[int] = set()
        for trial in lost:
            del self._place[trial]
            self._proven.discard(trial.query)
            self._deaths[trial] = self._deaths.get(trial, 0) + 1
            if self._deaths[trial] >= DEATHS:
                guilty.add(trial.query)
        return lost, sorted(guilty)

    def _is_suspect(self, trial: TrialId) -> bool:
        return self._deaths.get(trial, 0) >= DEATHS - 1

    def replicas(self) -> Sequence[int]:
        """Replicas that have joined."""
        return list(self._replicas)
