"""The data set card of a run or a curated selection: its facts, and the licences it inherits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from synth.config import RunConfig, rows
from synth.export import Layout

__all__ = ["COLUMNS", "run_card", "selection_card", "settings_of"]

COLUMNS = {
    "query": "the problem",
    "response": "a solution that ends in the reference answer",
    "messages": "the problem and such a solution, as a conversation",
    "query_id": "the problem's id",
    "trial": "number of the sampling attempt at this problem, from 0",
    "answer": "the answer found in the response",
    "reference": "the reference answer",
    "level": "difficulty as the source states it",
    "domain": "domain as the source states it",
    "dataset": "where the problem comes from",
    "benchmark": "policy under which the answer was judged",
    "n_tokens": "tokens of the response",
    "finish_reason": "how the response ended; one cut at the length limit is not kept",
    "fail_rate": "share of wrong trials that decided the problem's quota",
}


def settings_of(config: RunConfig, grader_version: str) -> dict[str, str]:
    """How the run was made, as the card's table shows it; model and data sets are among its sources."""
    said = {name: text for name, text in rows(config, identity=True).items() if name not in ("model", "data set")}
    return {**said, "grader": f"dart_tasks.grading {grader_version}"}


def run_card(config: RunConfig, grader_version: str, n_rows: int, configs: str, licence: str | None = None) -> str:
    """The card of a run's data set. ``configs`` is the YAML that names the files."""
    from dart_tasks.licences import source

    model = source(config.model_name or config.model, "synthesiser")
    sources = [model, *(source(spec.path, "queries") for spec in config.datasets)]
    name = f"DARS {config.strategy} responses"
    columns = Layout(config.dataset_format).columns
    return selection_card(name, sources, n_rows, columns, settings_of(config, grader_version), configs, licence)


def selection_card(
    name: str,
    sources: Sequence[Any],
    n_rows: int,
    columns: Iterable[str],
    settings: Mapping[str, str],
    configs: str,
    licence: str | None = None,
    notes: str = "",
) -> str:
    """A data set's card with the file configurations in its metadata."""
    from dart_tasks.cards import dataset_card

    told = {column: COLUMNS[column] for column in columns}
    text = dataset_card(
        name, sources=sources, n_rows=n_rows, columns=told, settings=settings, licence=licence, notes=notes
    )
    head, separator, body = text.partition("---\n")
    return f"{head}{separator}{configs}{body}"
