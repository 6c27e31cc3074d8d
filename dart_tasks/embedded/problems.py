"""Generated word problems in five difficulty levels, with step-by-step solutions in many wordings.

One problem (level 3)::

    Mia has 14 pens. Mia buys 23 more pens. Then Mia loses 9 pens. Then Mia multiplies the pens by 2.
    How many pens does Mia have now?

and one of its solutions::

    We begin with 14 pens. Then 14 + 23 = 37. Now 37 - 9 = 28 pens. Next, 28 * 2 = 56. The answer is \\boxed{56}.

The level fixes the number of steps and the size of the numbers, so that difficulty is known by construction. Every
step of a solution has several wordings: rejection sampling with duplicates removed needs real variety.

Rewrite the checked-in problem sets with ``python -m dart_tasks.embedded.problems``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Literal

from dart_tasks.files import write_jsonl

__all__ = ["LEVELS", "Domain", "GeneratedProblem", "generate", "problem_set", "random_equation", "solution"]

Domain = Literal["story", "chain"]
LEVELS = (1, 2, 3, 4, 5)

# Steps, largest starting number and largest intermediate value of each level.
_STEPS = {1: (1, 1), 2: (2, 2), 3: (3, 3), 4: (4, 5), 5: (6, 7)}
_START = {1: 30, 2: 40, 3: 50, 4: 60, 5: 90}
_LARGEST = {1: 50, 2: 99, 3: 99, 4: 150, 5: 300}

_NAMES = ("Mia", "Tom", "Ann", "Leo", "Eva", "Sam", "Zoe", "Max", "Ida", "Ben", "Lea", "Jon")
_ITEMS = ("pens", "apples", "coins", "cards", "books", "shells", "stamps", "beads", "nuts", "keys", "cups", "stones")


@dataclass(frozen=True)
class Step:
    """One operation: ``value <op> operand``, with op one of ``+ - * /`` (division is always exact)."""

    op: Literal["+", "-", "*", "/"]
    operand: int

    def apply(self, value: int) -> int:
        if self.op == "+":
            return value + self.operand
        if self.op == "-":
            return value - self.operand
        return value * self.operand if self.op == "*" else value // self.operand


@dataclass(frozen=True)
class GeneratedProblem:
    """A query with its answer and the steps that lead there."""

    query: str
    answer: int
    level: int
    domain: Domain
    item: str
    start: int
    steps: tuple[Step, ...]


def _draw_step(value: int, level: int, rng: Random) -> Step:
    """A step that keeps the value within 1 and the level's largest; multiplication and division from level 2 on."""
    largest = _LARGEST[level]
    choices: list[Step] = []
    if value + 2 <= largest:
        choices += [Step("+", rng.randint(2, min(largest - value, max(9, largest // 4))))] * 3
    if value >= 4:
        choices += [Step("-", rng.randint(2, min(value - 1, max(9, largest // 4))))] * 3
    if level >= 2:
        factors = [k for k in range(2, 4 if level == 2 else 10) if value * k <= largest]
        if factors:
            choices += [Step("*", rng.choice(factors))] * 2
        divisors = [k for k in range(2, 10) if value % k == 0 and value // k >= 2]
        if divisors:
            choices += [Step("/", rng.choice(divisors))] * 2
    return rng.choice(choices)


def _story(name: str, item: str, start: int, steps: tuple[Step, ...], rng: Random) -> str:
    wordings = {
        "+": (f"{name} buys {{}} more {item}", f"{name} finds {{}} {item}", f"{name} gets {{}} {item} as a gift"),
        "-": (f"{name} loses {{}} {item}", f"{name} gives away {{}} {item}", f"{name} sells {{}} {item}"),
        "*": (f"the number of {item} grows {{}} times as large", f"{name} multiplies the {item} by {{}}"),
        "/": (f"{name} splits the {item} into {{}} equal parts and keeps one",),
    }
    sentences = [f"{name} has {start} {item}."]
    for index, step in enumerate(steps):
        text = rng.choice(wordings[step.op]).format(step.operand)
        sentences.append(f"Then {text}." if index else f"{text[0].upper()}{text[1:]}.")
    return f"{' '.join(sentences)} How many {item} does {name} have now?"


def _chain(start: int, steps: tuple[Step, ...], rng: Random) -> str:
    wordings = {
        "+": ("Add {}.", "Increase it by {}."),
        "-": ("Subtract {}.", "Decrease it by {}."),
        "*": ("Multiply by {}.",),
        "/": ("Divide by {}.",),
    }
    body = " ".join(rng.choice(wordings[step.op]).format(step.operand) for step in steps)
    return f"Start with {start}. {body} What is the result?"


def generate(level: int, rng: Random) -> GeneratedProblem:
    """One random problem of a level (1 to 5)."""
    domain: Domain = rng.choice(("story", "chain"))
    name, item = rng.choice(_NAMES), rng.choice(_ITEMS)
    start = value = rng.randint(3, _START[level])
    steps: list[Step] = []
    for _ in range(rng.randint(*_STEPS[level])):
        steps.append(_draw_step(value, level, rng))
        value = steps[-1].apply(value)
    chosen = tuple(steps)
    query = _story(name, item, start, chosen, rng) if domain == "story" else _chain(start, chosen, rng)
    return GeneratedProblem(query, value, level, domain, item if domain == "story" else "", start, chosen)


def random_equation(rng: Random) -> str:
    """An equation such as the solutions of some level contain."""
    level = rng.choice(LEVELS)
    left = rng.randint(2, _LARGEST[level])
    return equation(left, _draw_step(left, level, rng))


def equation(left: int, step: Step) -> str:
    """``left op operand = result`` as solutions write it."""
    return f"{left} {step.op} {step.operand} = {step.apply(left)}"


_OPENINGS = ("We begin with {v}{i}.", "At first there are {v}{i}.", "Start: {v}{i}.", "The first number is {v}.")
_LINES = (
    "Then {e}.",
    "Next, {e}.",
    "Now {e}{i}.",
    "So {e}.",
    "This gives {e}{i}.",
    "We get {e}.",
)
_CLOSINGS = ("The answer is", "So the answer is", "Thus the final answer is")


def solution(problem: GeneratedProblem, rng: Random) -> str:
    """One of many correct solutions, ending in an explicit boxed answer."""
    item = f" {problem.item}" if problem.item else ""
    value = problem.start
    sentences = [rng.choice(_OPENINGS).format(v=value, i=item)] if rng.random() < 0.75 else []
    for step in problem.steps:
        sentences.append(rng.choice(_LINES).format(e=equation(value, step), i=item))
        value = step.apply(value)
    sentences.append(f"{rng.choice(_CLOSINGS)} \\boxed{{{value}}}.")
    return " ".join(sentences)


def problem_set(per_level: int, seed: int, exclude: frozenset[str] = frozenset()) -> Iterator[GeneratedProblem]:
    """``per_level`` problems of each level, without repeated queries and without those in ``exclude``.

    Levels take turns, so that the first rows of a set are a fair sample of it (``lm_eval --limit``).
    """
    rng = Random(seed)
    seen = set(exclude)
    by_level: dict[int, list[GeneratedProblem]] = {level: [] for level in LEVELS}
    for level, problems in by_level.items():
        while len(problems) < per_level:
            problem = generate(level, rng)
            if problem.query not in seen:
                seen.add(problem.query)
                problems.append(problem)
    for turn in zip(*by_level.values(), strict=True):
        yield from turn


@dataclass(frozen=True)
class _Row:
    id: str
    query: str
    answer: str
    level: int
    domain: str


def _write(path: Path, prefix: str, problems: Iterator[GeneratedProblem]) -> frozenset[str]:
    rows = [
        _Row(f"{prefix}-{index:04d}", problem.query, str(problem.answer), problem.level, problem.domain)
        for index, problem in enumerate(problems)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(path, map(asdict, rows))
    return frozenset(row.query for row in rows)


def main() -> None:
    """Rewrite the checked-in train (500 a level) and held-out (100 a level) problems."""
    from dart_tasks.embedded import HELDOUT_PROBLEMS, TRAIN_PROBLEMS

    heldout = _write(HELDOUT_PROBLEMS, "heldout", problem_set(100, seed=20))
    _write(TRAIN_PROBLEMS, "train", problem_set(500, seed=10, exclude=heldout))


if __name__ == "__main__":
    main()
