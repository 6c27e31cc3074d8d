r"""OlymMATH EN easy: olympiad problems, the easier half in English. https://arxiv.org/abs/2503.21380

A row of https://huggingface.co/datasets/RUC-AIBOX/OlymMATH::

    {"problem": "Find the least $n$ with $7 \\mid 2^n-1$.",
     "answer": "3", "subject": "Number Theory", "unique_id": "own-1"}
"""

from __future__ import annotations

from dart_tasks.problems.benchmarks._competition import competition
from dart_tasks.problems.record import HubSource

BENCHMARK = competition(
    "olymmath_en_easy",
    "OlymMATH EN easy",
    17,
    HubSource("RUC-AIBOX/OlymMATH", "2c6532ea2cf929ac1c421532af5951553eaee727", "test", ("en-easy",)),
    "olymmath_en_easy.jsonl",
    100,
    licence="MIT",
    paper="https://arxiv.org/abs/2503.21380",
    facets=("subject",),
)
