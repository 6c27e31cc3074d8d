"""The ledger at scale: trials recorded per second, opening a run of millions of trials, and curating it.

    python bench/ledger.py [--trials 5000000] [--folder /tmp]      (some minutes and 8 GB of disk)

Recording goes through the real writer thread and its commits (256 trials or one second, fsync each). The run that is
opened has 14,973 queries; opening reads the ledger and rebuilds the scheduler, as every start of dart-synth does.
Curating is ``dart-synth curate --strategy uniform -k 40`` on that run, exported data set included.
"""

from __future__ import annotations

import argparse
import platform
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from dart_tasks.problems.record import Problem
from synth.ledger import Ledger, checksum, trial_id
from synth.records import Trial, text_key
from synth.scheduler import QuerySpec, Scheduler, TrialId

N_QUERIES = 14_973


def record(folder: Path, count: int) -> tuple[float, float]:
    """Seconds, and seconds of CPU, to append and commit ``count`` trials of about 1,500 characters."""
    body = "Let x be the number of apples. " * 48
    with Ledger(folder) as ledger:
        ledger.add_queries(Problem(f"q/{i}", f"query {i}", "1", "generic", "bench") for i in range(N_QUERIES))
        started_s, cpu_s = time.perf_counter(), time.process_time()
        for number in range(count):
            identity = TrialId(number % N_QUERIES, number // N_QUERIES)
            text = f"{number} {body}"
            ledger.append(Trial(identity, text, 400, "stop", "1", True, True, True, "boxed", "same text", (), 0))
        ledger.flush()
        return time.perf_counter() - started_s, time.process_time() - cpu_s


def fill(folder: Path, count: int) -> None:
    """Rows as the writer makes them, with texts of about 1,300 characters, in one transaction: not measured."""
    rng = np.random.default_rng(0)
    rates = rng.beta(0.285, 0.109, N_QUERIES)
    weight = np.minimum(2048, 40 / np.maximum(rates, 1e-6))
    per_query = np.maximum(1, np.round(weight / weight.sum() * count)).astype(int)
    with Ledger(folder) as ledger:
        ledger.add_queries(Problem(f"q/{i}", f"query {i}", "1", "generic", "bench") for i in range(N_QUERIES))
    database = sqlite3.connect(folder / "ledger.sqlite")
    database.execute("PRAGMA synchronous=OFF")
    body = "Let x be the number of apples. " * 42
    identity = 0
    with database:
        database.execute("INSERT INTO attempts VALUES (0, '', 'bench', 0)")
        for query, n_trials in enumerate(per_query):
            correct = rng.random(n_trials) < rates[query]
            texts = [(identity + t, f"{query} {t} {body}", "1", "boxed", "same text", "") for t in range(n_trials)]
            rows = [
                (query, t, int(c), 1, 1, text_key(text[1]), 400, "stop", 0, 0, None, text[0])
                for t, (c, text) in enumerate(zip(correct, texts, strict=True))
            ]
            into = "texts(id, response, answer, source, reason, flags, checksum)"
            for table, values, marks in (("trials", rows, ",?" * 12), (into, texts, ",?" * 6)):
                database.executemany(f"INSERT INTO {table} VALUES (?{marks})", ((*v, checksum(*v)) for v in values))
            identity += int(n_trials)
    database.close()


def open_run(folder: Path) -> tuple[float, float, int]:
    """Seconds, and seconds of CPU, to open the run and rebuild its scheduler, and the trials found."""
    started_s, cpu_s = time.perf_counter(), time.process_time()
    with Ledger(folder) as ledger:
        queries = ledger.queries()
        scheduler = Scheduler([QuerySpec(quota=40)] * len(queries), 2048)
        count = 0
        for stored in ledger.results():
            scheduler.restore(trial_id(stored), stored.result(False))
            count += 1
    return time.perf_counter() - started_s, time.process_time() - cpu_s, count


def curate(folder: Path, output: Path) -> tuple[float, float, str]:
    """Seconds, peak memory in GiB, and the last line that ``dart-synth curate`` prints."""
    command = [
        str(Path(sys.executable).with_name("dart-synth")), "curate", str(folder), "--strategy", "uniform", "-k", "40",
        "--output", str(output),
    ]  # fmt: skip
    started_s = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return time.perf_counter() - started_s, peak / 2**20, done.stdout.strip().splitlines()[-1].split(" (")[0]


def main() -> None:
    """Print both figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, default=5_000_000, help="trials of the run that is opened")
    parser.add_argument("--record", type=int, default=100_000, help="trials that are recorded")
    parser.add_argument("--folder", type=Path, help="where to write (a temporary folder by default)")
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp(dir=arguments.folder))
    print(f"{platform.machine()}, Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}")
    try:
        seconds, cpu_s = record(root / "record", arguments.record)
        rate = arguments.record / seconds
        print(f"recorded {arguments.record:,} trials in {seconds:.1f} s ({cpu_s:.1f} s of CPU): {rate:,.0f} a second")
        fill(root / "open", arguments.trials)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        seconds, cpu_s, count = open_run(root / "open")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(
            f"opened {count:,} trials in {seconds:.1f} s ({cpu_s:.1f} s of CPU), peak memory {peak / 2**20:.2f} GiB "
            f"({before / 2**20:.2f} before)"
        )
        seconds, peak_gib, said = curate(root / "open", root / "curated")
        print(f"curated {count:,} trials in {seconds:.1f} s, peak memory {peak_gib:.2f} GiB: {said}")
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
