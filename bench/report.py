"""How long ``dart-report --html`` takes on many samples, how large its page is, and the memory it needs.

    python bench/report.py --samples 100000 --runs 2 --k 4

Writes synthetic logs in lm-eval's layout (two runs of invented items of MATH and GSM8K, responses of 200 to 6,000
characters with formulas), then runs the command in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RUN = "from dart_tasks.report.cli import main; main()"
TASKS = {"dart_math_math": "math", "dart_math_gsm8k": "gsm8k"}
STEP = "We add {a} and {b}, which gives ${a} + {b} = {c}$, and then $\\frac{{{c}}}{{{b}}} > x_{{{a}}}^2$. "


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=100_000, help="responses of all runs together")
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--k", type=int, default=4, help="responses per item")
    parser.add_argument("--accuracy", type=float, default=0.6)
    parser.add_argument("--keep", type=Path, help="write the logs and the page here")
    parser.add_argument("--report", nargs=argparse.REMAINDER, default=[], help="further options of dart-report")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        results = [write_run(folder / f"model-{run}", run, options) for run in range(options.runs)]
        page = folder / "report.html"
        command = [sys.executable, "-c", RUN, *map(str, results), "--html", str(page), *options.report]
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wall_s = time.perf_counter() - started
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
        print(f"{'samples':>10} {'runs':>5} {'k':>4} {'wall, s':>8} {'CPU, s':>7} {'page, MB':>9} {'peak, MiB':>10}")
        cpu_s = used.ru_utime + used.ru_stime
        print(
            f"{options.samples:>10,} {options.runs:>5} {options.k:>4} {wall_s:>8.1f} {cpu_s:>7.1f} "
            f"{page.stat().st_size / 1e6:>9.1f} {used.ru_maxrss / 1024:>10,.0f}"
        )


def write_run(folder: Path, run: int, options: argparse.Namespace) -> Path:
    """A results file and its sample logs; the results file."""
    folder.mkdir(parents=True, exist_ok=True)
    n_items = options.samples // options.runs // options.k // len(TASKS)
    random_ = random.Random(run)
    data: dict[str, Any] = {"results": {}, "configs": {}, "versions": {}, "n-shot": {}, "n-samples": {}}
    for task, benchmark in TASKS.items():
        right = 0
        with (folder / f"samples_{task}_date.jsonl").open("w", encoding="utf-8") as file:
            for item in range(n_items):
                row = sample(benchmark, item, random_, options)
                right += sum(verdict["correct"] for verdict in json.loads(row["filtered_resps"][0])["verdicts"])
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        accuracy = right / (n_items * options.k)
        data["results"][task] = {"acc,graded": accuracy, "acc_stderr,graded": 0.01}
        data["configs"][task] = {"repeats": options.k, "metadata": {"benchmark": benchmark, "template": "alpaca"}}
        data["versions"][task], data["n-shot"][task] = 1, 0
        data["n-samples"][task] = {"original": n_items, "effective": n_items}
    data["config"] = {"model": "hf", "model_args": {"pretrained": f"invented/model-{run}"}}
    path = folder / "results_date.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def sample(benchmark: str, item: int, random_: random.Random, options: argparse.Namespace) -> dict[str, Any]:
    """A row of a sample log, as lm-eval writes it for a task of ours."""
    responses, verdicts = [], []
    for _ in range(options.k):
        correct = random_.random() < options.accuracy
        answer = str(item) if correct else str(item + random_.randrange(1, 9))
        steps = int(2 + 40 * random_.random() ** 3)
        numbers = [(random_.randrange(99), random_.randrange(1, 99)) for _ in range(steps)]
        text = "".join(STEP.format(a=a, b=b, c=a + b) for a, b in numbers)
        responses.append(f"{text}\nThe answer is $\\boxed{{{answer}}}$.")
        reason = "same text" if correct else "different values"
        verdicts.append(
            {"correct": correct, "answer": answer, "source": "boxed", "explicit": True, "reason": reason, "flags": []}
        )
    query = f"Problem {item}: what is $\\sqrt{{{item**2}}}$? " + "It is told at some length. " * 6
    metadata = json.dumps({"level": 1 + item % 5, "subject": "Algebra"})
    doc = {"id": f"{benchmark}/{item:012x}", "query": query, "reference": json.dumps(str(item)), "metadata": metadata,
           "benchmark": benchmark, "tolerance": None}  # fmt: skip
    graded = {"verdicts": verdicts, "truncated": [False] * options.k}
    return {"doc_id": item, "doc": doc, "target": str(item), "arguments": {"gen_args_0": {"arg_0": query, "arg_1": {}}},
            "resps": [responses], "filtered_resps": [json.dumps(graded)], "filter": "graded",
            "metrics": ["acc"], "acc": sum(v["correct"] for v in verdicts) / options.k}  # fmt: skip


if __name__ == "__main__":
    main()
