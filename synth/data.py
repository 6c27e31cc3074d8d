"""Where queries come from: local files or hub data sets with a query column and an answer column.

One row as GSM8K stores it, and the query made of it::

    {"question": "A crate holds 12 eggs. How many eggs do 3 crates hold?", "answer": "12 * 3 = 36\\n#### 36"}
    Problem(query_id="gsm8k/0", query="A crate holds ...", reference="36", benchmark="gsm8k", dataset="gsm8k")

The reference is what follows ``####`` in a GSM8K answer, the last ``\\boxed{}`` of a MATH solution, else the
column as is.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dart_tasks.console import counted
from dart_tasks.files import DataError
from dart_tasks.problems.benchmarks import BENCHMARKS, SUITE
from dart_tasks.problems.record import GENERIC, HubSource, Problem
from dart_tasks.problems.references import reference_of
from dart_tasks.problems.sources import hub_rows, local_rows
from synth.records import normalise

__all__ = ["KNOWN_DATASETS", "DatasetSpec", "dataset_fingerprint", "dataset_name", "is_at_hand", "load_queries"]


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """One source of queries. Columns left None are looked for under their usual names.

    ``path`` is a file (.jsonl, .json, .parquet, .csv), a folder that ``datasets`` reads, or a hub name; ``configs`` are
    hub configurations, read one after the other.
    """

    path: str
    name: str = ""
    configs: tuple[str, ...] = ()
    split: str = "train"
    revision: str | None = None
    query_column: str | None = None
    answer_column: str | None = None
    level_column: str | None = None
    domain_column: str | None = None
    id_column: str | None = None
    fail_rate_column: str | None = None
    benchmark: str | None = None


_QUERIES = {name: (record, part) for record in BENCHMARKS.values() for name, part in record.queries.items()}
_REVISIONS = {part.source.repo: part.source.revision for _, part in _QUERIES.values()}

KNOWN_DATASETS: dict[str, DatasetSpec] = {
    name: DatasetSpec(
        part.source.repo,
        name,
        configs=tuple(config for config in part.source.configs if config),
        benchmark=record.name,
        **part.columns,
    )
    for name, (record, part) in _QUERIES.items()
}

_USUAL = {
    "query_column": ("query", "question", "problem", "Question", "prompt", "instruction"),
    "answer_column": ("answer", "ref_ans", "reference", "final_answer", "Answer", "solution", "response"),
    "level_column": ("level", "difficulty"),
    "domain_column": ("domain", "type", "subject"),
    "id_column": ("id", "query_id"),
}
_REQUIRED = ("query_column", "answer_column")


def load_queries(
    specs: Sequence[DatasetSpec],
    where: Mapping[str, frozenset[str]] | None = None,
    limit: int | None = None,
    balance_levels: bool = False,
    skip_bad_rows: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> list[Problem]:
    """All queries of all data sets, filtered, the first ``limit`` of each data set.

    Args:
        specs: the sources, in the order their queries run.
        where: allowed values per column ("level", "domain", or any column of the source), compared as text.
        limit: at most this many queries of each source after filtering.
        balance_levels: take the limit evenly over the levels, instead of from the top.
        skip_bad_rows: leave out rows without text or reference, instead of refusing the source.
        say: is told how many rows were left out, and of problems that occur twice.

    Raises:
        DataError: a source cannot be read, lacks a column, has an empty reference or an id twice, or nothing is left.
    """
    queries: list[Problem] = []
    for spec in specs:
        rows = _read(spec)
        if not rows:
            raise DataError(f"data set {spec.path} is empty")
        spec = _with_columns(spec, rows[0])
        found: list[Problem] = []
        n_bad = 0
        for index, row in enumerate(rows):
            if limit is not None and len(found) >= limit and not balance_levels:
                break
            try:
                query = _query(spec, index, row)
            except DataError as error:
                if not skip_bad_rows:
                    raise DataError(f"{error}; --skip-bad-rows leaves such rows out") from None
                n_bad += 1
                continue
            if not where or _matches(where, query, row):
                found.append(query)
        if n_bad:
            say(f"left out of {spec.path}: {counted(n_bad, 'row')} without text or without a reference answer")
        queries.extend(_balanced(found, limit) if balance_levels else found)
    if not queries:
        raise DataError("no query is left after --where and --limit")
    texts = Counter(normalise(query.query) for query in queries)
    if n_repeated := sum(count - 1 for count in texts.values()):
        say(f"texts that occur again: {counted(n_repeated, 'query')}, each with a quota of its own")
    seen: set[str] = set()
    for query in queries:
        if query.id in seen:
            raise DataError(f"query id {query.id!r} occurs twice: give another --id-column, or name data sets apart")
        seen.add(query.id)
    return queries


def _balanced(queries: Sequence[Problem], limit: int | None) -> list[Problem]:
    """The first ``limit`` queries when the levels take turns, in their old order."""
    rank: Counter[int | None] = Counter()
    turns: list[tuple[int, int]] = []
    for position, query in enumerate(queries):
        turns.append((rank[query.level], position))
        rank[query.level] += 1
    return [queries[position] for position in sorted(position for _, position in sorted(turns)[:limit])]


def dataset_fingerprint(queries: Iterable[Problem]) -> str:
    """SHA-256 over everything of the queries that a run depends on."""
    digest = hashlib.sha256()
    for q in queries:
        fields = [q.id, q.query, q.reference, q.benchmark, q.dataset, q.level, q.domain, q.fail_rate]
        digest.update(json.dumps(fields).encode() + b"\n")
    return digest.hexdigest()


def dataset_name(spec: DatasetSpec) -> str:
    """What a source is called: a file by its name without its ending."""
    path = Path(spec.path)
    return spec.name or re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem if path.exists() else spec.path)


def is_at_hand(spec: DatasetSpec) -> bool:
    """Whether the source is a local file or folder, or in the local hub cache (no network is used)."""
    if Path(spec.path).exists():
        return True
    from huggingface_hub.constants import HF_HUB_CACHE

    return (Path(HF_HUB_CACHE) / f"datasets--{spec.path.replace('/', '--')}").is_dir()


def _level(value: Any) -> int | None:
    """5 of 5, "5" or "Level 5"; None of "Level ?", as two items of MATH train have it, and of what is no level."""
    match = re.search(r"(?<!\d)\d{1,9}(?!\d)", str(value)) if value is not None else None
    return int(match.group()) if match else None


def _query(spec: DatasetSpec, index: int, row: Mapping[str, Any]) -> Problem:
    where = f"row {index} of {spec.path}"
    text, reference = row.get(spec.query_column or ""), reference_of(row.get(spec.answer_column or ""))
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"{where} has no text in column {spec.query_column!r}")
    if not _is_reference(reference):
        raise DataError(f"{where} has no reference answer in column {spec.answer_column!r} (got {reference!r:.40})")
    try:
        f"{text}{reference}{row.get(spec.domain_column or '')}{row.get(spec.id_column or '')}".encode()
    except UnicodeEncodeError:
        raise DataError(f"{where} is not Unicode: half of a surrogate pair") from None
    fail_rate = None
    if spec.fail_rate_column is not None and row.get(spec.fail_rate_column) is not None:
        try:
            fail_rate = float(row[spec.fail_rate_column])
        except (ValueError, TypeError):
            fail_rate = math.nan
        if not 0.0 <= fail_rate <= 1.0:
            raise DataError(f"{where} has fail rate {row[spec.fail_rate_column]!r:.40}: it must be between 0 and 1")
    domain = row.get(spec.domain_column or "")
    own_id = row.get(spec.id_column or "")
    return Problem(
        id=str(own_id) if own_id is not None else f"{spec.name}/{index}",
        query=text,
        reference=reference,
        benchmark=spec.benchmark or GENERIC,
        dataset=spec.name,
        fail_rate=fail_rate,
        metadata={"level": _level(row.get(spec.level_column or "")), "domain": None if domain is None else str(domain)},
    )


def _is_reference(value: Any) -> bool:
    """Whether a response could ever equal it: text, a number, a truth value, or a list of such."""
    if isinstance(value, list):
        return bool(value) and all(not isinstance(item, list) and _is_reference(item) for item in value)
    if isinstance(value, str):
        return bool(value.strip())
    return isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value))


def _matches(where: Mapping[str, frozenset[str]], query: Problem, row: Mapping[str, Any]) -> bool:
    for column, allowed in where.items():
        if column in ("level", "domain"):
            value = query.level if column == "level" else query.domain
        elif column in row:
            value = row[column]
        else:
            raise DataError(f"--where: {query.dataset} has no column {column!r} (columns: {', '.join(row)})")
        if ("?" if value is None else str(value)) not in allowed:
            return False
    return True


def _with_columns(spec: DatasetSpec, row: Mapping[str, Any]) -> DatasetSpec:
    """The specification with every column settled."""
    found: dict[str, Any] = {}
    for field, usual in _USUAL.items():
        wanted = getattr(spec, field)
        if wanted is None:
            wanted = next((name for name in usual if name in row), None)
            if wanted is None and field in _REQUIRED:
                option = "--" + field.replace("_", "-")
                raise DataError(f"{spec.path} has columns {', '.join(row)}: say which one with {option}")
        elif wanted not in row:
            raise DataError(f"{spec.path} has no column {wanted!r} (columns: {', '.join(row)})")
        found[field] = wanted
    if spec.fail_rate_column is not None and spec.fail_rate_column not in row:
        raise DataError(f"{spec.path} has no column {spec.fail_rate_column!r} (columns: {', '.join(row)})")
    name = dataset_name(spec)
    benchmark = spec.benchmark or next(
        (b for b in sorted(SUITE, key=len, reverse=True) if b in name.lower().replace("-", "_")), GENERIC
    )
    return replace(spec, name=name, benchmark=benchmark, **found)


def _read(spec: DatasetSpec) -> list[dict[str, Any]]:
    path, configs = Path(spec.path), spec.configs or (None,)
    if path.exists():
        return local_rows(path, spec.split, configs)
    if path.is_absolute() or spec.path.count("/") != 1:
        known = ", ".join(KNOWN_DATASETS)
        raise DataError(f"no data set {spec.path!r}: give a file, a folder, a hub name (owner/name), or one of {known}")
    # A run's manifest says which data set was named; those that a benchmark's record pins are read at its commit.
    revision = spec.revision or _REVISIONS.get(spec.path)
    return hub_rows(HubSource(spec.path, revision, spec.split, configs), f"data set {spec.path}", "give a file")
