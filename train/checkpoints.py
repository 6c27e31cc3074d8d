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

__all__ = ["STAGING", "checkpoints", "latest_complete", "problem", "publish", "rotate", "seal", "write_json"]

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


def write_json(path: Path, content: Any) -> None:
    """Write JSON whole or not at all."""
    aside = path.with_name(f".{path.name}.tmp")
    aside.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    _sync(aside)
    aside.replace(path)


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
    write_json(folder / _MANIFEST, listing)
    _sync(folder)


def publish(staged: Path, output_dir: Path) -> Path:
    """Seal a staged checkpoint and move it to its place."""
    seal(staged)
    target = output_dir / staged.name
    if target.exists():  # a torn or older one of the same step
        shutil.rmtree(target)
    staged.rename(target)
    _sync(output_dir)
    return target


def checkpoints(output_dir: Path) -> list[Path]:
    """All checkpoint folders, the newest step first, complete or not."""
    found = [path for path in output_dir.glob("checkpoint-*") if path.is_dir() and _NAME.fullmatch(path.name)]
    return sorted(found, key=_step, reverse=True)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-"))


def problem(checkpoint: Path) -> str:
    """Why a checkpoint cannot be used; empty if it is complete."""
    manifest = checkpoint / _MANIFEST
    if not manifest.is_file():
        return f"{_MANIFEST} is missing"
    try:
        listing = json.loads(manifest.read_text(encoding="utf-8"))
        for name, expected in listing.items():
            path = checkpoint / name
            if not path.is_file():
                return f"{name} is missing"
            if _describe(path) != expected:
                return f"{name} is not as it was written"
    except (ValueError, OSError, AttributeError) as error:
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


def rotate(output_dir: Path, keep: int | None, published: Path) -> None:
    """Delete all but ``published``, just written, and the ``keep - 1`` whole checkpoints before it (None: keep all).

    Torn ones do not count. Later steps than the published one are of a course that the run has left.
    """
    if not keep:
        return
    later_first = [checkpoint for checkpoint in checkpoints(output_dir) if checkpoint != published]
    before = [checkpoint for checkpoint in later_first if _step(checkpoint) < _step(published)]
    whole = [checkpoint for checkpoint in before if (checkpoint / _MANIFEST).is_file()]
    for checkpoint in set(later_first) - set(whole[: keep - 1]):
        shutil.rmtree(checkpoint, ignore_errors=True)
