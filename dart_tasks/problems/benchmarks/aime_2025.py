r"""AIME 2025: both rounds of the American Invitational Mathematics Examination, as MathArena has them.
https://arxiv.org/abs/2505.23281

A row of https://huggingface.co/datasets/MathArena/aime_2025::

    {"problem_idx": 1, "problem": "Find the largest prime factor of $2^{10}-1$.",
     "answer": 31, "problem_type": ["Number Theory"]}
"""

from __future__ import annotations

from dart_tasks.problems.benchmarks._competition import competition
from dart_tasks.problems.record import HubSource

BENCHMARK = competition(
    "aime_2025",
    "AIME 2025",
    9,
    HubSource("MathArena/aime_2025", "c94da77eb22bbd6439e62a323bec18493a421302", "train"),
    "aime25.jsonl",
    30,
    licence="cc-by-nc-sa-4.0",
    paper="https://arxiv.org/abs/2505.23281",
)
