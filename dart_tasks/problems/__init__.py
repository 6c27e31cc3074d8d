"""Problems: one record for evaluation and synthesis, one file per benchmark, one way to load them.

>>> from dart_tasks.problems import load
>>> load("gsm8k", data_dir="benchmarks/")[0]       # or from the hub, or the folder named by DART_MATH_DATA
Problem(id='gsm8k/0b5d…', query='Ravi saves ...', reference='90', benchmark='gsm8k', ...)
"""

from dart_tasks.problems.benchmarks import BENCHMARKS
from dart_tasks.problems.loading import DATA_DIR_VARIABLE, load, load_problem_file
from dart_tasks.problems.record import Benchmark, Problem

__all__ = ["BENCHMARKS", "DATA_DIR_VARIABLE", "Benchmark", "Problem", "load", "load_problem_file"]
