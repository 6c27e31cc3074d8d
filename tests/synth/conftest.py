"""A small world for synthesis tests: problems on a tape, graded by the real grader's rules but in this process."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import pytest

from dart_tasks.grading import Case, Verdict, grade
from synth.config import RunConfig, resolve
from synth.data import DatasetSpec

sys.path.insert(0, str(Path(__file__).parent))  # tape_run is a program of its own that tests also import


class DirectGrader:
    """The real grader, called in place: exact, and without worker processes to wait for."""

    def submit(self, case: Case) -> Future[Verdict]:
        future: Future[Verdict] = Future()
        future.set_result(
            grade(case.response, case.reference, case.benchmark, case.question, finish_reason=case.finish_reason)
        )
        return future


@pytest.fixture
def grader() -> DirectGrader:
    return DirectGrader()


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    """Twenty problems in five levels."""
    path = tmp_path / "problems.jsonl"
    rows = [{"query": f"What is {i} + {i}?", "answer": str(2 * i), "level": 1 + i % 5} for i in range(20)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def configuration(problems: Path) -> Callable[..., RunConfig]:
    """A configuration on those problems; keyword arguments override it."""

    def make(**overrides: object) -> RunConfig:
        values: dict[str, object] = {
            "strategy": "prop2diff", "k": 6, "probe": 4, "max_trials": 40, "model": "tape", "prompt_template": "plain",
            "datasets": (DatasetSpec(str(problems)),), "dataset_format": "jsonl", **overrides,
        }  # fmt: skip
        return resolve("paper", values)

    return make
