"""The scheduler at the paper's scale, simulated: wall time against the bound, and tokens that were sampled for nothing.

    python bench/scheduler.py                 (about ten minutes; --scale 0.1 for a tenth of queries and slots)

Population: pass rates from a Beta distribution fitted to what the paper says (arXiv 2407.13690): Uniform, k 40, cap
2,048, takes about 5M samples; Prop2Diff, k 192, cap 8,192, about 15M, and keeps 39.1 responses a query. Lengths are
log-normal, longer for harder queries and wrong answers, at most 2,048 tokens. A verdict comes 0.5 s after its response.
"""

from __future__ import annotations

import argparse
import heapq
import platform
import sys
import time
from array import array
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.stats import beta

from synth.population import expected_kept, expected_trials, prop2diff_quota
from synth.scheduler import ProbeOutcome, QuerySpec, Scheduler, Target, TrialId, TrialResult, chance_to_fill

N_QUERIES = 14_973
SLOTS = 204
TOKENS_PER_S = 21.0  # of one slot: 35k samples of about 440 tokens an hour from 204 slots
GRADING_DELAY = 0.5 * TOKENS_PER_S  # in token times
MAX_TOKENS = 2048


@dataclass(frozen=True)
class Setting:
    """One strategy at one cap."""

    name: str
    k: int
    cap: int
    probe: int  # 0: the quota is known


UNIFORM = Setting("uniform", 40, 2048, 0)
PROP2DIFF = Setting("prop2diff", 192, 8192, 32)


def fit_population() -> tuple[float, float]:
    """Parameters of the Beta distribution of pass rates: least squares of the logarithms of three published figures."""
    grid = (np.arange(4_000) + 0.5) / 4_000

    def miss(log_parameters: np.ndarray) -> float:
        p = beta.ppf(grid, *np.exp(log_parameters))
        quota = prop2diff_quota(p, PROP2DIFF.k)
        found = (
            expected_trials(p, UNIFORM.k, UNIFORM.cap).mean() * N_QUERIES / 5e6,
            expected_trials(p, quota, PROP2DIFF.cap).mean() * N_QUERIES / 15e6,
            expected_kept(p, quota, PROP2DIFF.cap).mean() / 39.1,
        )
        return float(np.square(np.log(found)).sum())

    a, b = np.exp(minimize(miss, np.log([0.3, 0.12]), method="Nelder-Mead").x)
    return float(a), float(b)


class Tape:
    """Correctness and length of every trial a run may ask for, and what trial-order acceptance makes of them."""

    def __init__(self, pass_rates: np.ndarray, setting: Setting, seed: int) -> None:
        self.correct: list[bytearray] = []
        self.length: list[array] = []
        self.quota = np.zeros(len(pass_rates), int)
        self.needed = np.zeros(len(pass_rates), int)
        self.needed_tokens = 0
        self.kept = self.kept_tokens = 0
        for index, p in enumerate(pass_rates):
            rng = np.random.default_rng([seed, index])
            correct = rng.random(setting.cap) < p
            quota = setting.k
            if setting.probe:
                quota = max(1, int(np.ceil(setting.k * (1 - correct[: setting.probe].mean()) - 1e-9)))
            hits = np.flatnonzero(correct)
            needed = int(hits[quota - 1]) + 1 if len(hits) >= quota else setting.cap
            needed = max(needed, setting.probe)
            count = min(setting.cap, needed + 1024)  # the rest would only be asked for by mistake
            scale = np.where(correct[:count], 1.0, 1.25) * 230 * (2.2 - p)
            length = np.minimum(MAX_TOKENS, 1 + rng.lognormal(0.0, 0.6, count) * scale).astype(np.uint16)
            kept = hits[hits < needed][:quota]
            self.quota[index], self.needed[index] = quota, needed
            self.needed_tokens += int(length[:needed].sum())
            self.kept += len(kept)
            self.kept_tokens += int(length[kept].sum())
            self.correct.append(bytearray(correct[:count].tobytes()))
            self.length.append(array("H", length.tobytes()))


@dataclass
class Outcome:
    """What a simulated run cost."""

    label: str
    samples: int
    wall: float  # in token times
    tokens: int
    surplus_tokens: int
    kept: int
    kept_tokens: int


def simulate(tape: Tape, setting: Setting, slots: int) -> tuple[Outcome, float]:
    """Our scheduler, event by event; also returns the scheduler's own seconds per trial."""

    def freeze(index: int, probe: ProbeOutcome) -> Target:
        fail_rate = 1 - probe.n_correct / probe.n_graded
        return Target(max(1, int(np.ceil(setting.k * fail_rate - 1e-9))), setting.cap)

    spec = QuerySpec(probe_trials=setting.probe) if setting.probe else QuerySpec(quota=setting.k)
    scheduler = Scheduler([spec] * len(tape.correct), setting.cap, freeze)
    events: list[tuple[float, bool, TrialId, float]] = []
    running: dict[TrialId, float] = {}
    now, serial, samples, tokens, surplus = 0.0, 0, 0, 0, 0.0
    started_s = time.process_time()
    while True:
        if len(running) < slots:
            for trial in scheduler.next_requests(slots - len(running)):
                running[trial] = now
                heapq.heappush(events, (now + tape.length[trial.query][trial.trial], False, trial, now))
        if not events:
            break
        now, graded, trial, began = heapq.heappop(events)
        if not graded:
            if running.get(trial) != began:
                continue  # aborted meanwhile
            del running[trial]
            heapq.heappush(events, (now + GRADING_DELAY, True, trial, began))
            continue
        samples += 1
        length = tape.length[trial.query][trial.trial]
        tokens += length
        serial += 1
        if trial.trial >= tape.needed[trial.query]:
            surplus += length
        verdict = TrialResult(bool(tape.correct[trial.query][trial.trial]), serial)
        for unwanted in scheduler.on_result(trial, verdict):
            if unwanted in running:
                spent = now - running.pop(unwanted)
                surplus += spent
                tokens += int(spent)
    seconds = (time.process_time() - started_s) / samples
    assert scheduler.done
    kept = [(index, trial) for index in range(len(scheduler)) for trial in scheduler.accepted(index)]
    kept_tokens = sum(tape.length[index][trial] for index, trial in kept)
    return Outcome("continuous (ours)", samples, now, tokens, int(surplus), len(kept), kept_tokens), seconds


def simulate_rounds(tape: Tape, setting: Setting, slots: int, factor: float) -> Outcome:
    """Rounds as in the reference: batches of ``factor * queries`` requests that cycle over the open queries."""
    n = len(tape.correct)
    quota = [setting.k] * n if not setting.probe else tape.quota.tolist()  # difficulty taken as known: in its favour
    issued, hits, open_queries = [0] * n, [0] * n, list(range(n))
    wall, samples, tokens, surplus, kept, kept_tokens = 0.0, 0, 0, 0, 0, 0
    batch_size = int(factor * n)
    while open_queries:
        batch: list[tuple[int, int]] = []
        cycle = open_queries
        while len(batch) < batch_size and cycle:
            cycle = [q for q in cycle if issued[q] < setting.cap]
            for query in cycle[: batch_size - len(batch)]:
                batch.append((query, issued[query]))
                issued[query] += 1
        ends = [0.0] * slots
        for query, trial in batch:
            lengths = tape.length[query]
            length = lengths[trial % len(lengths)]
            heapq.heapreplace(ends, ends[0] + length)
            samples += 1
            tokens += length
            if hits[query] >= quota[query]:
                surplus += length
            elif tape.correct[query][trial % len(lengths)]:
                hits[query] += 1
                kept += 1
                kept_tokens += length
        wall += max(ends) + GRADING_DELAY
        open_queries = [q for q in open_queries if hits[q] < quota[q] and issued[q] < setting.cap]
    return Outcome(f"rounds of {factor:g} x queries", samples, wall, tokens, surplus, kept, kept_tokens)


def split_quotas(pass_rates: np.ndarray, tape: Tape, setting: Setting, slots: int, ways: int = 8) -> Outcome:
    """Each of ``ways`` workers fills ceil(quota / ways) for itself: expected values, and an ideal schedule for each."""
    mean_length = np.array([np.frombuffer(lengths, np.uint16).mean() for lengths in tape.length])
    share, cap = -(-tape.quota // ways), setting.cap // ways
    used = ways * expected_trials(pass_rates, share, cap)
    exact = expected_trials(pass_rates, tape.quota, setting.cap)
    surplus = float(((used - exact) * mean_length).sum())
    tokens = tape.needed_tokens + surplus
    kept = round(float(ways * expected_kept(pass_rates, share, cap).sum()))
    samples = round(float(used.sum()))
    return Outcome(f"quotas split {ways} ways", samples, tokens / slots, int(tokens), int(surplus), kept, 0)


def print_outcomes(setting: Setting, tape: Tape, slots: int, outcomes: list[Outcome]) -> None:
    """One row each, beside the bound: the tokens that trial-order acceptance needs, on slots that never idle."""
    bound = tape.needed_tokens / slots
    print(f"\n{setting.name}, k {setting.k}, cap {setting.cap:,}: {int(tape.needed.sum()):,} samples needed")
    print(f"{'':<26}{'samples':>12}{'wall/bound':>12}{'surplus tokens':>16}{'kept':>10}{'kept length':>13}")
    reference = tape.kept_tokens / tape.kept
    print(f"{'bound':<26}{int(tape.needed.sum()):>12,}{1:>12.4f}{0:>16.3%}{tape.kept:>10,}{reference:>13.1f}")
    for o in outcomes:
        length = f"{o.kept_tokens / o.kept:>13.1f}" if o.kept_tokens else f"{'-':>13}"
        surplus = o.surplus_tokens / tape.needed_tokens
        print(f"{o.label:<26}{o.samples:>12,}{o.wall / bound:>12.4f}{surplus:>16.3%}{o.kept:>10,}{length}", flush=True)


def print_futility(tape: Tape, setting: Setting) -> None:
    """Samples saved against responses and queries lost, for several thresholds (decided at 16, 32, 64, ... trials)."""
    print(f"\nfutility stop, {setting.name}, k {setting.k}, cap {setting.cap:,}")
    print(f"{'threshold':>10}{'samples saved':>15}{'responses lost':>16}{'filled lost':>13}{'queries stopped':>17}")
    for threshold in (0.0001, 0.001, 0.01, 0.05, 0.2, 0.5):
        saved = lost = stopped = filled_lost = 0
        for index, correct in enumerate(tape.correct):
            needed, quota = int(tape.needed[index]), int(tape.quota[index])
            hits = np.cumsum(np.frombuffer(correct, np.uint8)[:needed])
            checkpoint = max(16, 1 << max(0, setting.probe - 1).bit_length())
            while checkpoint < needed:
                found = int(hits[checkpoint - 1])
                chance = chance_to_fill(checkpoint, found, quota - found, setting.cap - checkpoint)
                if chance < threshold:
                    saved += needed - checkpoint
                    lost += min(quota, int(hits[-1])) - found
                    filled_lost += hits[-1] >= quota
                    stopped += 1
                    break
                checkpoint *= 2
        n = len(tape.correct)
        print(
            f"{threshold:>10g}{saved / tape.needed.sum():>15.1%}{lost / tape.kept:>16.2%}"
            f"{filled_lost / n:>13.2%}{stopped / n:>17.1%}",
            flush=True,
        )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the queries and slots")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    n, slots = round(N_QUERIES * arguments.scale), max(1, round(SLOTS * arguments.scale))
    a, b = fit_population()
    rates = np.random.default_rng(arguments.seed).beta(a, b, n)
    print(f"{platform.machine()}, Python {sys.version.split()[0]}, numpy {np.__version__}, seed {arguments.seed}")
    print(f"{n:,} queries, {slots} slots, pass rates Beta({a:.3f}, {b:.3f}), mean {rates.mean():.3f}")
    for setting in (UNIFORM, PROP2DIFF):
        tape = Tape(rates, setting, arguments.seed)
        ours, seconds = simulate(tape, setting, slots)
        others = [simulate_rounds(tape, setting, slots, factor) for factor in (1.1, 5.0)]
        print_outcomes(setting, tape, slots, [ours, *others, split_quotas(rates, tape, setting, slots)])
        print(f"scheduler and simulator: {seconds * 1e6:.1f} us a trial")
        print_futility(tape, setting)


if __name__ == "__main__":
    main()
