"""Data sets from an existing pool, without sampling again: any strategy, any size, pools merged, test sets kept out.

Selection is deterministic and unbiased: a query's responses are taken in trial order (a second pool's trials come after
the first one's), so that neither length nor speed decides what is kept.
"""

from __future__ import annotations

import json
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from dart_tasks.console import first_line
from dart_tasks.files import DataError, read_jsonl
from dart_tasks.problems.record import Problem
from synth.difficulty import Evidence, Sampled, as_trials_suggest, sampled_by
from synth.export import Layout
from synth.ledger import Ledger
from synth.manifest import Manifest, config_of_manifest
from synth.records import counts, normalise, text_key
from synth.strategy import QueryStats, Strategy

__all__ = [
    "Pool",
    "PoolError",
    "Selection",
    "largest_k",
    "open_pool",
    "original_rows",
    "select",
    "selected_rows",
]


class PoolError(DataError):
    """A pool that cannot be read."""


@dataclass(frozen=True, slots=True)
class PoolTrial:
    """A trial of a pool."""

    query_id: str
    trial: int
    correct: bool
    explicit: bool
    graded: bool
    text_key: int
    truncated: bool
    n_tokens: int

    def is_correct(self, lenient: bool) -> bool:
        """As :func:`synth.records.counts`."""
        return counts(self.correct, self.explicit, self.truncated, lenient)


class PoolText(NamedTuple):
    """What is written of a kept trial; ``finish_reason`` is None where the pool does not say."""

    query_id: str
    trial: int
    response: str
    answer: str
    n_tokens: int
    finish_reason: str | None
    reasoning: str | None


class Pool(Protocol):
    """All trials of a run, twice over: first what decides, then the texts."""

    @property
    def path(self) -> Path:
        """Where it is."""

    @property
    def system_message(self) -> str:
        """That every prompt had; "" where there was none, or nothing tells."""

    def sampled(self, lenient: bool) -> Mapping[str, Sampled]:
        """How the trials of each query came about."""

    def queries(self) -> list[Problem]:
        """The queries, in order."""

    def trials(self) -> Iterator[PoolTrial]:
        """Every trial without its text, by query and trial number."""

    def texts(self, wanted: Callable[[str, int], bool]) -> Iterator[PoolText]:
        """The wanted trials, in the pool's order of queries."""


class RunPool:
    """The ledger of a run directory."""

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir
        self._ledger = Ledger(run_dir, read_only=True)
        self._queries = self._ledger.queries()
        self._manifest = Manifest.read(run_dir)
        if self._manifest is not None:
            self._manifest.check_queries(self._queries, run_dir)
        self.system_message = _system_message(self._manifest)

    def sampled(self, lenient: bool) -> Mapping[str, Sampled]:
        if self._manifest is None:
            return as_trials_suggest((t.query_id, t.is_correct(lenient), t.text_key) for t in self.trials())
        return _sampled_by_manifest(self._manifest, self._queries)

    def queries(self) -> list[Problem]:
        return self._queries

    def trials(self) -> Iterator[PoolTrial]:
        ids = [query.id for query in self._queries]
        for row in self._ledger.results():
            yield PoolTrial(
                ids[row.query], row.trial, bool(row.correct), bool(row.explicit), bool(row.graded), row.text_key,
                row.truncated, row.n_tokens,
            )  # fmt: skip

    def texts(self, wanted: Callable[[str, int], bool]) -> Iterator[PoolText]:
        ids = [query.id for query in self._queries]
        for row in self._ledger.pool_where(lambda query, trial: wanted(ids[query], trial)):
            yield PoolText(
                ids[row.query], row.trial, row.response, row.answer, row.n_tokens, row.finish_reason, row.reasoning
            )


def _system_message(manifest: Manifest | None) -> str:
    return config_of_manifest(manifest).system_message if manifest else ""


def _sampled_by_manifest(manifest: Manifest, queries: Sequence[Problem]) -> Mapping[str, Sampled]:
    config = config_of_manifest(manifest)
    try:
        return {query.id: sampled_by(config, query) for query in queries}
    except ValueError as error:
        raise PoolError(str(error)) from error


def _sampled_by_row(row: Mapping[str, Any]) -> Sampled:
    """What a row of an exported ``queries`` table says."""
    return Sampled(row["probe"]) if row["probe"] else Sampled(stop=row["stop"], fail_rate=row["fail_rate"])


def _parquet_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Rows of a Parquet file; of these columns, where it has them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            present = None if columns is None else [c for c in columns if c in file.schema_arrow.names]
            for batch in file.iter_batches(batch_size=8192, columns=present):
                yield from batch.to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise PoolError(f"cannot read {path}: {first_line(error)}") from error


class FilePool:
    """An exported pool: ``pool/train.parquet`` or ``.jsonl``, or any file with those columns."""

    _NEEDED = ("query_id", "query", "reference", "trial", "response", "correct")

    def __init__(self, path: Path) -> None:
        self.path = path
        first = next(self._rows(), None)
        if first is None:
            raise PoolError(f"pool {path} is empty")
        if missing := self._missing(first):
            raise PoolError(f"pool {path} has no column {missing}")
        of_run = path.resolve().parts[-3:-1] == ("dataset", "pool")
        self._manifest = Manifest.read(path.resolve().parents[2]) if of_run else None
        self.system_message = _system_message(self._manifest)

    def _missing(self, row: dict[str, Any]) -> str:
        return ", ".join(column for column in self._NEEDED if column not in row)

    def _rows(self, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        if self.path.suffix != ".jsonl":
            yield from _parquet_rows(self.path, columns)
            return
        for number, row in read_jsonl(self.path):
            if missing := self._missing(row):
                raise PoolError(f"line {number} of {self.path} has no {missing}")
            yield row

    def sampled(self, lenient: bool) -> Mapping[str, Sampled]:
        """As the statistics beside the pool say, or the manifest of the run that it lies in, or its trials suggest."""
        statistics = self.path.parent.parent / "queries" / self.path.name
        if self.path.parent.name == "pool" and statistics.is_file():
            rows = (
                [row for _, row in read_jsonl(statistics)]
                if statistics.suffix == ".jsonl"
                else _parquet_rows(statistics)
            )
            found = {row["query_id"]: _sampled_by_row(row) for row in rows if "stop" in row}
            if found:
                return found
        if self._manifest is not None:
            return _sampled_by_manifest(self._manifest, self.queries())
        return as_trials_suggest((t.query_id, t.is_correct(lenient), t.text_key) for t in self.trials())

    def queries(self) -> list[Problem]:
        found: dict[str, Problem] = {}
        for row in self._rows(["query_id", "query", "reference", "benchmark", "dataset", "level", "domain"]):
            if row["query_id"] not in found:
                found[row["query_id"]] = Problem(
                    row["query_id"], row["query"], row["reference"], row.get("benchmark") or "generic",
                    row.get("dataset") or self.path.stem, metadata={c: row.get(c) for c in ("level", "domain")},
                )  # fmt: skip
        return list(found.values())

    def trials(self) -> Iterator[PoolTrial]:
        # A file may hold trials in any order, and a row twice: 21 bytes of each trial are kept to sort them.
        found: dict[str, tuple[array[int], array[int], bytearray, array[int]]] = defaultdict(
            lambda: (array("q"), array("q"), bytearray(), array("i"))
        )
        for row in self._rows(
            ["query_id", "trial", "correct", "explicit", "graded", "response", "finish_reason", "n_tokens"]
        ):
            query_id, trial, response = row["query_id"], row["trial"], row["response"]
            if not isinstance(trial, int) or not 0 <= trial < 2**31 or not isinstance(response, str):
                raise PoolError(f"pool {self.path}: query {query_id!r} has a row without trial number or response")
            numbers, keys, flags, lengths = found[query_id]
            lengths.append(row.get("n_tokens") or 0)
            numbers.append(trial)
            keys.append(text_key(response))
            flags.append(
                bool(row["correct"]) + 2 * (row.get("explicit") is not False) + 4 * (row.get("graded") is not False)
                + 8 * (row.get("finish_reason") == "length")
            )  # fmt: skip
        for query_id, (numbers, keys, flags, lengths) in found.items():
            last = -1
            for i in sorted(range(len(numbers)), key=numbers.__getitem__):
                if last >= 0 and numbers[i] == numbers[last]:
                    if (keys[i], flags[i]) != (keys[last], flags[last]):
                        raise PoolError(
                            f"pool {self.path} has two different rows for trial {numbers[i]} of query {query_id!r}"
                        )
                    continue
                last = i
                correct, explicit, graded, truncated = (bool(flags[i] & bit) for bit in (1, 2, 4, 8))
                yield PoolTrial(query_id, numbers[i], correct, explicit, graded, keys[i], truncated, lengths[i])

    def texts(self, wanted: Callable[[str, int], bool]) -> Iterator[PoolText]:
        columns = ["query_id", "trial", "response", "answer", "n_tokens", "finish_reason", "reasoning"]
        rows = (row for row in self._rows(columns) if wanted(row["query_id"], row["trial"]))
        seen: set[tuple[str, int]] = set()
        for query_id, group in groupby(rows, key=itemgetter("query_id")):
            for row in sorted(group, key=itemgetter("trial")):
                if (query_id, row["trial"]) not in seen:
                    seen.add((query_id, row["trial"]))
                    yield PoolText(
                        query_id, row["trial"], row["response"], row.get("answer") or "", row.get("n_tokens") or 0,
                        row.get("finish_reason"), row.get("reasoning"),
                    )  # fmt: skip


def open_pool(path: Path) -> Pool:
    """The pool in a run directory, an exported data set folder, or a file.

    Raises:
        PoolError: none of these, or columns are missing. LedgerError: the run cannot be read.
    """
    if (path / "ledger.sqlite").is_file():
        return RunPool(path)
    for candidate in (
        path,
        *(path / part / f"train.{form}" for part in ("pool", "dataset/pool") for form in ("parquet", "jsonl")),
    ):
        if candidate.is_file() and candidate.suffix in (".parquet", ".jsonl"):
            return FilePool(candidate)
    raise PoolError(f"no pool in {path}: give a run directory, an exported data set, or its pool file")


@dataclass
class _Trials:
    """A query's trials over all pools."""

    query: Problem
    n_trials: int = 0
    n_correct: int = 0
    told_graded: int = 0
    """Trials that tell its pass rate, all pools together, and the correct ones among them."""
    told_correct: int = 0
    known_fail_rate: float | None = None
    offset: int = 0
    """Trials of the pools before this one: their numbers come first."""
    end: int = 0
    distinct: array[int] | None = None
    """Positions (offset + trial number) of the first occurrence of every correct text, ascending."""
    keys: set[int] | None = None

    @property
    def is_known(self) -> bool:
        """Whether anything tells how hard the query is."""
        return self.known_fail_rate is not None or self.told_graded > 0

    @property
    def fail_rate(self) -> float:
        """Estimated as ``synth.difficulty`` says, or known beforehand; 1.0 where nothing could be graded."""
        if self.known_fail_rate is not None:
            return self.known_fail_rate
        return 1.0 - self.told_correct / self.told_graded if self.told_graded else 1.0

    @property
    def pass_rate(self) -> float:
        """The rest of it, as a user would write it: 1 of 10 is 0.1, and not what 1 - 0.9 leaves in binary."""
        return round(1.0 - self.fail_rate, 15)


@dataclass(frozen=True)
class Selection:
    """What is kept of each query."""

    k: int
    queries: list[Problem]
    fail_rates: list[float]
    quotas: list[int]
    kept: list[tuple[int, ...]]
    """Positions in trial order, counted through all pools."""
    offsets: list[dict[str, int]]
    """For each pool, the position of its trial 0 of a query."""
    n_trials: int
    n_duplicates: int

    @property
    def n_kept(self) -> int:
        """Responses in all."""
        return sum(map(len, self.kept))


def read_trials(
    pools: Sequence[Pool], lenient: bool, needs_difficulty: bool, max_tokens: int | None = None
) -> tuple[dict[str, _Trials], list[dict[str, int]], int]:
    """Trials of all pools by query, each pool's offsets, and the number of duplicates.

    Responses of more than ``max_tokens`` tokens tell of difficulty but are not to be kept.
    """
    found: dict[str, _Trials] = {}
    offsets: list[dict[str, int]] = []
    n_duplicates = 0
    for pool in pools:
        for query in pool.queries():
            known = found.setdefault(query.id, _Trials(query, distinct=array("q"), keys=set()))
            if normalise(known.query.query) != normalise(query.query):
                raise PoolError(f"two pools have different queries under the id {query.id!r}")
            known.offset = known.end
        offsets.append({query_id: trials.offset for query_id, trials in found.items()})
        evidence = {query_id: Evidence(how) for query_id, how in pool.sampled(lenient).items()}
        for trial in pool.trials():
            trials = found[trial.query_id]
            position = trials.offset + trial.trial
            trials.end = max(trials.end, position + 1)
            correct = trial.is_correct(lenient)
            evidence[trial.query_id].add(trial.trial, correct, trial.graded, trial.text_key)
            trials.n_trials += 1
            trials.n_correct += correct
            if correct and max_tokens is not None and not trial.n_tokens:
                raise PoolError(f"pool {pool.path} does not tell how long its responses are: no limit can be set")
            if correct and (max_tokens is None or trial.n_tokens <= max_tokens):
                assert trials.keys is not None
                assert trials.distinct is not None
                if trial.text_key in trials.keys:
                    n_duplicates += 1
                else:
                    trials.keys.add(trial.text_key)
                    trials.distinct.append(position)
        for query_id, told in evidence.items():
            trials = found[query_id]
            trials.told_graded += told.n_graded
            trials.told_correct += told.n_correct
            trials.known_fail_rate = (
                told.sampled.fail_rate if trials.known_fail_rate is None else trials.known_fail_rate
            )
            if needs_difficulty and told.sampled.stop == 1:
                raise PoolError(
                    f"pool {pool.path} stopped at the first correct response (k = 1), which does not tell how hard a "
                    "query is: sample one with --strategy vanilla, or uniform with a k of 2 or more"
                )
    return found, offsets, n_duplicates


def select(
    pools: Sequence[Pool],
    strategy: Strategy,
    k: int | None = None,
    size: int | None = None,
    lenient: bool = False,
    leave_out: frozenset[str] = frozenset(),
    max_tokens: int | None = None,
) -> Selection:
    """Apply a strategy to pools; with ``size`` instead of ``k``, the largest k that keeps no more than that.

    ``leave_out``: ids of queries to drop; ``max_tokens``: the longest response to keep.

    Raises:
        PoolError: a pool is unreadable or contradicts itself or another, or k = 1 keeps more than ``size``.
    """
    found, offsets, n_duplicates = read_trials(pools, lenient, strategy.needs_difficulty, max_tokens)
    trials = [t for query_id, t in found.items() if query_id not in leave_out]
    fail_rates = [t.fail_rate for t in trials]

    def quotas(k: int) -> list[int]:
        return [
            strategy.quota(QueryStats(rate, t.n_trials, t.n_correct, t.query.level, t.query.domain), k)
            for t, rate in zip(trials, fail_rates, strict=True)
        ]

    def kept(t: _Trials, quota: int) -> tuple[int, ...]:
        assert t.distinct is not None
        if strategy.fixed_trials:
            return tuple(position for position in t.distinct if position < quota)
        return tuple(t.distinct[: max(0, quota)])

    def total(k: int) -> int:
        return sum(len(kept(t, quota)) for t, quota in zip(trials, quotas(k), strict=True))

    if size is not None:
        k = largest_k(total, size, max((t.end for t in trials), default=1))
        if (least := total(k)) > size:
            raise PoolError(f"--size {size} is too small: k = {k} keeps {least:,}")
    k = k if k is not None else strategy.default_k
    chosen = quotas(k)
    return Selection(
        k, [t.query for t in trials], fail_rates, chosen, [kept(t, q) for t, q in zip(trials, chosen, strict=True)],
        offsets, sum(t.n_trials for t in found.values()), n_duplicates,
    )  # fmt: skip


def largest_k(total: Callable[[int], int], size: int, most: int) -> int:
    """The largest k from 1 with ``total(k) <= size``; ``total`` must not decrease. ``most`` bounds a pool's trials."""
    low, high = 1, 2
    while total(high) <= size and high < 1024 * max(1, most):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if total(middle) <= size else (low, middle)
    return low


def selected_rows(pools: Sequence[Pool], selection: Selection, layout: Layout) -> Iterator[dict[str, Any]]:
    """The data set's rows, one pool after the other."""
    index = {query.id: i for i, query in enumerate(selection.queries)}
    kept = [frozenset(positions) for positions in selection.kept]
    for pool, offsets in zip(pools, selection.offsets, strict=True):

        def wanted(query_id: str, trial: int, offsets: dict[str, int] = offsets) -> bool:
            return query_id in index and offsets[query_id] + trial in kept[index[query_id]]

        for text in pool.texts(wanted):
            query = selection.queries[index[text.query_id]]
            reference = query.reference if isinstance(query.reference, str) else json.dumps(query.reference)
            yield {
                **layout.texts(query.query, text.response, text.reasoning, pool.system_message), "query_id": query.id,
                "trial": offsets[query.id] + text.trial, "answer": text.answer, "reference": reference,
                "level": query.level, "domain": query.domain, "dataset": query.dataset, "benchmark": query.benchmark,
                "n_tokens": text.n_tokens, "finish_reason": text.finish_reason,
                "fail_rate": selection.fail_rates[index[query.id]],
            }  # fmt: skip


def original_rows(path: Path, layout: Layout) -> list[dict[str, Any]]:
    """Rows of a JSONL file with ``query`` and ``response`` (other columns of the data set where it has them)."""
    rows = []
    for number, row in read_jsonl(path):
        if not isinstance(row.get("query"), str) or not isinstance(row.get("response"), str):
            raise PoolError(f"line {number} of {path} has no query and response")
        texts = layout.texts(row["query"], row["response"], None)
        rows.append({**dict.fromkeys(layout.columns), "dataset": path.stem, **row, **texts})
    return rows
