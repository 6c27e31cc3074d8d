r"""HMMT February 2025: the Harvard-MIT Mathematics Tournament, as MathArena has it. https://arxiv.org/abs/2505.23281

A row of https://huggingface.co/datasets/MathArena/hmmt_feb_2025::

    {"problem_idx": 1, "problem": "Compute $\\sqrt{8}+\\sqrt{18}$.",
     "answer": "5\\sqrt{2}", "problem_type": ["Algebra"]}
"""

from __future__ import annotations

from dart_tasks.problems.benchmarks._competition import competition
from dart_tasks.problems.record import HubSource

BENCHMARK = competition(
    "hmmt_feb_2025",
    "HMMT February 2025",
    11,
    HubSource("MathArena/hmmt_feb_2025", "6fdc4277120810ff75aa22d2d5489b91f7a262a1", "train"),
    "hmmt_feb_2025.jsonl",
    30,
    licence="cc-by-nc-sa-4.0",
    paper="https://arxiv.org/abs/2505.23281",
)
