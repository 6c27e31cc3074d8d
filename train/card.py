"""The text of the exported model's README.md, through the project's one card writer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from dart_tasks.cards import Result, model_card
from dart_tasks.licences import CardError, source
from train.errors import UserError

__all__ = ["card", "read_scores"]


def read_scores(path: Path) -> list[Result]:
    """lm-eval's results of our tasks, as a card shows them.

    Raises:
        UserError: the file is no lm-eval results file, or has no accuracy in it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        results, counts = content["results"], content.get("n-samples", {})
        items = [
            (str(task), dict(scores), int(dict(counts.get(task, {})).get("effective", 0)))
            for task, scores in results.items()
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"--scores {path} is not a results file of lm-eval ({type(error).__name__})") from error
    found = []
    for task, scores, n_items in items:
        key = next((name for name in scores if name.split(",")[0] in ("acc", "exact_match")), None)
        if key is None or not isinstance(scores[key], (int, float)):
            continue
        stderr = scores.get(key.replace(",", "_stderr,", 1))
        found.append(
            Result(
                benchmark=str(scores.get("alias", task)).strip(" -"),
                dataset=task,
                split="test",
                metric="accuracy",
                value=float(scores[key]),
                stderr=float(stderr) if isinstance(stderr, (int, float)) else None,
                n_items=n_items,
            )
        )
    if not found:
        raise UserError(f"--scores {path} holds no accuracy (acc or exact_match) of any task")
    return found


def card(
    name: str,
    *,
    base: str,
    data: Sequence[str],
    recipe: Mapping[str, str],
    licence: str | None,
    scores: Path | None,
) -> str:
    """The card of the model ``name``.

    Raises:
        UserError: the licence asked for drops inherited terms, or the scores cannot be read.
    """
    try:
        return model_card(
            name,
            base=source(base, "base model"),
            data=[source(name, "training data") for name in dict.fromkeys(data)],
            recipe=recipe,
            results=read_scores(scores) if scores else (),
            licence=licence,
        )
    except CardError as error:
        raise UserError(f"--licence: {error}" if licence else str(error)) from error
