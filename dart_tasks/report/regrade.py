"""Grade an lm-eval sample log again, with the grader as it is now, and list what changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dart_tasks.files import DataError
from dart_tasks.harness.samples import read_samples

__all__ = ["Change", "Regraded", "regrade"]


@dataclass(frozen=True)
class Change:
    """A response whose verdict differs now."""

    item: str
    trial: int
    reference: str
    before: bool
    now: bool
    answer: str
    reason: str


@dataclass(frozen=True)
class Regraded:
    """A log's accuracy then (None where it was not graded) and now."""

    path: Path
    n_responses: int
    before: float | None
    now: float
    changes: tuple[Change, ...]


def regrade(path: Path) -> Regraded:
    """Grade every response of any lm-eval ``samples_*.jsonl`` again, be it of our tasks or of others.

    Of a document that is logged under several filters, ours is taken, or else the first.

    Raises:
        DataError: it is no sample log, or a sample has no reference answer.
    """
    samples = read_samples(path)
    if not samples:
        raise DataError(f"{path} holds no samples")
    from dart_tasks.harness.filters import grade_responses

    regraded = grade_responses([sample.responses for sample in samples], [sample.doc for sample in samples])
    changes, befores, nows = [], [], []
    for sample, item in zip(samples, regraded, strict=True):
        nows += [verdict.correct for verdict in item.verdicts]
        befores += sample.verdicts
        for trial, (before, now) in enumerate(zip(sample.verdicts, item.verdicts, strict=False)):
            if before != now.correct:
                reference = sample.doc["reference"]
                changes.append(Change(sample.id, trial, reference, before, now.correct, now.answer, now.reason))
    graded = len(befores) == len(nows)
    return Regraded(
        path, len(nows), sum(befores) / len(nows) if graded else None, sum(nows) / len(nows), tuple(changes)
    )
