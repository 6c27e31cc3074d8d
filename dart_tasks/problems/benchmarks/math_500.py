r"""MATH-500: the 500 problems of MATH that OpenAI held out. https://arxiv.org/abs/2305.20050

A row of https://huggingface.co/datasets/HuggingFaceH4/MATH-500::

    {"problem": "What is $15\\%$ of $240$?", "solution": "We compute $0.15\\cdot 240=36$. So it is $\\boxed{36}$.",
     "answer": "36", "subject": "Prealgebra", "level": 1, "unique_id": "test/prealgebra/1.json"}

All of them are in MATH's test set, so a model that was evaluated on one was evaluated on the other.
"""

from __future__ import annotations

from dart_tasks.problems.benchmarks import math
from dart_tasks.problems.record import Benchmark, HubSource, Parsed, Row, Split

_TEST = HubSource("HuggingFaceH4/MATH-500", "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be", "test")


def _parse(row: Row) -> Parsed:
    return row["problem"], row["answer"], None, {"level": row["level"], "subject": row["subject"]}


BENCHMARK = Benchmark(
    name="math_500",
    title="MATH-500",
    place=7,
    groups=("competition",),
    splits={"test": Split("math_500_test.jsonl", (500,), _TEST)},
    columns=("problem", "solution", "answer", "subject", "level", "unique_id"),
    parse=_parse,
    exemplars=math.BENCHMARK.exemplars,
    licence="MIT",
    paper="https://arxiv.org/abs/2305.20050",
    facets=("level", "subject"),
    k=4,
)
