r"""TheoremQA: questions on university theorems, with typed answers. https://arxiv.org/abs/2305.12524

A row of https://huggingface.co/datasets/TIGER-Lab/TheoremQA (which stores answers as text)::

    {"Question": "How many labelled trees are there on 5 vertices?", "Answer": 125, "Answer_type": "integer",
     "Picture": null}
"""

from __future__ import annotations

import json

from dart_tasks.problems.record import Benchmark, Exemplar, HubSource, Parsed, Policy, Row, Split

_TEST = HubSource("TIGER-Lab/TheoremQA", "a340b1782960a712843aae3ed25f1e013cc008a5", "test")


def _parse(row: Row) -> Parsed:
    answer, kind = row["Answer"], row["Answer_type"]
    if isinstance(answer, str) and kind != "option":  # the hub stores every answer as text
        answer = json.loads(answer.lower() if kind == "bool" else answer)
    return row["Question"], answer, None, {"answer_type": kind, "picture": row["Picture"] is not None}


_EXEMPLARS = (
    Exemplar(
        "How many edges does the complete graph on 9 vertices have?",
        "Every pair of vertices is joined by one edge, so there are 9*8/2 = 36 edges.",
        "36",
    ),
    Exemplar(
        "What is the entropy, in bits, of a coin that shows heads with probability 0.25?",
        "H = -0.25*log2(0.25) - 0.75*log2(0.75) = 0.5 + 0.3113 = 0.8113.",
        "0.8113",
    ),
    Exemplar(
        "Is the set of all polynomials of degree exactly 3 a vector space under the usual operations? True or False?",
        "The sum of x^3 and -x^3 is the zero polynomial, which does not have degree 3, so the set is not closed.",
        "False",
    ),
    Exemplar(
        "What are the eigenvalues of [[2, 1], [1, 2]]? Give them as a list in ascending order.",
        "The characteristic polynomial is (2 - t)^2 - 1 = (t - 1)(t - 3), so the eigenvalues are 1 and 3.",
        "[1, 3]",
    ),
    Exemplar(
        "Which of these series converges? (a) the sum of 1/n. (b) the sum of 1/n^2. (c) the sum of 1/sqrt(n).",
        "The sum of 1/n^p converges exactly for p > 1, which holds for p = 2 only.",
        "(b)",
    ),
)

BENCHMARK = Benchmark(
    name="theoremqa",
    title="TheoremQA",
    place=6,
    groups=("out_of_domain",),
    splits={"test": Split("theoremqa.json", (800,), _TEST)},
    columns=("Question", "Answer", "Answer_type", "Picture"),
    parse=_parse,
    licence="MIT",
    paper="https://arxiv.org/abs/2305.12524",
    policy=Policy(float_tolerance="1e-9"),  # DART-Math's rule, to stand beside the published table
    facets=("answer_type", "picture"),
    relative_tolerance=0.04,  # TheoremQA's own
    exemplars=_EXEMPLARS,
)
