"""The problems of the miniature experiment: word problems whose level is their number of steps, 1 to 5.

They come from the generator of the embedded model's problems, so that the embedded model is the stronger synthesiser.
One line of a file::

    {"id": "levels-3-0007", "query": "Mia has 14 pens. Mia buys ...", "answer": "56", "level": 3, "domain": "story"}

Usage::

    python -m experiments.miniature.problems test --per-level 400 --output test.jsonl
    python -m experiments.miniature.problems train --per-level 300 --seed 0 --exclude test.jsonl --output train.jsonl

The test file holds three sets, told apart by their ids: ``levels`` (as in training), ``longer`` (6 steps, more than any
training query has) and ``wording`` (3 steps, told in sentences whose order or mixture training queries never have).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import click

from dart_tasks.embedded.problems import LEVELS, GeneratedProblem, generate

__all__ = [
    "TEST_SETS",
    "Row",
    "heldout_rows",
    "longer_problem",
    "problem_of_level",
    "reworded_problem",
    "training_rows",
]

TEST_SETS = ("levels", "longer", "wording")
TEST_SEED, TRAIN_SEED = 7_000, 8_000

# The embedded generator's level that has problems with this many steps.
_SOURCE_LEVEL = {1: 1, 2: 2, 3: 3, 4: 4, 5: 4}
_LONGER_STEPS, _LONGER_LARGEST = 6, 150
_REWORDED_STEPS = 3


@dataclass(frozen=True)
class Row:
    """A problem as the product's commands read it."""

    id: str
    query: str
    answer: str
    level: int
    domain: str


def problem_of_level(level: int, rng: Random) -> GeneratedProblem:
    """A problem with exactly ``level`` steps; intermediate values up to 50, 99, 99, 150 and 150."""
    while True:
        problem = generate(_SOURCE_LEVEL[level], rng)
        if len(problem.steps) == level:
            return problem


def longer_problem(rng: Random) -> GeneratedProblem:
    """A problem of six steps whose numbers are no larger than those of level 5."""
    while True:
        problem = generate(5, rng)
        if len(problem.steps) == _LONGER_STEPS and max(_values(problem)) <= _LONGER_LARGEST:
            return problem


def _values(problem: GeneratedProblem) -> Iterator[int]:
    value = problem.start
    yield value
    for step in problem.steps:
        value = step.apply(value)
        yield value


_STORY_STEPS = {
    "+": "{name} buys {n} more {item}",
    "-": "{name} gives away {n} {item}",
    "*": "{name} multiplies the {item} by {n}",
    "/": "{name} splits the {item} into {n} equal parts and keeps one",
}
_CHAIN_STEPS = {"+": "Increase it by {n}.", "-": "Decrease it by {n}.", "*": "Multiply by {n}.", "/": "Divide by {n}."}


def reworded_problem(rng: Random) -> GeneratedProblem:
    """A story of three steps told in one of three ways that the generator never uses."""
    while True:
        problem = problem_of_level(_REWORDED_STEPS, rng)
        if problem.domain == "story":
            break
    name, item = problem.query.split()[0], problem.item
    story = [_STORY_STEPS[step.op].format(name=name, item=item, n=step.operand) for step in problem.steps]
    chain = [_CHAIN_STEPS[step.op].format(n=step.operand) for step in problem.steps]
    question = f"How many {item} does {name} have now?"
    query = rng.choice(
        (
            f"{name} has {problem.start} {item}. {' '.join(chain)} {question}",
            f"Start with {problem.start} {item}. {' '.join(f'Then {text}.' for text in story)} What is the result?",
            f"{question} {name} has {problem.start} {item}. {' '.join(f'Then {text}.' for text in story)}",
        )
    )
    return GeneratedProblem(query, problem.answer, problem.level, "story", item, problem.start, problem.steps)


def _distinct(draw: Callable[[], GeneratedProblem], count: int, seen: set[str]) -> Iterator[GeneratedProblem]:
    while count:
        problem = draw()
        if problem.query not in seen:
            seen.add(problem.query)
            count -= 1
            yield problem


def _row(name: str, index: int, problem: GeneratedProblem, level: int) -> Row:
    return Row(f"{name}-{level}-{index:04d}", problem.query, str(problem.answer), level, problem.domain)


def heldout_rows(per_level: int, per_variation: int) -> list[Row]:
    """The held-out problems: ``per_level`` of each level and ``per_variation`` of each of the two variations."""
    rng, seen = Random(TEST_SEED), set[str]()
    rows = []
    for level in LEVELS:
        problems = _distinct(lambda level=level: problem_of_level(level, rng), per_level, seen)  # type: ignore[misc]
        rows += [_row("levels", index, problem, level) for index, problem in enumerate(problems)]
    # Levels 6 and 7 in the file keep the variations apart from the levels in lm-eval's own table, too.
    for name, level, draw in (("longer", 6, longer_problem), ("wording", 7, reworded_problem)):
        problems = _distinct(lambda draw=draw: draw(rng), per_variation, seen)  # type: ignore[misc]
        rows += [_row(name, index, problem, level) for index, problem in enumerate(problems)]
    return rows


def training_rows(per_level: int, seed: int, exclude: frozenset[str]) -> list[Row]:
    """Queries to synthesise from, none of them in ``exclude``; each seed has its own."""
    rng, seen = Random(TRAIN_SEED + seed), set(exclude)
    rows = []
    for level in LEVELS:
        problems = _distinct(lambda level=level: problem_of_level(level, rng), per_level, seen)  # type: ignore[misc]
        rows += [_row("train", index, problem, level) for index, problem in enumerate(problems)]
    return rows


@click.command()
@click.argument("part", type=click.Choice(["train", "test"]))
@click.option("--per-level", type=click.IntRange(1), required=True)
@click.option("--per-variation", type=click.IntRange(0), default=0, show_default=True, help="Of the test file.")
@click.option("--seed", default=0, show_default=True, help="Of the training queries.")
@click.option("--exclude", type=click.Path(path_type=Path, exists=True), help="File of queries to keep out.")
@click.option("--output", type=click.Path(path_type=Path), required=True)
def main(part: str, per_level: int, per_variation: int, seed: int, exclude: Path | None, output: Path) -> None:
    """Write generated problems as JSONL."""
    if part == "test":
        rows = heldout_rows(per_level, per_variation)
    else:
        lines = exclude.read_text(encoding="utf-8").splitlines() if exclude else []
        rows = training_rows(per_level, seed, frozenset(json.loads(line)["query"] for line in lines))
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text("".join(json.dumps(asdict(row)) + "\n" for row in rows), encoding="utf-8")
    click.echo(f"{len(rows):,} problems are in {output}")


if __name__ == "__main__":
    main()
