"""Ledgers damaged at random offsets, their write-ahead log included: what is sound is kept, what is lost is told."""

from __future__ import annotations

import random
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import tape_run
from click.testing import CliRunner

from synth.cli import command
from synth.config import RunConfig
from synth.driver import Progress
from synth.engines.tape import TapeEngine
from synth.ledger import Ledger
from synth.repair import repair
from synth.run import load_run_queries, synthesise

Rows = dict[tuple[int, int], str]
COMMIT_TRIALS = 16


class CopiedError(Exception):
    """Ends the run as a kill would, once its files are copied."""


class CopyAt:
    """Has half of the trials in the file and half in the log, then copies both as a kill would leave them."""

    def __init__(self, run_dir: Path, n_trials: int, target: Path) -> None:
        self.run_dir, self.n_trials, self.target = run_dir, n_trials, target
        self.is_half = False

    def update(self, progress: Progress, *_: Any) -> None:
        path = self.run_dir / "ledger.sqlite"
        if progress.n_trials >= self.n_trials // 2 and not self.is_half:
            self.is_half = True
            with closing(sqlite3.connect(path)) as database:
                database.execute("PRAGMA wal_checkpoint(PASSIVE)")
        if progress.n_trials >= self.n_trials:
            with closing(sqlite3.connect(path)) as database:  # the ledger is written by a thread of its own
                stored = "SELECT count(*) FROM trials"
                while database.execute(stored).fetchone()[0] < self.n_trials - COMMIT_TRIALS:
                    time.sleep(0.01)
            self.target.mkdir()
            for name in ("ledger.sqlite", "ledger.sqlite-wal", "manifest.json"):
                shutil.copy(self.run_dir / name, self.target)
            raise CopiedError


def sample(config: RunConfig, run_dir: Path, grader: object, observer: object = None) -> None:
    engine = TapeEngine(tape_run.tape, n_slots=16, jitter_seed=0)
    synthesise(config, run_dir, load_run_queries(config), lambda c, s: engine, grader, "1", observer=observer)  # type: ignore[arg-type]


def recorded(run_dir: Path) -> Rows:
    with Ledger(run_dir, read_only=True) as ledger:
        return {(row.query, row.trial): row.response for row in ledger.pool()}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was killed; the first test that needs it makes it."""
    return tmp_path_factory.mktemp("sound") / "killed"


@pytest.fixture
def killed(
    sound: Path,
    configuration: Callable[..., RunConfig],
    grader: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A copy of it."""
    if not sound.exists():
        monkeypatch.setattr("synth.ledger.COMMIT_TRIALS", COMMIT_TRIALS)
        with pytest.raises(CopiedError):
            sample(configuration(), sound.parent / "run", grader, CopyAt(sound.parent / "run", 240, sound))
    shutil.copytree(sound, tmp_path / "killed")
    return tmp_path / "killed"


def flip(path: Path, source: random.Random, n_bits: int, least: int = 0, most: int | None = None) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(n_bits):
        content[source.randrange(least, most or len(content))] ^= 1 << source.randrange(8)
    path.write_bytes(content)


@pytest.mark.parametrize("files", [("ledger.sqlite",), ("ledger.sqlite-wal",), ("ledger.sqlite", "ledger.sqlite-wal")])
def test_random_offsets(killed: Path, tmp_path: Path, files: tuple[str, ...]) -> None:
    """Never a wrong row, never more told lost than are, and always a ledger that is whole afterwards."""
    before = recorded(killed)
    for seed in range(12):
        source, damaged = random.Random(seed), tmp_path / f"damaged-{seed}"
        shutil.copytree(killed, damaged)
        for name in files:
            flip(damaged / name, source, source.choice([1, 5, 40]))
        done = CliRunner().invoke(command, ["repair", str(damaged)])
        assert done.exit_code in (0, 1) and len(done.stderr.splitlines()) == done.exit_code, done.output
        if done.exit_code == 0:
            after, again = recorded(damaged), repair(damaged)
            assert after.items() <= before.items(), f"seed {seed}"
            assert not again.was_damaged and again.n_kept == len(after)
            if "nothing is damaged" not in done.output:
                (n_lost,) = (int(part.split()[0].replace(",", "")) for part in done.output.split("at least ")[1:])
                assert n_lost <= len(before) - len(after), f"seed {seed}"
        shutil.rmtree(damaged)


@pytest.mark.parametrize("seed", range(4))
def test_without_a_first_page_or_an_end_of_the_log_nothing_is_lost(killed: Path, seed: int) -> None:
    before = recorded(killed)
    flip(killed / "ledger.sqlite", random.Random(seed), 30, most=100)
    flip(killed / "ledger.sqlite-wal", random.Random(seed), 5, most=24)
    done = repair(killed)
    assert (done.was_damaged, done.n_lost) == (True, 0)
    assert recorded(killed) == before


def test_a_damaged_frame_of_the_log_costs_its_page_and_is_counted(killed: Path) -> None:
    """SQLite itself forgets every later frame without a word."""
    before = recorded(killed)
    log = killed / "ledger.sqlite-wal"
    flip(log, random.Random(0), 4, least=32 + 24, most=32 + 24 + 4096)
    assert len(recorded(killed)) < len(before) - 60
    (killed / "ledger.sqlite-shm").unlink(missing_ok=True)
    done = repair(killed)
    assert done.was_damaged and done.n_kept >= len(before) - 60
    assert recorded(killed).items() <= before.items()


@pytest.mark.parametrize("seed", range(3))
def test_a_repaired_run_ends_as_if_never_damaged(
    killed: Path, configuration: Callable[..., RunConfig], grader: object, seed: int
) -> None:
    whole = killed.parent / "whole"
    sample(configuration(), whole, grader)
    flip(killed / "ledger.sqlite", random.Random(seed), 20, least=4096)
    repair(killed)
    sample(configuration(), killed, grader)
    data = "dataset/data/train.jsonl"
    assert (killed / data).read_bytes() == (whole / data).read_bytes()


def test_what_was_asked_of_each_server_is_kept(killed: Path) -> None:
    with Ledger(killed) as ledger:
        ledger.add_endpoints(0, [("http://a/v1", 0.5, 1.0)])
    with closing(sqlite3.connect(killed / "ledger.sqlite")) as database, database:
        database.execute("UPDATE trials SET n_tokens = n_tokens + 1 WHERE query = 0 AND trial = 0")
    saved = repair(killed)
    assert saved.n_lost == 1
    with Ledger(killed, read_only=True) as ledger:
        assert [row[:4] for row in ledger.tokens_by_endpoint()] == [("http://a/v1", 0.5, 1.0, saved.n_kept)]


def test_a_healthy_run_is_left_as_it_is(killed: Path) -> None:
    before = {path: path.read_bytes() for path in killed.iterdir() if not path.name.endswith("-shm")}
    done = CliRunner().invoke(command, ["repair", str(killed)])
    assert "nothing is damaged: 2" in done.output and "nothing was changed" in done.output
    left = {path: path.read_bytes() for path in killed.iterdir() if not path.name.endswith("-shm")}
    assert {path: left[path] for path in before if path.name != "ledger.sqlite-wal"}.items() <= left.items()
    assert not list(killed.glob("*damaged*")) and not (killed / "repairing").exists()
