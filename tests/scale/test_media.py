"""Disks that are full, and media that cannot be written, by mounts of the test's own (skipped where one may not)."""

from __future__ import annotations

import itertools
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from served import answer, options

from synth.ledger import Ledger

DART_SYNTH = [sys.executable, "-c", "from synth.cli import main; main()"]
Shell = Callable[[str], list[str]]


@pytest.fixture
def mounted(tmp_path: Path) -> Shell:
    """Runs a script that may mount what it likes on ``$M``, and gives its lines."""
    (tmp_path / "m").mkdir()

    def run(script: str) -> list[str]:
        environment = {**os.environ, "M": str(tmp_path / "m"), "T": str(tmp_path), "HF_HUB_OFFLINE": "1"}
        program = ["unshare", "-m", "sh", "-c", script]
        done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=300)
        assert "Traceback" not in done.stderr + done.stdout, done.stderr
        return done.stdout.splitlines()

    try:
        may = run("mount -t tmpfs -o size=1m tmpfs $M && echo yes") == ["yes"]
    except FileNotFoundError:
        may = False
    if not may:
        pytest.skip("mounts are not allowed here")
    return run


def command(*arguments: object) -> str:
    """A command that says its exit code and whatever it printed in the end."""
    words = " ".join(shlex.quote(str(word)) if str(word)[0] != "$" else str(word) for word in (*DART_SYNTH, *arguments))
    return f'{words} > $T/out 2> $T/err; echo "$? $(tail -n 1 $T/err $T/out | tr "\\n" " ")"\n'


@pytest.fixture
def finished(make_server: Any, dart_synth: Any, tmp_path: Path) -> list[object]:
    """The command of a run that has finished; its folder is ``run``."""
    count = itertools.count()

    async def reply(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        number = next(count)
        return answer(body, f"Try {number}. {''.join(str(hash((number, i))) for i in range(400))}")

    given = options(make_server(reply).url, tmp_path)
    assert dart_synth(*given).code == 0
    return given


def test_a_disk_that_is_full_at_export(mounted: Shell, finished: list[object], tmp_path: Path) -> None:
    """The ledger fits, the data set does not; with room the same command writes it, and samples nothing."""
    expected = (tmp_path / "run/dataset/data/train.jsonl").read_bytes()
    size_kb = 100 + (tmp_path / "run/ledger.sqlite").stat().st_size // 1024
    run, curate = [*finished[:-1], "$M/run"], ("curate", "$M/run", "-k", 9, "--decontaminate", "off", "--format")
    lines = mounted(
        f"mount -t tmpfs -o size={size_kb}k tmpfs $M; mkdir $M/run; cp $T/run/*.* $M/run\n"
        + command(*run) + "ls -A $M/run/dataset/data\n"
        + command(*curate, "parquet", "--output", "$M/o") + command(*curate, "rl", "--output", "$M/o")
        + "cat /dev/zero > $M/rest; " + command("report", "$M/run")
        + command("regrade", "$M/run", "--apply", "--grade-workers", 1) + "rm $M/rest; mount -o remount,size=9m $M\n"
        + command(*run) + "cp $M/run/dataset/data/train.jsonl $T/exported\n"
    )  # fmt: skip
    full, *others, again = lines
    assert full.startswith("1 ") and "No space left" in full and "committed trials are safe" in full
    assert len(others) == 4, "no part of a data set is left"
    assert others[0].startswith("1 ") and "No space left on device): give another --output" in others[0]
    assert others[2].startswith("1 ") and "No space left on device): give another --output" in others[2]
    assert others[3].startswith("1 ") and "o space left" in others[3]
    assert again.startswith("0 ")
    assert (tmp_path / "exported").read_bytes() == expected


@pytest.mark.parametrize("was_killed", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_media_that_cannot_be_written(mounted: Shell, finished: list[object], tmp_path: Path, was_killed: bool) -> None:
    """What only reads works, of a run that was killed, too, whose log is not worked into its file yet."""
    if was_killed:
        with Ledger(tmp_path / "run") as ledger:  # a copy of open files is what a kill leaves
            ledger.begin_attempt("killed", 0)
            shutil.copytree(tmp_path / "run", tmp_path / "killed")
        assert (tmp_path / "killed/ledger.sqlite-wal").stat().st_size
        shutil.rmtree(tmp_path / "run")
        (tmp_path / "killed").rename(tmp_path / "run")
    lines = mounted(
        "mount -t tmpfs tmpfs $M; cp -r $T/run $M/run; mount -o remount,ro $M\n"
        + command("status", "$M/run") + command("report", "$M/run", "--output", "$T/page.html")
        + command("curate", "$M/run", "-k", 2, "--decontaminate", "off", "--output", "$T/o")
        + command("regrade", "$M/run", "--grade-workers", 1)
        + command("plan", "--run", "$M/run", "--strategy", "uniform", "-k", 2, "--caps", 8)
        + command("report", "$M/run") + command("repair", "$M/run") + command(*finished[:-1], "$M/run")
    )  # fmt: skip
    reading, writing = lines[:5], lines[5:]
    assert [line[:2] for line in reading] == ["0 "] * 5, reading
    assert "16 trials recorded" in reading[0] and (tmp_path / "page.html").is_file()
    assert [line[:2] for line in writing] == ["1 "] * 3, writing
    assert all("cannot write" in line for line in writing), writing
