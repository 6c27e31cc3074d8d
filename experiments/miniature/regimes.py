"""Where the result turns: the same data sets given to students of different strength, and what explains it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from itertools import pairwise

from dart_tasks.embedded.problems import LEVELS
from experiments.miniature.design import MAIN_ARMS
from experiments.miniature.results import read_results
from experiments.miniature.statistics import Estimate
from experiments.miniature.study import EASY, HARD, LEVEL_NAMES, Study, percent, points, table

__all__ = ["by_strength", "changes", "explanation", "parts_table", "regime_table", "strength", "studies_by_strength"]

COMPARED = MAIN_ARMS[1:]


def studies_by_strength(study: Study) -> list[Study]:
    """The study, and those with stronger students that are finished for the same seeds; the weakest student first."""
    found = [study]
    for grid in study.grid.stronger():
        with contextlib.suppress(FileNotFoundError):
            results = read_results(grid)
            if results.seeds == study.results.seeds and "student" in results.references:
                found.append(Study(grid, results))
    return sorted(found, key=strength)


def strength(study: Study) -> float:
    """The student's accuracy before fine-tuning, over all levels."""
    return study.reference("student", LEVEL_NAMES).mean


def _label(study: Study) -> str:
    return f"knew {strength(study):.0%}"


def by_strength(studies: Sequence[Study]) -> str:
    """What came of Prop2Diff over all levels, student by student."""
    lines = []
    for study in studies:
        against = {
            "above vanilla": study.difference("vanilla", "prop2diff", LEVEL_NAMES),
            "at equal tokens": study.difference("vanilla", "prop2diff-tokens", LEVEL_NAMES),
            "above Uniform": study.difference("uniform", "prop2diff", LEVEL_NAMES),
        }
        numbers = ", ".join(f"{name} {points(difference)}" for name, difference in against.items())
        lines.append(f"- student that {_label(study)} before: {numbers}")
    return "Prop2Diff over all levels, in points, for students of different strength:\n\n" + "\n".join(lines)


def changes(studies: Sequence[Study]) -> list[tuple[str, Estimate]]:
    """By how much more Prop2Diff brings (over all levels, above vanilla) to each student than to the one before."""
    found = []
    for weaker, stronger in pairwise(studies):
        estimate = weaker.bootstraps(len(weaker.results.seeds)).difference(
            weaker.effect("prop2diff"), stronger.effect("prop2diff"), LEVEL_NAMES
        )
        found.append((f"{strength(weaker):.0%} to {strength(stronger):.0%}", estimate))
    return found


def regime_table(studies: Sequence[Study]) -> str:
    """A row for each student and strategy: what it knew, and what each strategy gave it beyond vanilla."""
    rows = []
    for study in studies:
        settings = study.grid.settings
        step = f"{round(settings.student_at * settings.student_steps):,} of {settings.student_steps:,}"
        for arm in study.present(COMPARED):
            rows.append(
                [
                    f"{arm.label}, student of step {step}",
                    percent(study.reference("student", LEVEL_NAMES)),
                    points(study.gain("vanilla", LEVEL_NAMES)),
                    *(points(study.difference("vanilla", arm.name, group)) for group in (LEVEL_NAMES, EASY, HARD)),
                ]
            )
    headings = ["", "student before", "vanilla's gain", "above vanilla: all levels", "levels 1 to 3", "levels 4 and 5"]
    return table(headings, rows)


def parts_table(studies: Sequence[Study]) -> str:
    """The difference over all levels as the sum of its parts, and where each student had room left."""
    rows = []
    for study in studies:
        easy, hard, whole = (
            study.difference("vanilla", "prop2diff", group).mean for group in (EASY, HARD, LEVEL_NAMES)
        )
        parts = (len(EASY) * easy / len(LEVEL_NAMES), len(HARD) * hard / len(LEVEL_NAMES), whole)
        rooms = {
            name: study.reference("synthesiser", (name,)).mean - study.reference("student", (name,)).mean
            for name in LEVEL_NAMES
        }
        share = sum(rooms[name] for name in HARD) / sum(rooms.values()) if sum(rooms.values()) > 0 else float("nan")
        rows.append([f"student that {_label(study)}", *(f"{100 * part:+.1f}" for part in parts), f"{share:.0%}"])
    headings = ["", "from levels 1 to 3", "from levels 4 and 5", "Prop2Diff above vanilla", "room on levels 4 and 5"]
    return table(headings, rows)


def explanation(studies: Sequence[Study]) -> str:
    """Level by level: where the responses went, and what came of it."""
    base = studies[0]
    rows = []
    for what, arm in (("vanilla", "vanilla"), ("Prop2Diff", "prop2diff")):
        cells = [f"{_responses(base, arm, level):,.0f}" for level in LEVELS]
        rows.append([f"Responses, {what}", *cells])
    for study in studies:
        gains = [points(study.gain("vanilla", (name,))) for name in LEVEL_NAMES]
        rows.append([f"Student that {_label(study)}: vanilla's gain", *gains])
        differences = [points(study.difference("vanilla", "prop2diff", (name,))) for name in LEVEL_NAMES]
        rows.append([f"Student that {_label(study)}: Prop2Diff above vanilla", *differences])
    return table(["", *LEVEL_NAMES], rows)


def _responses(study: Study, arm: str, level: int) -> float:
    return study.mean(arm, lambda run: run.data.responses_by_level.get(str(level), 0))
