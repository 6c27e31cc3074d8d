"""The pool: right verdicts from every context, one case's fate touching no other, nothing left behind."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import pytest

from dart_tasks.grading import Case, GradingPool, grade

CASES = {n: Case(f"The answer is $\\boxed{{{n}}}$.", str(n - n % 3)) for n in range(300)}
RIGHT = {n: n % 3 == 0 for n in CASES}


@pytest.fixture(scope="module")
def pool() -> Iterator[GradingPool]:
    with GradingPool(2) as running:
        yield running


def workers_of(pool: GradingPool) -> list[int]:
    return [process.pid for process in pool._state.processes]


def test_map_gives_every_case_its_own_verdict(pool: GradingPool) -> None:
    assert {n: verdict.correct for n, verdict in pool.map(CASES.items())} == RIGHT


def test_verdicts_are_those_of_grade(pool: GradingPool) -> None:
    cases = [
        Case("x = 2 or x = 3", "2, 3"),
        Case("[1, 2]", [1, 2], "theoremqa"),
        Case("yes", True),
        Case("\ud800", 1.5),
    ]
    for case in cases:
        assert pool.submit(case).result(60) == grade(case.response, case.reference, case.benchmark)


def test_map_reads_ahead_by_a_bounded_number(pool: GradingPool) -> None:
    taken = 0

    def endless() -> Iterator[tuple[int, Case]]:
        nonlocal taken
        while True:
            taken += 1
            yield taken, Case("5", "5")

    verdicts = pool.map(endless())
    for _ in range(50):
        next(verdicts)
    verdicts.close()  # type: ignore[attr-defined]
    assert taken < 1_000
    assert pool.submit(Case("5", "5")).result(60).correct


def test_threads_share_a_pool(pool: GradingPool) -> None:
    with ThreadPoolExecutor(8) as threads:
        assert (
            dict(
                zip(CASES, threads.map(lambda case: pool.submit(case).result(60).correct, CASES.values()), strict=True)
            )
            == RIGHT
        )


def test_event_loop_awaits_a_pool(pool: GradingPool) -> None:
    async def grade_all() -> list[bool]:
        futures = [asyncio.wrap_future(pool.submit(case)) for case in CASES.values()]
        return [verdict.correct for verdict in await asyncio.gather(*futures)]

    assert asyncio.run(grade_all()) == list(RIGHT.values())


def test_a_worker_killed_in_the_middle_costs_at_most_its_case(pool: GradingPool) -> None:
    futures = {n: pool.submit(case) for n, case in CASES.items()}
    os.kill(workers_of(pool)[0], signal.SIGKILL)
    verdicts = {n: future.result(60) for n, future in futures.items()}
    crashed = [n for n, verdict in verdicts.items() if verdict.flags]
    assert len(crashed) <= 1
    assert all(verdicts[n].flags == ("crashed",) and not verdicts[n].correct for n in crashed)
    assert all(verdicts[n].correct == RIGHT[n] for n in CASES if n not in crashed)


def test_a_worker_that_hangs_is_replaced_and_its_case_flagged() -> None:
    with GradingPool(1, timeout_s=0.2) as pool:
        assert pool.submit(CASES[0]).result(60).correct
        stopped = workers_of(pool)[0]
        os.kill(stopped, signal.SIGSTOP)
        first, second = pool.submit(CASES[0]), pool.submit(CASES[3])
        assert first.result(60).flags == ("timeout", "stalled")
        assert second.result(60).correct
        assert stopped not in workers_of(pool)


LONG = (r"\boxed{\int_0^1 e^{-x^2}\,dx}", r"\int_0^1 e^{-t^2}\,dt + \int_0^0 t\,dt")  # loads computer algebra first


def test_the_limit_is_of_processor_time_which_a_busy_machine_does_not_shorten() -> None:
    with GradingPool(1, timeout_s=1) as pool:
        (worker,) = workers_of(pool)
        os.kill(worker, signal.SIGSTOP)
        waiting = pool.submit(CASES[0])
        time.sleep(1.1)
        os.kill(worker, signal.SIGCONT)
        assert waiting.result(60).correct and workers_of(pool) == [worker]
    with GradingPool(1, timeout_s=0.15) as pool:
        assert "timeout" in pool.submit(Case(*LONG)).result(60).flags


def test_a_worker_killed_while_idle_costs_nothing(pool: GradingPool) -> None:
    for pid in workers_of(pool):
        os.kill(pid, signal.SIGKILL)
    time.sleep(0.1)
    assert [pool.submit(case).result(60).correct for case in list(CASES.values())[:8]] == list(RIGHT.values())[:8]


@pytest.mark.slow
def test_out_of_memory_is_the_cases_own_fate() -> None:
    with GradingPool(1, memory_mb=160) as pool:
        big = pool.submit(Case("5" * 60_000_000, "5"))
        small = pool.submit(Case("5", "5"))
        assert big.result(120).flags and not big.result().correct
        assert small.result(60).correct


def test_closing_ends_a_map_that_waits() -> None:
    pool = GradingPool(1, timeout_s=120)
    os.kill(workers_of(pool)[0], signal.SIGSTOP)
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(list, pool.map(CASES.items()))
        time.sleep(0.5)
        pool.close()
        with pytest.raises(CancelledError):
            waiting.result(60)


def test_cases_of_a_map_that_was_given_up_are_not_graded(monkeypatch: pytest.MonkeyPatch) -> None:
    graded = []
    monkeypatch.setattr(
        "dart_tasks.grading.run.pool._Ticket.set_result", lambda ticket, verdict: graded.append(verdict)
    )
    with GradingPool(1) as pool:
        verdicts = pool.map(CASES.items())
        os.kill(workers_of(pool)[0], signal.SIGSTOP)
        with ThreadPoolExecutor(1) as thread:
            thread.submit(next, verdicts)  # reads ahead by 128 and waits
            time.sleep(0.5)
            stream = verdicts.gi_frame.f_locals["stream"]  # type: ignore[attr-defined]
            stream.abandoned = True
            os.kill(workers_of(pool)[0], signal.SIGCONT)
            assert pool.submit(Case("5", "5")).result(60).correct
            stream.done.put((0, grade("5", "5")))
    assert len(graded) <= 32  # what the worker had been sent


def test_closing_leaves_no_process_and_refuses_more() -> None:
    pool = GradingPool(2)
    pids = workers_of(pool)
    pool.close()
    pool.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(Case("5", "5"))


def test_mistakes_of_the_caller_are_raised_at_once(pool: GradingPool) -> None:
    with pytest.raises(ValueError, match="unknown benchmark 'maths'"):
        pool.submit(Case("5", "5", "maths"))
    with pytest.raises(ValueError, match="must be positive"):
        GradingPool(0)


def _in_child(results: SimpleQueue[bool]) -> None:
    with GradingPool(1) as pool:
        results.put(pool.submit(Case("5", "5")).result(60).correct)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_daemonic_child_process_may_have_a_pool(method: str) -> None:
    context = multiprocessing.get_context(method)
    results = context.SimpleQueue()
    child = context.Process(target=_in_child, args=(results,), daemon=True)
    child.start()
    child.join(120)
    assert results.get() and child.exitcode == 0


def _inherited(pool: GradingPool, results: SimpleQueue[bool]) -> None:
    results.put(pool.submit(Case("5", "5")).result(60).correct)
    pool.close()


@pytest.mark.slow
def test_a_pool_inherited_through_fork_works_in_both_processes(pool: GradingPool) -> None:
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    child = context.Process(target=_inherited, args=(pool, results))
    child.start()
    child.join(120)
    assert results.get() and child.exitcode == 0
    assert pool.submit(Case("5", "5")).result(60).correct


_ABANDONED = """
import sys, time
from dart_tasks.grading import Case, GradingPool
if __name__ == "__main__":
    pool = GradingPool(2)
    pool.submit(Case("5", "5")).result(60)
    print(*[process.pid for process in pool._state.processes], flush=True)
    if sys.argv[1] == "wait":
        time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "end"), [("exit", None), ("wait", signal.SIGINT), ("wait", signal.SIGKILL)])
def test_workers_end_with_a_parent_that_never_closed_its_pool(mode: str, end: signal.Signals | None) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _ABANDONED, mode],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in a shell's background jobs
    )
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2
    if end is not None:
        parent.send_signal(end)
    parent.wait(60)
    parent.stdout.close()
    deadline_s = time.monotonic() + 30
    while any(_runs(pid) for pid in pids):
        assert time.monotonic() < deadline_s, "workers outlive their parent"
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
