"""Problems: one record for evaluation and synthesis, one file per benchmark, one way to load them.

>>> from dart_tasks.problems import load
>>> load("gsm8k", data_dir="benchmarks/")[0]       # or from the hub, or the folder named by DART_MATH_DATA
Problem(id='gsm8k/0b5d…', query='Ravi saves ...', reference='90', benchmark='gsm8k', ...)
"""

from typing import TYPE_CHECKING, Any

from dart_tasks.problems.benchmarks import BENCHMARKS
from dart_tasks.problems.record import Benchmark, Problem

if TYPE_CHECKING:
    from dart_tasks.problems.loading import DATA_DIR_VARIABLE, load, load_problem_file

__all__ = ["BENCHMARKS", "DATA_DIR_VARIABLE", "Benchmark", "Problem", "load", "load_problem_file"]


def __getattr__(name: str) -> Any:
    """Loading only when it is asked for: the grader, which reads the records, is to be imported quickly."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dart_tasks.problems import loading

    return getattr(loading, name)
