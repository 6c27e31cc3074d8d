r"""AIME 2026: both rounds of the American Invitational Mathematics Examination, as MathArena has them.
https://arxiv.org/abs/2505.23281

A row of https://huggingface.co/datasets/MathArena/aime_2026::

    {"problem_idx": 1, "problem": "Find the remainder of $3^{20}$ divided by $100$.", "answer": 1}
"""

from __future__ import annotations

from dart_tasks.problems.benchmarks._competition import competition
from dart_tasks.problems.record import HubSource

BENCHMARK = competition(
    "aime_2026",
    "AIME 2026",
    10,
    HubSource("MathArena/aime_2026", "d2de22f3c656b4f56cf8981212186377d1e23bc3", "train"),
    "aime26.jsonl",
    30,
    licence="cc-by-nc-sa-4.0",
    paper="https://arxiv.org/abs/2505.23281",
)
