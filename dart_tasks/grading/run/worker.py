"""A grading worker: one JSON case a line on standard input, one JSON verdict a line on standard output, in order.

Started by :class:`~dart_tasks.grading.run.pool.GradingPool`; ends when its input does, so it never outlives its parent.
"""

from __future__ import annotations

import json
import os
import signal
import sys

__all__ = ["main"]


def main() -> None:
    """Serve until the input ends. ``sys.argv[1]`` is the memory limit in MiB (0 for none)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    output = os.dup(1)
    os.dup2(2, 1)  # nothing that a library prints may break the protocol
    _limit_memory(int(sys.argv[1]))
    from dart_tasks.grading.grader import grade
    from dart_tasks.grading.verdict import Verdict

    os.write(output, b"ready\n")
    for line in sys.stdin.buffer:
        try:
            verdict = grade(*json.loads(line))
        except MemoryError:
            verdict = Verdict(False, "", "none", False, "out of memory", ("memory",))
        _write(output, json.dumps(verdict.as_json()).encode("ascii") + b"\n")


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
