r"""Minerva Math: questions of MIT's open courses whose answers are quantities and formulas (OCWCourses).
https://arxiv.org/abs/2206.14858

A row of https://huggingface.co/datasets/math-ai/minervamath::

    {"question": "A stone falls for 3 s at $g = 9.8$ m/s$^2$. How fast is it, in m/s?", "answer": "29.4"}

Numbers may differ by 1%, the threshold of ``numeric_equality`` in that paper's appendix; formulas have to be equal.
"""

from __future__ import annotations

from dart_tasks.problems.benchmarks._competition import competition
from dart_tasks.problems.record import HubSource

BENCHMARK = competition(
    "minerva_math",
    "Minerva Math",
    16,
    HubSource("math-ai/minervamath", "ee46ddc498933b1977577953250ca5c66be64f96", "test"),
    "minerva_math.jsonl",
    272,
    licence="see the card of its source",
    paper="https://arxiv.org/abs/2206.14858",
    relative_tolerance=0.01,
)
