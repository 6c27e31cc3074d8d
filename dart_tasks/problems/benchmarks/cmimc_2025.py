r"""CMIMC 2025: the Carnegie Mellon Informatics and Mathematics Competition, as MathArena has it.
https://arxiv.org/abs/2505.23281

A row of https://huggingface.co/datasets/MathArena/cmimc_2025::

    {"problem_idx": 1, "problem": "In how many ways can $5$ people stand in a row?",
     "answer": "120", "problem_type": ["Combinatorics"]}
"""

from __future__ import annotations

from dart_tasks.problems.benchmarks._competition import competition
from dart_tasks.problems.record import HubSource

BENCHMARK = competition(
    "cmimc_2025",
    "CMIMC 2025",
    14,
    HubSource("MathArena/cmimc_2025", None, "train"),
    "cmimc_2025.jsonl",
    40,
    licence="cc-by-nc-sa-4.0",
    paper="https://arxiv.org/abs/2505.23281",
)
