r"""CollegeMath: exercises of nine college textbooks, from MWPBench. https://arxiv.org/abs/2403.02884

A row of the file that Qwen2.5-Math evaluates on::

    {"data_source": "own.algebra", "question_number": "own.1", "question": "Simplify: $-7-3(m-4)$",
     "answer": "$5 - 3 m$", "license": "Apache-2.0", "data_topic": "college_math.algebra"}
"""

from __future__ import annotations

from dart_tasks.problems.record import Benchmark, Exemplar, FileSource, Parsed, Row, Split

_TEST = FileSource(
    "https://raw.githubusercontent.com/QwenLM/Qwen2.5-Math/a45202bd16f1ec06f433442dc1152d0074773465/evaluation/data/"
    "college_math/test.jsonl",
    "91131bc4a355b884fc63ef7c4f048c35adb030004a4cb07b1475698f120aa4a6",
)


def _parse(row: Row) -> Parsed:
    topic = row["data_topic"].removeprefix("college_math.").replace("_", " ").capitalize()
    return row["question"], row["answer"], None, {"topic": topic, "licence": row["license"]}


_EXEMPLARS = (
    Exemplar(
        r"Differentiate: $f(x) = x^2 e^{3x}$",
        r"By the product rule, $f'(x) = 2x e^{3x} + x^2\cdot 3e^{3x} = (3x^2+2x)e^{3x}$.",
        r"(3x^2+2x)e^{3x}",
    ),
    Exemplar(
        r"Simplify: $5 - 2(3 - 4m)$",
        r"Distribute: $5 - 6 + 8m = 8m - 1$.",
        "8m-1",
    ),
    Exemplar(
        r"Find the determinant of $\begin{bmatrix} 2 & 7 \\ 1 & 5 \end{bmatrix}$.",
        r"The determinant is $2\cdot 5 - 7\cdot 1 = 3$.",
        "3",
    ),
    Exemplar(
        r"Solve $y' = 4y$, $y(0) = 3$.",
        r"The general solution is $y = Ce^{4x}$, and $y(0)=C=3$.",
        "y=3e^{4x}",
    ),
)

BENCHMARK = Benchmark(
    name="college_math",
    title="CollegeMath",
    place=3,
    groups=("out_of_domain",),
    splits={"test": Split("college_math_test.jsonl", (2818,), _TEST)},
    columns=("question", "answer", "data_topic", "license"),
    parse=_parse,
    licence="per item: CC BY, CC BY-NC-SA (809 items), GFDL (148), free of charge (101)",
    paper="https://arxiv.org/abs/2403.02884",
    facets=("topic",),
    exemplars=_EXEMPLARS,
)
