"""What a run shows, in a terminal and in a pipe; and strategies that other packages bring."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
import tape_run
from rich.console import Console

from synth.config import RunConfig
from synth.display import Display, LiveDisplay, PlainDisplay, duration, snapshot
from synth.driver import Progress
from synth.engines.tape import TapeEngine
from synth.run import load_run_queries, synthesise
from synth.scheduler import Scheduler
from synth.strategy import QueryStats, get_strategy, strategy_names

Make = Callable[..., RunConfig]


def run(config: RunConfig, run_dir: Path, grader: object, observer: object) -> None:
    queries = load_run_queries(config)
    engine = TapeEngine(tape_run.tape)
    synthesise(config, run_dir, queries, lambda c, s: engine, grader, "1", observer=observer)  # type: ignore[arg-type]


def test_plain_lines_when_piped(
    configuration: Make, tmp_path: Path, grader: object, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configuration()
    with PlainDisplay(load_run_queries(config), every_s=0.0) as display:
        run(config, tmp_path, grader, display)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 10
    assert "20/20 queries settled" in lines[-1]
    for word in ("tokens/s", "correct", "duplicates", "grader time-outs", "left"):
        assert word in lines[-1]
    assert "\x1b" not in "".join(lines)


def test_a_table_in_a_terminal(configuration: Make, tmp_path: Path, grader: object) -> None:
    config, screen = configuration(), io.StringIO()
    console = Console(file=screen, force_terminal=True, width=150)
    with LiveDisplay(load_run_queries(config), console, every_s=0.0) as display:
        run(config, tmp_path, grader, display)
    shown = screen.getvalue()
    for word in ("level 1", "level 5", "quota filled", "tokens/s", "█"):
        assert word in shown


@pytest.mark.parametrize(("seconds", "text"), [(5.9, "5s"), (187, "3m07s"), (3900, "1h05m")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_time_left_leaves_out_how_long_the_model_took_to_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """60 s of loading, then 20 trials a second: 2,000 more take 100 s, not as long as 21 trials in 61 s suggest."""
    now_s = 0.0
    monkeypatch.setattr("synth.display.time.monotonic", lambda: now_s)
    display, state = Display([], every_s=10.0), snapshot(Scheduler([], 1), [])
    said = []
    for now_s, n_trials in ((30.0, 0), (60.0, 1), (60.5, 11), (61.0, 21)):  # noqa: B007 - read by the clock
        said.append(display.speed(Progress(n_trials=n_trials), state, 2000.0))
    assert ["left" in line for line in said] == [False, False, False, True]
    assert "about 1m40s left" in said[-1]


def test_snapshot_counts_by_level(configuration: Make, tmp_path: Path, grader: object) -> None:
    seen = []

    class Watch:
        def update(self, progress: object, scheduler: object, n_running: int, n_grading: int) -> None:
            seen.append(snapshot(scheduler, load_run_queries(config)))  # type: ignore[arg-type]

    config = configuration()
    run(config, tmp_path, grader, Watch())
    assert list(seen[-1].groups) == [f"level {i}" for i in range(1, 6)]
    assert all(group.n_queries == 4 for group in seen[-1].groups.values())
    assert sum(group.n_trials for group in seen[-1].groups.values()) == seen[-1].total.n_trials


def test_a_package_may_bring_a_strategy(
    configuration: Make, tmp_path: Path, grader: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "site" / "hard_only-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hard-only\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[dart_synth.strategies]\nhard-only = hard_only:quota\n")
    (tmp_path / "site" / "hard_only.py").write_text(
        "def quota(stats, k):\n    return k if stats.fail_rate > 0.5 else 0\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert "hard-only" in strategy_names()
    assert get_strategy("hard-only").quota(QueryStats(0.9, 4, 0), 7) == 7
    config = configuration(strategy="hard-only", k=2)
    run(config, tmp_path / "run", grader, None)
    kept = (tmp_path / "run/dataset/data/train.jsonl").read_text().splitlines()
    assert kept
    assert all('"fail_rate": 0.75' in line or '"fail_rate": 1.0' in line for line in kept)
