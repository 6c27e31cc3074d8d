"""What can be saved of a damaged ledger: every row that is as it was recorded goes into a new one.

SQLite reads a file whose first page is damaged not at all, and of its write-ahead log nothing from the first damaged
frame on. Here the first page is taken from a new ledger, and the log is read to its last sound commit
(https://sqlite.org/fileformat2.html, section 4).
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import sqlite3
import struct
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dart_tasks.console import counted
from dart_tasks.files import DataError
from dart_tasks.problems.record import Problem
from synth.config import RunConfig
from synth.data import dataset_fingerprint
from synth.export import count_exported_trials
from synth.ledger import Ledger, LedgerError, lock_run
from synth.manifest import Manifest, config_of_manifest, manifest_lost
from synth.prompting import prompt_maker
from synth.run import load_run_queries, manifest_of

__all__ = ["Repair", "repair", "repair_manifest"]

_LEDGER, _DAMAGED = "ledger.sqlite", "ledger.sqlite.damaged"
_LOG_HEADER, _FRAME_HEADER = struct.Struct(">8I"), struct.Struct(">6I")
_SIZE_AT = slice(28, 32)  # of the first page: the number of pages, and below the versions of the format (1: no log)
_VERSIONS_AT = slice(18, 20)


@dataclass(frozen=True, slots=True)
class Repair:
    """What was saved."""

    n_kept: int
    n_lost: int
    """Trials that are known to be lost: there may be more, of which nothing is left to tell."""
    queries_from: str
    """Where the queries were read from: the ledger, or the data sets of the run."""
    was_damaged: bool
    """False where all was sound, and nothing was changed."""


def repair(run_dir: Path) -> Repair:
    """Put a ledger of the sound rows in the damaged one's place, which is kept as ``ledger.sqlite.damaged``.

    A finished data set is kept as ``dataset.before-repair``: the run goes on, and writes another at its end.

    Raises:
        LedgerError: manifest or queries cannot be had, or nothing can be read of the ledger at all.
    """
    manifest = Manifest.read(run_dir)
    if manifest is None:
        raise LedgerError(manifest_lost(f"{run_dir} has no manifest.json", run_dir))
    if not (run_dir / _LEDGER).is_file():
        raise LedgerError(f"{run_dir / _LEDGER} is missing: there is nothing to repair")
    config = config_of_manifest(manifest)
    n_exported = count_exported_trials(run_dir / "dataset")
    building = run_dir / "repairing"
    with ExitStack() as stack:
        stack.callback(os.close, lock_run(run_dir))
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        stack.callback(shutil.rmtree, building, ignore_errors=True)
        is_log_whole = _copy(run_dir / _LEDGER, building / "old" / _LEDGER)
        if is_log_whole and (n_sound := _n_sound(run_dir, manifest)) is not None and n_sound >= n_exported:
            return Repair(n_sound, 0, "the ledger", False)
        with ExitStack() as opened:
            damaged = opened.enter_context(_open(building))
            queries, queries_from = _queries(damaged, manifest)
            new = opened.enter_context(Ledger(building / "new"))
            new.add_queries(queries)
            n_kept = n_changed = last_attempt = 0
            for query in range(len(queries)):
                for row in damaged.salvage(query, config.most_trials):
                    n_changed += row is None
                    if row is not None:
                        new.append(dataclasses.replace(row.trial_record(), keep_thinking=config.keep_thinking))
                        n_kept, last_attempt = n_kept + 1, max(last_attempt, row.attempt)
            new.flush()
            # Their numbers make the seeds: one that was used must not be used again.
            new.add_attempts((i, "", "recorded before the ledger was repaired", 0) for i in range(last_attempt + 1))
            new.restore_endpoints(_endpoints(damaged, range(last_attempt + 1)))
            # Of rows of version 0.1.0 only those that have changed can be counted.
            n_recorded = max(n_kept, n_exported, damaged.n_recorded() or n_kept + n_changed)
        (run_dir / _DAMAGED).unlink(missing_ok=True)
        os.link(run_dir / _LEDGER, run_dir / _DAMAGED)
        for suffix in ("-wal", "-shm"):
            if (companion := run_dir / f"{_LEDGER}{suffix}").exists():
                companion.replace(run_dir / f"{_DAMAGED}{suffix}")
        (building / "new" / _LEDGER).replace(run_dir / _LEDGER)
        if (run_dir / "dataset").exists():
            shutil.rmtree(run_dir / "dataset.before-repair", ignore_errors=True)
            (run_dir / "dataset").rename(run_dir / "dataset.before-repair")
    return Repair(n_kept, n_recorded - n_kept, queries_from, True)


def repair_manifest(run_dir: Path, config: RunConfig) -> int:
    """Make the lost manifest of a sound ledger anew, of settings given again; a damaged one stays beside it.

    Nothing tells which grader judged the trials: it is "unknown", so that they are graded anew before the run goes on.
    Returns the number of trials.

    Raises:
        LedgerError: the ledger is damaged, too, or contradicts the settings. DataError: the queries cannot be had.
        ValueError: the manifest is there.
    """
    path = run_dir / "manifest.json"
    with suppress(LedgerError):
        if Manifest.read(run_dir) is not None:
            raise ValueError(f"{path} is sound: `dart-synth repair {run_dir}` takes no other options")
    with Ledger(run_dir, read_only=True) as ledger, ExitStack() as stack:
        stack.callback(os.close, lock_run(run_dir))
        queries = ledger.queries()
        if dataset_fingerprint(queries) != dataset_fingerprint(load_run_queries(config)):
            raise LedgerError(f"the ledger in {run_dir} has other queries than these options give")
        last = [-1] * len(queries)
        for row in ledger.results():
            last[row.query] = row.trial
        for query, number in zip(queries, last, strict=True):
            if number >= (cap := max(config.probe, config.cap_of(query.dataset))):
                raise LedgerError(f"query {query.id} has more than the {counted(cap, 'trial')} of these options")
        prompts = prompt_maker(config, (query.benchmark for query in queries))
        if path.exists():
            path.replace(f"{path}.damaged")
        manifest_of(config, queries, prompts, "unknown").write(run_dir)
        return ledger.n_trials()


def _n_sound(run_dir: Path, manifest: Manifest) -> int | None:
    """The number of trials, where all of the ledger is as it was recorded; else None."""
    try:
        with Ledger(run_dir, read_only=True) as ledger:
            manifest.check_queries(ledger.queries(), run_dir)
            n_trials = sum(1 for _ in ledger.pool())
            return n_trials if ledger.is_whole() and ledger.n_recorded() <= n_trials else None
    except LedgerError:
        return None


def _queries(ledger: Ledger, manifest: Manifest) -> tuple[list[Problem], str]:
    """The run's queries, from its ledger or else from its data sets."""
    for source, read in (
        ("the ledger", ledger.queries),
        ("the data sets", lambda: load_run_queries(config_of_manifest(manifest))),
    ):
        try:
            queries = read()
            if dataset_fingerprint(queries) == manifest.dataset_sha256:
                return queries, source
        except (LedgerError, DataError, TypeError):
            continue
    raise LedgerError("neither the ledger nor the data sets have the queries that manifest.json tells of")


def _endpoints(ledger: Ledger, attempts: range) -> list[tuple[Any, ...]]:
    """The servers that these attempts asked, which tell tokens and cost; those that can be read."""
    try:
        rows = ledger.endpoints()
    except (LedgerError, sqlite3.Error):
        return []
    kept = {
        (attempt, number): (attempt, number, url, *prices)
        for attempt, number, url, *prices in rows
        if attempt in attempts and isinstance(number, int) and isinstance(url, str) and url.isprintable()
        and all(price is None or isinstance(price, float) for price in prices)
    }  # fmt: skip
    return list(kept.values())


# ---------------------------------------------------------------------- SQLite's files
def _open(building: Path) -> Ledger:
    """The copy of the ledger, with the first page of a new one where its own is of no use."""
    try:
        return Ledger(building / "old", read_only=True, damaged_too=True)
    except LedgerError:
        Ledger(building / "new").close()
        with closing(sqlite3.connect(building / "new" / _LEDGER)) as database:
            page_size = int(database.execute("PRAGMA page_size").fetchone()[0])
        path = building / "old" / _LEDGER
        new = (building / "new" / _LEDGER).read_bytes()
        page, n_pages = bytearray(new[:page_size]), max(len(new), path.stat().st_size) // page_size
        shutil.rmtree(building / "new")
        page[_VERSIONS_AT] = b"\1\1"
        page[_SIZE_AT] = struct.pack(">I", n_pages)
        with path.open("r+b") as file:
            file.write(page)
            file.truncate(n_pages * page_size)  # of a file that was cut, tables may begin beyond its end
        return Ledger(building / "old", read_only=True, damaged_too=True)


def _copy(ledger: Path, copy: Path) -> bool:
    """Copy a ledger with its log worked into it; False where frames of the log are damaged."""
    copy.parent.mkdir()
    shutil.copyfile(ledger, copy)
    log = ledger.with_name(f"{_LEDGER}-wal")
    pages, n_pages, n_bad = _pages_of_log(log.read_bytes() if log.is_file() else b"")
    with copy.open("r+b") as file:
        for number, page in pages.items():
            file.seek((number - 1) * len(page))
            file.write(page)
        if n_pages:
            file.truncate(n_pages * len(next(iter(pages.values()))))
        file.seek(_VERSIONS_AT.start)
        file.write(b"\1\1")
    return n_bad == 0


def _pages_of_log(log: bytes) -> tuple[dict[int, bytes], int, int]:
    """Pages that the log holds, the number of pages after the last commit, and of damaged frames."""
    if len(log) < _LOG_HEADER.size + _FRAME_HEADER.size:
        return {}, 0, 0
    magic, _, page_size, _, *salts, sum_1, sum_2 = _LOG_HEADER.unpack_from(log)
    order = ">" if magic & 1 else "<"
    is_sound = _checksum(log[:24], 0, 0, order) == (sum_1, sum_2)
    if not is_sound:  # the frames say the same
        order, page_size, salts = "<", 4096, list(_FRAME_HEADER.unpack_from(log, _LOG_HEADER.size)[2:4])
    frames, before = [], (sum_1, sum_2)
    length = _FRAME_HEADER.size + page_size
    for start in range(_LOG_HEADER.size, len(log) - length + 1, length):
        number, n_pages, *own_salts, own_1, own_2 = _FRAME_HEADER.unpack_from(log, start)
        page = log[start + _FRAME_HEADER.size : start + length]
        is_whole = _checksum(log[start : start + 8] + page, *before, order) == (own_1, own_2)
        if own_salts == salts:  # else of an earlier log that this one has not overwritten yet, or damaged
            frames.append((number, n_pages, page, is_whole))
        else:
            frames.append((0, 0, b"", False))
        before = own_1, own_2
    last = max((i for i, (_, n_pages, _, is_whole) in enumerate(frames) if n_pages and is_whole), default=-1)
    if last < 0:
        return {}, 0, 0
    committed, n_pages = frames[: last + 1], frames[last][1]
    # Of a damaged page, too, most rows are sound, and the others have checksums.
    pages = {number: page for number, _, page, _ in committed if 0 < number <= n_pages}
    return pages, n_pages, sum(not is_whole for *_, is_whole in committed) + (not is_sound)


def _checksum(data: bytes, sum_1: int, sum_2: int, order: str) -> tuple[int, int]:
    for word_1, word_2 in struct.iter_unpack(f"{order}2I", data):
        sum_1 = (sum_1 + word_1 + sum_2) & 0xFFFFFFFF
        sum_2 = (sum_2 + word_2 + sum_1) & 0xFFFFFFFF
    return sum_1, sum_2
