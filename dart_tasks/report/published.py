"""The published table that our scores stand beside: DART-Math's models and their baselines, from a data file.

The averages are computed, not copied, so that slips of the printed table show and can be noted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

__all__ = ["PublishedRow", "PublishedTable", "published_table"]


@dataclass(frozen=True)
class PublishedRow:
    """A model's published scores in percent, by benchmark name; benchmarks that were not reported are absent."""

    model: str
    scores: Mapping[str, float]
    printed_average: float | None

    @property
    def average(self) -> float | None:
        """The unweighted mean of the six scores, or None where one is missing."""
        return sum(self.scores.values()) / len(self.scores) if len(self.scores) == 6 else None


@dataclass(frozen=True)
class PublishedTable:
    """The rows, where they are from, who judged them, and what is wrong in the source."""

    rows: tuple[PublishedRow, ...]
    source: str
    retrieved: str
    judged_by: str
    slips: tuple[str, ...]


@cache
def published_table() -> PublishedTable:
    """The table in ``published.json``, checked for slips."""
    data = json.loads(resources.files("dart_tasks.report").joinpath("published.json").read_text(encoding="utf-8"))
    names = data["benchmarks"]
    rows = tuple(
        PublishedRow(
            row["model"],
            {name: score for name, score in zip(names, row["scores"], strict=True) if score is not None},
            row["printed_average"],
        )
        for row in data["rows"]
    )
    slips = [
        f"The source prints {row.printed_average:.1f} as the average of {row.model}; its six scores average "
        f"{row.average:.1f}."
        for row in rows
        if row.average is not None and row.printed_average is not None and abs(row.average - row.printed_average) > 0.06
    ]
    for index in data["model_indexes"]:
        scores = dict(zip(names, index["scores"], strict=True))
        owner = next(row.model for row in rows if row.scores == scores)
        if owner != index["says"]:
            slips.append(f"The model-index of {index['card']} is named {index['name']} but carries the row of {owner}.")
    return PublishedTable(rows, data["source"], data["retrieved"], data["judged_by"], tuple(slips))
