r"""BRUMO 2025: the Brown University Math Olympiad, as MathArena has it. https://arxiv.org/abs/2505.23281

A row of https://huggingface.co/datasets/MathArena/brumo_2025::

    {"problem_idx": 1, "problem": "How many divisors does $72$ have?",
     "answer": "12", "problem_type": ["Number Theory"]}
"""

from __future__ import annotations

from dart_tasks.problems.benchmarks._competition import competition
from dart_tasks.problems.record import HubSource

BENCHMARK = competition(
    "brumo_2025",
    "BRUMO 2025",
    13,
    HubSource("MathArena/brumo_2025", None, "train"),
    "brumo_2025.jsonl",
    30,
    licence="cc-by-nc-sa-4.0",
    paper="https://arxiv.org/abs/2505.23281",
)
