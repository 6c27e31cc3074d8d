"""The ledger: every trial of a run, recorded once and for good in ``RUN/ledger.sqlite``.

One writer thread commits after 256 trials or one second, whichever comes first, so that a killed process loses at most
that window. ``(query, trial)`` is the primary key: nothing can be recorded twice. The narrow columns that rebuild the
scheduler live apart from the texts, so that opening a run of millions of trials does not read gigabytes.

The journal is SQLite's write-ahead log. It needs shared memory, which network file systems do not give: there it
falls back to a rollback journal (https://sqlite.org/wal.html, section 1) and :attr:`Ledger.notice` says so.

Every row has a checksum that is verified whenever the row is read; rows of before there were checksums are verified by
their text key. A row that is not as it was recorded is an error, never data.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from dart_tasks.problems.record import Problem
from synth.records import Trial, counts, derived_seed, text_key
from synth.scheduler import TrialId, TrialResult

__all__ = [
    "COMMIT_TRIALS",
    "COMMIT_WINDOW_S",
    "Ledger",
    "LedgerError",
    "PoolRow",
    "StoredResult",
    "checksum",
    "damaged",
    "is_network_file_system",
    "lock_run",
    "trial_id",
]

COMMIT_TRIALS = 256
COMMIT_WINDOW_S = 1.0
_MAX_BUFFERED = 16 * COMMIT_TRIALS
_FILE = "ledger.sqlite"
_LOCK = "lock"
_NETWORK_TYPES = frozenset(
    (
        "9p", "afs", "beegfs", "ceph", "cifs", "coda", "fuse.cephfs", "fuse.gcsfuse", "fuse.glusterfs", "fuse.s3fs",
        "fuse.sshfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "pvfs2", "smb2", "smb3", "smbfs", "wekafs",
    )
)  # fmt: skip
_SCHEMA = """
CREATE TABLE queries(
    query INTEGER PRIMARY KEY, query_id TEXT NOT NULL UNIQUE, text TEXT NOT NULL, reference TEXT NOT NULL,
    benchmark TEXT NOT NULL, dataset TEXT NOT NULL, level INTEGER, domain TEXT, fail_rate REAL);
CREATE TABLE attempts(
    attempt INTEGER PRIMARY KEY, started_at TEXT NOT NULL, engine TEXT NOT NULL, seed INTEGER NOT NULL);
CREATE TABLE texts(
    id INTEGER PRIMARY KEY, response TEXT NOT NULL, answer TEXT NOT NULL, source TEXT NOT NULL, reason TEXT NOT NULL,
    flags TEXT NOT NULL);
CREATE TABLE trials(
    query INTEGER NOT NULL, trial INTEGER NOT NULL, correct INTEGER NOT NULL, explicit INTEGER NOT NULL,
    graded INTEGER NOT NULL, text_key INTEGER NOT NULL, n_tokens INTEGER NOT NULL, finish_reason TEXT NOT NULL,
    attempt INTEGER NOT NULL, replica INTEGER NOT NULL, seed INTEGER, text_id INTEGER NOT NULL,
    PRIMARY KEY(query, trial)) WITHOUT ROWID;
"""
_TRIAL_COLUMNS = (
    "query, trial, correct, explicit, graded, text_key, n_tokens, finish_reason, attempt, replica, seed, text_id, "
    "n_thought_tokens, n_prompt_tokens"
)
_TEXT_COLUMNS = "response, answer, source, reason, flags, reasoning"
_ADDED = {
    "trials": ("checksum INTEGER", "n_thought_tokens INTEGER", "n_prompt_tokens INTEGER"),
    "texts": ("checksum INTEGER", "reasoning TEXT"),
}
"""Columns that ledgers of version 0.1.0 lack; they get them when they are next written to."""
_ADDED_TABLES = """
CREATE TABLE IF NOT EXISTS set_aside(query INTEGER PRIMARY KEY, reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS endpoints(
    attempt INTEGER NOT NULL, replica INTEGER NOT NULL, url TEXT NOT NULL, price_in REAL, price_out REAL,
    PRIMARY KEY(attempt, replica)) WITHOUT ROWID;
"""
"""Which queries the last attempt could not sample: as the others it tries again, an attempt begins by emptying it. And
the servers of each attempt, with their prices."""
_TEXT_ID = _TRIAL_COLUMNS.split(", ").index("text_id")
_QUERY_COLUMNS = "query_id, text, reference, benchmark, dataset, fail_rate, level, domain"


class LedgerError(Exception):
    """The ledger cannot be opened or written; the message says what to do. What was committed is safe."""


class StoredResult(NamedTuple):
    """The narrow part of a stored trial."""

    query: int
    trial: int
    correct: bool
    explicit: bool
    graded: bool
    text_key: int
    n_tokens: int
    finish_reason: str
    attempt: int = 0
    n_thought_tokens: int | None = None

    @property
    def truncated(self) -> bool:
        """Whether the response was cut at the length limit."""
        return self.finish_reason == "length"

    def result(self, lenient: bool) -> TrialResult:
        """As :meth:`synth.records.Trial.result`."""
        right = counts(self.correct, self.explicit, self.truncated, lenient)
        return TrialResult(right, self.text_key, bool(self.graded))


class PoolRow(NamedTuple):
    """A stored trial with its text."""

    query: int
    trial: int
    correct: bool
    explicit: bool
    graded: bool
    text_key: int
    n_tokens: int
    finish_reason: str
    attempt: int
    replica: int
    seed: int | None
    n_thought_tokens: int | None
    n_prompt_tokens: int | None
    response: str
    answer: str
    source: str
    reason: str
    flags: str
    reasoning: str | None = None

    def trial_record(self) -> Trial:
        """As it was handed to the ledger; its text key is that of the response alone."""
        return Trial(
            TrialId(self.query, self.trial), self.response, self.n_tokens, self.finish_reason, self.answer,
            bool(self.correct), bool(self.explicit), bool(self.graded), self.source, self.reason,
            tuple(self.flags.split()), self.attempt, self.replica, self.seed, self.reasoning, self.n_thought_tokens,
            self.n_prompt_tokens,
        )  # fmt: skip


def is_network_file_system(path: Path, mounts: Path = Path("/proc/mounts")) -> str | None:
    """The type of the file system under ``path`` if it is a network one, else None (also where that cannot be told)."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    resolved = path.resolve()
    best, best_type = -1, ""
    for line in lines:
        fields = line.split()
        if len(fields) < 3:
            continue
        point = Path(fields[1].replace("\\040", " "))
        if resolved.is_relative_to(point) and len(point.parts) >= best:
            best, best_type = len(point.parts), fields[2]
    return best_type if best_type in _NETWORK_TYPES else None


_NO_PLACE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENOTDIR)  # a file is there, or above it


def _explain(error: Exception, run_dir: Path, doing: str = "write") -> str:
    text = str(error)
    if isinstance(error, OSError) and error.errno in _NO_PLACE:
        return f"cannot write to {run_dir} ({error.strerror}): choose another --output"
    if "full" in text or (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)):
        return f"no space left in {run_dir}: free some and run the same command again, committed trials are safe"
    if "readonly" in text or "unable to open" in text:
        return f"cannot write to {run_dir} ({text}): choose another --output"
    if "malformed" in text or "not a database" in text:
        return damaged(run_dir, text)
    if doing == "read" and "locked" not in text and "I/O" not in text:
        return damaged(run_dir, text)
    return f"cannot {doing} the ledger in {run_dir} ({text}): committed trials are safe, run the same command again"


def damaged(run_dir: Path, what: str) -> str:
    """The line that says what is wrong with a ledger; nothing is overwritten where it is said."""
    return f"{run_dir / _FILE} is damaged ({what}): restore it, or start in a new --output; `dart-synth repair` helps"


def checksum(*values: object) -> int:
    """Of a row's values, in the order of its columns; those that were added later and are empty change nothing."""
    while values[-1] is None:
        values = values[:-1]
    return zlib.crc32("\0".join(map(str, values)).encode())


def lock_run(run_dir: Path) -> int:
    """Become the one writer of a run, until the descriptor is closed.

    Raises:
        LedgerError: another process is.
    """
    path = run_dir / _LOCK
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.read(descriptor, 200).decode(errors="replace").strip() or "another process"
        os.close(descriptor)
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise LedgerError(f"{owner} is writing to {run_dir}: wait for it, or use another --output") from None
        raise
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"process {os.getpid()} on {os.uname().nodename}\n".encode(), 0)
    return descriptor


class Ledger:
    """A run's trials. One process writes; any number may read (``read_only=True``) at the same time.

    ``create`` False: there must be a ledger with queries already. ``damaged_too``: open one that cannot be read in
    full, for :meth:`salvage`.

    Raises:
        LedgerError: no such run, no permission, no space, damaged, or another process is writing.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        read_only: bool = False,
        network: str | None = None,
        create: bool = True,
        damaged_too: bool = False,
    ) -> None:
        self._dir = run_dir
        self._read_only = read_only
        self.notice: str | None = None
        path = run_dir / _FILE
        self._lock_fd: int | None = None
        try:
            if read_only:
                if not path.is_file():
                    raise LedgerError(f"no run in {run_dir} ({_FILE} is missing)")
                # On media that cannot be written SQLite's log cannot be shared; without one the file is all there is.
                fixed = "&immutable=1" if not os.access(run_dir, os.W_OK) and not _has_log(path) else ""
                address = f"{path.resolve().as_uri()}?mode=ro{fixed}"
                self._db = sqlite3.connect(address, uri=True, check_same_thread=False)
                if not damaged_too:
                    self._db.execute("SELECT count(*) FROM queries").fetchone()
                self._look()
                return
            if not create and not _has_tables(path):
                raise LedgerError(damaged(run_dir, "it is missing or empty, where manifest.json tells of a run"))
            run_dir.mkdir(parents=True, exist_ok=True)
            self._lock_fd = lock_run(run_dir)
            network = network or is_network_file_system(run_dir)
            self._db = self._connect(path, network)
            self._look()
            if network:
                self.notice = f"{run_dir} is on a network file system ({network}): slower rollback journal in use"
        except (OSError, sqlite3.Error) as error:
            self._unlock()
            raise LedgerError(_explain(error, run_dir, "read" if read_only else "write")) from error
        except LedgerError:
            self._unlock()
            raise
        self._condition = threading.Condition()
        self._buffer: list[Trial] = []
        self._first_buffered_s = 0.0
        self._flush_wanted = self._closing = False
        self._error: LedgerError | None = None
        self.n_committed = 0
        self._writer = threading.Thread(target=self._write_loop, name="ledger-writer", daemon=True)
        self._writer.start()

    # ------------------------------------------------------------------ writing
    def add_queries(self, queries: Iterable[Problem]) -> None:
        """Record the run's queries, in their order (once, at the start of a run)."""
        rows = (
            (i, q.id, q.query, json.dumps(q.reference), q.benchmark, q.dataset, q.fail_rate, q.level, q.domain)
            for i, q in enumerate(queries)
        )
        self._execute((f"INSERT INTO queries(query, {_QUERY_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?)", rows))

    def begin_attempt(self, engine: str, run_seed: int) -> tuple[int, int]:
        """Number this process's attempt at the run and record its engine and seed; returns (attempt, seed).

        Every attempt has its own seed: with one seed a resumed run would sample the same responses again.
        """
        attempt = int(next(self._rows("SELECT coalesce(max(attempt) + 1, 0) FROM attempts"))[0])
        seed = derived_seed(run_seed, attempt)
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._execute(
            ("INSERT INTO attempts VALUES (?,?,?,?)", [(attempt, started, engine, seed)]),
            ("DELETE FROM set_aside", [()]),
        )
        return attempt, seed

    def describe_attempt(self, attempt: int, engine: str) -> None:
        """Record what the engine says of itself, once it has started (before the first trial)."""
        self._execute(("UPDATE attempts SET engine = ? WHERE attempt = ?", [(_storable(engine), attempt)]))

    def add_endpoints(self, attempt: int, endpoints: Iterable[tuple[str, float | None, float | None]]) -> None:
        """Record an attempt's servers: (address, price of a million prompt tokens, of a million response tokens)."""
        self.restore_endpoints((attempt, number, *endpoint) for number, endpoint in enumerate(endpoints))

    def restore_endpoints(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Record servers as ``endpoints`` gives them."""
        self._execute(("INSERT INTO endpoints VALUES (?,?,?,?,?)", list(rows)))

    def endpoints(self) -> list[tuple[Any, ...]]:
        """(attempt, number, address, prices) of every attempt's servers."""
        return list(self._rows("SELECT * FROM endpoints")) if _columns(self._db, "endpoints") else []

    def set_aside(self, refused: Iterable[tuple[int, str]]) -> None:
        """Record (query, reason) of what this attempt could not sample (after its last trial)."""
        self._execute(("INSERT INTO set_aside VALUES (?,?)", [(query, _storable(reason)) for query, reason in refused]))

    def append(self, trial: Trial) -> None:
        """Hand a trial to the writer; committed within a second. Waits where the disk cannot keep up."""
        with self._condition:
            while len(self._buffer) >= _MAX_BUFFERED and self._error is None:
                self._condition.wait()
            if self._error is not None:
                raise self._error
            if not self._buffer:
                self._first_buffered_s = time.monotonic()
            self._buffer.append(trial)
            if len(self._buffer) in (1, COMMIT_TRIALS):
                self._condition.notify_all()

    def replace(self, trials: Sequence[Trial]) -> None:
        """Store other verdicts for trials that are recorded, all of these or none."""
        narrow, texts = [], []
        for t in trials:
            where = (t.id.query, t.id.trial)
            row = list(next(self._rows(f"SELECT {_TRIAL_COLUMNS} FROM trials WHERE query = ? AND trial = ?", *where)))
            row[2:5] = int(t.correct), int(t.explicit), int(t.graded)
            narrow.append((*row[2:5], checksum(*row), *where))
            text = (row[_TEXT_ID], *_texts(t))
            texts.append((*text[2:6], checksum(*text), row[_TEXT_ID]))
        self._execute(
            ("UPDATE trials SET correct=?, explicit=?, graded=?, checksum=? WHERE query=? AND trial=?", narrow),
            ("UPDATE texts SET answer=?, source=?, reason=?, flags=?, checksum=? WHERE id=?", texts),
        )

    def flush(self) -> None:
        """Wait until everything appended is committed."""
        with self._condition:
            self._flush_wanted = True
            self._condition.notify_all()
            while self._flush_wanted and self._error is None:
                self._condition.wait()
            if self._error is not None:
                raise self._error

    def close(self) -> None:
        """Commit what is buffered and release the run directory."""
        if self._read_only:
            self._db.close()
            return
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        self._writer.join()
        self._db.close()
        self._unlock()
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.close()
        except LedgerError:
            if kind is None:  # do not hide the error that ended the block
                raise

    # ------------------------------------------------------------------ reading
    def queries(self) -> list[Problem]:
        """The run's queries, in order."""
        try:
            return [
                Problem(
                    row[0],
                    row[1],
                    json.loads(row[2]),
                    row[3],
                    row[4],
                    row[5],
                    metadata={"level": row[6], "domain": row[7]},
                )
                for row in self._rows(f"SELECT {_QUERY_COLUMNS} FROM queries ORDER BY query")
            ]
        except (ValueError, TypeError) as error:
            raise LedgerError(damaged(self._dir, "a query cannot be read")) from error

    def results(self, max_trials: int = 2**31) -> Iterator[StoredResult]:
        """All trials without their texts, by query and trial number; a number from ``max_trials`` on is damage."""
        return (StoredResult._make((*row[:9], row[12])) for row in self._trials(max_trials))

    def pool(self) -> Iterator[PoolRow]:
        """All trials with their texts, by query and trial number."""
        return self.pool_where(lambda query, trial: True)

    def pool_where(self, wanted: Callable[[int, int], bool]) -> Iterator[PoolRow]:
        """As :meth:`pool`, but the texts of unwanted trials are not read from disk."""
        statement = f"SELECT {self._text_columns} FROM texts WHERE id = ?"
        for row in self._trials():
            if wanted(row[0], row[1]):
                *text, stored = next(self._rows(statement, row[_TEXT_ID]), (None,))
                if not text or not _is_as_recorded(row[_TEXT_ID], text, stored, row[5]):
                    raise LedgerError(damaged(self._dir, f"the text of trial {row[1]} of query {row[0]} has changed"))
                yield PoolRow._make((*row[:_TEXT_ID], *row[_TEXT_ID + 1 :], *text))

    def attempts(self) -> list[tuple[int, str, str, int]]:
        """(attempt, start time in UTC, engine, seed) of every process that worked on the run."""
        return list(self._rows("SELECT attempt, started_at, engine, seed FROM attempts ORDER BY attempt"))

    def queries_set_aside(self) -> list[tuple[int, str]]:
        """(query, reason) of what the last attempt could not sample; none known of ledgers of version 0.1.0."""
        has_table = _columns(self._db, "set_aside")
        return list(self._rows("SELECT query, reason FROM set_aside ORDER BY query")) if has_table else []

    def tokens_by_endpoint(self) -> list[tuple[str, float | None, float | None, int, int, int, int]]:
        """(address, prices, trials, trials with counted prompts, prompt tokens, response tokens) of each server."""
        if not _columns(self._db, "endpoints"):
            return []
        return list(
            self._rows(
                "SELECT url, price_in, price_out, count(*), count(n_prompt_tokens), coalesce(sum(n_prompt_tokens), 0), "
                "sum(n_tokens) FROM trials JOIN endpoints USING (attempt, replica) "
                "GROUP BY url, price_in, price_out ORDER BY min(attempt * 10000 + replica)"
            )
        )

    def salvage(self, query: int, max_trials: int) -> Iterator[PoolRow | None]:
        """The trials of a query that can still be read: None for each that is not as it was recorded."""
        read, where, is_listed = self._db.execute, "FROM trials WHERE query = ?", True
        try:
            numbers: Iterable[int] = [row[0] for row in read(f"SELECT trial {where} ORDER BY trial", (query,))]
        except sqlite3.Error:
            numbers, is_listed = range(max_trials), False  # one by one, then
        for number in numbers:
            try:
                found = read(f"SELECT {self._trial_columns} {where} AND trial = ?", (query, number)).fetchone()
                text_of = f"SELECT {self._text_columns} FROM texts WHERE id = ?"
                text = found and read(text_of, (found[_TEXT_ID],)).fetchone()
            except sqlite3.Error:
                if is_listed:
                    yield None
                continue
            if found is not None:
                row, stored = found[:-1], found[-1]
                sound = _is_row_sound(row, stored, max_trials) and text is not None
                sound = sound and _is_as_recorded(row[_TEXT_ID], text[:-1], text[-1], row[5])
                yield PoolRow._make((*row[:_TEXT_ID], *row[_TEXT_ID + 1 :], *text[:-1])) if sound else None

    def is_whole(self) -> bool:
        """Whether SQLite finds nothing wrong with the file."""
        return list(self._rows("PRAGMA quick_check")) == [("ok",)]

    def n_recorded(self) -> int:
        """At least so many trials were recorded: texts are numbered from 0 without a gap, and the last one counts."""
        last = -1
        for numbers, is_ranked in (
            (f"SELECT text_id, {self._trial_columns} FROM trials", False),
            (f"SELECT id, id, {self._text_columns} FROM texts ORDER BY id DESC", True),
        ):
            try:
                for number, *row, stored in self._db.execute(numbers):
                    if number > last and stored == checksum(*row):
                        last = number
                    if is_ranked and number <= last:
                        break
            except (sqlite3.Error, TypeError):
                continue  # of these nothing more is known
        return last + 1

    def add_attempts(self, attempts: Iterable[tuple[int, str, str, int]]) -> None:
        """Take over the attempts of another ledger."""
        self._execute(("INSERT INTO attempts VALUES (?,?,?,?)", attempts))

    def n_trials(self) -> int:
        """Trials committed."""
        return int(next(self._rows("SELECT count(*) FROM trials"))[0])

    # ------------------------------------------------------------------ inside
    def _look(self) -> None:
        """Find out which columns there are: ledgers of version 0.1.0 lack some, which is as if they were empty."""
        if not _has_columns(self._db):
            raise LedgerError(damaged(self._dir, "tables are missing"))
        self._trial_columns, self._text_columns = (
            ", ".join(column if column in present else "NULL" for column in (*columns.split(", "), "checksum"))
            for present, columns in (
                (_columns(self._db, "trials"), _TRIAL_COLUMNS),
                (_columns(self._db, "texts"), _TEXT_COLUMNS),
            )
        )

    def _rows(self, statement: str, *parameters: object) -> Iterator[Any]:
        try:
            cursor = self._db.execute(statement, parameters)
            while (row := cursor.fetchone()) is not None:  # `yield from` would close it, after the ledger perhaps
                yield row
        except sqlite3.Error as error:
            raise LedgerError(_explain(error, self._dir, "read")) from error

    def _trials(self, max_trials: int = 2**31) -> Iterator[Any]:
        """The rows of ``trials``, each verified."""
        n_queries = next(self._rows("SELECT count(*) FROM queries"))[0]
        for *row, stored in self._rows(f"SELECT {self._trial_columns} FROM trials ORDER BY query, trial"):
            if not _is_row_sound(row, stored, max_trials) or not 0 <= row[0] < (n_queries or 2**31):
                raise LedgerError(damaged(self._dir, f"the row of trial {row[1]} of query {row[0]} has changed"))
            yield row

    def _unlock(self) -> None:
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def _connect(self, path: Path, network: str | None) -> sqlite3.Connection:
        database = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30.0)
        database.execute(f"PRAGMA journal_mode={'DELETE' if network else 'WAL'}")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("PRAGMA cache_size=-65536")
        if not database.execute("SELECT 1 FROM sqlite_master").fetchone():
            database.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
        if not _has_columns(database):
            database.close()
            raise LedgerError(damaged(self._dir, "tables are missing"))
        for table, columns in _ADDED.items():
            for column in columns:
                if column.split()[0] not in _columns(database, table):
                    database.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
        database.executescript(_ADDED_TABLES)
        return database

    def _execute(self, *statements: tuple[str, Iterable[tuple[object, ...]]]) -> None:
        """Run statements with their rows as one transaction."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                for statement, rows in statements:
                    self._db.executemany(statement, rows)
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise LedgerError(_explain(error, self._dir)) from error

    def _write_loop(self) -> None:
        try:
            next_text_id = int(self._db.execute("SELECT coalesce(max(id) + 1, 0) FROM texts").fetchone()[0])
            while (batch := self._next_batch()) is not None:
                self._commit(batch, next_text_id)
                next_text_id += len(batch)
                with self._condition:
                    self.n_committed += len(batch)
                    self._condition.notify_all()
        except (LedgerError, sqlite3.Error) as error:
            with self._condition:
                self._error = error if isinstance(error, LedgerError) else LedgerError(_explain(error, self._dir))
                self._condition.notify_all()

    def _next_batch(self) -> list[Trial] | None:
        """Wait for a batch worth a commit; None when closing and nothing is left."""
        with self._condition:
            while True:
                wait_s: float | None = None
                if self._buffer:
                    wait_s = self._first_buffered_s + COMMIT_WINDOW_S - time.monotonic()
                    urgent = len(self._buffer) >= COMMIT_TRIALS or self._flush_wanted or self._closing
                    if urgent or wait_s <= 0:
                        batch, self._buffer = self._buffer, []
                        return batch
                elif self._closing:
                    return None
                elif self._flush_wanted:
                    self._flush_wanted = False
                    self._condition.notify_all()
                self._condition.wait(wait_s)

    def _commit(self, batch: list[Trial], first_text_id: int) -> None:
        texts = [(i, *_texts(t)) for i, t in enumerate(batch, first_text_id)]
        rows = [
            (
                t.id.query, t.id.trial, int(t.correct), int(t.explicit), int(t.graded), t.text_key,
                t.n_tokens, t.finish_reason, t.attempt, t.replica, t.seed, i, t.n_thought_tokens,
                t.n_prompt_tokens,
            )
            for i, t in enumerate(batch, first_text_id)
        ]  # fmt: skip
        self._execute(
            *(
                (
                    f"INSERT INTO {table}({columns}, checksum) VALUES ({'?,' * len(values[0])}?)",
                    [(*row, checksum(*row)) for row in values],
                )
                for table, columns, values in (
                    ("texts", f"id, {_TEXT_COLUMNS}", texts),
                    ("trials", _TRIAL_COLUMNS, rows),
                )
            )
        )


def _texts(trial: Trial) -> tuple[str | None, ...]:
    thought = None if trial.reasoning is None else _storable(trial.reasoning)
    answer, reason = _storable(trial.answer), _storable(trial.reason)
    return _storable(trial.response), answer, trial.source, reason, " ".join(trial.flags), thought


def _is_row_sound(row: Sequence[Any], stored: int | None, max_trials: int) -> bool:
    if stored is not None:
        sound = stored == checksum(*row)
    else:  # of version 0.1.0: what can be told by its columns alone
        whole = all(isinstance(value, int) for value in (*row[:7], row[8], row[9], row[_TEXT_ID]))
        sound = whole and row[7] in ("stop", "length") and {*row[2:5]} <= {0, 1} and row[6] >= 0 and row[8] >= 0
        sound = sound and isinstance(row[10], int | None)
    return sound and 0 <= row[1] < max_trials


def _is_as_recorded(text_id: int, text: Sequence[Any], stored: int | None, key: int) -> bool:
    if stored is not None:
        return stored == checksum(text_id, *text)
    response = text[0]
    if not all(isinstance(part, str) for part in text[:5]):
        return False
    # The key is that of the text before its lone surrogates were written as escapes.
    original = re.sub(r"\\u(d[89a-f][0-9a-f]{2})", lambda match: chr(int(match[1], 16)), response)
    return key in (text_key(response), text_key(original))


def _has_log(path: Path) -> bool:
    log = path.with_name(f"{path.name}-wal")
    return log.is_file() and log.stat().st_size > 0


def _has_columns(database: sqlite3.Connection) -> bool:
    """Whether the tables are there that ledgers of all versions have."""
    needed = (("trials", "text_id"), ("texts", "response"), ("queries", "query_id"), ("attempts", "seed"))
    return all(column in _columns(database, table) for table, column in needed)


def _columns(database: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in database.execute(f"PRAGMA table_info({table})")]


def _has_tables(path: Path) -> bool:
    """Whether the file holds a ledger with queries."""
    if not path.is_file() or not path.stat().st_size:
        return False
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
        found = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'queries'").fetchone()
        return found is not None and database.execute("SELECT 1 FROM queries").fetchone() is not None


def _storable(text: str) -> str:
    """SQLite takes UTF-8 only: lone surrogates are shown as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def trial_id(stored: StoredResult) -> TrialId:
    """The identity of a stored trial."""
    return TrialId(stored.query, stored.trial)
