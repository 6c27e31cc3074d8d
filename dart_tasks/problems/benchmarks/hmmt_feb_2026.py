r"""HMMT February 2026: the Harvard-MIT Mathematics Tournament, as MathArena has it. https://arxiv.org/abs/2505.23281

A row of https://huggingface.co/datasets/MathArena/hmmt_feb_2026::

    {"problem_idx": 1, "problem": "Compute $\\binom{6}{3}/8$.", "answer": "\\frac{5}{2}"}
"""

from __future__ import annotations

from dart_tasks.problems.benchmarks._competition import competition
from dart_tasks.problems.record import HubSource

BENCHMARK = competition(
    "hmmt_feb_2026",
    "HMMT February 2026",
    12,
    HubSource("MathArena/hmmt_feb_2026", "02fba4f74d8e68e73e66a02d540fd979c05c274c", "train"),
    "hmmt_feb_2026.jsonl",
    33,
    licence="cc-by-nc-sa-4.0",
    paper="https://arxiv.org/abs/2505.23281",
)
