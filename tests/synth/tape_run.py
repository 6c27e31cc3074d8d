"""A synthesis on a deterministic tape, as a program: ``python tape_run.py PROBLEMS RUN [jitter]``.

What a trial says depends on (query, trial) only: with pass rate 0.9 at level 1 down to 0.1 at level 5.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from concurrent.futures import Future
from pathlib import Path

from dart_tasks.grading import GRADER_VERSION, Case, Verdict
from synth.config import RunConfig, resolve
from synth.data import DatasetSpec
from synth.engines.tape import TapeEngine
from synth.records import Completion, Request
from synth.run import RunReport, load_run_queries, synthesise


def tape(request: Request) -> tuple[str, int]:
    """The response of a trial and its length."""
    number = int(re.search(r"What is (\d+)", request.prompt).group(1))  # type: ignore[union-attr]
    draw = hashlib.sha256(f"{number}/{request.id.trial}".encode()).digest()
    correct = draw[0] < 256 * (0.9 - 0.2 * (number % 5))
    answer = 2 * number if correct else 2 * number + 1 + draw[1]
    return f"Try {draw[2]}{draw[4]}: the sum is \\boxed{{{answer}}}.", 10 + draw[3]


class QuickGrader:
    """Reads the box only: the tape's answers are plain integers, and the test kills thousands of processes."""

    def submit(self, case: Case) -> Future[Verdict]:
        """Grade in place."""
        answer = case.response.rpartition("{")[2].partition("}")[0]
        future: Future[Verdict] = Future()
        future.set_result(Verdict(answer == case.reference, answer, "boxed", True, "compared as text", ()))
        return future


class LoggingEngine(TapeEngine):
    """Says on standard output which trials it sampled, so that a test can count what a kill lost."""

    def poll(self, timeout_s: float) -> list[Completion]:
        """As the tape does."""
        completions = super().poll(timeout_s)
        for completion in completions:
            os.write(1, f"{completion.id.query} {completion.id.trial}\n".encode())
        return completions


def configuration(problems: Path) -> RunConfig:
    """The run that is killed."""
    return resolve(
        "paper",
        {
            "strategy": "prop2diff", "k": 40, "probe": 8, "max_trials": 400, "model": "tape",
            "prompt_template": "plain",
            "datasets": (DatasetSpec(str(problems)),), "dataset_format": "jsonl",
        },
    )  # fmt: skip


def run(problems: Path, run_dir: Path, jitter: int | None = None, token_s: float = 0.0) -> RunReport:
    """Start or resume the run."""
    config = configuration(problems)
    queries = load_run_queries(config)
    engine = LoggingEngine(tape, n_slots=16, token_s=token_s, jitter_seed=jitter)
    return synthesise(config, run_dir, queries, lambda c, seed: engine, QuickGrader(), GRADER_VERSION)


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
