"""How many trials a second one driver schedules and records, with simulated replicas of 11 samples/s each.

    python bench/scale_sim.py                                   # 64, 256 and 1,024 replicas, verdicts supplied
    python bench/scale_sim.py --grade --replicas 64             # with the real graders on this machine's cores

Everything but sampling is the real thing: scheduler, driver, ledger (on disk), and with ``--grade`` the pool of
graders. The simulated engine keeps every replica's slots busy in real time; where the driver is slower than the
replicas, finished trials wait in the engine and their number is the column "waiting".
"""

from __future__ import annotations

import argparse
import heapq
import os
import platform
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

from dart_tasks.grading import Case, GradingPool, Verdict
from dart_tasks.problems.record import Problem
from dart_tasks.prompts import PromptTemplate
from synth.driver import Driver, Grader
from synth.engines import Health
from synth.ledger import Ledger
from synth.prompting import PromptMaker
from synth.records import Completion, Request
from synth.scheduler import ProbeOutcome, QuerySpec, Scheduler, Target, TrialId

SAMPLES_PER_S = 11.0  # of one replica: an A100 with DeepSeekMath-7B-RL gives 35,000-40,000 samples an hour
N_QUERIES = 14_973  # MATH train and GSM8K train
K_P = 192  # the paper's Prop2Diff
ANSWERS = (  # reference, an answer that equals it, one that does not
    ("7", "7", "8"), ("42", "42.0", "24"), ("18", "18", "81"), ("1200", "1,200", "120"),
    ("\\frac{3}{4}", "0.75", "\\frac{4}{3}"), ("2\\sqrt{3}", "\\sqrt{12}", "3\\sqrt{2}"),
    ("x^2+2x+1", "(x+1)^2", "x^2+1"), ("(1,\\infty)", "x \\in (1, \\infty)", "[1,\\infty)"),
    ("\\frac{\\pi}{6}", "\\pi/6", "\\frac{\\pi}{3}"), ("\\{1, 2\\}", "\\{2, 1\\}", "\\{1, 3\\}"),
)  # fmt: skip


def response_text(source: random.Random, answer: str) -> tuple[str, int]:
    """A solution of ordinary size: log-normal, median 260 tokens, 3.1 characters a token, at most 2,048 tokens."""
    n_tokens = min(2048, max(20, int(source.lognormvariate(5.56, 0.62))))
    steps = []
    n_chars = 0
    while n_chars < 3.1 * n_tokens - 40:
        a, b = source.randrange(2, 10**6), source.randrange(2, 10**6)
        steps.append(f"Next we compute ${a} + {b} = {a + b}$, so that $x_{{{len(steps)}}} = \\frac{{{a}}}{{{b}}}$.")
        n_chars += len(steps[-1])
    steps.append(f"The answer is $\\boxed{{{answer}}}$.")
    return " ".join(steps), n_tokens


class SimulatedEngine:
    """Replicas whose trials take as long as their lengths say; a slot is filled again only when the driver does so."""

    def __init__(self, n_replicas: int, n_slots: int, pass_rates: Sequence[float], seed: int) -> None:
        self._source = random.Random(seed)
        self._pass_rates = pass_rates
        self._right = [[response_text(self._source, right) for _ in range(300)] for _, right, _ in ANSWERS]
        self._wrong = [[response_text(self._source, wrong) for _ in range(300)] for _, _, wrong in ANSWERS]
        mean = statistics.mean(n for texts in self._right for _, n in texts)
        self._s_per_token = n_slots / SAMPLES_PER_S / mean
        self._capacity = n_replicas * n_slots
        self._events: list[tuple[float, TrialId, str, int]] = []
        self._running: set[TrialId] = set()
        self._n_submitted = 0
        self.n_waiting_most = 0

    @property
    def description(self) -> str:
        return "simulated"

    @property
    def capacity(self) -> int:
        return self._capacity

    def submit(self, requests: Sequence[Request]) -> None:
        now_s = time.monotonic()
        source = self._source
        for request in requests:
            right = source.random() < self._pass_rates[request.id.query]
            texts = self._right if right else self._wrong
            text, n_tokens = source.choice(texts[request.id.query % len(ANSWERS)])
            text = f"{request.id.trial} of {source.getrandbits(40)}: {text}"  # no two alike, as in life
            # The first filling starts in the middle of things: else all slots would end together.
            left = source.random() if self._n_submitted < self._capacity else 1.0
            self._n_submitted += 1
            heapq.heappush(self._events, (now_s + left * n_tokens * self._s_per_token, request.id, text, n_tokens))
            self._running.add(request.id)

    def poll(self, timeout_s: float) -> list[Completion]:
        now_s = time.monotonic()
        if self._events and self._events[0][0] > now_s:
            time.sleep(min(timeout_s, 0.005, self._events[0][0] - now_s))
            now_s = time.monotonic()
        completions = []
        while self._events and self._events[0][0] <= now_s:
            _, trial, text, n_tokens = heapq.heappop(self._events)
            if trial in self._running:
                self._running.discard(trial)
                completions.append(Completion(trial, text, n_tokens, "stop"))
        self.n_waiting_most = max(self.n_waiting_most, len(completions))
        return completions

    def abort(self, trials: Iterable[TrialId]) -> None:
        self._running.difference_update(trials)

    def health(self) -> Health:
        return Health(True, 1)

    def close(self) -> None:
        self._events.clear()


class SuppliedVerdicts:
    """A grader that knows the verdicts and takes no time."""

    _RIGHT = Verdict(True, "7", "boxed", True, "identical")
    _WRONG = Verdict(False, "8", "boxed", True, "different")

    def __init__(self) -> None:
        self._ends = {reference: f"{{{right}}}$." for reference, right, _ in ANSWERS}

    def submit(self, case: Case) -> Future[Verdict]:
        future: Future[Verdict] = Future()
        future.set_result(self._RIGHT if case.response.endswith(self._ends[str(case.reference)]) else self._WRONG)
        return future


class Clocked:
    """Adds up the processor time that the driver's thread spends in some of its calls."""

    def __init__(self) -> None:
        self.spent_s: dict[str, float] = {}

    def clock(self, owner: Any, name: str, label: str) -> None:
        inner = getattr(owner, name)

        def timed(*arguments: Any, **options: Any) -> Any:
            start_s = time.thread_time()
            try:
                return inner(*arguments, **options)
            finally:
                self.spent_s[label] = self.spent_s.get(label, 0.0) + time.thread_time() - start_s

        setattr(owner, name, timed)


State = tuple[float, int, float, dict[str, float]]
"""Time, trials, processor time, and that of some calls."""


class Probe:
    """Measures the second half of a run and stops it."""

    def __init__(self, warm_up_s: float, measure_s: float) -> None:
        self._warm_up_s = warm_up_s
        self._measure_s = measure_s
        self._start_s = time.monotonic()
        self.first: State | None = None
        self.last: State | None = None
        self.clocked = Clocked()
        self.most_grading = 0

    def update(self, progress: Any, scheduler: Any, n_running: int, n_grading: int) -> None:
        now_s = time.monotonic()
        self.most_grading = max(self.most_grading, n_grading)
        if self.first is None:
            if now_s - self._start_s >= self._warm_up_s:
                self.first = self._state(now_s, progress.n_trials)
        elif now_s - self.first[0] >= self._measure_s:
            self.last = self._state(now_s, progress.n_trials)
            raise FinishedError

    def _state(self, now_s: float, n_trials: int) -> State:
        return now_s, n_trials, time.process_time(), {**self.clocked.spent_s, "graders": children_cpu_s()}


def children_cpu_s() -> float:
    """Processor time of the grader processes so far."""
    import psutil

    return sum(sum(child.cpu_times()[:2]) for child in psutil.Process().children())


class FinishedError(Exception):
    """The measurement is over."""


def measure(n_replicas: int, n_slots: int, grade: bool, warm_up_s: float, measure_s: float) -> dict[str, Any]:
    """One row of the table."""
    source = random.Random(0)
    pass_rates = [min(1.0, source.betavariate(0.9, 0.6)) for _ in range(N_QUERIES)]
    text = "A train leaves the station at noon and " * 5
    queries = [
        Problem(
            f"q{i}", f"{text}{i}?", ANSWERS[i % len(ANSWERS)][0], "math", "simulated", metadata={"level": 1 + i % 5}
        )
        for i in range(N_QUERIES)
    ]

    def freeze(index: int, probe: ProbeOutcome) -> Target:
        return Target(max(1, -(-K_P * (probe.n_trials - probe.n_correct) // probe.n_trials)), 8192)

    scheduler = Scheduler([QuerySpec(probe_trials=32)] * N_QUERIES, 8192, freeze)
    engine = SimulatedEngine(n_replicas, n_slots, pass_rates, seed=1)
    probe = Probe(warm_up_s, measure_s)
    with tempfile.TemporaryDirectory() as folder:
        pool = GradingPool() if grade else None
        grader: Grader = pool if pool is not None else SuppliedVerdicts()
        ledger = Ledger(Path(folder))
        try:
            if pool is not None:
                pool.__enter__()
            ledger.add_queries(queries)
            driver = Driver(
                queries, scheduler, engine, grader, ledger, PromptMaker(PromptTemplate("bare", "{query}")),
                attempt=0, lenient=False, observer=probe,
            )  # fmt: skip
            clocked = probe.clocked
            clocked.clock(scheduler, "next_requests", "schedule")
            clocked.clock(scheduler, "on_result", "results")
            clocked.clock(engine, "submit", "simulate")
            clocked.clock(engine, "poll", "simulate")
            clocked.clock(grader, "submit", "grade")
            clocked.clock(ledger, "append", "append")
            clocked.clock(ledger, "_commit", "commit")  # in the ledger's own thread
            with suppress(FinishedError):
                driver.run()
        finally:
            ledger.close()
            if pool is not None:
                pool.__exit__(None, None, None)
    assert probe.first is not None and probe.last is not None
    (t0, n0, cpu0, spent0), (t1, n1, cpu1, spent1) = probe.first, probe.last
    n = max(1, n1 - n0)
    spent = {label: (spent1[label] - spent0.get(label, 0.0)) / n * 1e6 for label in spent1}
    return {
        "replicas": n_replicas,
        "offered": n_replicas * SAMPLES_PER_S,
        "done": n / (t1 - t0),
        "cpu": (cpu1 - cpu0) / (t1 - t0),
        "cpu_us": (cpu1 - cpu0) / n * 1e6,
        "waiting": engine.n_waiting_most,
        "grading": probe.most_grading,
        **spent,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--slots", type=int, default=64, help="trials at once on a replica")
    parser.add_argument("--grade", action="store_true", help="grade for real")
    parser.add_argument("--warm-up", type=float, default=10.0, help="seconds before measuring")
    parser.add_argument("--seconds", type=float, default=20.0, help="seconds of measuring")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load before the start {load:.1f}")
    print(f"{N_QUERIES:,} queries, Prop2Diff k_p = {K_P}, probe 32, {options.slots} slots a replica, "
          f"verdicts {'by the real graders' if options.grade else 'supplied'}\n")  # fmt: skip
    labels = ["schedule", "results", "grade", "append", "commit", "graders"]
    print("replicas   offered/s  recorded/s  share  cores used  per core-s  us/trial | of these: " + "  ".join(
        f"{label:>8}" for label in labels) + "   simulator | most waiting  most in grading")  # fmt: skip
    for n_replicas in options.replicas:
        row = measure(n_replicas, options.slots, options.grade, options.warm_up, options.seconds)
        print(
            f"{row['replicas']:8,}  {row['offered']:10,.0f}  {row['done']:10,.0f}  {row['done'] / row['offered']:5.0%}"
            f"  {row['cpu']:10.2f}  {1e6 / row['cpu_us']:10,.0f}  {row['cpu_us']:8.0f} |           "
            + "  ".join(f"{row.get(label, 0.0):8.0f}" for label in labels)
            + f"   {row.get('simulate', 0.0):9.0f} | {row['waiting']:12,}  {row['grading']:15,}",
            flush=True,
        )
    print(f"\nlargest memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
