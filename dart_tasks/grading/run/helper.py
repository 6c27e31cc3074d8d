"""One grading worker, started when it is first needed: in-process calls leave to it what takes its time."""

from __future__ import annotations

import os
import threading

from dart_tasks.grading.run.pool import GradingPool
from dart_tasks.grading.verdict import Case, Verdict

__all__ = ["grade_elsewhere"]

TIMEOUT_S = 5.0  # of a processor; computer algebra has a lower limit of its own
_lock = threading.Lock()
_pool: GradingPool | None = None


def _forget() -> None:
    """In a forked child: its parent's worker is not its own, and the lock may have been held by a thread not copied."""
    global _lock, _pool
    _lock, _pool = threading.Lock(), None


os.register_at_fork(after_in_child=_forget)


def grade_elsewhere(case: Case) -> Verdict | None:
    """The verdict of the helper process; None if it cannot be started."""
    global _pool
    try:
        with _lock:
            if _pool is None:
                _pool = GradingPool(workers=1, timeout_s=TIMEOUT_S)
            future = _pool.submit(case)
        return future.result()
    except RuntimeError:
        _pool = None
        return None
