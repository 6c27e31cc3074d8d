"""Replicas as real Ray actors that are killed, stopped and poisoned; their engine is a tape, which starts fast."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from synth.engines import Engine, EngineError, Health, SetAside
from synth.engines.ray_engine import RayEngine, Resources
from synth.engines.tape import TapeEngine
from synth.records import Completion, Request
from synth.scheduler import TrialId

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """One cluster for the module, with room for two replicas whatever the machine has."""
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray.init(address="local", num_cpus=2, include_dashboard=False, object_store_memory=256 << 20, log_to_driver=False)
    yield
    ray.shutdown()


class Poisonable(TapeEngine):
    """Says its seed; ends its process when it is asked the forbidden query; refuses a prompt that is too long."""

    def submit(self, requests: Sequence[Request]) -> None:
        for request in requests:
            if request.prompt == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if request.prompt == "too long":
                raise EngineError("the prompt is too long")
        super().submit(requests)


def make_tape(seed: int) -> Engine:
    return Poisonable(lambda request: (f"{request.prompt} by {seed}", 20), n_slots=4, token_s=0.002)


def broken(seed: int) -> Engine:
    raise EngineError("vLLM cannot load it")


@pytest.fixture(scope="module")
def engine(cluster: None) -> Iterator[RayEngine]:
    """Three replicas are wanted, two fit: the third waits for a node that never comes."""
    engine = RayEngine(make_tape, 3, Resources(cpus=1.0, gpus=0.0), seed=7, call_timeout_s=5.0)
    yield engine
    engine.close()


def run(
    engine: RayEngine, wanted: list[Request], timeout_s: float = 120.0, halfway: Callable[[], None] | None = None
) -> tuple[dict[TrialId, Completion], list[SetAside], int]:
    """As the driver does: never more than the capacity, lost trials again under their number."""
    by_id = {request.id: request for request in wanted}
    todo, done, aside, n_lost = list(wanted), dict[TrialId, Completion](), list[SetAside](), 0
    running: set[TrialId] = set()
    deadline_s = time.monotonic() + timeout_s
    while len(done) + sum(request.id.query in {q for q, _ in aside} for request in wanted) < len(wanted):
        assert time.monotonic() < deadline_s, f"{len(done)} of {len(wanted)} done"
        n_free = max(0, engine.capacity - len(running))
        now, todo = todo[:n_free], todo[n_free:]
        running.update(request.id for request in now)
        engine.submit(now)
        for completion in engine.poll(0.05):
            assert completion.id not in done
            done[completion.id] = completion
            running.discard(completion.id)
        health = engine.health()
        assert health.ok, health.message
        aside += health.set_aside
        gone = {query for query, _ in health.set_aside}
        engine.abort([trial for trial in running if trial.query in gone])
        running = {trial for trial in running if trial.query not in gone}
        n_lost += len(health.lost)
        running.difference_update(health.lost)
        todo = [by_id[trial] for trial in health.lost] + todo
        todo = [request for request in todo if request.id.query not in {q for q, _ in aside}]
        if halfway is not None and len(done) > len(wanted) / 3:
            halfway()
            halfway = None
    return done, aside, n_lost


def questions(n: int) -> list[Request]:
    return [Request(TrialId(i, 0), f"q{i}") for i in range(n)]


def until_up(engine: RayEngine, n: int) -> None:
    deadline_s = time.monotonic() + 60
    while len(engine.replicas) < n and time.monotonic() < deadline_s:
        engine.poll(0.05)
    assert len(engine.replicas) == n


def test_no_cluster() -> None:
    """First: once this process is in a cluster, that one is used."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(EngineError, match=f"no Ray cluster at {address}: .*refused"):
        RayEngine(make_tape, 1, Resources(), seed=0, address=address)


def test_replicas_share_the_work_with_seeds_of_their_own(engine: RayEngine) -> None:
    until_up(engine, 2)
    assert engine.capacity == 2 * (4 + 1)
    done, aside, n_lost = run(engine, questions(60))
    assert (aside, n_lost) == ([], 0)
    assert {trial.query: done[trial].text.split()[0] for trial in done} == {i: f"q{i}" for i in range(60)}
    assert {completion.replica for completion in done.values()} == {0, 1}
    assert len({completion.text.split()[2] for completion in done.values()}) == 2


@pytest.mark.parametrize(
    ("blow", "reason"), [(signal.SIGKILL, "died"), (signal.SIGSTOP, "has not answered")], ids=["killed", "hanging"]
)
def test_a_replica_that_is_gone_is_replaced(
    engine: RayEngine, blow: signal.Signals, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    until_up(engine, 2)
    number, victim = min(engine.replicas.items())
    done, aside, n_lost = run(engine, questions(300), halfway=lambda: os.kill(victim.pid, blow))
    assert len(done) == 300
    assert aside == []
    assert 0 < n_lost <= 5
    until_up(engine, 2)
    assert number not in engine.replicas  # numbers, hence seeds, are never used twice
    assert engine.health() == Health(True, 2)
    assert reason in caplog.text


def test_a_query_that_kills_three_replicas_is_set_aside(engine: RayEngine) -> None:
    wanted = questions(80)
    wanted[5] = Request(TrialId(5, 0), "kill")
    done, aside, _ = run(engine, wanted)
    assert set(done) == {TrialId(i, 0) for i in range(80) if i != 5}
    ((query, reason),) = aside
    assert query == 5
    assert reason.startswith("3 replicas died running it")


def test_a_refused_prompt_is_set_aside_without_harm(engine: RayEngine) -> None:
    wanted = questions(30)
    wanted[3] = Request(TrialId(3, 0), "too long")
    done, aside, n_lost = run(engine, wanted)
    assert len(done) == 29
    assert aside == [SetAside(3, "the prompt is too long")]
    assert n_lost == 0


def test_an_engine_that_cannot_start_says_why(cluster: None) -> None:
    with pytest.raises(EngineError, match="vLLM cannot load it"):
        RayEngine(broken, 1, Resources(cpus=0.0, gpus=0.0), seed=0)
