"""The judge of maths answers: one grader for evaluation scores and for the samples that synthesis keeps.

>>> from dart_tasks.grading import grade
>>> grade(r"... so the answer is $\\boxed{\\frac{1}{2}}$.", "0.5", "math").correct
True
"""

from dart_tasks.grading.grader import equal, equivalence_classes, extract, grade, readable
from dart_tasks.grading.policy import BENCHMARKS, Benchmark
from dart_tasks.grading.run.pool import GradingPool
from dart_tasks.grading.verdict import Case, Reference, Verdict

__all__ = [
    "BENCHMARKS",
    "GRADER_VERSION",
    "Benchmark",
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

GRADER_VERSION = "2.0"
