"""The generated problems: right by construction, reproducible, and held-out really held out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dart_tasks.embedded import HELDOUT_PROBLEMS, TRAIN_PROBLEMS
from dart_tasks.embedded.problems import LEVELS, generate, problem_set, solution


def _read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@given(st.sampled_from(LEVELS), st.integers(0, 2**32))
def test_every_equation_of_a_solution_is_true_and_leads_to_the_answer(level: int, seed: int) -> None:
    rng = Random(seed)
    problem = generate(level, rng)
    text = solution(problem, rng)
    equations = re.findall(r"(\d+) ([-+*/]) (\d+) = (\d+)", text)
    value = problem.start
    assert len(equations) == len(problem.steps)
    for left, op, operand, result in equations:
        assert int(left) == value
        expected = {"+": value + int(operand), "-": value - int(operand), "*": value * int(operand)}
        value = int(result)
        assert value == expected[op] if op != "/" else value * int(operand) == int(left)
    assert text.endswith(rf"\boxed{{{problem.answer}}}.")
    assert problem.answer == value > 0


@given(st.integers(0, 2**32))
def test_number_of_steps_grows_with_the_level(seed: int) -> None:
    rng = Random(seed)
    steps = [len(generate(level, rng).steps) for level in LEVELS]
    assert steps == sorted(steps)
    assert steps[0] == 1


@pytest.mark.parametrize(("path", "prefix", "per_level", "seed"), [(HELDOUT_PROBLEMS, "heldout", 100, 20)])
def test_checked_in_problems_are_what_the_generator_writes(path: Path, prefix: str, per_level: int, seed: int) -> None:
    rows = _read(path)
    generated = list(problem_set(per_level, seed))
    assert [(row["query"], row["answer"], row["level"]) for row in rows] == [
        (problem.query, str(problem.answer), problem.level) for problem in generated
    ]
    assert [row["id"] for row in rows] == [f"{prefix}-{index:04d}" for index in range(len(rows))]


def test_train_problems_share_no_query_with_the_held_out_ones() -> None:
    heldout = {row["query"] for row in _read(HELDOUT_PROBLEMS)}
    train = [row["query"] for row in _read(TRAIN_PROBLEMS)]
    assert len(train) == len(set(train)) == 2500
    assert not heldout & set(train)


def test_a_problem_has_many_solutions() -> None:
    rng = Random(0)
    problem = generate(1, rng)
    assert len({solution(problem, rng) for _ in range(200)}) > 30
