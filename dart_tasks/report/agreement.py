"""How often Math-Verify agrees with our grader on the same responses.

Published scores were judged by yet another evaluator; how far two good judges differ on one's own samples says how much
of a difference to a published score may be the judge's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec

from dart_tasks.files import DataError
from dart_tasks.report.results import TaskResult

__all__ = ["Agreement", "math_verify_agreement"]


@dataclass(frozen=True)
class Agreement:
    """Counts of responses by the two verdicts."""

    n: int
    both_right: int
    only_ours: int
    only_math_verify: int

    @property
    def share(self) -> float:
        """The share of responses with the same verdict."""
        return 1 - (self.only_ours + self.only_math_verify) / self.n


def math_verify_agreement(task: TaskResult) -> Agreement:
    """Judge the logged responses of a task by Math-Verify as well.

    Raises:
        DataError: it is not installed, or no samples were logged.
    """
    if find_spec("math_verify") is None:
        raise DataError("--math-verify needs the package math-verify: pip install math-verify")
    if not task.items:
        raise DataError(f"--math-verify needs the samples of {task.task}: run lm_eval with --log_samples")
    cases = [(_gold(item.reference), graded.response) for item in task.items for graded in item.responses]
    ours = [graded.correct for item in task.items for graded in item.responses]
    # Its time limit is an alarm signal, which works in the main thread of a process only: hence worker processes.
    with ProcessPoolExecutor() as pool:
        theirs = list(pool.map(_judge, cases, chunksize=16))
    return Agreement(
        n=len(ours),
        both_right=sum(a and b for a, b in zip(ours, theirs, strict=True)),
        only_ours=sum(a and not b for a, b in zip(ours, theirs, strict=True)),
        only_math_verify=sum(b and not a for a, b in zip(ours, theirs, strict=True)),
    )


def _gold(reference: str) -> str:
    value = json.loads(reference)
    text = value if isinstance(value, str) else reference
    return text if "$" in text else f"${text}$"


def _judge(case: Sequence[str]) -> bool:
    import logging

    import math_verify

    logging.disable(logging.ERROR)
    gold, response = case
    try:
        return bool(math_verify.verify(math_verify.parse(gold), math_verify.parse(response)))
    except Exception:  # a judge that fails does not find the response right
        return False
