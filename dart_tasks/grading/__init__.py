"""The judge of maths answers: one grader for evaluation scores and for the samples that synthesis keeps.

>>> from dart_tasks.grading import grade
>>> grade(r"... so the answer is $\\boxed{\\frac{1}{2}}$.", "0.5", "math").correct
True
"""

from dart_tasks.grading.grader import BENCHMARKS, Case, Reference, Verdict, equal, extract, grade, readable
from dart_tasks.grading.pool import GradingPool
from dart_tasks.grading.vote import equivalence_classes

__all__ = [
    "BENCHMARKS",
    "GRADER_VERSION",
    "Case",
    "GradingPool",
    "Reference",
    "Verdict",
    "equal",
    "equivalence_classes",
    "extract",
    "grade",
    "readable",
]

GRADER_VERSION = "1.2"
