"""Files are whole or not there; rows of JSON are read by line feeds alone, and errors say where."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from dart_tasks.files import DataError, read_jsonl, read_rows, replacing, write_atomically, write_jsonl


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    write_atomically(path, "old")
    with pytest.raises(RuntimeError), replacing(path) as file:
        file.write("half of the new")
        assert path.read_text() == "old"
        raise RuntimeError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o002])
def test_permissions_are_as_umask_says(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "out.txt", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "out.txt").stat().st_mode & 0o777 == 0o666 & ~umask


def test_rows_come_back_whatever_their_texts_hold(tmp_path: Path) -> None:
    rows = [{"text": "a\u2028b\u0085c\r\nd"}, {"text": "é", "list": [1, True, 0.5]}]
    assert write_jsonl(tmp_path / "rows.jsonl", rows) == 2
    assert list(read_jsonl(tmp_path / "rows.jsonl")) == [(1, rows[0]), (2, rows[1])]
    (tmp_path / "rows.json").write_text(' [{"a": 1}, {"a": 2}]')
    assert read_rows(tmp_path / "rows.json") == [{"a": 1}, {"a": 2}]
    assert read_rows(tmp_path / "rows.jsonl") == rows


def test_rows_may_be_packed_or_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    for content in (b'\xef\xbb\xbf{"a": 1}\n', gzip.compress(b'{"a": 1}\n'), b'\xef\xbb\xbf[{"a": 1}]'):
        path.write_bytes(content)
        assert read_rows(path) == [{"a": 1}]
    path.write_bytes(gzip.compress(b'{"a": 1}\n' * 99)[:-9])
    with pytest.raises(DataError, match="cannot read"):
        read_rows(path)
    path.write_bytes(b"\x28\xb5\x2f\xfd...")
    with pytest.raises(DataError, match=r"is packed: unpack it first \(unzstd "):
        read_rows(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1}\n\n{"a": \n', "line 3 of .* is not JSON in UTF-8: Expecting value"),
        (b'{"a": 1}\n[1]\n', "line 2 of .* is not a JSON object"),
        (b'{"a": "\xff"}\n', "line 1 of .* is not JSON in UTF-8"),
        (b'{"a": ' + b"[" * 100_000, "line 1 of .* is not JSON in UTF-8"),
        (b"[1, 2]", "row 1 of .* is not a JSON object"),
        (b'[{"a": 1}', "rows.json is not JSON in UTF-8"),
    ],
)
def test_what_cannot_be_read_is_one_line_that_says_where(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        read_rows(path)
    assert "\n" not in str(error.value)
    with pytest.raises(DataError, match=r"cannot read .*: No such file or directory"):
        read_rows(tmp_path / "none")
