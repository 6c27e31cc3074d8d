"""``kill -9`` at random instants: nothing committed is lost or doubled, and the end is that of a run never killed."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tape_run

from synth.ledger import COMMIT_TRIALS

N_KILLS = 50
SLOTS = 16
DATA_SET = Path("dataset/data/train.jsonl")


def recorded(run_dir: Path) -> dict[str, str]:
    """Every committed trial ("query trial") and its response, read as a stranger would."""
    path = run_dir / "ledger.sqlite"
    if not path.exists():
        return {}
    database = sqlite3.connect(path)
    try:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'trials'").fetchone():
            return {}  # killed before the schema was committed
        rows = database.execute("SELECT query, trial, response FROM trials JOIN texts ON id = text_id").fetchall()
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finally:
        database.close()
    found = {f"{query} {trial}": response for query, trial, response in rows}
    assert len(found) == len(rows)
    return found


def run_and_kill(problems: Path, run_dir: Path, log: Path, jitter: int, delay_s: float) -> bool:
    """Start or resume a run as a program and kill it ``delay_s`` after its first trial; True if it ended before."""
    with log.open("w") as output:
        program = [sys.executable, str(tape_run.__file__), str(problems), str(run_dir), str(jitter), "0.00002"]
        child = subprocess.Popen(program, stdout=output)
        while child.poll() is None and not log.stat().st_size:  # starting up takes longer than the run
            time.sleep(0.001)
        time.sleep(delay_s)
        child.send_signal(signal.SIGKILL)
        return child.wait() == 0


@pytest.mark.slow
def test_killed_fifty_times_it_ends_as_if_never_killed(problems: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    tape_run.run(problems, whole)
    expected = (whole / DATA_SET).read_bytes()
    rng = random.Random(5)
    run_dir, before = tmp_path / "killed-0", dict[str, str]()
    n_kills = n_finished = attempt = 0
    while n_kills < N_KILLS:
        attempt += 1
        log = tmp_path / f"sampled-{attempt}"
        finished = run_and_kill(problems, run_dir, log, attempt, rng.random() * rng.choice([0.02, 0.2, 1.5]))
        after = recorded(run_dir)
        assert before.items() <= after.items(), "a committed trial is gone or has changed"
        lost = {line for line in log.read_text().split("\n")[:-1] if line} - set(after)
        assert len(lost) <= COMMIT_TRIALS + SLOTS
        before = after
        n_kills += not finished
        if finished:  # nothing left to kill: the next kills fall on a new run
            assert (run_dir / DATA_SET).read_bytes() == expected
            n_finished += 1
            run_dir, before = tmp_path / f"killed-{n_finished}", {}
    tape_run.run(problems, run_dir)
    assert (run_dir / DATA_SET).read_bytes() == expected


@pytest.mark.slow
def test_killed_while_exporting_the_data_set_is_the_old_one_or_the_new_one(problems: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    tape_run.run(problems, run_dir)
    expected = (run_dir / DATA_SET).read_bytes()
    rng = random.Random(6)
    for attempt in range(10):
        program = [sys.executable, str(tape_run.__file__), str(problems), str(run_dir), str(attempt), "0"]
        child = subprocess.Popen(program, stdout=subprocess.DEVNULL)
        seen = (run_dir / DATA_SET).stat().st_ino
        while child.poll() is None and (run_dir / DATA_SET).stat().st_ino == seen:
            if list((run_dir / DATA_SET).parent.glob(".train*")):
                time.sleep(rng.random() * 0.002)
                break
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert (run_dir / DATA_SET).read_bytes() == expected
    tape_run.run(problems, run_dir)
    assert (run_dir / DATA_SET).read_bytes() == expected
