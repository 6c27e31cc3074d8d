"""A second judge of the same responses: Math-Verify, in worker processes of its own.

Published scores were judged by yet another evaluator; how far two good judges differ on one's own samples says how much
of a difference to a published score may be the judge's, and the items on which they differ are where to look for errors
of either.

As a program this module is such a worker. Math-Verify bounds its time by an alarm signal, which works in the main
thread of a process only, and not while a library does not return to Python; then the pool ends
the process, at the cost of a case.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from importlib.util import find_spec

from dart_tasks.console import progress
from dart_tasks.files import DataError
from dart_tasks.grading import Case, GradingPool, Verdict
from dart_tasks.grading.run.worker import serve
from dart_tasks.report.results import Item, Run

__all__ = ["judged_runs", "main", "math_verify_judge"]

TIMEOUT_S = 20.0  # of one case; its own limits are 5 s for each of reading, reading and comparing


def judged_runs(runs: Sequence[Run]) -> list[Run]:
    """The runs, every response with Math-Verify's verdict too.

    Raises:
        DataError: Math-Verify is not installed, or a task has no samples.
    """
    if find_spec("math_verify") is None:
        raise DataError("--judge math-verify needs the package math-verify: pip install math-verify")
    without = [task.title for run in runs for task in run.tasks if not task.items]
    if without:
        raise DataError(f"--judge needs the samples of {', '.join(without)}: run lm_eval with --log_samples")
    cases: dict[Hashable, Case] = {
        (r, t, i, k): Case(graded.response, json.loads(item.reference))
        for r, run in enumerate(runs)
        for t, task in enumerate(run.tasks)
        for i, item in enumerate(task.items)
        for k, graded in enumerate(item.responses)
    }
    with GradingPool(timeout_s=TIMEOUT_S, memory_mb=2048, worker=__name__) as pool:
        verdicts = dict(progress(pool.map(cases.items()), "Math-Verify", len(cases)))

    def judged(item: Item, *place: int) -> Item:
        return replace(
            item,
            responses=tuple(replace(graded, judged=verdicts[*place, k]) for k, graded in enumerate(item.responses)),
        )

    return [
        replace(
            run,
            tasks=tuple(
                replace(task, items=tuple(judged(item, r, t, i) for i, item in enumerate(task.items)))
                for t, task in enumerate(run.tasks)
            ),
        )
        for r, run in enumerate(runs)
    ]


def math_verify_judge() -> Callable[[Case], Verdict]:
    """Math-Verify as a judge: its answer is what it took from the response, its reason how it compared that.

    It raises nothing; where it fails or runs out of time it has not found the response right.
    """
    from math_verify import parse, verify

    warnings = _Messages()
    logging.getLogger().setLevel(logging.CRITICAL)  # of a library that it uses
    logger = logging.getLogger("math_verify")
    logger.addHandler(warnings)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    parse("$1$")  # loads its grammar, which is no case's own time

    def judge(case: Case) -> Verdict:
        warnings.messages.clear()
        reference = case.reference if isinstance(case.reference, str) else str(case.reference)
        try:
            gold = parse(reference if "$" in reference else f"${reference}$") or parse(reference)
            found = parse(case.response)
            correct = bool(verify(gold, found))
        except Exception as error:
            return Verdict(False, "", "math-verify", False, f"failed: {type(error).__name__}", ("error",))
        answer = str(found[-1]) if found else ""
        if not gold:
            reason = "cannot read the reference"
        elif not found:
            reason = "found no answer"
        else:
            reason = f"{'equal to' if correct else 'not equal to'} the reference, read as {gold[0]}"
        flags = ("timeout",) if warnings.messages else ()
        return Verdict(correct, answer, "math-verify", bool(found), "; ".join([*warnings.messages, reason]), flags)

    return judge


class _Messages(logging.Handler):
    """What is logged, without the text that it is about."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage().partition(":")[0].lower())


def main() -> None:
    """Serve a pool as Math-Verify."""
    serve(math_verify_judge)
