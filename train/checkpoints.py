"""Checkpoints that are whole or absent: written aside, listed with sizes and hashes, synced, then renamed.

A folder ``checkpoint-N`` is complete if it holds ``complete.json`` and every file in it is as listed there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

from dart_tasks.files import write_atomically

__all__ = ["STAGING", "checkpoints", "latest_complete", "problem", "publish", "rotate", "seal"]

STAGING = ".saving"
"""Folder in the output folder where a checkpoint is being written."""

_MANIFEST = "complete.json"
_HASHED_BYTES = 1 << 30  # larger files are known by their size alone
_NAME = re.compile(r"checkpoint-(\d+)")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _describe(path: Path) -> list[Any]:
    size = path.stat().st_size
    if size > _HASHED_BYTES:
        return [size, None]
    return [size, sha256(path.read_bytes()).hexdigest()]


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != _MANIFEST)


def seal(folder: Path) -> None:
    """Sync every file of a finished checkpoint and list them."""
    listing = {}
    for path in _files(folder):
        _sync(path)
        listing[path.relative_to(folder).as_posix()] = _describe(path)
    write_atomically(folder / _MANIFEST, json.dumps(listing, indent=2))
    _sync(folder)


def publish(staged: Path, output_dir: Path) -> Path:
    """Seal a staged checkpoint and move it to its place.

    A whole one of the same step stays instead: it is of the same run, and to replace it would leave a moment with
    neither. (It happens where a signal arrives in the step of a regular checkpoint.)
    """
    target = output_dir / staged.name
    if target.exists():
        if not problem(target):
            shutil.rmtree(staged)
            return target
        _delete(target)
    seal(staged)
    staged.rename(target)
    _sync(output_dir)
    return target


def checkpoints(output_dir: Path) -> list[Path]:
    """All checkpoint folders, the newest step first, complete or not."""
    found = [path for path in output_dir.glob("checkpoint-*") if path.is_dir() and _NAME.fullmatch(path.name)]
    return sorted(found, key=_step, reverse=True)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-"))


def problem(checkpoint: Path, *, contents: bool = True) -> str:
    """Why a checkpoint cannot be used; empty if it is complete. Without ``contents``, by the sizes of its files."""
    manifest = checkpoint / _MANIFEST
    if not manifest.is_file():
        return f"{_MANIFEST} is missing"
    try:
        listing = json.loads(manifest.read_text(encoding="utf-8"))
        for name, expected in listing.items():
            path = checkpoint / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != expected[0] or (contents and _describe(path) != expected):
                return f"{name} is not as it was written"
    except (ValueError, OSError, AttributeError, TypeError, LookupError) as error:
        return f"{_MANIFEST} is unreadable ({type(error).__name__})"
    return ""


def latest_complete(output_dir: Path) -> tuple[Path | None, list[str]]:
    """The newest complete checkpoint, and a line for every newer one that is torn."""
    skipped: list[str] = []
    for checkpoint in checkpoints(output_dir):
        if not (reason := problem(checkpoint)):
            return checkpoint, skipped
        skipped.append(f"skipping {checkpoint.name}: {reason}")
    return None, skipped


def rotate(output_dir: Path, keep: int | None, published: Path, best: int | None = None) -> None:
    """Delete all but ``published``, just written, and the ``keep - 1`` whole checkpoints before it (None: keep all).

    Torn ones do not count (by their files' sizes: to read them at every save would cost as much as the save). Later
    steps than the published one are of a course that the run has left. The whole one of step ``best`` stays.
    """
    if not keep:
        return
    later_first = [checkpoint for checkpoint in checkpoints(output_dir) if checkpoint != published]
    before = [checkpoint for checkpoint in later_first if _step(checkpoint) < _step(published)]
    whole = [checkpoint for checkpoint in before if not problem(checkpoint, contents=False)]
    for checkpoint in set(later_first) - set(whole[: keep - 1]):
        if checkpoint not in whole or _step(checkpoint) != best:
            _delete(checkpoint)


def _delete(checkpoint: Path) -> None:
    """Delete a checkpoint, its list first: killed half-way, what is left is plainly torn."""
    (checkpoint / _MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(checkpoint, ignore_errors=True)
