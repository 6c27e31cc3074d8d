"""Fixtures shared by all tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")

REPO = Path(__file__).resolve().parent.parent
SHARED_DATA = REPO.parent / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests tolerate no warning; slow ones start engines whose libraries warn of themselves while importing."""
    for item in items:
        if item.get_closest_marker("slow") is not None:
            item.add_marker(pytest.mark.filterwarnings("default"))


@pytest.fixture(scope="session")
def repo() -> Path:
    """The checkout's root."""
    return REPO


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real benchmark files beside the checkout; tests that need it are skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the benchmarks' real test sets in {SHARED_DATA}")
    return SHARED_DATA


COMMAND = """
import sys, tempfile
import lm_eval.tasks.manager as manager
manager.__file__ = tempfile.mkdtemp() + "/manager.py"
sys.argv[0] = "lm_eval"
from lm_eval.__main__ import cli_evaluate
sys.exit(cli_evaluate())
"""


@pytest.fixture(scope="session")
def lm_eval_command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """The ``lm_eval`` command in a process of its own, without lm-eval's 14,000 tasks, which take 10 s to read."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-c", COMMAND, *map(str, arguments), "--include_path", str(REPO / "task_configs")]
        return subprocess.run(words, capture_output=True, text=True, timeout=300)

    return run


@pytest.fixture
def record_ids() -> Callable[[Any], list[list[int]]]:
    """Makes lm-eval's hf model note the prompt token ids that it generates from, in the list returned."""

    def record(model: Any) -> list[list[int]]:
        sent: list[list[int]] = []
        generate = model._model_generate

        def recording(context: Any, **options: Any) -> Any:
            sent.extend(context.tolist())
            return generate(context=context, **options)

        model._model_generate = recording
        return sent

    return record
