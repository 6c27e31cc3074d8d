"""Our reward beside TRL's own (Math-Verify), many threads at once, workers killed under load, and the served verifier.

    python bench/rewards.py RESPONSES.jsonl

RESPONSES are labelled rows, as bench/verifiers.py takes them. All figures come from one run. TRL's ``accuracy_reward``
runs in one process, as it does in a trainer; ours is given one worker, then all cores, with nothing in the caches.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import platform
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelled import Labelled, load

from dart_tasks.grading import GRADER_VERSION
from dart_tasks.rewards import RewardOptions, core, judge, sample
from dart_tasks.rewards.trl import AccuracyReward

BATCH = 256


def batches(rows: list[Labelled]) -> list[list[Labelled]]:
    return [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]


def cpu_seconds() -> float:
    """CPU time of this process and of its grading workers that live."""
    total = time.process_time()
    for pool in core._pools.values():
        for process in pool._state.processes:
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


@dataclass(frozen=True)
class Timed:
    """Rewards, and what they took."""

    rewards: list[float | None]
    wall_s: float
    cpu_s: float


def timed(rows: list[Labelled], reward: Callable[..., list[float | None]], wrap: str) -> Timed:
    """Call a TRL reward batch by batch, as the trainer does."""
    rewards: list[float | None] = []
    began_s, used_s = time.monotonic(), cpu_seconds()
    for batch in batches(rows):
        rewards += reward(
            completions=[[{"role": "assistant", "content": row.case.response}] for row in batch],
            solution=[wrap.format(row.case.reference) for row in batch],
            prompts=[row.case.question or "" for row in batch],
        )
    return Timed(rewards, time.monotonic() - began_s, cpu_seconds() - used_s)


def beside_trl(rows: list[Labelled]) -> None:
    """Rewards per second and agreement with the labels."""
    from trl.rewards import accuracy_reward

    cores = len(os.sched_getaffinity(0))
    warm = rows[:1]
    measured = {}
    timed(warm, accuracy_reward, "${}$")
    measured["TRL accuracy_reward (Math-Verify)"] = timed(rows, accuracy_reward, "${}$")
    for workers in sorted({1, cores}):
        for title, explicit in (("", True), (", the last number counts", False)):
            ours = AccuracyReward(RewardOptions(workers=workers, require_explicit=explicit, timeout_s=5 + explicit))
            timed(warm, ours, "{}")
            measured[f"ours, {workers} worker{'s' * (workers > 1)}{title}"] = timed(rows, ours, "{}")
    print(
        f"\n{'reward':34}{'rewards/s':>10}{'times':>7}{'per CPU s':>11}{'times':>7}{'as labelled':>13}"
        f"{'false accepts':>15}{'no reward':>11}"
    )
    base = next(iter(measured.values()))
    for name, ours in measured.items():
        judged = [(reward, row.expected) for reward, row in zip(ours.rewards, rows, strict=True) if reward is not None]
        agree = sum((reward == 1.0) == label for reward, label in judged) / len(rows)
        accepted = sum(reward == 1.0 and not label for reward, label in judged)
        print(
            f"{name:34}{len(rows) / ours.wall_s:>10,.0f}{base.wall_s / ours.wall_s:>7.1f}"
            f"{len(rows) / ours.cpu_s:>11,.0f}{base.cpu_s / ours.cpu_s:>7.1f}{agree:>13.1%}{accepted:>15}"
            f"{len(rows) - len(judged):>11}"
        )


def threads(n_threads: int, n_cases: int) -> None:
    """Every thread judges its own batch; all must be right and in order."""
    options = RewardOptions()
    right = [float(n % 3 == 0) for n in range(n_cases)]

    def work(seed: int) -> bool:
        cases = [
            sample(f"Thread {seed} finds $\\boxed{{{n + seed}}}$.", str(n + seed - n % 3), options=options)
            for n in range(n_cases)
        ]
        return [reward.value for reward in judge(cases, options)] == right

    judge([sample("4", "4")], options)
    began_s = time.monotonic()
    with ThreadPoolExecutor(n_threads) as pool:
        good = sum(pool.map(work, range(n_threads)))
    seconds = time.monotonic() - began_s
    print(
        f"\n{n_threads} threads x {n_cases:,} cases: {good} batches right and in order, {seconds:.1f} s, "
        f"{n_threads * n_cases / seconds:,.0f} rewards/s"
    )


def killed(seconds: float) -> None:
    """Workers are killed with SIGKILL, one every 0.2 to 0.6 s, while eight threads judge."""
    options = RewardOptions(workers=2, timeout_s=6)
    cases = [sample(f"It is $\\boxed{{{n}}}$.", str(n - n % 3), options=options) for n in range(500)]
    right = [float(n % 3 == 0) for n in range(500)]
    judge(cases, options)
    ends_s = time.monotonic() + seconds
    counts = dict.fromkeys(("killed", "judged", "wrong", "without reward"), 0)

    def work(_: int) -> None:
        while time.monotonic() < ends_s:
            for reward, expected in zip(judge(cases, options), right, strict=True):
                counts["judged"] += 1
                counts["without reward"] += reward.value is None
                counts["wrong"] += reward.value not in (None, expected)

    with ThreadPoolExecutor(8) as pool:
        done = [pool.submit(work, number) for number in range(8)]
        while time.monotonic() < ends_s:
            time.sleep(random.uniform(0.2, 0.6))
            with contextlib.suppress(ProcessLookupError, RuntimeError):
                os.kill(next(iter(core._pool(options)._state.processes)).pid, signal.SIGKILL)
                counts["killed"] += 1
        for future in done:
            future.result()
    print(f"\nkill -9 under load, {seconds:g} s: " + ", ".join(f"{count:,} {name}" for name, count in counts.items()))


def served(rows: list[Labelled], clients: int, seconds: float, size: int) -> None:
    """Requests per second and latency of ``dart-grade serve``, and what became of requests when it was told to end."""
    import aiohttp

    command = [sys.executable, "-m", "dart_tasks.cli", "serve", "--port", "0", "--reward-implicit"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout
    found = re.search(r"http://[^ ]+", server.stdout.readline())
    assert found
    url = f"{found[0]}/grade"
    bodies = [
        {"cases": [{name: getattr(row.case, name) for name in ("response", "reference", "question")} for row in part]}
        for start in range(0, len(rows), size)
        if (part := rows[start : start + size])
    ]
    took: list[float] = []
    lost: list[str] = []

    async def client(session: Any, number: int) -> None:
        for turn in range(10**9):
            body = bodies[(number + turn * clients) % len(bodies)]
            began_s = time.monotonic()
            try:
                async with session.post(url, json=body) as response:
                    answer = await response.json()
                    assert len(answer["rewards"]) == len(body["cases"])
                took.append(time.monotonic() - began_s)
            except aiohttp.ClientConnectorError:  # it no longer listens: nothing was taken
                return
            except aiohttp.ClientError as error:
                lost.append(type(error).__name__)
                return

    async def load_it() -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            running = [asyncio.create_task(client(session, number)) for number in range(clients)]
            await asyncio.sleep(seconds)
            server.terminate()
            await asyncio.gather(*running)

    began_s = time.monotonic()
    asyncio.run(load_it())
    elapsed = time.monotonic() - began_s
    server.communicate()
    took.sort()
    print(
        f"\ndart-grade serve, {clients} clients, {size} cases a request: {len(took) / elapsed:,.0f} requests/s "
        f"({len(took) * size / elapsed:,.0f} cases/s), median {1000 * took[len(took) // 2]:.0f} ms, "
        f"p99 {1000 * took[int(len(took) * 0.99)]:.0f} ms; SIGTERM under load: {len(lost)} lost of {len(took):,}, "
        f"exit {server.returncode}"
    )


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("responses", metavar="RESPONSES", help="labelled responses")
    parser.add_argument("--threads", type=int, default=64)
    parser.add_argument("--cases", type=int, default=1000, help="of each thread")
    parser.add_argument("--seconds", type=float, default=10, help="of the killing, and of each load on the server")
    options = parser.parse_args()
    rows = load(options.responses)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, grader {GRADER_VERSION}")
    print(f"{len(rows):,} responses of {options.responses}")
    beside_trl(rows)
    threads(options.threads, options.cases)
    killed(options.seconds)
    for size in (1, 64):
        served(rows, clients=32, seconds=options.seconds, size=size)


if __name__ == "__main__":
    main()
