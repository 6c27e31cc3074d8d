"""Grade a run's trials anew, after a new version of the grader, so that the run can go on under it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dart_tasks.grading import Case, Verdict
from synth.driver import flags_of, was_graded
from synth.ledger import Ledger, LedgerError
from synth.manifest import Manifest, config_of_manifest
from synth.records import Trial
from synth.run import Plan, build_plan

__all__ = ["Changes", "TrialGrader", "regrade"]

_BATCH = 4096


class TrialGrader(Protocol):
    """What is needed of :class:`dart_tasks.grading.GradingPool`."""

    def map(self, cases: Iterable[tuple[Trial, Case]]) -> Iterator[tuple[Trial, Verdict]]:
        """Verdicts with the trials they are of, in any order."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What the new grader says otherwise."""

    old_version: str
    n_trials: int
    n_lost: int
    """Trials that no longer count as correct."""
    n_gained: int
    reopened: list[str]
    """Ids of queries that were settled and are open again."""
    settled: list[str]
    """Ids of queries that were open and are settled now."""


def regrade(
    run_dir: Path, grader: TrialGrader, grader_version: str, *, apply: bool, progress: Callable[[int], None]
) -> Changes:
    """Judge every trial of a run again; with ``apply`` store the verdicts, and the grader's version in the manifest.

    A regrading that was killed is to be given again: until its end the manifest has the old version, under which no run
    goes on here.

    Raises:
        LedgerError: no run there, or it is damaged.
    """
    with Ledger(run_dir, read_only=not apply, create=False) as ledger:
        manifest, queries = Manifest.read(run_dir), ledger.queries()
        if manifest is None:
            raise LedgerError(f"no run in {run_dir} (manifest.json is missing)")
        manifest.check_queries(queries, run_dir)
        config = config_of_manifest(manifest)
        before, after = build_plan(config, queries), build_plan(config, queries)

        def cases() -> Iterator[tuple[Trial, Case]]:
            for row in ledger.pool():
                trial, query = row.trial_record(), queries[row.query]
                before.scheduler.restore(trial.id, trial.result(config.lenient_extraction))
                yield trial, Case(row.response, query.reference, query.benchmark, query.query, None, row.finish_reason)

        n_trials = n_lost = n_gained = 0
        batch: list[Trial] = []
        for old, verdict in grader.map(cases()):
            new = dataclasses.replace(
                old, answer=verdict.answer, correct=verdict.correct, explicit=verdict.explicit,
                graded=was_graded(verdict), source=verdict.source, reason=verdict.reason,
                flags=flags_of(verdict, old.response, old.reasoning),
            )  # fmt: skip
            was, now = old.result(config.lenient_extraction).correct, new.result(config.lenient_extraction)
            after.scheduler.restore(new.id, now)
            n_trials, n_lost, n_gained = n_trials + 1, n_lost + (was > now.correct), n_gained + (was < now.correct)
            batch.append(new)
            if len(batch) == _BATCH:
                progress(n_trials)
                ledger.replace(batch if apply else [])
                batch = []
        if apply:
            ledger.replace(batch)
            dataclasses.replace(manifest, grader_version=grader_version).write(run_dir)
    was_open, is_open = _open(before), _open(after)
    names = [query.id for query in queries]
    return Changes(
        manifest.grader_version, n_trials, n_lost, n_gained,
        [names[i] for i in sorted(is_open - was_open)], [names[i] for i in sorted(was_open - is_open)],
    )  # fmt: skip


def _open(plan: Plan) -> set[int]:
    return {i for i in range(len(plan.scheduler)) if plan.scheduler.is_open(i)}
