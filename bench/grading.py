"""Our grader beside its peers on labelled cases: accuracy, false accepts, speed; and how the pool scales.

Run:  python bench/grading.py CASES.jsonl [--peers math-verify minerva] [--data FOLDER]

One case, of kind "pair" (an answer alone) or "response" (a whole response)::

    {"benchmark": "math", "kind": "pair", "question": "...", "ref": "1/2", "pred_or_response": "0.5", "expected": true}

Every grader sees the same text: a bare answer is put into ``\\boxed{}``. Cases marked ``debatable`` are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dart_tasks.benchmarks import BENCHMARKS
from dart_tasks.benchmarks import load as load_problems
from dart_tasks.grading import Case, GradingPool, grade

NAMES = {"collegemath": "college_math", "deepmind": "deepmind_mathematics"}


@dataclass(frozen=True)
class Labelled:
    """A case with the verdict that it should get."""

    case: Case
    expected: bool


def load(path: Path) -> list[Labelled]:
    """The undisputed cases of a labelled file."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [
        Labelled(
            Case(
                row["pred_or_response"] if row["kind"] == "response" else f"\\boxed{{{row['pred_or_response']}}}",
                row["ref"],
                NAMES.get(row["benchmark"], row["benchmark"]),
                row.get("question"),
                row.get("tol"),
            ),
            row["expected"],
        )
        for row in rows
        if not row.get("debatable")
    ]


def ours(case: Case) -> bool:
    return grade(case.response, case.reference, case.benchmark, case.question, case.tolerance).correct


def math_verify() -> Callable[[Case], bool]:
    from math_verify import parse, verify

    return lambda case: bool(verify(parse(f"${case.reference}$"), parse(case.response)))


def minerva() -> Callable[[Case], bool]:
    from lm_eval.tasks.minerva_math.utils import is_equiv, normalize_final_answer

    from dart_tasks.grading import extract

    def judge(case: Case) -> bool:  # its own extraction reads only its own prompt's format, so it is given ours
        return bool(
            is_equiv(normalize_final_answer(str(case.reference)), normalize_final_answer(extract(case.response)))
        )

    return judge


PEERS: dict[str, tuple[str, Callable[[], Callable[[Case], bool]]]] = {
    "math-verify": ("math-verify", math_verify),
    "minerva": ("lm-eval", minerva),
}


@dataclass(frozen=True)
class Result:
    """A grader's showing: shares in [0, 1], times in seconds of this process's CPU."""

    accuracy: dict[str, float]
    overall: float
    false_accepts: float
    false_rejects: float
    cases_per_s: float
    median_s: float
    p99_s: float


def measure(judge: Callable[[Case], bool], cases: list[Labelled]) -> Result:
    right: dict[str, list[bool]] = defaultdict(list)
    wrong = {True: 0, False: 0}
    times: list[float] = []
    for item in cases:
        started = time.process_time()
        try:
            verdict = judge(item.case)
        except Exception:  # a peer that raises has not accepted
            verdict = False
        times.append(time.process_time() - started)
        right[item.case.benchmark].append(verdict == item.expected)
        if verdict != item.expected:
            wrong[verdict] += 1
    times.sort()
    return Result(
        {name: sum(values) / len(values) for name, values in sorted(right.items())},
        sum(sum(values) for values in right.values()) / len(cases),
        wrong[True] / len(cases),
        wrong[False] / len(cases),
        len(times) / sum(times),
        times[len(times) // 2],
        times[int(0.99 * len(times))],
    )


def boxed_references(folder: Path) -> list[Case]:
    """Every reference of the six test sets as a response, a third of them to another item: 11,612 cases, none twice."""
    cases = []
    for name in sorted(BENCHMARKS):
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
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
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

    results: dict[str, Result] = {}
    for name in options.peers:
        distribution, build = PEERS[name]
        try:
            results[f"{name} {version(distribution)}"] = measure(build(), cases)
        except (ImportError, PackageNotFoundError, AssertionError) as error:
            print(f"{name}: not usable here ({str(error)[:80]})")
    results["ours"] = measure(ours, cases)
    print_table(results)

    mine = results["ours"]
    for name, result in results.items():
        if name != "ours":
            print(f"cases per CPU second, ours / {name}: {mine.cases_per_s / result.cases_per_s:.1f}")
    stream = boxed_references(options.data) if options.data else [item.case for item in cases]
    one, two = pool_rates(stream, options.repeat)
    rates = f"{one:,.0f} a second with 1 worker, {two:,.0f} with 2: {two / one:.2f} times"
    print(f"GradingPool, {len(stream):,} cases: {rates}")
    print(f"import dart_tasks.grading: {import_seconds():.3f} s")


def print_table(results: dict[str, Result]) -> None:
    rows: list[tuple[str, Callable[[Result], Any], str]] = [
        (name, lambda result, name=name: result.accuracy[name], "{:.2%}") for name in results["ours"].accuracy
    ]
    rows += [
        ("all", lambda result: result.overall, "{:.2%}"),
        ("false accepts", lambda result: result.false_accepts, "{:.2%}"),
        ("false rejects", lambda result: result.false_rejects, "{:.2%}"),
        ("cases per CPU second", lambda result: result.cases_per_s, "{:,.0f}"),
        ("median, ms", lambda result: 1e3 * result.median_s, "{:.2f}"),
        ("99th percentile, ms", lambda result: 1e3 * result.p99_s, "{:.2f}"),
    ]
    print(f"\n{'':24}" + "".join(f"{name:>22}" for name in results))
    for title, value, form in rows:
        print(f"{title:24}" + "".join(f"{form.format(value(result)):>22}" for result in results.values()))
    print()


if __name__ == "__main__":
    main()
