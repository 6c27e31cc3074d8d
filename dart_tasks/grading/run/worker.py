"""A grading worker: one JSON case a line on standard input, one JSON verdict a line on standard output, in order.

Started by :class:`~dart_tasks.grading.run.pool.GradingPool`; ends when its input does, so it never outlives its parent.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from dart_tasks.grading.verdict import Case, Verdict

__all__ = ["SYMBOLIC_S", "main", "serve"]

SYMBOLIC_S = 0.8  # of computer algebra on one case, in CPU time, so that a busy machine changes no verdict
Result = TypeVar("Result")


def main() -> None:
    """Serve as our grader."""
    serve(_our_judge)


def serve(make: Callable[[], Callable[[Case], Verdict]]) -> None:
    """Serve as the judge that ``make`` gives, until the input ends.

    ``sys.argv[1]`` is the memory limit in MiB (0 for none).
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    output = os.dup(1)
    os.dup2(2, 1)  # nothing that a library prints may break the protocol
    _limit_memory(int(sys.argv[1]))
    judge = make()
    os.write(output, b"ready\n")
    for line in sys.stdin.buffer:
        try:
            verdict = judge(Case(*json.loads(line)))
        except MemoryError:
            verdict = Verdict(False, "", "none", False, "out of memory", ("memory",))
        _write(output, json.dumps(verdict.as_json()).encode("ascii") + b"\n")


def _our_judge() -> Callable[[Case], Verdict]:
    from dart_tasks.grading.grader import judge, settled

    def judged(case: Case) -> Verdict:
        verdict = judge(case)
        return _within_cpu_time(partial(settled, case, verdict), verdict) if "undecided" in verdict.flags else verdict

    return judged


class _OutOfTimeError(BaseException):
    """No ``Exception``: libraries catch those."""


def _within_cpu_time(work: Callable[[], Result], otherwise: Result) -> Result:
    """What the work gives within SYMBOLIC_S seconds of this process's time on a processor."""

    def stop(*_: object) -> None:
        raise _OutOfTimeError

    try:
        import dart_tasks.grading.compare.symbolic  # noqa: F401 - half a second, once, that is no case's own
    except ImportError:  # the light installation may lack SymPy
        return otherwise
    signal.signal(signal.SIGPROF, stop)
    try:
        signal.setitimer(signal.ITIMER_PROF, SYMBOLIC_S)
        try:
            return work()
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    except _OutOfTimeError:
        return otherwise


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _limit_memory(memory_mb: int) -> None:
    if memory_mb:
        try:
            import resource

            resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
        except (ImportError, ValueError, OSError):  # a platform without it: the time limit still holds
            pass


if __name__ == "__main__":
    main()
