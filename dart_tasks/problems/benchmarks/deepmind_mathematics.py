r"""DeepMind-Mathematics: generated school mathematics; DART-Math's 1,000 problems. https://arxiv.org/abs/1904.01557

A row of the file that DART-Math evaluates on::

    {"question": "Solve -3*w + 14 = -7*w - 2 for w.", "answer": "-4"}
"""

from __future__ import annotations

from dart_tasks.problems.record import Benchmark, Exemplar, FileSource, Parsed, Policy, Row, Split

_TEST = FileSource(
    "https://raw.githubusercontent.com/hkust-nlp/dart-math/219b32467b55f7c610195e148b56df3431e1a963/data/dsets/"
    "deepmind-mathematics.json",
    "1caa7e191af2df1c110ca405dcaf7fc663a1bac16f589e6af853bff5d1012a11",
)


def _parse(row: Row) -> Parsed:
    return row["question"], row["answer"], None, {}


_EXEMPLARS = (
    Exemplar(
        "Solve -5*x + 3 = -17 for x.",
        "Subtracting 3 gives -5*x = -20, so x = -20/(-5) = 4.",
        "4",
    ),
    Exemplar(
        "Let f(n) = 2*n**2 - n. Calculate f(-3).",
        "f(-3) = 2*9 - (-3) = 18 + 3 = 21.",
        "21",
    ),
    Exemplar(
        "Is 91 a prime number?",
        "91 = 7*13, so it is composite.",
        "False",
    ),
    Exemplar(
        "Sort 4, -2, 0, 9 in decreasing order.",
        "The largest is 9, then 4, then 0, and the smallest is -2.",
        "9 4 0 -2",
    ),
)

BENCHMARK = Benchmark(
    name="deepmind_mathematics",
    title="DeepMind-Mathematics",
    place=4,
    groups=("out_of_domain",),
    splits={"test": Split("deepmind_mathematics.json", (1000,), _TEST)},
    columns=("question", "answer"),
    parse=_parse,
    licence="Apache-2.0",
    paper="https://arxiv.org/abs/1904.01557",
    policy=Policy(text_sequences=True),  # -1 3 4 answers "Sort ...", [2, 3] "List the prime factors ..."
    exemplars=_EXEMPLARS,
)
