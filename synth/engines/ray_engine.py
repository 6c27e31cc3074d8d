"""Engine replicas as actors on a Ray cluster; the driver keeps scheduler, grading and ledger.

Each replica has at most one call under way, which returns what finished in the meantime. A replica whose call fails or
does not return is replaced, and its trials in flight are reported lost. Replacements wait for resources like the first
replicas do, so nodes may join and leave.
"""

from __future__ import annotations

import logging
import os
import queue
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from synth.engines import Engine, EngineError, Health, SetAside
from synth.engines.dispatch import DEATHS, Dispatcher
from synth.engines.replica import Replica, ReplicaInfo, Report
from synth.records import Completion, Request, derived_seed
from synth.scheduler import TrialId

__all__ = ["RayEngine", "Resources"]

_CALLS_PER_S = 500.0  # that one driver makes in all; with more replicas each call lasts longer
_SHORTEST_CALL_S, _LONGEST_CALL_S = 0.1, 2.0
_REFUSALS_AT_START = 8
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resources:
    """What one replica asks of the cluster.

    ``gpus`` None: one where the cluster has any, else none. ``custom`` names Ray resources of your own, as {"A100": 1}.
    """

    cpus: float = 1.0
    gpus: float | None = None
    custom: Mapping[str, float] = field(default_factory=dict)


class _Actor:
    """A replica as the driver sees it."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.info: ReplicaInfo | None = None  # None until it has started
        self.call_since_s: float | None = None


class RayEngine:
    """Replicas of one engine.

    Args:
        make_engine: from a seed to the engine of a replica; runs in the actor, must be picklable.
        n_replicas: replicas to keep up.
        resources: of each.
        seed: of this attempt; replica number r has ``derived_seed(seed, r)``.
        address: of an existing cluster ("auto" on one of its nodes); None starts one on this machine.
        call_timeout_s: a replica whose call lasts longer (calls end by themselves within 2 s) hangs and is replaced.
        start_timeout_s: time without any replica after which the engine gives up.

    Raises:
        EngineError: Ray is missing, the cluster cannot be reached, or no replica starts.
    """

    def __init__(
        self,
        make_engine: Callable[[int], Engine],
        n_replicas: int,
        resources: Resources,
        *,
        seed: int,
        address: str | None = None,
        call_timeout_s: float = 300.0,
        start_timeout_s: float = 1800.0,
    ) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError as error:
            raise EngineError(f"Ray cannot be imported ({error}): install dart-math-suite[ray]") from error
        self._ray = ray
        self._make_engine = make_engine
        self._n_wanted = n_replicas
        self._resources = resources
        self._seed = seed
        self._call_timeout_s = call_timeout_s
        self._start_timeout_s = start_timeout_s
        self._budget_s = min(_LONGEST_CALL_S, max(_SHORTEST_CALL_S, n_replicas / _CALLS_PER_S))
        self._dispatcher = Dispatcher()
        self._actors: dict[int, _Actor] = {}
        self._events: queue.Queue[tuple[int, Future[Any]]] = queue.Queue()  # at most one per replica
        self._n_started = 0
        self._n_deaths_in_a_row = 0  # without any trial finished between them
        self._n_finished = 0
        self._restart_at_s = 0.0
        self._none_since_s = time.monotonic()
        self._refused: set[int] = set()
        self._lost: list[TrialId] = []
        self._set_aside: list[SetAside] = []
        self._fatal = ""
        self._description = ""
        self._n_failed_starts = 0
        self._room_of_one = 1
        self._owns_ray = self._connect(address)
        if resources.gpus is None:
            self._resources = replace(resources, gpus=1.0 if ray.cluster_resources().get("GPU") else 0.0)
        try:
            self._await_first()
        except BaseException:
            self.close()
            raise

    # ------------------------------------------------------------------ the driver's side
    @property
    def description(self) -> str:
        return f"ray {self._ray.__version__}, {self._n_wanted} x {self._description}"

    @property
    def capacity(self) -> int:
        """Room of the replicas that are up; of one where none is, whose trials wait for the first."""
        rooms = [_room(actor.info) for actor in self._actors.values() if actor.info is not None]
        return sum(rooms) if rooms else self._room_of_one

    @property
    def replicas(self) -> dict[int, ReplicaInfo]:
        """The replicas that are up, by number."""
        return {number: actor.info for number, actor in self._actors.items() if actor.info is not None}

    def submit(self, requests: Sequence[Request]) -> None:
        self._dispatcher.submit(requests)
        self._call_idle()

    def poll(self, timeout_s: float) -> list[Completion]:
        self._keep_up()
        self._call_idle()
        completions: list[Completion] = []
        wait_s: float | None = timeout_s
        while True:
            try:
                number, outcome = self._events.get(timeout=wait_s) if wait_s else self._events.get_nowait()
            except queue.Empty:
                return completions
            completions += self._take(number, outcome)
            wait_s = None

    def abort(self, trials: Iterable[TrialId]) -> None:
        self._dispatcher.abort(trials)

    def health(self) -> Health:
        lost, self._lost = tuple(self._lost), []
        set_aside, self._set_aside = tuple(self._set_aside), []
        return Health(not self._fatal, len(self._dispatcher.replicas()), lost, set_aside, self._fatal)

    def close(self) -> None:
        ray = self._ray
        if not ray.is_initialized():
            return
        closing = [actor.handle.close.remote() for actor in self._actors.values() if actor.info is not None]
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=5.0)
        for actor in self._actors.values():
            ray.kill(actor.handle, no_restart=True)
        self._actors.clear()
        if self._owns_ray:
            ray.shutdown()

    # ------------------------------------------------------------------ the cluster's side
    def _connect(self, address: str | None) -> bool:
        """Join or start a cluster; returns whether to leave it at the end."""
        ray = self._ray
        if ray.is_initialized():
            return False
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        address = address or os.environ.get("RAY_ADDRESS")
        try:
            if address:
                _check_reachable(address)
                ray.init(address=address, **quiet)
            else:  # completions are small: the object store hardly matters
                ray.init(address="local", include_dashboard=False, object_store_memory=256 << 20, **quiet)
        except Exception as error:  # Ray raises what its parts raise
            raise EngineError(f"no Ray cluster at {address or 'this machine'}: {_last_line(error)}") from error
        return True

    def _await_first(self) -> None:
        need, have = self._resources, self._ray.cluster_resources()
        n_fit = self._n_wanted
        for name, amount in (("CPU", need.cpus), ("GPU", need.gpus), *need.custom.items()):
            if amount:
                n_fit = min(n_fit, int(have.get(name, 0.0) / amount))
        if n_fit < self._n_wanted:
            _log.warning("%d of %d replicas fit the cluster now; the others join when nodes do", n_fit, self._n_wanted)
        if n_fit < 1:
            _log.warning("waiting up to %.0f s for nodes", self._start_timeout_s)
        while not self._dispatcher.replicas() and not self._fatal:
            self.poll(0.2)
        if self._fatal:
            raise EngineError(self._fatal)

    def _keep_up(self) -> None:
        """Replace what hangs and what is missing."""
        now_s = time.monotonic()
        for number, actor in list(self._actors.items()):
            if actor.call_since_s is not None and now_s - actor.call_since_s > self._call_timeout_s:
                self._bury(number, f"has not answered for {self._call_timeout_s:g} s")
        if now_s >= self._restart_at_s:
            while len(self._actors) < self._n_wanted:
                self._start()
        if self._dispatcher.replicas():
            self._none_since_s = now_s
        elif now_s - self._none_since_s > self._start_timeout_s:
            self._give_up(f"no replica has been up for {self._start_timeout_s:g} s: `ray status` shows what is missing")

    def _start(self) -> None:
        number = self._n_started
        self._n_started += 1
        seed = derived_seed(self._seed, number)
        environment = {"RAY_USAGE_STATS_ENABLED": "0"}
        if not self._resources.gpus:  # vLLM's CPU engines would all bind their threads to the same cores
            environment |= {
                "VLLM_CPU_OMP_THREADS_BIND": "nobind",
                "OMP_NUM_THREADS": str(max(1, int(self._resources.cpus))),
            }
        remote = self._ray.remote(Replica).options(
            num_cpus=self._resources.cpus,
            num_gpus=self._resources.gpus,
            resources=dict(self._resources.custom),
            max_restarts=0,
            max_task_retries=0,
            runtime_env={"env_vars": environment},
        )
        actor = _Actor(remote.remote(number, partial(self._make_engine, seed)))
        self._actors[number] = actor
        self._listen(number, actor.handle.describe.remote())

    def _listen(self, number: int, reference: Any) -> None:
        future: Future[Any] = reference.future()
        future.add_done_callback(lambda done: self._events.put((number, done)))

    def _call_idle(self) -> None:
        for number in self._dispatcher.replicas():
            actor = self._actors[number]
            if actor.call_since_s is None:
                work = self._dispatcher.take(number)
                if work.start or work.stop or not self._dispatcher.is_idle(number):
                    actor.call_since_s = time.monotonic()
                    self._listen(number, actor.handle.work.remote(work.start, work.stop, self._budget_s))

    def _take(self, number: int, outcome: Future[Any]) -> list[Completion]:
        """What a call of a replica came to."""
        actor = self._actors.get(number)
        if actor is None:
            return []  # buried meanwhile
        actor.call_since_s = None
        try:
            answer: ReplicaInfo | Report = outcome.result()
        except Exception as error:  # whatever ended the actor
            self._bury(number, _last_line(error))
            return []
        if isinstance(answer, ReplicaInfo):
            self._welcome(number, actor, answer)
            return []
        for refused in answer.refused:
            self._refuse(refused)
        finished = [done for done in answer.completions if self._dispatcher.finished(number, done.id)]
        if finished:
            self._n_finished += len(finished)
            self._n_deaths_in_a_row = 0
        return finished

    def _welcome(self, number: int, actor: _Actor, info: ReplicaInfo) -> None:
        if info.error:
            self._n_failed_starts += 1
            if self._n_failed_starts >= min(3, self._n_wanted) and not self._dispatcher.replicas():
                self._give_up(info.error)
            self._bury(number, info.error)
            return
        actor.info = info
        self._description = info.description
        self._room_of_one = _room(info)
        self._dispatcher.join(number, _room(info))
        _log.info("replica %d is up on %s", number, info.host)

    def _bury(self, number: int, reason: str) -> None:
        """A replica is dead, or as good as dead."""
        actor = self._actors.pop(number)
        self._ray.kill(actor.handle, no_restart=True)
        lost: list[TrialId] = []
        if actor.info is not None:
            lost, guilty = self._dispatcher.died(number)
            self._lost += lost
            self._set_aside += [
                SetAside(query, f"{DEATHS} replicas died running it, the last: {reason}") for query in guilty
            ]
        where = f" on {actor.info.host}" if actor.info else " while it started"
        _log.warning("replica %d died%s (%s): replaced, %d trials are sampled again", number, where, reason, len(lost))
        self._n_deaths_in_a_row += 1
        n_patience = 10 + 3 * self._n_wanted
        if self._n_deaths_in_a_row > n_patience:
            self._give_up(f"{n_patience} replicas died one after the other, the last: {reason}")
        elif self._n_deaths_in_a_row > 2:
            self._restart_at_s = time.monotonic() + min(60.0, 2.0 ** (self._n_deaths_in_a_row - 3))

    def _refuse(self, refused: SetAside) -> None:
        self._refused.add(refused.query)
        if not self._n_finished and len(self._refused) >= _REFUSALS_AT_START:
            self._give_up(refused.reason)
        self._set_aside.append(refused)

    def _give_up(self, reason: str) -> None:
        self._fatal = self._fatal or reason


def _check_reachable(address: str) -> None:
    """Ray tries for minutes; an address that nobody listens at can be told at once."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10.0).close()


def _room(info: ReplicaInfo) -> int:
    """A few trials more than run at once, so that a finished one is followed without asking the driver."""
    return info.capacity + max(1, info.capacity // 16)


def _last_line(error: BaseException) -> str:
    """Of a remote traceback, the line that says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
