"""The exported model's README.md, through the project's one card writer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from dart_tasks.cards import CardError, Result, model_card, source
from train.errors import UserError

__all__ = ["read_scores", "write_card"]


def read_scores(path: Path) -> list[Result]:
    """lm-eval's results of our tasks, as a card shows them.

    Raises:
        UserError: the file is no lm-eval results file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        results, counts = content["results"], content.get("n-samples", {})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"--scores {path} is not a results file of lm-eval ({type(error).__name__})") from error
    found = []
    for task, scores in results.items():
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
                n_items=int(counts.get(task, {}).get("effective", 0)),
            )
        )
    return found


def write_card(
    output_dir: Path,
    *,
    base: str,
    data: Sequence[str],
    recipe: Mapping[str, str],
    licence: str | None,
    scores: Path | None,
) -> None:
    """Write README.md beside the model.

    Raises:
        UserError: the licence asked for drops inherited terms, or the scores cannot be read.
    """
    try:
        card = model_card(
            output_dir.resolve().name,
            base=source(base, "base model"),
            data=[source(name, "training data") for name in dict.fromkeys(data)],
            recipe=recipe,
            results=read_scores(scores) if scores else (),
            licence=licence,
        )
    except CardError as error:
        raise UserError(str(error)) from error
    (output_dir / "README.md").write_text(card, encoding="utf-8")
