"""The light way in: the grader and the rewards with two packages more, in an environment that has nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

LIGHT = re.compile(r"^pip install (click [\w ]+) && pip install --no-deps \.", re.MULTILINE)
SCRIPT = r"""
import sys
from dart_tasks.grading import GradingPool, equal, grade
from dart_tasks.rewards import judge, sample
from dart_tasks.rewards.openrlhf import reward_func
from dart_tasks.rewards.trl import accuracy_reward
from dart_tasks.rewards.verl import compute_score

assert grade(r"So it is $\boxed{\frac{1}{2}}$.", "0.5").correct and equal("x^2-1", "(x-1)(x+1)")
assert [reward.value for reward in judge([sample(r"\boxed{4}", "4"), sample("5", None)])] == [1.0, None]
assert accuracy_reward([r"\boxed{4}", r"\boxed{5}"], solution=["4", "4"]) == [1.0, 0.0]
assert compute_score("math", r"\boxed{4}", "4")["score"] == 1.0
assert reward_func([r"What? \boxed{4}</s>"], ["What?"], ["4"])["rewards"] == [1.0]
heavy = {"numpy", "torch", "transformers", "lm_eval", "rich", "aiohttp", "yaml"}
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
"""


def documented(repo: Path) -> list[str]:
    """The packages that the README names beside ``--no-deps``."""
    found = LIGHT.search((repo / "README.md").read_text(encoding="utf-8"))
    assert found, "README.md has no line for the light installation"
    return found[1].split()


def test_the_documented_packages_are_two_or_three(repo: Path) -> None:
    assert 2 <= len(documented(repo)) <= 3


@pytest.mark.slow
def test_in_an_empty_environment(repo: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    bin_folder = tmp_path / "venv" / "bin"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*command: str, status: int = 0) -> str:
        ended = subprocess.run(
            [str(bin_folder / command[0]), *command[1:]],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == status, ended.stderr
        return ended.stdout + ended.stderr

    pip = ("python", "-m", "pip", "install", "-q", "--disable-pip-version-check")
    run(*pip, *documented(repo))
    run(*pip, "--no-deps", str(repo))
    run("python", "-c", SCRIPT)
    assert run("dart-grade", r"\frac{1}{2}", "The answer is 0.5.") == "correct\n"
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"response": "The answer is 5.", "reference": "4"}\n', encoding="utf-8")
    assert "1 response in" in run("dart-grade", "file", str(rows))
    for command in (("dart-grade", "serve"), ("dart-report", str(rows)), ("dart-synth", "status", str(tmp_path))):
        assert len(run(*command, status=1).splitlines()) == 1  # what is missing, in one line


def test_grading_and_rewards_import_nothing_heavy() -> None:
    modules = "dart_tasks.grading, dart_tasks.rewards.trl, dart_tasks.rewards.verl, dart_tasks.rewards.openrlhf"
    heavy = "{'numpy', 'sympy', 'torch', 'transformers', 'lm_eval', 'aiohttp'}"
    code = f"import sys, {modules}; print(sorted({heavy} & sys.modules.keys()))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def test_the_grader_imports_nothing_that_only_downloads_or_processes_need() -> None:
    needless = "{'urllib.request', 'http.client', 'tempfile', 'subprocess', 'concurrent.futures', 'platform'}"
    code = f"import sys, dart_tasks.grading; print(sorted({needless} & sys.modules.keys()))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
