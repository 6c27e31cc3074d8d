r"""GSM8K: grade-school word problems. https://arxiv.org/abs/2110.14168

A row of https://huggingface.co/datasets/openai/gsm8k, whose answer is what follows ``####``::

    {"question": "A florist ties 14 bouquets with 9 roses each. She has 150 roses. How many roses are left over?",
     "answer": "She uses 14*9 = <<14*9=126>>126 roses.\nThere are 150-126 = <<150-126=24>>24 left.\n#### 24"}
"""

from __future__ import annotations

from dart_tasks.files import DataError
from dart_tasks.problems.record import Benchmark, Exemplar, HubSource, Parsed, QuerySource, Row, Split

_REPO, _REVISION = "openai/gsm8k", "e53f048856ff4f594e959d75785d2c2d37b678ee"
_TEST = HubSource(_REPO, _REVISION, "test", ("main",))
_TRAIN = HubSource(_REPO, _REVISION, "train", ("main",))


def _parse(row: Row) -> Parsed:
    _, mark, answer = row["answer"].rpartition("####")
    if not mark:
        raise DataError(f"GSM8K: an answer without ####: {row['question'][:60]!r}")
    return row["question"], answer.strip().replace(",", ""), None, {}


_EXEMPLARS = (
    Exemplar(
        "A baker makes 12 trays of rolls with 15 rolls on each tray. She sells 140 rolls. How many are left?",
        "She makes 12 * 15 = 180 rolls. After selling 140, she has 180 - 140 = 40 left.",
        "40",
    ),
    Exemplar(
        "Omar earns $18 an hour and works 6 hours a day for 5 days. He spends a third of his pay on rent. "
        "How many dollars remain?",
        "He works 6 * 5 = 30 hours and earns 30 * 18 = 540 dollars. A third is 540 / 3 = 180 dollars, so "
        "540 - 180 = 360 dollars remain.",
        "360",
    ),
    Exemplar(
        "A pool holds 2,400 litres. One pipe fills it at 30 litres a minute while a leak loses 6 litres a minute. "
        "How many minutes does it take to fill the empty pool?",
        "The pool gains 30 - 6 = 24 litres a minute. It takes 2400 / 24 = 100 minutes.",
        "100",
    ),
    Exemplar(
        "Rosa is twice as old as her brother. In 4 years their ages will add up to 35. How old is Rosa now?",
        "In 4 years their ages add up to 35, so now they add up to 35 - 2 * 4 = 27. Her brother is 27 / 3 = 9 and "
        "Rosa is 2 * 9 = 18.",
        "18",
    ),
)

BENCHMARK = Benchmark(
    name="gsm8k",
    title="GSM8K",
    place=2,
    groups=("in_domain",),
    splits={
        "test": Split("gsm8k_test.jsonl", (1319,), _TEST),
        "train": Split("gsm8k_train.jsonl", (7473,), _TRAIN),
    },
    columns=("question", "answer"),
    parse=_parse,
    licence="MIT",
    paper="https://arxiv.org/abs/2110.14168",
    queries={
        "gsm8k": QuerySource(_TRAIN),
        "gsm8k-fix": QuerySource(HubSource("hkust-nlp/gsm8k-fix", None, "train")),  # labels fixed by DART-Math
    },
    exemplars=_EXEMPLARS,
)
