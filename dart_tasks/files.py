"""Files that are whole or not there, and files of JSON rows.

>>> write_atomically(path, text)                    # or: with replacing(path) as file: file.write(...)
>>> write_jsonl(path, [{"query": "What is 2 + 3?", "answer": "5"}])
>>> for number, row in read_jsonl(path): ...        # line by line, however large the file is
"""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Literal

__all__ = ["DataError", "read_jsonl", "read_rows", "replacing", "write_atomically", "write_jsonl"]


class DataError(ValueError):
    """Data that cannot be had, or is not what it should be; the message is one line for a person."""


@contextlib.contextmanager
def replacing(path: Path, mode: Literal["w", "wb"] = "w") -> Iterator[IO[Any]]:
    """A file under a temporary name in the same folder, synced and renamed to ``path`` if all went well.

    So ``path`` is the old file or the new one, whatever happens. Its permissions are those of any new file.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        with temporary.open(mode, encoding=None if mode == "wb" else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, text: str) -> None:
    """Write a text so that the file is either the old one or the new one."""
    with replacing(path) as file:
        file.write(text)


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write a row per line, atomically; the number of rows."""
    count = 0
    with replacing(path) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, row) of each row of JSON Lines, also of a file packed by gzip; blank lines are passed over.

    Lines end at a line feed alone: the texts contain U+2028 and the like, at which ``str.splitlines`` would cut.

    Raises:
        DataError: the file cannot be read, or a line is no JSON object in UTF-8; the message says which.
    """
    try:
        with path.open("rb") as packed:
            start = packed.peek(4)[:4]
            if start == b"\x28\xb5\x2f\xfd":
                raise DataError(f"{path} is packed: unpack it first (unzstd {path})")
            lines: Iterable[bytes] = packed
            if start[:2] == b"\x1f\x8b":
                import gzip

                lines = gzip.GzipFile(fileobj=packed)
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, _row(line, f"line {number} of {path}")
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise DataError(f"cannot read {path}: {reason}") from None


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file that is a JSON list of objects, or JSON Lines.

    Raises:
        DataError: it is neither, or cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    if not content.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"["):
        return [row for _, row in read_jsonl(path)]
    rows = _decoded(content, str(path))
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise DataError(f"row {number} of {path} is not a JSON object")
    return list(rows)


def _row(line: bytes, where: str) -> dict[str, Any]:
    row = _decoded(line, where)
    if not isinstance(row, dict):
        raise DataError(f"{where} is not a JSON object")
    return row


def _decoded(content: bytes, where: str) -> Any:
    try:
        return json.loads(content.decode("utf-8-sig"))  # Windows' editors begin a file with a mark
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not JSON in UTF-8: {error}") from None
