"""How the grading pool scales from one worker to two, and what importing the grader costs.

Run:  python bench/grading.py CASES.jsonl [--data FOLDER]

How right and how fast the grader is beside others is measured by verifiers.py.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

from labelled import load

from dart_tasks.grading import Case, GradingPool
from dart_tasks.problems import load as load_problems
from dart_tasks.problems.benchmarks import SUITE


def boxed_references(folder: Path) -> list[Case]:
    """Every reference of the six test sets as a response, a third of them to another item: 11,612 cases, none twice."""
    cases = []
    for name in sorted(SUITE):
        problems = load_problems(name, data_dir=folder)
        for index, problem in enumerate(problems):
            asked = problems[(index + (index % 3 == 0)) % len(problems)]
            own = problem.reference
            text = ", ".join(map(str, own)) if isinstance(own, list) else str(own)
            cases.append(Case(f"So we find\n\\boxed{{{text}}}", asked.reference, name, asked.query))
    return cases


def pool_rates(cases: list[Case], repeat: int) -> tuple[float, float]:
    """Cases per second of wall time with one worker and with two, started but with nothing in their caches."""
    seconds = {1: 0.0, 2: 0.0}
    for workers in [1, 2] * repeat:
        with GradingPool(workers) as pool:
            list(pool.map((index, Case("\\boxed{1}", "1")) for index in range(8 * workers)))
            started = time.monotonic()
            assert len(list(pool.map(enumerate(cases)))) == len(cases)
            seconds[workers] += time.monotonic() - started
    total = repeat * len(cases)
    return total / seconds[1], total / seconds[2]


def import_seconds() -> float:
    """CPU time of importing the grader, beyond starting Python; the best of five."""
    code = "import time; t = time.process_time(); import dart_tasks.grading; print(time.process_time() - t)"
    return min(
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(5)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path, help="labelled cases, JSON Lines")
    parser.add_argument(
        "--repeat", type=int, default=3, help="passes over the cases, each with new workers, when the pool is timed"
    )
    parser.add_argument("--data", type=Path, help="folder of the six test sets: time the pool on their references")
    options = parser.parse_args()
    cases = load(options.cases)
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; {len(cases):,} cases",
        flush=True,
    )

    stream = boxed_references(options.data) if options.data else [item.case for item in cases]
    one, two = pool_rates(stream, options.repeat)
    rates = f"{one:,.0f} a second with 1 worker, {two:,.0f} with 2: {two / one:.2f} times"
    print(f"GradingPool, {len(stream):,} cases: {rates}")
    print(f"import dart_tasks.grading: {import_seconds():.3f} s")


if __name__ == "__main__":
    main()
