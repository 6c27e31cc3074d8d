"""A model card from an evaluation run, through the one card writer."""

from __future__ import annotations

from collections.abc import Sequence

from dart_tasks.cards import Result, model_card
from dart_tasks.licences import Source, source
from dart_tasks.problems import BENCHMARKS
from dart_tasks.problems.record import HubSource
from dart_tasks.report.results import Run, TaskResult

__all__ = ["card_of_run", "card_results"]


def card_results(run: Run) -> list[Result]:
    """The run's headline scores as a card states them; partial runs say so."""
    return [_result(task) for task in run.tasks]


def _result(task: TaskResult) -> Result:
    record = BENCHMARKS.get(task.benchmark)
    split = record.splits["test"] if record else None
    hub = split.source if split and isinstance(split.source, HubSource) else None
    shown_config = hub.configs[0] if hub and len(hub.configs) == 1 else None
    metric = f"{'Pass@1' if task.k == 1 else f'mean@{task.k}'} ({task.shots}-shot CoT)"
    return Result(
        benchmark=task.title,
        dataset=hub.repo if hub else task.task,
        split=hub.split if hub else "test",
        metric=metric,
        value=task.accuracy.value,
        stderr=task.accuracy.stderr,
        n_items=task.n_items,
        config=shown_config,
        note="" if task.complete else f"first {task.n_items:,} of {task.n_available:,} items",
    )


def card_of_run(run: Run, base: str, datasets: Sequence[str], synthesisers: Sequence[str], licence: str | None) -> str:
    """The card of the run's model; the licences of its sources as :func:`dart_tasks.cards.source` knows them."""
    data: list[Source] = [source(name, "training data") for name in datasets]
    data += [source(name, "synthesiser") for name in synthesisers]
    data = data or [Source("not named", "training data", None)]
    return model_card(
        run.label,
        base=source(base, "base model"),
        data=data,
        recipe={},
        results=card_results(run),
        licence=licence,
        notes="Scores are by DART-Math Suite's grader, on lm-eval tasks "
        + ", ".join(f"`{task.task}` (version {task.version})" for task in run.tasks)
        + ".",
    )
