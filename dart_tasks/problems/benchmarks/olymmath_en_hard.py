r"""OlymMATH EN hard: olympiad problems, the harder half in English. https://arxiv.org/abs/2503.21380

A row of https://huggingface.co/datasets/RUC-AIBOX/OlymMATH::

    {"problem": "Find the greatest value of $\\sin x+\\cos x$.",
     "answer": "\\sqrt{2}", "subject": "Algebra", "unique_id": "own-2"}
"""

from __future__ import annotations

from dart_tasks.problems.benchmarks._competition import competition
from dart_tasks.problems.record import HubSource

BENCHMARK = competition(
    "olymmath_en_hard",
    "OlymMATH EN hard",
    18,
    HubSource("RUC-AIBOX/OlymMATH", "2c6532ea2cf929ac1c421532af5951553eaee727", "test", ("en-hard",)),
    "olymmath_en_hard.jsonl",
    100,
    licence="MIT",
    paper="https://arxiv.org/abs/2503.21380",
    facets=("subject",),
)
