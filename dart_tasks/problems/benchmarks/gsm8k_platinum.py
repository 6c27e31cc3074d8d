r"""GSM8K-Platinum: GSM8K's test set without its ambiguous problems and with its labels corrected.
https://arxiv.org/abs/2502.03461

A row of https://huggingface.co/datasets/madrylab/gsm8k-platinum::

    {"question": "A florist ties 14 bouquets with 9 roses each. How many roses are that?",
     "answer": "14*9 = 126\n#### 126"}
"""

from __future__ import annotations

from dart_tasks.problems.benchmarks import gsm8k
from dart_tasks.problems.benchmarks._competition import competition
from dart_tasks.problems.record import HubSource

BENCHMARK = competition(
    "gsm8k_platinum",
    "GSM8K-Platinum",
    19,
    HubSource("madrylab/gsm8k-platinum", "e762492455a1cf7967de89f05b6bef72fc713b66", "test", ("main",)),
    "gsm8k_platinum_test.jsonl",
    1209,
    licence="cc-by-sa-4.0",
    paper="https://arxiv.org/abs/2502.03461",
    exemplars=gsm8k.BENCHMARK.exemplars,
)
