"""What can be saved of a damaged ledger: every row that is as it was recorded goes into a new one."""

from __future__ import annotations

import dataclasses
import os
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from dart_tasks.files import DataError
from dart_tasks.problems.record import Problem
from synth.data import dataset_fingerprint
from synth.ledger import Ledger, LedgerError, lock_run
from synth.manifest import Manifest, config_of_manifest
from synth.run import load_run_queries

__all__ = ["Repair", "repair"]

_LEDGER, _DAMAGED = "ledger.sqlite", "ledger.sqlite.damaged"


@dataclass(frozen=True, slots=True)
class Repair:
    """What was saved. ``n_lost`` counts trials whose rows are there but have changed; of others nothing is known."""

    n_kept: int
    n_lost: int
    queries_from: str
    """Where the queries were read from: the ledger, or the data sets of the run."""


def repair(run_dir: Path) -> Repair:
    """Put a ledger of the sound rows in the damaged one's place, which is kept as ``ledger.sqlite.damaged``.

    A finished data set is kept as ``dataset.before-repair``: the run goes on, and writes another at its end.

    Raises:
        LedgerError: manifest or queries cannot be had, or nothing can be read of the ledger at all.
    """
    manifest = Manifest.read(run_dir)
    if manifest is None:
        raise LedgerError(f"{run_dir} has no manifest.json, without which it is not known what the run was")
    config = config_of_manifest(manifest)
    building = run_dir / "repairing"
    shutil.rmtree(building, ignore_errors=True)
    with ExitStack() as stack:
        stack.callback(os.close, lock_run(run_dir))
        damaged = stack.enter_context(Ledger(run_dir, read_only=True, damaged_too=True))
        queries, queries_from = _queries(damaged, manifest)
        new = stack.enter_context(Ledger(building))
        new.add_queries(queries)
        n_kept = n_lost = last_attempt = 0
        for query in range(len(queries)):
            for row in damaged.salvage(query, config.max_trials):
                n_lost += row is None
                if row is not None:
                    new.append(dataclasses.replace(row.trial_record(), keep_thinking=config.keep_thinking))
                    n_kept, last_attempt = n_kept + 1, max(last_attempt, row.attempt)
        # Their numbers make the seeds: one that was used must not be used again.
        new.add_attempts((i, "", "recorded before the ledger was repaired", 0) for i in range(last_attempt + 1))
        new.flush()
    (run_dir / _DAMAGED).unlink(missing_ok=True)
    os.link(run_dir / _LEDGER, run_dir / _DAMAGED)
    for suffix in ("-wal", "-shm"):
        if (companion := run_dir / f"{_LEDGER}{suffix}").exists():
            companion.replace(run_dir / f"{_DAMAGED}{suffix}")
    (building / _LEDGER).replace(run_dir / _LEDGER)
    shutil.rmtree(building)
    if (run_dir / "dataset").exists():
        shutil.rmtree(run_dir / "dataset.before-repair", ignore_errors=True)
        (run_dir / "dataset").rename(run_dir / "dataset.before-repair")
    return Repair(n_kept, n_lost, queries_from)


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
