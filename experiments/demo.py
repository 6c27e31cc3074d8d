"""The whole loop with the embedded model: synthesise, fine-tune, evaluate. Run it with ``make demo``.

Every step is one of the product's own commands, printed before it runs, so that each can be copied and changed. Ends
with two tables and ``demo/responses_per_query.png``. Results are what they are: a loss is reported as a loss.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.table import Table

from dart_tasks.console import stdout_console
from dart_tasks.embedded import BASE_MODEL_DIR
from dart_tasks.embedded.problems import LEVELS

OUTPUT = Path("demo")
PLOT = OUTPUT / "responses_per_query.png"
Row = dict[str, Any]
console = stdout_console()


def run(step: str, *command: str) -> None:
    """Run one of the product's commands, showing it; the demo ends where one fails."""
    console.rule(f"[bold]{step}", align="left")
    console.print(f"$ {shlex.join(command)}", style="cyan", highlight=False, markup=False, soft_wrap=True)
    started = time.monotonic()
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    status = subprocess.run(command, env=environment, check=False).returncode
    if status:
        sys.exit(f"demo: {command[0]} ended with exit code {status}; its message stands above")
    console.print(f"({time.monotonic() - started:.0f} s)", style="dim")


def synthesise(name: str, strategy: str, *options: str) -> Path:
    """Run ``dart-synth --preset demo``; returns the folder of its data set."""
    folder = OUTPUT / name
    run(f"synthesise: {strategy}", "dart-synth", "--strategy", strategy, "--preset", "demo", "--output", str(folder),
        *options)  # fmt: skip
    return folder / "dataset"


def evaluate(name: str, model: Path) -> dict[int, float]:
    """Accuracy by level on the held-out problems, judged by lm-eval."""
    folder = OUTPUT / name
    shutil.rmtree(folder, ignore_errors=True)
    run(f"evaluate: {model}", "lm_eval", "--model", "hf", "--model_args", f"pretrained={model},dtype=float32",
        "--tasks", "dart_math_demo", "--limit", "300", "--gen_kwargs", "max_gen_toks=192", "--batch_size", "100",
        "--device", "cpu", "--output_path", str(folder))  # fmt: skip
    (results,) = folder.rglob("results_*.json")
    scores = json.loads(results.read_text(encoding="utf-8"))["results"]["dart_math_demo"]
    return {level: scores[f"acc_level_{level},graded"] for level in LEVELS} | {0: scores["acc,graded"]}


def rows(dataset: Path, part: str) -> list[Row]:
    """The rows of one part of a synthesised data set: ``data``, ``pool`` or ``queries``."""
    return list(pq.read_table(dataset / part / "train.parquet").to_pylist())


def cut_to_size(responses: list[Row], size: int) -> list[Row]:
    """The first ``size`` responses, going through the queries trial by trial."""
    return sorted(responses, key=lambda row: (row["trial"], row["query_id"]))[:size]


def plot(queries: list[Row], kept: dict[str, list[Row]]) -> None:
    """Responses per query against the fail rate that the prop2diff run measured."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fail_rate = {row["query_id"]: 1 - row["n_correct"] / row["n_trials"] for row in queries}
    figure, axes = plt.subplots(figsize=(7, 4))
    for (name, responses), marker in zip(kept.items(), "o^", strict=True):
        count = dict.fromkeys(fail_rate, 0)
        for row in responses:
            count[row["query_id"]] += 1
        axes.scatter(list(fail_rate.values()), list(count.values()), label=name, marker=marker, s=18, alpha=0.6)
    axes.set(
        xlabel="fail rate of the query (wrong trials / trials)",
        ylabel="responses kept",
        title=f"Responses per query against difficulty ({len(kept['prop2diff']):,} responses each)",
    )
    axes.legend()
    figure.tight_layout()
    figure.savefig(PLOT, dpi=120)


def summary(queries: list[Row], kept: dict[str, list[Row]], before: dict[int, float], after: dict[int, float]) -> None:
    """The closing table, level by level."""
    table = Table(title="demo: accuracy on held-out problems, and what was synthesised")
    for heading in ("level", "before", "after", "change", "trials", "kept: prop2diff", "kept: vanilla, same size"):
        table.add_column(heading, justify="right")
    for level in (*LEVELS, 0):
        of_level = [row for row in queries if level in (0, row["level"])]
        counts = [sum(level in (0, row["level"]) for row in responses) for responses in kept.values()]
        if level == 0:
            table.add_section()
        table.add_row(
            str(level or "all"),
            f"{before[level]:.1%}",
            f"{after[level]:.1%}",
            f"{100 * (after[level] - before[level]):+.1f}",
            f"{sum(row['n_trials'] for row in of_level):,}",
            *(f"{count:,}" for count in counts),
        )
    console.print(table)
    gain = after[0] - before[0]
    verdict = f"gained {100 * gain:.1f}" if gain > 0 else f"lost {-100 * gain:.1f}" if gain < 0 else "gained 0.0"
    console.print(f"Fine-tuning on {len(kept['prop2diff']):,} responses {verdict} points of accuracy. Plot: {PLOT}")


def main() -> None:
    """Run every step afresh; earlier output of the demo is removed."""
    started = time.monotonic()
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir()
    prop2diff = synthesise("prop2diff", "prop2diff")
    responses, queries = rows(prop2diff, "data"), rows(prop2diff, "queries")
    # Vanilla is given the trials that yield a data set of the same size at the mean pass rate, and a little more.
    pass_rate = sum(row["n_correct"] / row["n_trials"] for row in queries) / len(queries)
    n_trials = math.ceil(1.15 * len(responses) / (pass_rate * len(queries)))
    vanilla = cut_to_size(rows(synthesise("vanilla", "vanilla", "-k", str(n_trials)), "data"), len(responses))
    before = evaluate("before", BASE_MODEL_DIR)
    student = OUTPUT / "student"
    run("fine-tune", "accelerate", "launch", "--cpu", "--num_processes", "1", "train/sft.py", "--recipe", "demo",
        "--data", str(prop2diff), "--output_dir", str(student))  # fmt: skip
    after = evaluate("after", student)
    kept = {"prop2diff": responses, "vanilla, same size": vanilla}
    plot(queries, kept)
    console.rule()
    summary(queries, kept, before, after)
    console.print(f"Whole demo: {(time.monotonic() - started) / 60:.1f} minutes", style="dim")


if __name__ == "__main__":
    main()
