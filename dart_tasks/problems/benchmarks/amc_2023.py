r"""AMC 2023: the American Mathematics Competitions 12A and 12B, the problems with integer answers.
https://huggingface.co/datasets/math-ai/amc23

A row of https://huggingface.co/datasets/math-ai/amc23::

    {"id": 0, "problem": "What is the sum of the first $9$ odd numbers?",
     "answer": 81.0, "url": "https://example.org/1"}
"""

from __future__ import annotations

from dart_tasks.problems.benchmarks._competition import competition
from dart_tasks.problems.record import HubSource

BENCHMARK = competition(
    "amc_2023",
    "AMC 2023",
    15,
    HubSource("math-ai/amc23", "80815d37005feb82cd7f8fbc6901d5d3eff43057", "test"),
    "amc23.jsonl",
    40,
    licence="see the card of its source",
    paper="https://huggingface.co/datasets/math-ai/amc23",
)
