"""What competitions and other small sets have in common: rows with a problem and an answer under names that differ."""

from __future__ import annotations

from typing import Any

from dart_tasks.files import DataError
from dart_tasks.problems.benchmarks import math
from dart_tasks.problems.record import Benchmark, Exemplar, HubSource, Parsed, Row, Split
from dart_tasks.problems.references import reference_of

__all__ = ["competition"]

_PROBLEM = ("problem", "Problem", "question")
_ANSWER = ("answer", "Answer", "expected_answer", "solution")


def competition(
    name: str,
    title: str,
    place: int,
    source: HubSource,
    file_name: str,
    rows: int,
    *,
    licence: str,
    paper: str,
    facets: tuple[str, ...] = (),
    exemplars: tuple[Exemplar, ...] = math.BENCHMARK.exemplars,
    relative_tolerance: float | None = None,
) -> Benchmark:
    """A benchmark of the group ``dart_math_competition``; exemplars are MATH's unless others are given.

    Args:
        rows: how many problems it has.
        facets: columns to report by.
        relative_tolerance: of references that are numbers, where they are measured quantities.
    """

    def parse(row: Row) -> Parsed:
        answer = reference_of(_first(title, row, _ANSWER))
        if isinstance(answer, int | float) and not isinstance(answer, bool):
            answer = str(int(answer)) if float(answer).is_integer() else str(answer)
        tolerance = relative_tolerance if _is_number(answer) else None
        return _first(title, row, _PROBLEM), answer, tolerance, {facet: row.get(facet) for facet in facets}

    return Benchmark(
        name=name,
        title=title,
        place=place,
        groups=("competition",),
        splits={"test": Split(file_name, (rows,), source)},
        columns=(),
        parse=parse,
        exemplars=exemplars,
        licence=licence,
        paper=paper,
        facets=facets,
        k=16 if rows <= 100 else 4,
    )


def _first(title: str, row: Row, columns: tuple[str, ...]) -> Any:
    for column in columns:
        if row.get(column) not in (None, ""):
            return row[column]
    raise DataError(f"{title}: a row without the column {' or '.join(columns)} (it has {', '.join(row)})")


def _is_number(text: Any) -> bool:
    try:
        float(text)
    except (TypeError, ValueError):
        return False
    return True
