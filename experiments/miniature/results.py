"""Read what the stages left: one :class:`Run` for each arm, size and seed that is finished."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experiments.miniature.cut import Summary, read_summary
from experiments.miniature.design import EQUAL_TRIALS, PROP2DIFF, Arm, Grid
from experiments.miniature.outcomes import read_correct
from experiments.miniature.stages import Stage, read_record

__all__ = ["QueryTrials", "Results", "Run", "equal_trials_k", "fail_rates", "read_pool", "read_results"]


@dataclass(frozen=True)
class QueryTrials:
    """What a run spent on a query."""

    query_id: str
    level: int
    n_trials: int
    n_correct: int


@dataclass(frozen=True)
class Run:
    """One fine-tuned student, its data and what the data cost."""

    seed: int
    correct: dict[str, bool]
    data: Summary
    pool: list[QueryTrials]
    seconds: dict[str, float]
    """Wall time of the stages ``pool``, ``train`` and ``evaluate``."""


@dataclass(frozen=True)
class Results:
    """Everything that is there.

    Attributes:
        seeds: those for which the default grid is finished.
        runs: by arm and size, in the order of seeds; where not of the default grid, perhaps of a part of them.
        missing: what is not finished of the full grid, in words; empty where nothing of it was begun.
    """

    seeds: list[int]
    problems: list[str]
    runs: dict[tuple[str, int], list[Run]]
    references: dict[str, dict[str, bool]]
    missing: list[str]

    def outcomes(self, arm: str, size: int, seeds: Collection[int]) -> NDArray[np.float64]:
        """One row for each of these seeds, one column for each problem."""
        return self._array([run.correct for run in self.runs[arm, size] if run.seed in seeds])

    def reference(self, name: str) -> NDArray[np.float64]:
        """The same model for every seed."""
        return self._array([self.references[name]] * len(self.seeds))

    def _array(self, rows: Sequence[dict[str, bool]]) -> NDArray[np.float64]:
        return np.array([[row[problem] for problem in self.problems] for row in rows], dtype=np.float64)

    def strata(self) -> dict[str, list[int]]:
        """Columns by level (``level 1``, ...) and by variation (``longer``, ``wording``)."""
        found: dict[str, list[int]] = {}
        for column, problem in enumerate(self.problems):
            name, level, _ = problem.split("-")
            found.setdefault(f"level {level}" if name == "levels" else name, []).append(column)
        return found


def read_pool(folder: Path) -> list[QueryTrials]:
    """What a synthesis run spent, query by query."""
    import pyarrow.parquet as pq

    columns = ["query_id", "level", "n_trials", "n_correct"]
    rows = pq.read_table(folder / "dataset" / "queries" / "train.parquet", columns=columns).to_pylist()
    return [QueryTrials(**row) for row in rows]


def equal_trials_k(grid: Grid, seed: int) -> int | None:
    """Trials of a query with which vanilla spends as many as Prop2Diff did; None before that has run."""
    folder = grid.pool(PROP2DIFF, grid.settings.main_size, seed).folder(grid.root)
    if not folder.is_dir():
        return None
    queries = read_pool(folder)
    return max(1, round(sum(query.n_trials for query in queries) / len(queries)))


def fail_rates(pools: Iterable[Sequence[QueryTrials]]) -> dict[str, float]:
    """Share of wrong trials of each query, over all pools of a seed together."""
    trials: dict[str, int] = {}
    correct: dict[str, int] = {}
    for pool in pools:
        for query in pool:
            trials[query.query_id] = trials.get(query.query_id, 0) + query.n_trials
            correct[query.query_id] = correct.get(query.query_id, 0) + query.n_correct
    return {query_id: 1 - correct[query_id] / count for query_id, count in trials.items() if count}


def _run(grid: Grid, arm: Arm, size: int, seed: int, k: int | None) -> Run | None:
    stages: dict[str, Stage] = {
        "pool": grid.pool(arm, size, seed, k),
        "data": grid.data(arm, size, seed, k),
        "train": grid.model(arm, size, seed, k),
        "evaluate": grid.result(arm, size, seed, k),
    }
    folders = {name: stage.folder(grid.root) for name, stage in stages.items()}
    if not all(folder.is_dir() for folder in folders.values()):
        return None
    seconds = {name: read_record(folder).seconds for name, folder in folders.items()}
    return Run(
        seed, read_correct(folders["evaluate"]), read_summary(folders["data"]), read_pool(folders["pool"]), seconds
    )


def read_results(grid: Grid) -> Results:
    """What is finished, for the seeds for which the default grid is.

    Raises:
        FileNotFoundError: it is for none.
    """
    cells: dict[tuple[str, int], dict[int, Run]] = {}
    wanted = [(*cell, None) for cell in (*grid.cells(), *grid.extra_cells())]
    equal = [(EQUAL_TRIALS, grid.settings.main_size, seed, equal_trials_k(grid, seed)) for seed in _seeds(grid)]
    for arm, size, seed, k in wanted + [cell for cell in equal if cell[3]]:
        run = _run(grid, arm, size, seed, k)
        cells.setdefault((arm.name, size), {}).update({seed: run} if run else {})
    default = {(arm.name, size) for arm, size, _ in grid.cells()}
    seeds = [seed for seed in _seeds(grid) if all(seed in cells[key] for key in default)]
    if not seeds:
        raise FileNotFoundError(f"no seed in {grid.root} is finished: run the grid first")
    runs = {key: [found[seed] for seed in seeds if seed in found] for key, found in cells.items()}
    references = {
        name: read_correct(stage.folder(grid.root))
        for name, stage in grid.references().items()
        if stage.folder(grid.root).is_dir()
    }
    begun = any(runs[key] for key in runs.keys() - default)
    missing = [
        f"{name} at {size:,} ({len(found)} of {len(seeds)} seeds)"
        for (name, size), found in runs.items()
        if begun and len(found) < len(seeds)
    ]
    problems = sorted(next(iter(runs.values()))[0].correct)
    return Results(seeds, problems, {key: found for key, found in runs.items() if found}, references, missing)


def _seeds(grid: Grid) -> range:
    return range(grid.settings.seeds)
