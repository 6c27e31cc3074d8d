"""The miniature experiment: problems, cuts, quotas, stages, intervals; and the page, from made-up outcomes."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from experiments.miniature import cut, stages
from experiments.miniature.__main__ import main
from experiments.miniature.design import (
    ABLATIONS,
    EQUAL_TRIALS,
    MAIN_ARMS,
    PLUGIN,
    PROP2DIFF,
    UNIFORM_TOKENS,
    Arm,
    Grid,
    Settings,
    expected_yield,
    k_for,
)
from experiments.miniature.problems import (
    heldout_rows,
    longer_problem,
    problem_of_level,
    reworded_problem,
    training_rows,
)
from experiments.miniature.regimes import changes, studies_by_strength
from experiments.miniature.report import write_report
from experiments.miniature.results import read_results
from experiments.miniature.stages import Stage, StageError, pending, run_stages
from experiments.miniature.statistics import Bootstrap, Estimate
from experiments.miniature.study import LEVEL_NAMES, Study
from synth.strategy import STRATEGIES


# ---------------------------------------------------------------------- problems
@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
def test_a_level_is_its_number_of_steps(level: int) -> None:
    rng = Random(level)
    assert {len(problem_of_level(level, rng).steps) for _ in range(30)} == {level}


def test_variations_are_longer_or_worded_otherwise() -> None:
    rng = Random(0)
    assert len(longer_problem(rng).steps) == 6
    for _ in range(30):
        problem = reworded_problem(rng)
        value = problem.start
        for step in problem.steps:
            value = step.apply(value)
            assert str(step.operand) in problem.query
        assert value == problem.answer


def test_training_queries_are_never_test_problems_and_differ_by_seed() -> None:
    tests = frozenset(row.query for row in heldout_rows(60, 20))
    first, second = (training_rows(60, seed, tests) for seed in (0, 1))
    assert len(tests) == 5 * 60 + 2 * 20
    assert not tests & {row.query for row in first + second}
    assert {row.query for row in first} != {row.query for row in second}
    assert first == training_rows(60, 0, tests)


# ---------------------------------------------------------------------- cuts
def _rows(count: int) -> list[dict[str, Any]]:
    return [{"query_id": f"q/{i % 7}", "trial": i, "training_tokens": 10 + i % 5} for i in range(count)]


def test_a_cut_keeps_the_size_whatever_the_order_of_rows() -> None:
    rows = _rows(50)
    kept = cut.cut_to_size(rows, 20, seed=3)
    assert len(kept) == 20
    assert kept == cut.cut_to_size(rows[::-1], 20, seed=3)
    assert kept != cut.cut_to_size(rows, 20, seed=4)
    assert len(cut.cut_to_size(rows, 60, seed=3)) == 50


def test_a_cut_to_tokens_comes_as_near_as_one_row() -> None:
    total = sum(row["training_tokens"] for row in cut.cut_to_tokens(_rows(50), 300, seed=0))
    assert 300 - 14 <= total <= 300


# ---------------------------------------------------------------------- quotas
@pytest.mark.parametrize("name", ["vanilla", "uniform", "prop2diff"])
@pytest.mark.parametrize("size", [1320, 2640, 5280])
def test_k_is_the_smallest_that_is_expected_to_give_the_size(name: str, size: int) -> None:
    strategy, per_query = STRATEGIES[name], size / 1000
    k = k_for(strategy, per_query, 8, 64)
    assert expected_yield(strategy, k, 8, 64) >= 1.05 * per_query
    assert k == 1 or expected_yield(strategy, k - 1, 8, 64) < 1.05 * per_query


def test_a_size_out_of_reach_is_an_error_and_no_endless_search() -> None:
    with pytest.raises(ValueError, match=r"cannot give 26\.4 responses a query within 64 trials"):
        k_for(STRATEGIES["prop2diff"], 26.4, 8, 64)


def test_dart_synth_finds_the_ablations_strategies_on_pythonpath() -> None:
    code = (
        "from synth.strategy import get_strategy as g; print(g('miniature-log-odds').name, g('miniature-or-none').name)"
    )
    environment = {**stages.environment_of_commands(), "PYTHONPATH": str(PLUGIN)}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["miniature-log-odds", "miniature-or-none"]


# ---------------------------------------------------------------------- stages
def _python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code, stages.OUTPUT)


WRITE = _python("import sys, pathlib; pathlib.Path(sys.argv[1], 'made').write_text('x')")


def _run(wanted: list[Stage], root: Path) -> list[str]:
    said: list[str] = []
    run_stages(wanted, root, 2, stages.environment_of_commands(), said.append)
    return [line.split()[-1] for line in said if re.match(r"\[\d", line)]


def test_stages_run_in_order_once_and_again_after_a_change(tmp_path: Path) -> None:
    first = Stage("a/first", (WRITE,))
    second = Stage("a/second", (WRITE,), after=(first,))
    assert _run([second], tmp_path) == ["a/first", "a/second"]
    assert (second.folder(tmp_path) / "made").is_file()
    assert _run([second], tmp_path) == []
    changed = replace(second, versions=("grader 2",))
    assert pending([changed], tmp_path) == [changed]


def test_a_change_of_an_earlier_stage_changes_the_later_ones() -> None:
    grid = Grid(Settings())
    warmer = Grid(replace(grid.settings, temperature=1.0))
    assert grid.result(PROP2DIFF, 2640, 0).key != warmer.result(PROP2DIFF, 2640, 0).key
    assert grid.student().key == warmer.student().key


def test_a_failed_stage_leaves_no_output_and_stops_what_needs_it(tmp_path: Path) -> None:
    failing = Stage("failing", (WRITE, _python("raise SystemExit('sorry')")))
    after = Stage("after", (WRITE,), after=(failing,))
    with pytest.raises(StageError, match=r"exit code 1.*\n(.*\n)*sorry"):
        _run([after], tmp_path)
    assert not failing.folder(tmp_path).exists()
    assert not after.folder(tmp_path).exists()


def test_only_a_stage_that_resumes_finds_what_it_had_written(tmp_path: Path) -> None:
    for resumes in (False, True):
        stage = Stage(f"stage-{resumes}", (WRITE,), resumes=resumes)
        for end in (".tmp", ".1.tmp", f".{os.getpid()}.tmp"):
            left = stage.folder(tmp_path).with_name(stage.folder(tmp_path).name + end)
            left.mkdir(parents=True)
            (left / "half").touch()
        _run([stage], tmp_path)
        assert (stage.folder(tmp_path) / "half").exists() == resumes


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StageError, match="another run works in"):
            _run([Stage("a", (WRITE,))], tmp_path)


def test_a_killed_run_leaves_nothing_in_the_next_ones_output(tmp_path: Path) -> None:
    """Its commands live on for a while, and write."""
    code = "import os, sys, time, pathlib; p = pathlib.Path(sys.argv[1]); (p / 'a').write_text(str(os.getpid()))\n"
    code += "time.sleep(1.5); (p / 'b').open('x').write(str(os.getpid()))"
    driver = (
        "import sys; from pathlib import Path; from experiments.miniature.stages import *\n"
        "from experiments.miniature.stages import environment_of_commands\n"
        f"stage = Stage('slow', ((sys.executable, '-c', {code!r}, OUTPUT),))\n"
        f"run_stages([stage], Path({str(tmp_path)!r}), 1, environment_of_commands())\n"
    )
    killed = subprocess.Popen([sys.executable, "-c", driver])
    while not list(tmp_path.glob("*/a")):
        time.sleep(0.05)
    killed.kill()
    killed.wait()
    subprocess.run([sys.executable, "-c", driver], check=True, capture_output=True)
    (made,) = (path for path in tmp_path.iterdir() if path.is_dir() and path.suffix != ".tmp")
    assert (made / "a").read_text() == (made / "b").read_text()
    assert sorted(path.name for path in made.iterdir()) == ["a", "b", "stage.json"]


def test_the_default_grid_is_three_strategies_and_an_equal_token_arm_in_five_seeds() -> None:
    grid = Grid(Settings())
    cells = grid.cells()
    assert len(cells) == 4 * 5
    pools = {grid.pool(arm, size, seed).key for arm, size, seed in cells}
    assert len(pools) == 3 * 5  # Prop2Diff's two arms share a run
    assert len({stage.key for stage in (grid.result(*cell) for cell in cells)}) == len(cells)


def test_stronger_students_share_all_pools_and_data_sets() -> None:
    grid = Grid(Settings())
    for other in grid.stronger():
        for arm, size, seed in grid.cells():
            assert other.data(arm, size, seed).key == grid.data(arm, size, seed).key
            assert other.result(arm, size, seed).key != grid.result(arm, size, seed).key
        assert other.student().key != grid.student().key


def test_the_full_grid_is_dry_run_with_everything_that_is_known() -> None:
    from click.testing import CliRunner

    ended = CliRunner().invoke(main, ["--full", "--seeds", "1", "--dry-run", "--output", "/nowhere"])
    assert ended.exit_code == 0, ended.output
    made = re.findall(r"^(\w+)/\S+$", ended.output, re.MULTILINE)
    # three students in 4 arms, 7 ablations, two more sizes in 4 arms; equal trials is known only later
    assert made.count("models") == 3 * 4 + 7 + 2 * 4
    assert made.count("results") == made.count("models") + 4  # and the three students before, and the synthesiser


# ---------------------------------------------------------------------- intervals
def test_a_bootstrap_of_equal_outcomes_has_no_width_and_a_clear_difference_is_resolved() -> None:
    random = np.random.default_rng(0)
    bootstrap = Bootstrap(5, {"a": range(200), "b": range(200, 400)}, n_draws=500)
    low = (random.random((5, 400)) < 0.4).astype(float)
    high = np.maximum(low, random.random((5, 400)) < 0.2)
    same = bootstrap.difference(low, low, ["a", "b"])
    assert (same.mean, same.low, same.high, same.verdict) == (0, 0, 0, "unresolved")
    assert Estimate(-0.02, -0.03, -0.0004).verdict == "unresolved"  # printed as -0.0
    difference = bootstrap.difference(low, high, ["a", "b"])
    assert difference.verdict == "higher"
    assert difference.low < difference.mean < difference.high
    assert bootstrap.difference(high, low, ["b"]).verdict == "lower"
    ones = bootstrap.accuracy(np.ones((5, 400)), ["a"])
    assert (ones.mean, ones.low, ones.high) == pytest.approx((1.0, 1.0, 1.0))


def test_strata_weigh_the_same_whatever_their_size() -> None:
    outcomes = np.array([[1.0] * 10 + [0.0] * 90])
    estimate = Bootstrap(1, {"a": range(10), "b": range(10, 100)}, n_draws=10).accuracy(outcomes, ["a", "b"])
    assert estimate.mean == pytest.approx(0.5)


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Seeds with effects of their own: an interval over problems alone (all seeds as one) is too narrow."""
    random = np.random.default_rng(1)
    covered = covered_by_problems = 0
    for trial in range(100):
        chance = np.clip(0.5 + random.normal(0, 0.1, size=(10, 1)) + random.normal(0, 0.2, size=(1, 100)), 0, 1)
        outcomes = (random.random((10, 100)) < chance).astype(float)
        estimate = Bootstrap(10, {"a": range(100)}, n_draws=200, seed=trial).accuracy(outcomes, ["a"])
        covered += estimate.low <= 0.5 <= estimate.high
        alone = Bootstrap(1, {"a": range(100)}, n_draws=200, seed=trial).accuracy(outcomes.mean(axis=0)[None], ["a"])
        covered_by_problems += alone.low <= 0.5 <= alone.high
    assert covered >= 88
    assert covered_by_problems < 85


# ---------------------------------------------------------------------- the page
def _finish(stage: Stage, root: Path) -> Path:
    folder = stage.folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    record = stages.Record(stage.name, [["command", stage.name]], 1.0)
    (folder / "stage.json").write_text(json.dumps(asdict(record)))
    return folder


Solves = Callable[[str, Arm | None, int | None], bool]
"""Whether a problem (by its id) is solved by the model of an arm and seed; of no arm: the student, the synthesiser."""


def _made_up_grid(root: Path, sizes: tuple[int, ...], full: bool, solves: Solves | None = None) -> Grid:
    """Finished stages with outcomes by chance (or as planted), to see that the page can be written from them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    settings = replace(Settings(), seeds=2, queries_per_level=4, sizes=sizes, main_size=40, test_per_level=6)
    grid, random = Grid(settings, root=root), Random(0)
    problems = [row.id for row in heldout_rows(6, 5)]

    def evaluated(stage: Stage, arm: Arm | None = None, seed: int | None = None) -> None:
        rows = [
            {"id": problem, "correct": solves(problem, arm, seed) if solves else random.random() < 0.5}
            for problem in problems
        ]
        pq.write_table(pa.Table.from_pylist(rows), _finish(stage, root) / "outcomes.parquet")

    _finish(grid.student(), root)
    for stage in grid.references().values():
        evaluated(stage)

    def cell(grid: Grid, arm: Any, size: int, seed: int, k: int | None = None) -> None:
        queries = [
            {"query_id": f"q/{level}-{i}", "level": level, "n_trials": 8, "n_correct": random.randint(0, 8)}
            for level in range(1, 6)
            for i in range(4)
        ]
        pool = _finish(grid.pool(arm, size, seed, k), root) / "dataset" / "queries"
        if not pool.is_dir():
            pool.mkdir(parents=True)
            pq.write_table(pa.Table.from_pylist(queries), pool / "train.parquet")
        kept = [{**query, "training_tokens": 60, "response_tokens": 30} for query in queries for _ in range(2)]
        data = _finish(grid.data(arm, size, seed, k), root)
        (data / "summary.json").write_text(json.dumps(asdict(cut.summarise(kept, len(kept)))))
        _finish(grid.model(arm, size, seed, k), root)
        evaluated(grid.result(arm, size, seed, k), arm, seed)

    for wanted in grid.cells():
        cell(grid, *wanted)
    if full:
        for wanted in grid.extra_cells():
            if wanted[0] != ABLATIONS[0] or wanted[2] == 0:  # of one arm, one seed only
                cell(grid, *wanted)
        for seed in range(2):
            cell(grid, EQUAL_TRIALS, 40, seed, 8)
        stronger = grid.stronger()[0]
        evaluated(stronger.references()["student"])
        for wanted in stronger.cells():
            cell(stronger, *wanted)
    return grid


@pytest.mark.parametrize("full", [False, True])
def test_the_page_is_written_from_what_is_there(tmp_path: Path, full: bool) -> None:
    grid = _made_up_grid(tmp_path / "grid", (20, 40, 80) if full else (40,), full)
    page = tmp_path / "docs" / "page.md"
    write_report(grid, page)
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"!\[[^]]*\]\(([^)]*)\)", text):
        assert (page.parent / name).stat().st_size > 5000
    labels = [arm.label for arm in (*MAIN_ARMS, *((UNIFORM_TOKENS, EQUAL_TRIALS, *ABLATIONS) if full else ()))]
    labels = [f"{label} (1 of 2 seeds)" if label == ABLATIONS[0].label else label for label in labels]
    assert all(f"| {label} |" in text for label in labels)
    assert ("log-odds at 40 (1 of 2 seeds)" in text) == full
    assert ("beats vanilla at equal trials (ours), 2 of 2 seeds" in text) == full
    for heading in ("## Scaling", "## Where the line runs", "## Why", "## Ablations"):
        assert (heading in text) == full
    assert ("Prop2Diff, student of step 1,650 of 2,200" in text) == full
    assert str(tmp_path) not in text.replace(str(grid.root), "")


def test_planted_outcomes_are_found_again(tmp_path: Path) -> None:
    """Of arms, levels and seeds none is taken for another, also where an arm has one seed only (log-odds: seed 0)."""

    def solves(problem: str, arm: Arm | None, seed: int | None) -> bool:
        easy = problem.startswith("levels-1-")
        if arm is None:
            return False
        if arm.name == "log-odds":
            return easy
        return problem.startswith("levels-5-") if arm.strategy == "prop2diff" else easy and seed == 1

    study = Study(grid := _made_up_grid(tmp_path, (40,), full=True, solves=solves), read_results(grid))
    assert study.difference("vanilla", "prop2diff", ("level 5",)).mean == 1
    assert study.difference("vanilla", "prop2diff", ("level 1",)).mean == -0.5
    assert study.difference("vanilla", "log-odds", ("level 1",)).mean == 1  # of seed 0, in which vanilla solves none
    assert study.gain("vanilla", ("level 1",)).mean == 0.5
    assert study.difference("vanilla", "prop2diff", LEVEL_NAMES).mean == pytest.approx(0.2 - 0.1)
    (stronger,) = [other for other in studies_by_strength(study) if other is not study]
    assert stronger.difference("vanilla", "prop2diff", ("level 5",)).mean == 1
    assert changes([study, stronger])[0][1].mean == 0


def test_an_unfinished_seed_is_left_out(tmp_path: Path) -> None:
    grid = _made_up_grid(tmp_path, (40,), full=False)
    (grid.result(PROP2DIFF, 40, 1).folder(tmp_path) / "outcomes.parquet").unlink()
    (grid.result(PROP2DIFF, 40, 1).folder(tmp_path) / "stage.json").unlink()
    grid.result(PROP2DIFF, 40, 1).folder(tmp_path).rmdir()
    assert read_results(grid).seeds == [0]


def test_a_report_on_nothing_and_a_size_out_of_reach_are_one_line(tmp_path: Path) -> None:
    from click.testing import CliRunner

    for arguments, code, message in (
        (["--only-report"], 1, "no seed in"),
        (["--dry-run", "--queries-per-level", "20"], 2, "fewer responses (--size), or more queries"),
    ):
        ended = CliRunner().invoke(main, [*arguments, "--seeds", "1", "--output", str(tmp_path / "none")])
        assert (ended.exit_code, message in ended.output) == (code, True)


def test_outside_a_checkout_the_command_says_where_to_run_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(main, ["--dry-run"])
    assert ended.exit_code == 1
    assert "root of a checkout" in ended.output
