"""From a ledger to a folder that ``datasets.load_dataset`` reads: data set, pool of all trials, query statistics.

A pure function of the ledger and the run's settings: exporting twice, or after a kill, writes the same data set.

One row of the data set (configuration ``default``)::

    {"query": "...", "response": "...", "query_id": "embedded/7", "trial": 3, "answer": "36", "reference": "36",
     "level": 2, "domain": "shopping", "dataset": "embedded", "benchmark": "generic", "n_tokens": 64,
     "finish_reason": "stop", "fail_rate": 0.25}

As conversations (``--format messages``) a row has ``messages`` where others have ``query`` and ``response``::

    {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}], "query_id": ...}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from dart_tasks.files import replacing, write_atomically, write_jsonl
from dart_tasks.problems.record import Problem
from synth.difficulty import Sampled
from synth.ledger import Ledger
from synth.records import with_thought
from synth.scheduler import Scheduler

__all__ = [
    "ExportCounts",
    "Format",
    "Layout",
    "configs_block",
    "count_exported_trials",
    "export_run",
    "pass_rate",
    "write_rows",
]

Format = Literal["parquet", "jsonl", "messages"]
_BATCH = 4096
_MESSAGES = "messages"
Columns = Mapping[str, str | Sequence[str]]
"""From a column's name to its Arrow type, or to the fields of the objects that it has a list of."""

_PROVENANCE = {
    "query_id": "string", "trial": "int32", "answer": "string", "reference": "string", "level": "int32",
    "domain": "string", "dataset": "string", "benchmark": "string", "n_tokens": "int32", "finish_reason": "string",
    "fail_rate": "float64",
}  # fmt: skip
POOL_COLUMNS = {
    "query_id": "string", "query": "string", "reference": "string", "benchmark": "string", "trial": "int32",
    "response": "string", "reasoning": "string", "n_tokens": "int32", "finish_reason": "string", "answer": "string",
    "correct": "bool",
    "source": "string", "explicit": "bool", "graded": "bool", "flags": "string", "attempt": "int32", "replica": "int32",
    "seed": "int64", "level": "int32", "domain": "string", "dataset": "string",
}  # fmt: skip
QUERY_COLUMNS = {
    "query_id": "string", "query": "string", "reference": "string", "dataset": "string", "benchmark": "string",
    "level": "int32", "domain": "string", "status": "string", "quota": "int32", "n_kept": "int32", "n_trials": "int32",
    "n_correct": "int32", "n_ungraded": "int32", "pass_rate": "float64", "pass_rate_upper": "float64",
    "probe": "int32", "stop": "int32", "fail_rate": "float64",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Layout:
    """How a data set's rows are laid out, and where the thoughts of its responses go.

    Attributes:
        form: a file format of rows with query and response, or "messages": conversations, as Parquet.
        keep_thinking: write thoughts that are recorded apart; in conversations into the assistant's ``content``, or
            into a field beside it where ``thoughts_in`` says ``reasoning_content``.
    """

    form: Format
    keep_thinking: bool = False
    thoughts_in: str = "content"

    @property
    def file_name(self) -> str:
        """Of the data set's file, and of the tables beside it: `datasets` reads no folder of mixed formats."""
        return f"train.{'parquet' if self.form == _MESSAGES else self.form}"

    @property
    def columns(self) -> Columns:
        """Names and types of the data set's columns."""
        if self.form != _MESSAGES:
            return {"query": "string", "response": "string", **_PROVENANCE}
        return {_MESSAGES: ("role", "content", *([self.thoughts_in] if self._apart else [])), **_PROVENANCE}

    @property
    def _apart(self) -> bool:
        return self.keep_thinking and self.thoughts_in != "content"

    def texts(self, query: str, response: str, reasoning: str | None, system_message: str = "") -> dict[str, Any]:
        """The columns with the texts of one row."""
        thought = reasoning if self.keep_thinking else None
        if self.form != _MESSAGES:
            return {"query": query, "response": with_thought(response, thought)}
        turns = [("user", query), ("assistant", response if self._apart else with_thought(response, thought))]
        if system_message:
            turns.insert(0, ("system", system_message))
        messages = [{"role": role, "content": text} for role, text in turns]
        if self._apart and thought is not None:
            messages[-1][self.thoughts_in] = thought
        return {_MESSAGES: messages}


@dataclass(frozen=True, slots=True)
class ExportCounts:
    """Rows written."""

    n_responses: int
    n_trials: int
    n_queries: int
    n_thoughts: int
    """Trials whose thought is recorded apart."""


def pass_rate(n_graded: int, n_correct: int, stopped_at_quota: bool) -> tuple[float | None, float | None]:
    """Estimate and 95% upper bound of a pass rate.

    Where sampling stopped at the last correct response needed, (k - 1) / (n - 1) is the unbiased estimate and
    k / n is not (Haldane 1945). The bound, 1 - 0.05 ** (1 / n), is given where no
    response was correct.
    """
    if n_graded == 0:
        return None, None
    if n_correct == 0:
        return 0.0, 1.0 - 0.05 ** (1.0 / n_graded)
    if stopped_at_quota:
        return ((n_correct - 1) / (n_graded - 1) if n_graded > 1 else None), None
    return n_correct / n_graded, None


def export_run(
    ledger: Ledger,
    scheduler: Scheduler,
    queries: list[Problem],
    fail_rates: list[float | None],
    sampled: list[Sampled],
    folder: Path,
    layout: Layout,
    system_message: str = "",
    make_card: Callable[[int], str] | None = None,
) -> ExportCounts:
    """Write ``default``, ``pool`` and ``queries`` under ``folder``, each file atomically, and the card last.

    ``make_card`` makes the card's text from the number of responses.
    """
    accepted = [frozenset(scheduler.accepted(index)) for index in range(len(queries))]
    references = [_text(query.reference) for query in queries]

    n_thoughts = 0

    def pool_rows() -> Iterator[dict[str, Any]]:
        nonlocal n_thoughts
        for row in ledger.pool():
            query = queries[row.query]
            n_thoughts += row.reasoning is not None
            yield {
                "query_id": query.id, "query": query.query, "reference": references[row.query],
                "benchmark": query.benchmark, "trial": row.trial, "response": row.response,
                "reasoning": row.reasoning, "n_tokens": row.n_tokens,
                "finish_reason": row.finish_reason, "answer": row.answer, "correct": bool(row.correct),
                "source": row.source, "explicit": bool(row.explicit), "graded": bool(row.graded), "flags": row.flags,
                "attempt": row.attempt, "replica": row.replica, "seed": row.seed, "level": query.level,
                "domain": query.domain, "dataset": query.dataset,
            }  # fmt: skip

    def dataset_rows() -> Iterator[dict[str, Any]]:
        for row in ledger.pool_where(lambda query, trial: trial in accepted[query]):
            query = queries[row.query]
            yield {
                **layout.texts(query.query, row.response, row.reasoning, system_message),
                "query_id": query.id, "trial": row.trial, "answer": row.answer, "reference": references[row.query],
                "level": query.level, "domain": query.domain, "dataset": query.dataset, "benchmark": query.benchmark,
                "n_tokens": row.n_tokens, "finish_reason": row.finish_reason, "fail_rate": fail_rates[row.query],
            }  # fmt: skip

    def query_rows() -> Iterator[dict[str, Any]]:
        for index, query in enumerate(queries):
            state = scheduler.state(index)
            rate, upper = pass_rate(state.n_graded_decided, state.n_correct_decided, state.status.value == "filled")
            yield {
                "query_id": query.id, "query": query.query, "reference": references[index],
                "dataset": query.dataset, "benchmark": query.benchmark, "level": query.level, "domain": query.domain,
                "status": state.status.value, "quota": state.quota, "n_kept": len(accepted[index]),
                "n_trials": state.n_finished, "n_correct": state.n_correct, "n_ungraded": state.n_ungraded,
                "pass_rate": rate, "pass_rate_upper": upper, "probe": sampled[index].probe, "stop": sampled[index].stop,
                "fail_rate": fail_rates[index],
            }  # fmt: skip

    # The pool first: it reads, and so verifies, every row of the ledger before anything is overwritten.
    name = layout.file_name
    n_trials = write_rows(pool_rows(), POOL_COLUMNS, folder / "pool" / name)
    n_responses = write_rows(dataset_rows(), layout.columns, folder / "data" / name)
    n_queries = write_rows(query_rows(), QUERY_COLUMNS, folder / "queries" / name)
    card = make_card(n_responses) if make_card else f"---\n{configs_block(folder, name)}---\n"
    write_atomically(folder / "README.md", card)
    return ExportCounts(n_responses, n_trials, n_queries, n_thoughts)


def count_exported_trials(folder: Path) -> int:
    """Rows of the pool in a finished data set; 0 where there is none, or none that can be read."""
    table, lines = (folder / "pool" / f"train.{form}" for form in ("parquet", "jsonl"))
    if lines.is_file():
        with lines.open("rb") as file:
            return sum(1 for _ in file)
    if not table.is_file():
        return 0
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(table).num_rows)
    except pa.ArrowException:
        return 0


def configs_block(folder: Path, file_name: str, names: Sequence[str] = ("default", "pool", "queries")) -> str:
    """The card's YAML that tells ``datasets`` which file (already written) is which configuration.

    Each is described by its file's checksum: ``datasets`` names its cache by the last name of a folder and by this
    YAML alone, and would otherwise answer with the rows of another run.
    """
    lines = ["configs:"]
    for name in names:
        file = f"{'data' if name == 'default' else name}/{file_name}"
        with (folder / file).open("rb") as content:
            checksum = hashlib.file_digest(content, "sha256").hexdigest()
        lines += [f"- config_name: {name}", f"  data_files: {file}", f"  description: sha256 {checksum}"]
        lines += ["  default: true"] if name == "default" else []
    return "\n".join([*lines, ""])


def write_rows(rows: Iterator[dict[str, Any]], columns: Columns, path: Path) -> int:
    """Write rows in batches to a temporary file beside ``path``, then rename it. Returns the number of rows.

    An earlier file of that name in the other format is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jsonl":
        count = write_jsonl(path, ({column: row[column] for column in columns} for row in rows))
    else:
        with replacing(path, "wb") as file:
            count = _write_parquet(rows, columns, file)
    path.with_suffix(".parquet" if path.suffix == ".jsonl" else ".jsonl").unlink(missing_ok=True)
    return count


def _write_parquet(rows: Iterator[dict[str, Any]], columns: Columns, file: Any) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def arrow_type(kind: str | Sequence[str]) -> Any:
        if isinstance(kind, str):
            return pa.type_for_alias(kind)
        return pa.list_(pa.struct({name: pa.string() for name in kind}))

    schema = pa.schema([(column, arrow_type(kind)) for column, kind in columns.items()])
    count = 0
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        while batch := list(islice(rows, _BATCH)):
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
            count += len(batch)
    return count


def _text(reference: Any) -> str:
    return reference if isinstance(reference, str) else json.dumps(reference, ensure_ascii=False)
