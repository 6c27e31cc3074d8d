"""Grading in worker processes that are killed and replaced, so that one case's fate never touches another's.

Workers are plain child processes that speak JSON over pipes: no pickling, no ``fork`` of a threaded parent, no import
of the caller's ``__main__``; they may be started from daemonic processes, threads, event loops and Ray actors alike.
Cases are sent ahead of the answers, so a worker never waits for its parent; it answers in order, so on a death or a
time-out the case at fault is the first without an answer, and the others are simply sent again.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import selectors
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from dart_tasks.grading.policy import check
from dart_tasks.grading.verdict import Case, Verdict

__all__ = ["GradingPool"]

AHEAD = 32  # cases sent to a worker before their answers are read
CHUNK = 1 << 16
PATIENCE = 6  # times by the clock what a case may have of a processor: a busy machine is not the case's fault
NAP_S = 0.002  # of a thread whose worker has plenty to do: verdicts are then read many at a time, not one per wake-up
Key = TypeVar("Key", bound=Hashable)
START_TIMEOUT_S = 120.0
STARTS = 5  # attempts to replace a worker before the pool gives up
_WORKER = "dart_tasks.grading.run.worker"
_CODE = "import sys; sys.path.insert(0, sys.argv.pop(1)); from {} import main; main()"
_ROOT = str(Path(__file__).resolve().parents[3])


class GradingPool:
    """Grades cases in ``workers`` processes, each with a time and a memory limit per case.

    Args:
        workers: processes; None for one per available core.
        timeout_s: seconds of a processor after which a case is given up: its worker is replaced, the verdict has the
            flag "timeout". A busy machine takes longer by the clock; after PATIENCE times as many seconds by the clock
            the case is given up too, with the flag "stalled" as well.
        memory_mb: address space of a worker in MiB; a case that exceeds it gets the flag "memory" (or "crashed").
        worker: the module whose ``main`` serves as a judge (see :func:`~dart_tasks.grading.run.worker.serve`).

    Raises:
        ValueError: a limit that is not positive.
        RuntimeError: workers cannot start (their own error is quoted).
    """

    def __init__(
        self, workers: int | None = None, timeout_s: float = 5.0, memory_mb: int = 1024, worker: str = _WORKER
    ) -> None:
        if workers is None:
            workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if workers < 1 or timeout_s <= 0 or memory_mb < 1:
            raise ValueError(
                f"workers, timeout_s and memory_mb must be positive (got {workers}, {timeout_s}, {memory_mb})"
            )
        self.workers = workers
        self.timeout_s = timeout_s
        self.memory_mb = memory_mb
        self.worker = worker
        self._lock = threading.Lock()
        self._start()

    def _start(self) -> None:
        self._pid = os.getpid()
        self._state = _Shared()
        processes = [_Process(self.memory_mb, self.worker) for _ in range(self.workers)]
        self._state.processes.update(processes)
        for process in processes:
            process.wait_until_ready()
        for process in processes:
            server = _Server(self._state, process, self.workers, self.timeout_s, self.memory_mb, self.worker)
            threading.Thread(target=server.run, name="grading", daemon=True).start()
        self._finalizer = weakref.finalize(self, _Shared.close, self._state, self._pid)

    def submit(self, case: Case) -> Future[Verdict]:
        """A future of the case's verdict; it never raises because of the case. Usable from any thread.

        Raises:
            ValueError: the case names an unknown benchmark or an unusable tolerance.
            RuntimeError: the pool is closed.
        """
        future: Future[Verdict] = Future()
        self._put(case, future)
        return future

    def _put(self, case: Case, awaited: Future[Verdict] | _Ticket) -> None:
        check(case)
        line = _encode([getattr(case, name) for name in Case.__slots__]).encode("ascii")
        with self._lock:
            if os.getpid() != self._pid:  # forked: threads and pipes stayed with the parent
                self._start()
            self._state.put(_Item(line + b"\n", awaited))

    def map(self, cases: Iterable[tuple[Key, Case]]) -> Iterator[tuple[Key, Verdict]]:
        """Verdicts tagged by the ids of their cases, in the order they finish; reads ahead by a bounded number."""
        stream = _Stream()
        waiting = 0
        try:
            for key, case in cases:
                self._put(case, _Ticket(stream, key))
                waiting += 1
                while waiting >= self.workers * AHEAD * 4:
                    yield stream.take()
                    waiting -= 1
            while waiting:
                yield stream.take()
                waiting -= 1
        finally:
            stream.abandoned = True

    def close(self) -> None:
        """End the workers; cases not yet graded are cancelled. Called by the end of a ``with`` block."""
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _plain(value: Any) -> Any:
    """NumPy scalars and arrays as Python's own; anything else as its text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


_encode = json.JSONEncoder(default=_plain).encode  # json.dumps would make an encoder for every case


class _Shared:
    """What the pool and its threads share: the cases not yet sent, and the processes alive."""

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.waiting: deque[_Item] = deque()
        self.processes: set[_Process] = set()
        self.closed = False

    def put(self, item: _Item) -> None:
        with self.condition:
            if self.closed:
                raise RuntimeError("the grading pool is closed")
            self.waiting.append(item)
            self.condition.notify()

    def take(self, in_flight: int, workers: int) -> list[_Item] | None:
        """More cases for a worker that has ``in_flight`` of them, waiting if it has none; None once closed."""
        with self.condition:
            while not self.waiting and not in_flight and not self.closed:
                self.condition.wait()
            if self.closed:
                return None
            share = min(AHEAD - in_flight, len(self.waiting) // workers + 1, len(self.waiting))
            return [self.waiting.popleft() for _ in range(share)]

    def close(self, owner_pid: int, error: BaseException | None = None) -> None:
        if os.getpid() != owner_pid:  # a fork's copy of the pool must not end its parent's workers
            return
        with self.condition:
            self.closed = True
            rest = list(self.waiting)
            self.waiting.clear()
            self.condition.notify_all()
        for item in rest:
            item.fail(error)
        for process in list(self.processes):
            process.kill()  # its thread, which may be reading from it at this moment, closes its pipes


class _Stream:
    """What the tickets of one ``map`` share."""

    def __init__(self) -> None:
        self.done: queue.SimpleQueue[tuple[Any, Verdict | BaseException]] = queue.SimpleQueue()
        self.abandoned = False

    def take(self) -> tuple[Any, Verdict]:
        key, outcome = self.done.get()
        if isinstance(outcome, BaseException):
            raise outcome
        return key, outcome


@dataclass(slots=True)
class _Ticket:
    """What the workers' threads need of a future, at a fifth of a future's time: ``map`` awaits many."""

    _stream: _Stream
    _key: Any
    _done: bool = False

    def set_running_or_notify_cancel(self) -> bool:
        return not self._stream.abandoned

    def done(self) -> bool:
        return self._done

    def set_result(self, verdict: Verdict) -> None:
        self._done = True
        self._stream.done.put((self._key, verdict))

    def set_exception(self, error: BaseException) -> None:
        self._done = True
        self._stream.done.put((self._key, error))

    def cancel(self) -> None:
        self.set_exception(CancelledError())


@dataclass(frozen=True, slots=True)
class _Item:
    """A case as sent, and where its verdict is awaited."""

    line: bytes
    future: Future[Verdict] | _Ticket

    def fail(self, error: BaseException | None) -> None:
        if error is None:
            self.future.cancel()
        elif not self.future.done():
            self.future.set_exception(error)


class _Process:
    """One worker process and its pipes."""

    def __init__(self, memory_mb: int, worker: str) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._popen = subprocess.Popen(
            [sys.executable, "-c", _CODE.format(worker), _ROOT, str(memory_mb)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            start_new_session=True,  # a Ctrl-C at the terminal is the parent's
        )
        assert self._popen.stdin and self._popen.stdout
        self._input, self._output = self._popen.stdin.fileno(), self._popen.stdout.fileno()
        os.set_blocking(self._input, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._output, selectors.EVENT_READ)
        self._unsent = bytearray()
        self._partial = b""

    def wait_until_ready(self) -> None:
        """Raises RuntimeError with the worker's own last words if it does not start."""
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while (lines := self.exchange(deadline_s - time.monotonic())) == []:
            if time.monotonic() > deadline_s:
                break
        if lines != [b"ready"]:
            self.kill()
            self._errors.seek(0)
            last_words = self._errors.read().decode("utf-8", "replace").strip().splitlines()[-1:]
            self.end()
            raise RuntimeError(f"a grading worker did not start: {''.join(last_words) or 'no error message'}")

    def send(self, line: bytes) -> None:
        if not self._unsent:
            self._selector.register(self._input, selectors.EVENT_WRITE)
        self._unsent += line

    def exchange(self, timeout_s: float) -> list[bytes] | None:
        """Write what can be written; the whole lines that came within the time-out, None if the worker died."""
        lines: list[bytes] = []
        for key, _ in self._selector.select(max(0.0, timeout_s)):
            try:
                if key.fd == self._input:
                    del self._unsent[: os.write(self._input, self._unsent[:CHUNK])]
                    if not self._unsent:
                        self._selector.unregister(self._input)
                else:
                    data = os.read(self._output, CHUNK)
                    if not data:
                        return None
                    *lines, self._partial = (self._partial + data).split(b"\n")
            except BlockingIOError:
                continue
            except OSError:
                return None
        return lines

    def cpu_s(self) -> float | None:
        """The seconds of a processor that it has had, by Linux's clock of a process; None elsewhere."""
        try:
            return time.clock_gettime(~self.pid << 3 | 2)
        except (AttributeError, OSError):
            return None

    @property
    def pid(self) -> int:
        return self._popen.pid

    def is_alive(self) -> bool:
        return self._popen.poll() is None

    def end(self) -> None:
        """Kill it and close its pipes; by the thread that reads from them, as a closed pipe's number is used anew."""
        self.kill()
        self._selector.close()
        for file in (self._popen.stdin, self._popen.stdout, self._errors):
            assert file
            file.close()

    def kill(self) -> None:
        """Kill and reap it, from any thread."""
        with contextlib.suppress(ProcessLookupError):
            self._popen.kill()
        self._popen.wait()


@dataclass
class _Server:
    """A thread's work: keep one worker process busy, and replace it when a case was its end."""

    state: _Shared
    process: _Process
    workers: int
    timeout_s: float
    memory_mb: int
    worker: str

    def run(self) -> None:
        in_flight: deque[_Item] = deque()
        try:
            while (items := self.state.take(len(in_flight), self.workers)) is not None:
                if items and not in_flight and not self.process.is_alive():  # killed while idle: nobody's fault
                    self._replace()
                for item in items:
                    if item.future.set_running_or_notify_cancel():
                        in_flight.append(item)
                        self.process.send(item.line)
                if len(in_flight) > AHEAD // 2:
                    time.sleep(NAP_S)
                if in_flight:
                    self._await_verdicts(in_flight)
        except BaseException as error:
            if not self.state.closed:
                self.state.close(os.getpid(), error)
                for item in in_flight:
                    item.fail(error)
        finally:
            self.process.end()
            for item in in_flight:
                if not item.future.done():
                    item.future.set_exception(CancelledError())

    def _await_verdicts(self, in_flight: deque[_Item]) -> None:
        """Return after at least one verdict; the first case in flight is the one that the worker is at."""
        began_s, had_s = time.monotonic(), self.process.cpu_s()
        deadline_s = began_s + self.timeout_s
        while True:
            lines = self.process.exchange(deadline_s - time.monotonic())
            for verdict in _verdicts(lines or []):
                in_flight.popleft().future.set_result(verdict)
            if lines:
                return
            if lines is not None and (now_s := time.monotonic()) < deadline_s:
                continue
            if self.state.closed:
                return
            reason, flags = f"gave up after {self.timeout_s:g} s", ["timeout"]
            if lines is None:
                reason, flags = "the worker died of this case", ["crashed"]
            elif had_s is not None and (left_s := had_s + self.timeout_s - (self.process.cpu_s() or 0)) > 0:
                if now_s < began_s + PATIENCE * self.timeout_s:
                    deadline_s = now_s + left_s
                    continue
                reason, flags = f"gave up after {now_s - began_s:.0f} s on a busy machine", ["timeout", "stalled"]
            in_flight.popleft().future.set_result(Verdict(False, "", "none", False, reason, tuple(flags)))
            self._replace()
            for item in in_flight:
                self.process.send(item.line)
            return

    def _replace(self) -> None:
        for attempt in range(STARTS):
            self.process.end()
            self.state.processes.discard(self.process)
            try:
                self.process = _Process(self.memory_mb, self.worker)
                self.state.processes.add(self.process)
                self.process.wait_until_ready()
                return
            except (RuntimeError, OSError):  # it, too, was killed, or there was no room for it at the moment
                if attempt + 1 == STARTS or self.state.closed:
                    raise
                time.sleep(0.1 * 2**attempt)


def _verdicts(lines: list[bytes]) -> list[Verdict]:
    """Parsed at once, which takes half the time."""
    replies = json.loads((b"[" + b",".join(lines) + b"]").decode("ascii"))
    return [Verdict.from_json(reply) for reply in replies]
