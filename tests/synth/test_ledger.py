"""What the ledger guarantees, and how it says that it cannot."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dart_tasks.problems.record import Problem
from synth.ledger import COMMIT_TRIALS, COMMIT_WINDOW_S, Ledger, LedgerError, is_network_file_system
from synth.records import Trial, derived_seed, normalise, text_key
from synth.scheduler import TrialId


def trial(query: int, number: int, response: str = "The answer is \\boxed{4}.", **changes: object) -> Trial:
    values: dict[str, object] = {
        "id": TrialId(query, number), "response": response, "n_tokens": 9, "finish_reason": "stop", "answer": "4",
        "correct": True, "explicit": True, "graded": True, "source": "boxed", "reason": "equal",
        "flags": ("truncated",), "attempt": 0, **changes,
    }  # fmt: skip
    return Trial(**values)  # type: ignore[arg-type]


def query(name: str) -> Problem:
    return Problem(
        name, "What is 2 + 2?", [1, 2.5, True], "generic", "mine", 0.25, metadata={"level": None, "domain": "sums"}
    )


def test_everything_comes_back_as_it_was(tmp_path: Path) -> None:
    with Ledger(tmp_path / "run") as ledger:
        ledger.add_queries([query("a"), query("b")])
        attempt, seed = ledger.begin_attempt("vllm", 0)
        ledger.append(trial(1, 3, attempt=attempt, seed=seed, replica=2))
        ledger.append(trial(0, 0, "\ud800 and \0"))
        ledger.flush()
        assert ledger.n_trials() == 2
    with Ledger(tmp_path / "run", read_only=True) as ledger:
        assert ledger.queries() == [query("a"), query("b")]
        first, second = ledger.pool()
        assert (first.query, first.trial, first.response) == (0, 0, "\\ud800 and \0")
        assert (second.query, second.trial, second.replica, second.seed, second.flags) == (1, 3, 2, seed, "truncated")
        assert [stored.text_key for stored in ledger.results()][1] == text_key("The  answer is\n\\boxed{4}. ")


def test_every_attempt_has_its_own_seed(tmp_path: Path) -> None:
    seeds = []
    for _ in range(3):
        with Ledger(tmp_path) as ledger:
            seeds.append(ledger.begin_attempt("vllm", 0))
    assert [attempt for attempt, _ in seeds] == [0, 1, 2]
    assert len({seed for _, seed in seeds}) == 3
    assert (
        derived_seed(0, "gsm8k/7", 3, n_bits=63) == 6390719526404893846
    )  # a reproducible run goes on with the seeds it began with


def test_a_trial_is_recorded_once(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append(trial(0, 0))
    ledger.flush()
    ledger.append(trial(0, 0, "again"))
    with pytest.raises(LedgerError, match="UNIQUE"):
        ledger.flush()
    with pytest.raises(LedgerError):
        ledger.close()
    with Ledger(tmp_path, read_only=True) as reader:
        assert [row.response for row in reader.pool()] == ["The answer is \\boxed{4}."]


def test_commits_within_the_window(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger, Ledger(tmp_path, read_only=True) as reader:
        for number in range(COMMIT_TRIALS):
            ledger.append(trial(0, number))
        _wait_for(lambda: reader.n_trials() == COMMIT_TRIALS)
        ledger.append(trial(1, 0))
        _wait_for(lambda: reader.n_trials() == COMMIT_TRIALS + 1)  # by time alone
    assert COMMIT_WINDOW_S <= 1.0
    assert COMMIT_TRIALS <= 256


def _wait_for(condition: object) -> None:
    for _ in range(600):
        if condition():  # type: ignore[operator]
            return
        time.sleep(0.05)
    raise AssertionError("not committed within 30 s")


def test_a_second_writer_is_refused_and_a_reader_is_not(tmp_path: Path) -> None:
    with Ledger(tmp_path):
        with pytest.raises(LedgerError, match=f"process {os.getpid()} .* is writing to"):
            Ledger(tmp_path)
        Ledger(tmp_path, read_only=True).close()
    Ledger(tmp_path).close()


def test_no_run_to_read(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="no run in"):
        Ledger(tmp_path, read_only=True)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(LedgerError, match="damaged"):
        Ledger(tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(LedgerError, match=r"cannot write.*choose another --output"):
            Ledger(folder)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(LedgerError, match="choose another --output"):
            Ledger(tmp_path / "run")
    finally:
        tmp_path.chmod(0o755)


def test_a_read_only_file_system() -> None:
    mounts = Path("/proc/mounts").read_text().splitlines()
    points = [fields[1] for line in mounts if "ro" in (fields := line.split())[3].split(",")]
    folder = next((point for point in points if Path(point).is_dir() and not os.access(point, os.W_OK)), None)
    if folder is None:
        pytest.skip("no read-only file system is mounted here")
    with pytest.raises(LedgerError, match="choose another --output"):
        Ledger(Path(folder) / "run")


_FILL = """
import resource, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from test_ledger import trial
from synth.ledger import Ledger, LedgerError
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
ledger = Ledger(Path(sys.argv[1]))
try:
    for number in range(100_000):
        ledger.append(trial(0, number, f"{number} " + "x" * 500))
        if number % 64 == 0:
            ledger.flush()
except LedgerError as error:
    print(error)
    sys.exit(7)
"""


def test_a_disk_that_fills_up_loses_nothing_committed(tmp_path: Path) -> None:
    """A limit on file size stands for the full disk: the same writes fail at the same places."""
    child = subprocess.run(
        [sys.executable, "-c", _FILL, str(tmp_path / "run"), str(Path(__file__).parent)], capture_output=True, text=True
    )
    assert child.returncode == 7, child.stderr
    assert "committed trials are safe" in child.stdout
    with Ledger(tmp_path / "run") as ledger:
        numbers = [stored.trial for stored in ledger.results()]
        assert numbers == list(range(len(numbers)))
        assert len(numbers) > 64
        ledger.append(trial(0, len(numbers)))  # goes on once there is room


def test_the_limit_of_that_test_is_not_this_process_limit() -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 400_000


@pytest.mark.parametrize(
    ("path", "expected"), [("/net/home/me/run", "nfs4"), ("/data/run", None), ("/net/my dir/run", "cifs")]
)
def test_network_file_systems_are_recognised(tmp_path: Path, path: str, expected: str | None) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda / ext4 rw 0 0\nserver:/home /net/home nfs4 rw 0 0\n//server/x /net/my\\040dir cifs rw 0 0\n"
    )
    assert is_network_file_system(Path(path), mounts) == expected


def test_network_file_systems_get_a_rollback_journal(tmp_path: Path) -> None:
    with Ledger(tmp_path, network="nfs4") as ledger:
        assert ledger.notice is not None
        assert "nfs4" in ledger.notice
        ledger.append(trial(0, 0))
        ledger.flush()
        assert not (tmp_path / "ledger.sqlite-wal").exists()
    with Ledger(tmp_path) as ledger:
        assert ledger.n_trials() == 1


def test_normalised_texts() -> None:
    assert normalise(" a\u00a0b\n\nc ") == "a b c"
    assert text_key("a b") == text_key("a\tb") != text_key("ab")
    assert text_key("x") == -2934312886036399034 or -(2**63) <= text_key("x") < 2**63
    assert json.dumps(text_key("x"))
