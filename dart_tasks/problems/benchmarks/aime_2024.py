r"""AIME 2024: both rounds of the American Invitational Mathematics Examination; answers are integers from 0 to 999.
https://huggingface.co/datasets/Maxwell-Jia/AIME_2024

A row of https://huggingface.co/datasets/Maxwell-Jia/AIME_2024::

    {"ID": "2024-I-1", "Problem": "Find the sum of the digits of $11^2$.",
     "Solution": "It is $121$, so $4$.", "Answer": 4}
"""

from __future__ import annotations

from dart_tasks.problems.benchmarks._competition import competition
from dart_tasks.problems.record import HubSource

BENCHMARK = competition(
    "aime_2024",
    "AIME 2024",
    8,
    HubSource("Maxwell-Jia/AIME_2024", "8d88b2876a82a080e2f172cc9b25d0d9d2cb4792", "train"),
    "aime24.jsonl",
    30,
    licence="see the card of its source",
    paper="https://huggingface.co/datasets/Maxwell-Jia/AIME_2024",
)
