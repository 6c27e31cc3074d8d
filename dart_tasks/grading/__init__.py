"""The judge of maths answers: one grader for evaluation scores and for the samples that synthesis keeps.

>>> from dart_tasks.grading import grade
>>> grade(r"... so the answer is $\\boxed{\\frac{1}{2}}$.", "0.5", "math").correct
True
"""

from typing import TYPE_CHECKING, Any

from dart_tasks.grading.grader import equal, equivalence_classes, extract, grade, readable
from dart_tasks.grading.policy import BENCHMARKS, Benchmark
from dart_tasks.grading.verdict import Case, Reference, Verdict

if TYPE_CHECKING:
    from dart_tasks.grading.run.pool import GradingPool

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


def __getattr__(name: str) -> Any:
    """The pool only when it is asked for: it loads what processes and threads need, a quarter of the import's time."""
    if name != "GradingPool":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dart_tasks.grading.run.pool import GradingPool

    return GradingPool
