"""One file per benchmark, each with a ``BENCHMARK``; a file added here is a benchmark added everywhere.

From it come the lm-eval tasks (``python -m dart_tasks.harness.task_files`` writes their YAMLs), the names that commands
know, the tables of reports, the grading policy and the licence on cards. Nothing heavy is imported here.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType

from dart_tasks.problems.record import GENERIC, Benchmark

__all__ = ["BENCHMARKS", "NAMES", "SUITE"]

_found = [
    import_module(f"{__name__}.{module.name}").BENCHMARK for module in iter_modules(__path__) if module.name[0] != "_"
]

BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType(
    {benchmark.name: benchmark for benchmark in sorted(_found, key=lambda benchmark: benchmark.place)}
)
"""Every benchmark by name, in the order of tables."""

NAMES = (*BENCHMARKS, GENERIC)
"""What a problem's ``benchmark`` may be."""

SUITE = {name: item for name, item in BENCHMARKS.items() if {"in_domain", "out_of_domain"} & set(item.groups)}
"""The benchmarks of ``dart_math_suite``, whose unweighted mean is the headline."""
