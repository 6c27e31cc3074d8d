"""Stages: commands whose output folder is made once, under a name that depends on everything it was made from.

A stage's key is the hash of its command lines (which hold the settings, and the paths and so the keys of earlier
stages' outputs) and of the files it reads. A changed setting therefore makes a new folder, and an output that is there
is current. Of the product's own code only the grader's version is in the key: after changing how it trains or
synthesises, remove the folder.
Commands write to ``NAME.PID.tmp``, renamed when all of them have succeeded: what a killed run leaves behind, or its
orphans still write, is no output of the next one. Commands that resume write to ``NAME.tmp``, and lock it themselves.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["OUTPUT", "Record", "Stage", "StageError", "pending", "read_record", "run_stages"]

OUTPUT = "{output}"
"""Stands in a command for the folder that the stage writes."""

RECORD = "stage.json"


class StageError(Exception):
    """A stage's command failed; the message names its log."""


@dataclass(frozen=True)
class Stage:
    """Commands that make one folder.

    Attributes:
        name: of the folder, as ``train/vanilla-s0``; the key is appended to it.
        commands: argument lists; ``OUTPUT`` in an argument stands for the folder.
        after: stages whose output the commands read.
        files: files and folders of this repository that the result depends on.
        versions: names of anything else that it depends on.
        resumes: the commands go on from what they left when they were interrupted; else they start afresh.
    """

    name: str
    commands: tuple[tuple[str, ...], ...]
    after: tuple[Stage, ...] = ()
    files: tuple[Path, ...] = ()
    versions: tuple[str, ...] = ()
    resumes: bool = False

    @property
    def key(self) -> str:
        """Eight hexadecimal digits that stand for everything the result depends on."""
        files = [_digest(path) for path in self.files]
        content = {"commands": self.commands, "files": files, "versions": self.versions}
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:8]

    def folder(self, root: Path) -> Path:
        """Where the output is, or will be."""
        return root / f"{self.name}-{self.key}"


@functools.cache
def _digest(path: Path) -> str:
    """Hash of a file, or of all files in a folder with their names, as they were when first asked for."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    hashed = hashlib.sha256()
    for file in files:
        if "__pycache__" not in file.parts:
            hashed.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return hashed.hexdigest()


@dataclass(frozen=True)
class Record:
    """``stage.json``: how an output was made. ``seconds`` is the wall time of the last attempt."""

    name: str
    commands: list[list[str]]
    seconds: float


def read_record(folder: Path) -> Record:
    """The record of a finished stage."""
    return Record(**json.loads((folder / RECORD).read_text(encoding="utf-8")))


def pending(stages: Sequence[Stage], root: Path) -> list[Stage]:
    """The stages whose output is not there, each once, earlier ones first."""
    found: dict[Path, Stage] = {}

    def visit(stage: Stage) -> None:
        folder = stage.folder(root)
        if folder in found or folder.is_dir():
            return
        for needed in stage.after:
            visit(needed)
        found[folder] = stage

    for stage in stages:
        visit(stage)
    return list(found.values())


class _Children:
    """The running commands, so that none outlives us."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self.stopped = False

    def run(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> int:
        with log.open("ab") as output:
            output.write(f"$ {shlex.join(command)}\n".encode())
            output.flush()
            with self._lock:
                if self.stopped:
                    return -signal.SIGTERM
                process = subprocess.Popen(  # a session of its own, as accelerate's launcher does not pass signals on
                    command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
                )
                self._running.add(process)
        try:
            return process.wait()
        finally:
            with self._lock:
                self._running.discard(process)

    def stop(self) -> None:
        with self._lock:
            self.stopped = True
            for process in self._running:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def _make(
    stage: Stage, root: Path, environment: Mapping[str, str], children: _Children, show: Callable[[str], None]
) -> float:
    folder = stage.folder(root)
    log = folder.with_name(folder.name + ".log")
    if stage.resumes:
        temporary = folder.with_name(folder.name + ".tmp")
    else:
        for left in folder.parent.glob(f"{folder.name}.*.tmp"):
            shutil.rmtree(left, ignore_errors=True)
        temporary = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    temporary.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    written = []
    for template in stage.commands:
        command = [argument.replace(OUTPUT, str(temporary)) for argument in template]
        written.append(command)
        show(f"$ {shlex.join(command)}")
        if status := children.run(command, environment, log):
            if children.stopped:
                raise StageError(f"{stage.name}: stopped")
            raise StageError(f"{stage.name}: {command[0]} ended with exit code {status}; {log} ends:\n{_tail(log)}")
    seconds = time.monotonic() - started
    record = Record(stage.name, written, round(seconds, 1))
    (temporary / RECORD).write_text(json.dumps(asdict(record), indent=1) + "\n", encoding="utf-8")
    temporary.replace(folder)
    return seconds


@contextlib.contextmanager
def _terminated_as_interrupt() -> Iterator[None]:
    """Let SIGTERM end the run as Ctrl-C does, so that the commands are stopped too."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run_stages(
    stages: Sequence[Stage],
    root: Path,
    jobs: int,
    environment: Mapping[str, str],
    say: Callable[[str], None] = print,
) -> None:
    """Make every output that is not there, ``jobs`` at a time, in the given order as far as they need each other.

    Raises:
        StageError: a command failed (what runs beside it is finished first; nothing new is started), or another run
            works in the same folder.
    """
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StageError(f"another run works in {root}: wait for its end, or name another --output") from None
        _run(stages, root, jobs, environment, say)


def _run(
    stages: Sequence[Stage], root: Path, jobs: int, environment: Mapping[str, str], say: Callable[[str], None]
) -> None:
    waiting = pending(stages, root)
    total, n_started, n_done, started = len(waiting), 0, 0, time.monotonic()
    running: dict[Future[float], Stage] = {}
    children, failure = _Children(), None
    with _terminated_as_interrupt(), ThreadPoolExecutor(jobs) as pool:
        try:
            while waiting or running:
                for stage in list(waiting):
                    ready = all(needed.folder(root).is_dir() for needed in stage.after)
                    if len(running) < jobs and ready and failure is None:
                        waiting.remove(stage)
                        n_started += 1
                        say(f"[{n_started}/{total}] {stage.name}")
                        running[pool.submit(_make, stage, root, environment, children, say)] = stage
                if not running:
                    break
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    stage = running.pop(future)
                    n_done += 1
                    try:
                        minutes = (time.monotonic() - started) / 60
                        say(f"    {stage.name}: {future.result():.0f} s ({n_done}/{total}, {minutes:.0f} min)")
                    except StageError as error:
                        failure = failure or error
        except BaseException:
            children.stop()
            raise
    if failure is not None:
        raise failure


def environment_of_commands() -> dict[str, str]:
    """One thread per command (two side by side are 1.4 times as fast as one with two threads), and no network."""
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        **COMMAND_SETTINGS,
    }


COMMAND_SETTINGS = {
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
