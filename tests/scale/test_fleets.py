"""Whole runs on real vLLM: in this process, on two Ray actors of which one is killed, and on two API servers of which
one is killed while the other answers slowly and with errors. The finished data sets differ in nothing but sampling."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from vllm_server import ENVIRONMENT, VllmServer

from dart_tasks import embedded
from dart_tasks.grading import GRADER_VERSION, GradingPool
from synth.config import RunConfig, resolve
from synth.display import snapshot
from synth.driver import Progress
from synth.engines import Engine
from synth.engines.factory import make_engine
from synth.ledger import Ledger, PoolRow
from synth.run import Plan, RunReport, build_plan, load_run_queries, restore, synthesise
from synth.scheduler import Status

pytestmark = pytest.mark.slow

N_QUERIES, QUOTA = 10, 4


def configuration(**overrides: Any) -> RunConfig:
    values = {"strategy": "uniform", "k": QUOTA, "max_trials": 16, "limit": N_QUERIES, "n_slots": 8}
    return resolve("demo", {**values, "dataset_format": "jsonl", **overrides})


class Halfway:
    """Does something once, after a number of trials; the driver calls it between polls."""

    def __init__(self, n_trials: int, act: Callable[[], None]) -> None:
        self._n_trials = n_trials
        self._act: Callable[[], None] | None = act

    def update(self, progress: Progress, *_: object) -> None:
        if self._act is not None and progress.n_trials >= self._n_trials:
            self._act()
            self._act = None

    @property
    def happened(self) -> bool:
        return self._act is None


@dataclass(frozen=True)
class Outcome:
    """A finished run as its folder shows it."""

    plan: Plan
    rows: list[dict[str, Any]]
    files: list[str]
    pool: list[PoolRow]


def read(run_dir: Path) -> Outcome:
    config = configuration()
    plan = build_plan(config, load_run_queries(config))
    with Ledger(run_dir, read_only=True) as ledger:
        restore(plan, ledger, lenient=False)
        pool = list(ledger.pool())
    data = run_dir / "dataset"
    files = sorted(str(path.relative_to(data)) for path in data.rglob("*.jsonl"))
    rows = [json.loads(line) for line in (data / "data" / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    return Outcome(plan, rows, files, pool)


def run(run_dir: Path, config: RunConfig, observer: Halfway, engines: list[Any]) -> RunReport:
    def make(chosen: RunConfig, seed: int) -> Engine:
        engines.append(make_engine(chosen, seed))
        return engines[-1]  # type: ignore[no-any-return]

    with GradingPool(1) as grader:
        report = synthesise(
            config, run_dir, load_run_queries(config), make, grader, GRADER_VERSION, observer=observer
        )  # fmt: skip
    assert observer.happened
    assert report.exported is not None
    shown = snapshot(report.plan.scheduler, report.plan.queries).total  # what the last table says
    assert (shown.n_kept, shown.n_trials) == (report.exported.n_responses, report.exported.n_trials)
    return report


def check_complete(outcome: Outcome, reference: Outcome) -> None:
    """Each query is settled, each trial is there once, each kept response is a correct and new one."""
    scheduler = outcome.plan.scheduler
    assert scheduler.done
    assert len({(row.query, row.trial) for row in outcome.pool}) == len(outcome.pool)
    accepted = {(query, trial) for query in range(N_QUERIES) for trial in scheduler.accepted(query)}
    assert accepted <= {(row.query, row.trial) for row in outcome.pool if row.correct}
    for query in range(N_QUERIES):
        state = scheduler.state(query)
        assert (len(scheduler.accepted(query)) == QUOTA) == (state.status is Status.FILLED)
    assert len({(row["query_id"], row["response"]) for row in outcome.rows}) == len(outcome.rows) == len(accepted)
    # Nothing but sampling differs: the same files and columns, the same model sampled in the same way.
    assert outcome.files == reference.files
    assert list(outcome.rows[0]) == list(reference.rows[0])
    ours, theirs = (sum(row.correct for row in each.pool) / len(each.pool) for each in (outcome, reference))
    assert abs(ours - theirs) < 0.25
    assert {row.finish_reason for row in outcome.pool} <= {"stop", "length"}
    assert all(0 < row.n_tokens <= 256 for row in outcome.pool)


@pytest.fixture(scope="module")
def in_process(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The run to compare with, by the command itself (vLLM would stay in this process's memory)."""
    run_dir = tmp_path_factory.mktemp("in-process") / "run"
    options = f"--preset demo --strategy uniform -k {QUOTA} --max-trials 16 --limit {N_QUERIES} --slots 8"
    program = [sys.executable, "-c", "from synth.cli import main; main()", *options.split(), "--format", "jsonl"]
    subprocess.run([*program, "--output", str(run_dir)], env=ENVIRONMENT, check=True, timeout=900)
    return read(run_dir)


def test_ray_with_a_replica_killed(in_process: Outcome, tmp_path: Path) -> None:
    engines: list[Any] = []

    def kill() -> None:
        os.kill(min(engines[0].replicas.items())[1].pid, signal.SIGKILL)

    config = configuration(engine="ray", replicas=2, replica_cpus=0.5)
    report = run(tmp_path / "run", config, Halfway(25, kill), engines)
    assert report.progress.n_lost > 0
    check_complete(read(tmp_path / "run"), in_process)


# ---------------------------------------------------------------------- servers
class FaultyProxy:
    """Passes requests on to a server; every third is answered with a 500, every third late."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._n = self.n_errors = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()

    async def _start(self) -> int:
        self._session = aiohttp.ClientSession()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._pass_on)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return int(self._runner.addresses[0][1])

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            self._n += 1
            if self._n % 3 == 0:
                self.n_errors += 1
                return web.json_response({"error": "made by the test"}, status=500)
            if self._n % 3 == 1:
                await asyncio.sleep(0.5)
        body = await request.read()
        kind = {"Content-Type": request.content_type}
        async with self._session.request(
            request.method, self._target + request.path, data=body, headers=kind
        ) as answer:
            return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)

    def close(self) -> None:
        async def stop() -> None:
            await self._session.close()
            await self._runner.cleanup()

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="module")
def servers(in_process: Outcome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[VllmServer]]:
    """Two of vLLM's API servers, with seeds of their own (after the other tests: this takes memory)."""
    logs = tmp_path_factory.mktemp("servers")
    with ExitStack() as stack:
        started = [
            stack.enter_context(
                VllmServer(
                    *(embedded.MODEL_DIR, logs / str(number), "--max-num-seqs", "8", "--seed", str(number)),
                    *("--served-model-name", "tiny"),
                )
            )
            for number in range(2)
        ]
        for server in started:
            server.wait()
        yield started


def test_servers_with_one_killed_and_one_failing(
    in_process: Outcome, servers: list[VllmServer], tmp_path: Path
) -> None:
    victim, other = servers
    proxy = FaultyProxy(other.url)
    try:
        endpoints = (victim.url, f"http://127.0.0.1:{proxy.port}/v1")
        config = configuration(engine="openai", endpoints=endpoints, engine_args=(), model="tiny")
        run(tmp_path / "run", config, Halfway(25, victim.process.kill), [])
    finally:
        proxy.close()
    assert proxy.n_errors > 0
    outcome = read(tmp_path / "run")
    assert {row.replica for row in outcome.pool} == {0, 1}
    check_complete(outcome, in_process)


def test_a_run_begun_in_process_goes_on_at_a_server(
    in_process: Outcome, servers: list[VllmServer], tmp_path: Path
) -> None:
    """A folder's model and the name that a server has for it are one by --model-name."""
    stop = threading.Event()
    began, named = Halfway(10, stop.set), {"model_name": "org/tiny"}
    local = configuration(**named)
    with GradingPool(1) as grader:
        synthesise(
            local, tmp_path / "run", load_run_queries(local), make_engine, grader, GRADER_VERSION, observer=began,
            stop=stop,
        )  # fmt: skip
    served = configuration(engine="openai", endpoints=(servers[1].url,), engine_args=(), model="tiny", **named)
    run(tmp_path / "run", served, Halfway(5, lambda: None), [])
    outcome = read(tmp_path / "run")
    assert {row.attempt for row in outcome.pool} == {0, 1}
    check_complete(outcome, in_process)


def test_a_server_killed_and_started_again_in_the_middle(in_process: Outcome, tmp_path: Path) -> None:
    """Nothing answers for as long as a model takes to load; the run says so, waits and loses nothing."""
    options, troubles = ("--max-num-seqs", "8", "--served-model-name", "tiny"), set[str]()
    with ExitStack() as stack:
        first = stack.enter_context(VllmServer(embedded.MODEL_DIR, tmp_path / "first.log", *options))
        first.wait()

        def kill_and_start() -> None:
            first.kill()
            again = VllmServer(embedded.MODEL_DIR, tmp_path / "again.log", *options, "--seed", "1", port=first.port)
            stack.enter_context(again)

        class Watch(Halfway):
            def update(self, progress: Progress, *others: object) -> None:
                troubles.add(progress.trouble)
                super().update(progress, *others)

        config = configuration(engine="openai", endpoints=(first.url,), engine_args=(), model="tiny")
        report = run(tmp_path / "run", config, Watch(25, kill_and_start), [])
    assert any("Connect call failed" in trouble and "trying again" in trouble for trouble in troubles), troubles
    assert not report.progress.set_aside
    check_complete(read(tmp_path / "run"), in_process)
