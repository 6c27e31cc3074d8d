"""The vLLM engine fed continuously, against rounds: needed tokens per engine step, idle time, unique responses.

    python bench/synth_engine.py                (the embedded model and problems; ten minutes on two cores)

Real vLLM, real grading. Each way fills the same quotas on the same queries. ``rounds of f x queries`` sends f times the
number of queries at once, cycling over the open ones, and waits for all of them (DART-Math's script: 1.1).
Needed tokens are those of trials up to a query's last accepted one; a step is one forward pass over the running batch.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from dataclasses import dataclass

from dart_tasks.grading import Case, GradingPool
from dart_tasks.problems.record import Problem
from synth.config import RunConfig, resolve
from synth.engines.factory import sampling_settings
from synth.engines.vllm_engine import VllmEngine
from synth.records import Request, normalise, text_key
from synth.run import load_run_queries
from synth.scheduler import QuerySpec, Scheduler, TrialId, TrialResult


@dataclass
class Row:
    """One way of sampling."""

    label: str
    steps: int
    tokens: int
    needed_tokens: int
    wall_s: float
    starved_s: float
    unique: float


class Bench:
    """One engine, used by each way in turn."""

    def __init__(self, config: RunConfig, queries: list[Problem], quota: int, cap: int) -> None:
        self.config, self.queries, self.quota, self.cap = config, queries, quota, cap
        template = config.template()
        assert template is not None
        self.prompts = [template.render(query.query) for query in queries]
        settings = sampling_settings(config)
        arguments = dict(config.engine_args)
        self.engine = VllmEngine(config.model, settings, n_slots=config.n_slots, seed=1, engine_args=arguments)

    def request(self, trial: TrialId) -> Request:
        return Request(trial, self.prompts[trial.query])

    def grade(self, pool: GradingPool, trial: TrialId, text: str, reason: str) -> object:
        query = self.queries[trial.query]
        return pool.submit(Case(text, query.reference, query.benchmark, query.query, None, reason))

    def continuous(self, pool: GradingPool) -> Row:
        """Our scheduler: slots are refilled between steps, grading runs beside."""
        scheduler = Scheduler([QuerySpec(quota=self.quota)] * len(self.queries), self.cap)
        engine, lengths, texts = self.engine, {}, []
        running: set[TrialId] = set()
        grading: dict[TrialId, object] = {}
        begin, steps, starved_s = time.perf_counter(), engine.steps, 0.0
        while not scheduler.done:
            fresh = scheduler.next_requests(engine.capacity - len(running))
            running.update(fresh)
            engine.submit([self.request(trial) for trial in fresh])
            before = time.perf_counter()
            for done in engine.poll(0.01):
                running.discard(done.id)
                lengths[done.id] = done.n_tokens
                texts.append((done.id.query, text_key(done.text)))
                grading[done.id] = (self.grade(pool, done.id, done.text, done.finish_reason), done.text)
            if not running:
                starved_s += time.perf_counter() - before
            for trial, (future, text) in list(grading.items()):
                if future.done():
                    del grading[trial]
                    verdict = future.result()
                    correct = verdict.correct and verdict.explicit
                    unwanted = scheduler.on_result(trial, TrialResult(correct, text_key(text)))
                    engine.abort([trial for trial in unwanted if trial in running])
                    running.difference_update(unwanted)
        wall_s = time.perf_counter() - begin
        needed = sum(n for trial, n in lengths.items() if trial.trial < scheduler.state(trial.query).n_decided)
        return Row(
            "continuous (ours)", engine.steps - steps, sum(lengths.values()), needed, wall_s, starved_s, unique(texts)
        )

    def rounds(self, pool: GradingPool, factor: float) -> Row:
        """Batches with a barrier; grading in between, engine idle."""
        engine, texts = self.engine, []
        n = len(self.queries)
        issued, needed_tokens, tokens = [0] * n, 0, 0
        seen: list[set[str]] = [set() for _ in range(n)]
        begin, steps, starved_s = time.perf_counter(), engine.steps, 0.0
        while True:
            still = [i for i in range(n) if len(seen[i]) < self.quota and issued[i] < self.cap]
            batch: list[TrialId] = []
            while still and len(batch) < int(factor * n):
                for i in still[: int(factor * n) - len(batch)]:
                    batch.append(TrialId(i, issued[i]))
                    issued[i] += 1
                still = [i for i in still if issued[i] < self.cap]
            if not batch:
                break
            engine.submit([self.request(trial) for trial in batch])
            finished = []
            while len(finished) < len(batch):
                finished += engine.poll(0.01)
            barrier = time.perf_counter()
            verdicts = {d.id: self.grade(pool, d.id, d.text, d.finish_reason) for d in finished}
            for done in sorted(finished, key=lambda completion: completion.id):
                verdict = verdicts[done.id].result()
                tokens += done.n_tokens
                texts.append((done.id.query, text_key(done.text)))
                kept = seen[done.id.query]
                if len(kept) < self.quota:
                    needed_tokens += done.n_tokens
                    if verdict.correct and verdict.explicit:
                        kept.add(normalise(done.text))
            starved_s += time.perf_counter() - barrier
        wall_s = time.perf_counter() - begin
        return Row(
            f"rounds of {factor:g} x queries",
            engine.steps - steps,
            tokens,
            needed_tokens,
            wall_s,
            starved_s,
            unique(texts),
        )


def unique(texts: list[tuple[int, int]]) -> float:
    """Share of (query, text) pairs that are distinct among each query's first trials."""
    return len(set(texts)) / len(texts)


def unique_at_equal_trials(bench: Bench, seeded: bool, per_query: int) -> float:
    """Share of distinct responses over ``per_query`` trials; ``seeded``: an independent seed for every trial."""
    texts, engine = [], bench.engine
    trials = [TrialId(i, t) for i in range(len(bench.queries)) for t in range(per_query)]
    running = 0
    while trials or running:
        while trials and running < engine.capacity:
            trial = trials.pop()
            seed = text_key(f"independent/{trial.query}/{trial.trial}") & 0x7FFF_FFFF if seeded else None
            engine.submit([Request(trial, bench.prompts[trial.query], seed=seed)])
            running += 1
        for done in engine.poll(0.01):
            running -= 1
            texts.append((done.id.query, text_key(done.text)))
    return unique(texts)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--quota", type=int, default=16)
    parser.add_argument("--cap", type=int, default=256)
    parser.add_argument("--slots", type=int, default=512)
    parser.add_argument("--unique-trials", type=int, default=16, help="trials of a query in the comparison of seeds")
    arguments = parser.parse_args()
    config = resolve("demo", {"limit": arguments.queries, "n_slots": arguments.slots})
    queries = load_run_queries(config)
    bench = Bench(config, queries, arguments.quota, arguments.cap)
    with GradingPool() as pool:
        pool.submit(Case("\\boxed{1}", "1")).result()
        rows = [bench.continuous(pool), bench.rounds(pool, 1.1), bench.rounds(pool, 5.0)]
    print(f"{platform.machine()}, Python {sys.version.split()[0]}, {bench.engine.description.split('/')[0]}")
    print(f"{len(queries)} queries, quota {arguments.quota}, cap {arguments.cap}, {arguments.slots} slots")
    heads = ("steps", "tokens", "needed/step", "ratio", "wall s", "starved", "unique")
    print(f"{'':<24}" + "".join(f"{head:>13}" for head in heads))
    ours = rows[0].needed_tokens / rows[0].steps
    for row in rows:
        per_step = row.needed_tokens / row.steps
        print(
            f"{row.label:<24}{row.steps:>13,}{row.tokens:>13,}{per_step:>13.1f}{ours / per_step:>12.2f}x"
            f"{row.wall_s:>13.1f}{row.starved_s / row.wall_s:>13.2%}{row.unique:>13.1%}"
        )
    count = arguments.unique_trials
    free, seeded = (unique_at_equal_trials(bench, seeded, count) for seeded in (False, True))
    print(f"unique responses of {count} a query: engine's own seed {free:.2%}, one seed per trial {seeded:.2%}")


if __name__ == "__main__":
    main()
