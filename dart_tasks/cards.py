"""The one writer of model and dataset cards (README.md with Hugging Face metadata).

Text in, text out; writing files and pushing is the caller's part::

    base = source("mistralai/Mistral-7B-v0.1", "base model")
    text = model_card("my-model", base=base, data=[...], recipe={"epochs": "3"})
    check_licence(text)          # before a push: raises CardError, one line, where no licence is known

Whether a card's licence holds is the part of :mod:`dart_tasks.licences`.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from huggingface_hub import CardData, DatasetCardData, EvalResult, ModelCardData

from dart_tasks.console import counted, printable
from dart_tasks.licences import Licence, Source, chosen_licence, licence_label, licence_metadata

__all__ = ["Result", "dataset_card", "markdown_text", "model_card"]


@dataclass(frozen=True)
class Result:
    """One measured score for the card's table and model-index, as a fraction from 0 to 1."""

    benchmark: str
    dataset: str
    split: str
    metric: str
    value: float
    stderr: float | None
    n_items: int
    config: str | None = None
    note: str = ""


_BIBTEX = """\
```bibtex
@inproceedings{tong2024dartmath,
  title={{DART-Math}: Difficulty-Aware Rejection Tuning for Mathematical Problem-Solving},
  author={Yuxuan Tong and Xiwen Zhang and Rui Wang and Ruidong Wu and Junxian He},
  booktitle={Advances in Neural Information Processing Systems},
  year={2024},
  url={https://arxiv.org/abs/2407.13690}
}
```
"""


def model_card(
    name: str,
    *,
    base: Source,
    data: Sequence[Source],
    recipe: Mapping[str, str],
    results: Sequence[Result] = (),
    licence: str | None = None,
    notes: str = "",
) -> str:
    """A model's README.md.

    Args:
        base: the model that was fine-tuned (or evaluated).
        data: the training datasets, and the synthesisers behind them.
        recipe: training settings as shown in a table.
        results: measured scores; they become a table and a valid ``model-index``.
        licence: the owner's choice, where the sources leave one.
        notes: Markdown to put before the tables.

    Raises:
        CardError: ``licence`` contradicts an inherited one.
    """
    chosen = chosen_licence([base, *data], licence)
    metadata = ModelCardData(
        language=["en"],
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["mathematics", "reasoning", "dart-math"],
        **licence_metadata(chosen),
        base_model=base.name if base.on_hub else None,
        datasets=[item.name for item in data if item.role == "training data" and item.on_hub] or None,
        metrics=["accuracy"] if results else None,
        model_name=name,
        eval_results=[_eval_result(result) for result in results] or None,
    )
    sections = [
        f"# {markdown_text(name)}",
        f"Fine-tuned from **{markdown_text(base.name)}** for step-by-step mathematical reasoning with "
        "[DART-Math Suite](https://arxiv.org/abs/2407.13690).",
        notes.strip(),
        _table("Training", ("setting", "value"), list(recipe.items())),
        _results_table(results),
        _licence_section([base, *data], chosen),
        f"## Citation\n\n{_BIBTEX}",
    ]
    return _render(metadata, sections)


def dataset_card(
    name: str,
    *,
    sources: Sequence[Source],
    n_rows: int,
    columns: Mapping[str, str],
    settings: Mapping[str, str],
    licence: str | None = None,
    notes: str = "",
) -> str:
    """A dataset's README.md.

    Args:
        sources: the synthesiser and where the queries come from.
        columns: each column's meaning.
        settings: how it was made (strategy, quotas, temperature, grader version, ...).

    Raises:
        CardError: ``licence`` contradicts an inherited one.
    """
    chosen = chosen_licence(sources, licence)
    metadata = DatasetCardData(
        language=["en"],
        pretty_name=name,
        task_categories=["text-generation"],
        tags=["mathematics", "synthetic", "rejection-sampling", "dart-math"],
        size_categories=[_size_category(n_rows)],
        **licence_metadata(chosen),
    )
    sections = [
        f"# {markdown_text(name)}",
        f"{counted(n_rows, 'response')} to mathematical queries, each checked against its query's reference answer, "
        "made by difficulty-aware rejection sampling ([DART-Math](https://arxiv.org/abs/2407.13690)).",
        notes.strip(),
        _table("Columns", ("column", "meaning"), list(columns.items())),
        _table("How it was made", ("setting", "value"), list(settings.items())),
        _licence_section(sources, chosen),
        f"## Citation\n\n{_BIBTEX}",
    ]
    return _render(metadata, sections)


def markdown_text(text: str) -> str:
    """``text`` as inert Markdown: no HTML, no table breaks, no links, no terminal codes, one line."""
    escaped = html.escape(printable(" ".join(text.split())), quote=False)
    return "".join(f"\\{char}" if char in "\\`*_[]|#~" else char for char in escaped)


def _licence_section(sources: Sequence[Source], licence: Licence | None) -> str:
    rows = [(item.role, item.name, licence_label(item.licence)) for item in sources]
    lines = [_table("Licence", ("source", "name", "licence"), rows)]
    if licence is None:
        lines.append("**The licence of a source is not known: do not redistribute this before it is.**")
    elif licence.terms:
        lines.append(licence.terms)
    return "\n\n".join(lines)


def _size_category(n_rows: int) -> str:
    bounds = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
    return next((label for bound, label in bounds if n_rows < bound), "1M<n<10M")


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [" | ".join(header), " | ".join("---" for _ in header)]
    lines += [" | ".join(markdown_text(str(cell)) for cell in row) for row in rows]
    return f"## {title}\n\n" + "\n".join(f"| {line} |" for line in lines)


def _results_table(results: Sequence[Result]) -> str:
    rows = [
        (
            result.benchmark,
            result.metric,
            f"{100 * result.value:.1f}" + ("" if result.stderr is None else f" ± {100 * result.stderr:.1f}"),
            f"{result.n_items:,}" + (f" ({result.note})" if result.note else ""),
        )
        for result in results
    ]
    return _table("Evaluation", ("benchmark", "metric", "score (%)", "items"), rows)


def _eval_result(result: Result) -> EvalResult:
    return EvalResult(
        task_type="text-generation",
        task_name="Mathematical Problem-Solving",
        dataset_type=result.dataset,
        dataset_name=result.benchmark,
        dataset_config=result.config,
        dataset_split=result.split,
        metric_type="accuracy",
        metric_name=result.metric + (f", {result.note}" if result.note else ""),
        metric_value=round(100 * result.value, 2),
    )


def _render(metadata: CardData, sections: Sequence[str]) -> str:
    return f"---\n{metadata.to_yaml()}\n---\n\n" + "\n\n".join(filter(None, sections)).rstrip() + "\n"
