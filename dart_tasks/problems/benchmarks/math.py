r"""MATH: competition problems in seven subjects and five levels. https://arxiv.org/abs/2103.03874

A row of https://huggingface.co/datasets/EleutherAI/hendrycks_math, whose answer is the last box of the solution::

    {"problem": "What is $15\\%$ of $240$?", "level": "Level 1", "type": "Prealgebra",
     "solution": "We compute $0.15\\cdot 240=36$. So the answer is $\\boxed{36}$."}
"""

from __future__ import annotations

import re

from dart_tasks.files import DataError
from dart_tasks.problems.record import Benchmark, Exemplar, HubSource, Parsed, QuerySource, Row, Split
from dart_tasks.problems.references import last_boxed

_SUBJECTS = (
    "algebra",
    "counting_and_probability",
    "geometry",
    "intermediate_algebra",
    "number_theory",
    "prealgebra",
    "precalculus",
)
_REPO, _REVISION = "EleutherAI/hendrycks_math", "21a5633873b6a120296cce3e2df9d5550074f4a3"
_TEST = HubSource(_REPO, _REVISION, "test", _SUBJECTS)
_TRAIN = HubSource(_REPO, _REVISION, "train", _SUBJECTS)


def _parse(row: Row) -> Parsed:
    answer = last_boxed(row["solution"])
    if answer is None:
        raise DataError(f"MATH: a solution without \\boxed{{}}: {row['problem'][:60]!r}")
    level = re.fullmatch(r"Level (\d)", row["level"])  # two training problems have "Level ?"
    return row["problem"], answer, None, {"level": int(level[1]) if level else None, "subject": row["type"]}


_EXEMPLARS = (
    Exemplar(
        r"What is the sum of the solutions of $x^2 - 7x + 10 = 0$?",
        r"The left side factors as $(x-2)(x-5)$, so the solutions are $x=2$ and $x=5$. Their sum is $2+5=7$.",
        "7",
    ),
    Exemplar(
        "A bag holds 3 red and 5 blue balls. Two balls are drawn without replacement. What is the probability that "
        "both are red? Express your answer as a common fraction.",
        r"The first ball is red with probability $\frac{3}{8}$, and then the second with probability $\frac{2}{7}$. "
        r"The product is $\frac{3}{8}\cdot\frac{2}{7}=\frac{6}{56}=\frac{3}{28}$.",
        r"\frac{3}{28}",
    ),
    Exemplar(
        r"Find all real $x$ for which $|2x-3| \le 5$. Express your answer in interval notation.",
        r"The inequality means $-5 \le 2x-3 \le 5$. Adding 3 gives $-2 \le 2x \le 8$, so $-1 \le x \le 4$.",
        "[-1,4]",
    ),
    Exemplar(
        "A right triangle has legs of length 6 and 9. What is the length of its hypotenuse, in simplest radical form?",
        r"By the Pythagorean theorem the hypotenuse is $\sqrt{6^2+9^2}=\sqrt{36+81}=\sqrt{117}=3\sqrt{13}$.",
        r"3\sqrt{13}",
    ),
)

BENCHMARK = Benchmark(
    name="math",
    title="MATH",
    place=1,
    groups=("in_domain",),
    splits={
        "test": Split("math_test.jsonl", (5000,), _TEST),
        "train": Split("math_train.jsonl", (7500,), _TRAIN),
    },
    columns=("problem", "level", "type", "solution"),
    parse=_parse,
    licence="MIT",
    paper="https://arxiv.org/abs/2103.03874",
    facets=("level", "subject"),
    queries={
        "math": QuerySource(
            _TRAIN,
            {
                "query_column": "problem",
                "answer_column": "solution",
                "level_column": "level",
                "domain_column": "type",
            },
        )
    },
    exemplars=_EXEMPLARS,
)
