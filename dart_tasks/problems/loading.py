"""Problems from their sources: a benchmark's from the hub, its pinned file or a local folder; one's own from a file.

A benchmark's problems are ordered by their content (the hash in their id), not by their place in a file, because the
hub splits MATH into seven configurations: so hub and local data give equal lists, and ``--limit 20`` takes a mixed
sample.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dart_tasks.files import DataError, read_rows
from dart_tasks.problems import sources
from dart_tasks.problems.benchmarks import BENCHMARKS
from dart_tasks.problems.record import Benchmark, FileSource, Parsed, Problem, Row, Split
from dart_tasks.problems.references import question_of, reference_of

__all__ = ["DATA_DIR_VARIABLE", "load", "load_problem_file"]

DATA_DIR_VARIABLE = "DART_MATH_DATA"
"""Environment variable naming a folder of benchmark files that replaces the network."""


def load(
    name: str, split: str = "test", data_dir: str | os.PathLike[str] | None = None, *, verify: bool = True
) -> list[Problem]:
    """All problems of a benchmark's split, in an order that depends on their content only.

    Args:
        name: a key of :data:`dart_tasks.problems.BENCHMARKS`.
        data_dir: a folder of files named as in the record; default: the folder in ``DART_MATH_DATA``, else the hub.
        verify: refuse data whose row count, or checksum where it is pinned, is not the benchmark's (off for a sample in
            the same format).

    Raises:
        DataError: unknown name or split, no network and no folder, a missing, incomplete or changed file.
    """
    if name not in BENCHMARKS:
        raise DataError(f"unknown benchmark {name!r}: choose one of {', '.join(BENCHMARKS)}")
    benchmark = BENCHMARKS[name]
    if split not in benchmark.splits:
        raise DataError(f"{benchmark.title} has no split {split!r}: choose one of {', '.join(benchmark.splits)}")
    part = benchmark.splits[split]
    folder = data_dir or os.environ.get(DATA_DIR_VARIABLE)
    if folder:
        named = f"data_dir is {str(folder)!r}" if data_dir else f"{DATA_DIR_VARIABLE} is {folder!r}"
        rows = _local_rows(Path(folder) / part.file_name, part, named, verify)
    else:
        rows = _remote_rows(benchmark, part)
    if verify and len(rows) not in part.rows:
        where = f"in {folder}" if folder else "from its source"
        raise DataError(f"{benchmark.title} {where} has {len(rows):,} rows, not {part.rows[0]:,}: an incomplete copy?")
    missing = sorted({column for row in rows for column in benchmark.columns if column not in row})
    if missing:
        raise DataError(f"{benchmark.title}: rows without the column {', '.join(missing)} in {part.file_name}")
    return _with_ids(benchmark, (benchmark.parse(row) for row in rows))


def _local_rows(path: Path, part: Split, named: str, verify: bool) -> Sequence[Row]:
    _check_exists(path, f"{named}; put the benchmark there, or leave it out to use the hub")
    pinned = part.source.sha256 if verify and isinstance(part.source, FileSource) else None
    if pinned and hashlib.sha256(path.read_bytes()).hexdigest() != pinned:
        raise DataError(f'{path} differs from the pinned file (by its checksum); "verify": false accepts it')
    return read_rows(path)


def _remote_rows(benchmark: Benchmark, part: Split) -> Sequence[Row]:
    otherwise = f"set {DATA_DIR_VARIABLE} to a folder that holds the benchmark files"
    if isinstance(part.source, FileSource):
        return read_rows(sources.pinned_file(part.source, benchmark.title, otherwise))
    return sources.hub_rows(part.source, benchmark.title, otherwise)


def _check_exists(path: Path, remedy: str) -> None:
    if not path.is_file():
        raise DataError(f"no file {path}: {remedy}")


def _with_ids(benchmark: Benchmark, parsed: Iterable[Parsed]) -> list[Problem]:
    seen: Counter[str] = Counter()
    problems = []
    for query, reference, tolerance, metadata in parsed:
        key = f"{benchmark.name}/{_content_key([query, reference])}"
        seen[key] += 1
        unique = key if seen[key] == 1 else f"{key}-{seen[key]}"  # a few problems occur twice
        problems.append(
            Problem(unique, query, reference, benchmark.name, benchmark.name, tolerance=tolerance, metadata=metadata)
        )
    return sorted(problems, key=lambda problem: problem.id)


def _content_key(content: list[Any]) -> str:
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()[:12]


def load_problem_file(path: str | os.PathLike[str]) -> list[Problem]:
    """Problems of one's own, in the file's order: JSON Lines, a JSON list, Parquet or CSV.

    Columns are ``query`` (or ``question``, ``problem``), ``answer`` and, optionally, ``id``, ``level``, ``domain``. An
    answer is the reference itself, or a solution that ends in it after ``####`` or in a box. Without an id, problems
    are named by their content, so that they keep their names where rows are added.

    Raises:
        DataError: no such file, or a row that lacks a column, a query or an answer.
    """
    file, seen = Path(path), set()
    problems: list[Problem] = []
    _check_exists(file, "name it by its whole path, or put it beside a YAML that lm-eval finds by --include_path")
    for number, row in enumerate(sources.local_rows(file), 1):
        where = f"{path}, row {number}"
        query, answer = question_of(row), reference_of(row.get("answer"))
        missing = [*(["query"] if query is None else []), *(["answer"] if "answer" not in row else [])]
        if missing:
            raise DataError(f"{where}: no {' and no '.join(missing)} as text (its columns: {', '.join(row) or 'none'})")
        if isinstance(answer, dict):
            raise DataError(f"{where}: the answer must be text, a number, a truth value or a list")
        if query is None or not query.strip() or answer is None or answer in ("", []):
            raise DataError(f"{where}: an empty {'answer' if query and query.strip() else 'query'}")
        identity = str(row["id"]) if row.get("id") is not None else _content_key([query, answer])
        if identity in seen:
            raise DataError(f"{where}: the {'id' if 'id' in row else 'problem'} of an earlier row ({identity!r})")
        seen.add(identity)
        facets = {key: row[key] for key in ("level", "domain") if row.get(key) is not None}
        if unfit := [key for key, value in facets.items() if not isinstance(value, str | int)]:
            raise DataError(f"{where}: {unfit[0]} must be text or a whole number (got {facets[unfit[0]]!r})")
        problems.append(Problem(identity, query, answer, metadata=facets))
    if not problems:
        raise DataError(f"{path} holds no problems")
    return problems
