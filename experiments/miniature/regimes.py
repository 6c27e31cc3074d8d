"""Where the result turns: the same data sets given to students of different strength, and what explains it."""

from __future__ import annotations

from collections.abc import Sequence

from dart_tasks.embedded.problems import LEVELS
from experiments.miniature.design import MAIN_ARMS, Grid
from experiments.miniature.results import read_results
from experiments.miniature.study import EASY, HARD, LEVEL_NAMES, Study, percent, points, table

__all__ = ["explanation", "hard_share", "regime_table", "strength", "studies_by_strength"]

COMPARED = MAIN_ARMS[1:]


def studies_by_strength(study: Study) -> list[Study]:
    """The study and those with stronger students of which a seed is finished, the weakest student first."""
    found = [study]
    for grid in study.grid.stronger():
        found += _study(grid)
    return sorted(found, key=strength)


def _study(grid: Grid) -> list[Study]:
    try:
        results = read_results(grid)
    except FileNotFoundError:
        return []
    return [Study(grid, results)] if "student" in results.references else []


def strength(study: Study) -> float:
    """The student's accuracy before fine-tuning, over all levels."""
    return study.reference("student", LEVEL_NAMES).mean


def _label(study: Study) -> str:
    return f"{study.grid.settings.student_at:.0%}"


def regime_table(studies: Sequence[Study]) -> str:
    """A row for each student and strategy: what it knew, and what each strategy gave it beyond vanilla."""
    rows = []
    for study in studies:
        for arm in study.present(COMPARED):
            rows.append(
                [
                    f"{_label(study)}: {arm.label}",
                    percent(study.reference("student", LEVEL_NAMES)),
                    points(study.gain("vanilla", LEVEL_NAMES)),
                    *(points(study.difference("vanilla", arm.name, group)) for group in (LEVEL_NAMES, EASY, HARD)),
                    str(len(study.results.seeds)),
                ]
            )
    headings = ["student taken at", "its accuracy before", "vanilla's gain", "above vanilla: all levels",
                "levels 1 to 3", "levels 4 and 5", "seeds"]  # fmt: skip
    return table(headings, rows)


def explanation(studies: Sequence[Study]) -> str:
    """Level by level: where the responses went, what there was to learn, and what came of it."""
    base = studies[0]
    rows = []
    for what, arm in (("vanilla", "vanilla"), ("Prop2Diff", "prop2diff")):
        cells = [f"{_responses(base, arm, level):,.0f}" for level in LEVELS]
        rows.append([f"Responses, {what}", *cells])
    for study in studies:
        gains = [points(study.gain("vanilla", (name,))) for name in LEVEL_NAMES]
        rows.append([f"Student at {_label(study)}: vanilla's gain", *gains])
        rows.append([f"Student at {_label(study)}: best strategy's gain",
                     *(f"{100 * learnable(study, name):.1f}" for name in LEVEL_NAMES)])  # fmt: skip
        differences = [points(study.difference("vanilla", "prop2diff", (name,))) for name in LEVEL_NAMES]
        rows.append([f"Student at {_label(study)}: Prop2Diff above vanilla", *differences])
    return table(["", *LEVEL_NAMES], rows)


def _responses(study: Study, arm: str, level: int) -> float:
    return study.mean(arm, lambda run: run.data.responses_by_level.get(str(level), 0))


def learnable(study: Study, level: str) -> float:
    """What the data of the best strategy taught this student at a level; 0 where all did harm."""
    return max(0.0, *(study.gain(arm.name, (level,)).mean for arm in study.present(MAIN_ARMS)))


def hard_share(study: Study) -> float | None:
    """The share of what could be learned (over the levels) that lies on the hard levels; None where nothing could."""
    total = sum(learnable(study, level) for level in LEVEL_NAMES)
    return sum(learnable(study, level) for level in HARD) / total if total else None
