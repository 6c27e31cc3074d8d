"""How often the plan's 95% intervals hold the truth, and how wide they are.

    python bench/plan.py [--runs 1000]

Each run draws a population, probes it, forecasts, and plays the rest of the run for real.
"""

from __future__ import annotations

import argparse

import numpy as np

from synth.forecast import Probe, forecast
from synth.population import prop2diff_quota

POPULATIONS = {
    "spread: Beta(0.6, 0.3)": lambda rng, n: rng.beta(0.6, 0.3, n),
    "middling: Beta(4, 3)": lambda rng, n: rng.beta(4, 3, n),
    "10% never solved": lambda rng, n: np.where(rng.random(n) < 0.1, 0.0, rng.beta(0.9, 0.5, n)),
}


def one_run(
    rates: np.ndarray, strategy: str, k: int, probe: int, cap: int, rng: np.random.Generator, seed: int
) -> list[tuple[bool, float]]:
    """(held, relative width) for samples, responses and coverage of one run."""
    hits = rng.binomial(probe, rates)
    fail_rate = 1 - hits / probe
    quota = prop2diff_quota(1 - fail_rate, k) if strategy == "prop2diff" else np.full(len(rates), k)
    need = np.maximum(0, quota - hits)
    with np.errstate(divide="ignore"):
        waited = need + rng.negative_binomial(np.maximum(need, 1), np.maximum(rates, 1e-12)).astype(float)
    used = np.where(need == 0, 0, np.minimum(cap - probe, waited))
    filled = (need == 0) | (waited <= cap - probe)
    partial = rng.binomial(cap - probe, rates)  # of the unfilled, by rejection: fewer than their need
    for _ in range(200):
        again = ~filled & (partial >= need)
        if not again.any():
            break
        partial[again] = rng.binomial(cap - probe, rates[again])
    partial = np.minimum(partial, np.maximum(need - 1, 0))
    kept = np.minimum(hits, quota) + np.where(filled, need, partial)
    truth = (len(rates) * probe + used.sum(), kept.sum(), filled.mean())
    probes = [Probe(probe, int(h), int(q)) for h, q in zip(hits, quota, strict=True)]
    (found,) = forecast(probes, [cap], seed=seed)
    slack = 1e-9
    return [
        (interval.low - slack <= value <= interval.high + slack, interval.width)
        for value, interval in zip(truth, (found.samples, found.responses, found.coverage), strict=True)
    ]


def main() -> None:
    """Print one row for each population and strategy."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--queries", type=int, default=1000)
    arguments = parser.parse_args()
    print(f"{arguments.runs} runs of {arguments.queries} queries: share of intervals that hold the truth (mean width)")
    print(f"{'population':<26}{'strategy':<12}{'probe':>6}{'cap':>7}{'samples':>18}{'responses':>18}{'coverage':>18}")
    settings = (("uniform", 40, 16, 1024), ("prop2diff", 64, 16, 2048))
    for name, draw in POPULATIONS.items():
        for strategy, k, probe, cap in settings:
            rng = np.random.default_rng(1)
            outcomes = np.array(
                [
                    one_run(draw(rng, arguments.queries), strategy, k, probe, cap, rng, seed)
                    for seed in range(arguments.runs)
                ]
            )
            cells = [f"{held:.1%} ({width:.1%})" for held, width in outcomes.mean(axis=0)]
            print(f"{name:<26}{strategy:<12}{probe:>6}{cap:>7}" + "".join(f"{cell:>18}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
