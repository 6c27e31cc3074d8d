r"""BeyondAIME: a hundred problems harder than AIME's, with integer answers.
https://huggingface.co/datasets/ByteDance-Seed/BeyondAIME

A row of https://huggingface.co/datasets/ByteDance-Seed/BeyondAIME::

    {"problem": "Find the number of integers $n$ with $n^2 < 50$.", "answer": 15}
"""

from __future__ import annotations

from dart_tasks.problems.benchmarks._competition import competition
from dart_tasks.problems.record import HubSource

BENCHMARK = competition(
    "beyond_aime",
    "BeyondAIME",
    20,
    HubSource("ByteDance-Seed/BeyondAIME", "c705198ae1043810b1e1693bd879250b51a7a523", "test"),
    "beyond_aime.jsonl",
    100,
    licence="see the card of its source",
    paper="https://huggingface.co/datasets/ByteDance-Seed/BeyondAIME",
)
