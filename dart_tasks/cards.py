"""The one writer of model and dataset cards (README.md with Hugging Face metadata), and the licence rules they keep.

Text in, text out; writing files and pushing is the caller's part::

    base = source("mistralai/Mistral-7B-v0.1", "base model")
    text = model_card("my-model", base=base, data=[...], recipe={"epochs": "3"})
    check_licence(text)          # before a push: raises CardError, one line, where no licence is known

A model inherits the licence of its base model, and, through its training data, that of the synthesiser: permissive
ones fold into each other, a restrictive one stays (DeepSeek's use restrictions, Llama's naming rule), two restrictive
ones are both listed. A card whose sources are not all known has no licence, and is not to be pushed.
"""

from __future__ import annotations

import fnmatch
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

__all__ = [
    "CardError",
    "Licence",
    "Result",
    "Source",
    "check_licence",
    "dataset_card",
    "inherited_licence",
    "markdown_text",
    "model_card",
    "source",
]

Role = Literal["base model", "synthesiser", "queries", "training data"]


class CardError(ValueError):
    """A card that must not be published as it is; the message is one line."""


@dataclass(frozen=True)
class Licence:
    """A licence as the hub names it.

    Attributes:
        id: the hub's identifier, or ``other`` with ``name`` and ``link``.
        terms: what derivatives must observe, in a sentence; empty for permissive licences.
        name_prefix: how the name of a derived model must begin, where the licence says so.
    """

    id: str
    name: str | None = None
    link: str | None = None
    terms: str = ""
    name_prefix: str | None = None

    @property
    def permissive(self) -> bool:
        """Whether derivatives may carry another licence."""
        return self.id in _PERMISSIVE


@dataclass(frozen=True)
class Source:
    """Something that a model or dataset is made from; ``licence`` is None where it is not known."""

    name: str
    role: Role
    licence: Licence | None


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


_EMBEDDED = Path(__file__).resolve().parent / "embedded"
_PERMISSIVE = ("mit", "apache-2.0", "bsd-3-clause", "cc-by-4.0", "cc0-1.0")
_DEEPSEEK = Licence(
    "other",
    "deepseek",
    "https://github.com/deepseek-ai/DeepSeek-Math/blob/main/LICENSE-MODEL",
    "DeepSeek's use restrictions (Attachment A of its model licence) apply to derivatives and to models trained on its "
    "outputs.",
)
_LLAMA3 = Licence(
    "llama3",
    None,
    "https://llama.meta.com/llama3/license/",
    'Built with Meta Llama 3. Names of derived models begin with "Llama-3", and the Acceptable Use Policy applies.',
    "Llama-3",
)
_LLAMA31 = Licence(
    "llama3.1",
    None,
    "https://llama.meta.com/llama3_1/license/",
    'Built with Llama. Names of models made with it or its outputs begin with "Llama", and the Acceptable Use Policy '
    "applies.",
    "Llama",
)
_APACHE = Licence("apache-2.0")
_MIT = Licence("mit")
_KNOWN: tuple[tuple[str, Licence], ...] = (
    ("deepseek-ai/deepseek-math*", _DEEPSEEK),
    ("meta-llama/meta-llama-3-*", _LLAMA3),
    ("meta-llama/meta-llama-3.1-*", _LLAMA31),
    ("meta-llama/llama-3.1-*", _LLAMA31),
    ("mistralai/mistral-7b-*", _APACHE),
    ("huggingfacetb/smollm2-*", _APACHE),
    ("eleutherai/hendrycks_math", _MIT),
    ("hendrycks/competition_math", _MIT),
    ("openai/gsm8k", _MIT),
    ("hkust-nlp/gsm8k-fix", _MIT),
    ("hkust-nlp/dart-math-*", _MIT),
    ("dart-math-suite/embedded*", _APACHE),
)
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


def source(name: str, role: Role, licence: str | None = None) -> Source:
    """A source by hub name or local folder, its licence as given, as known here, or as its own card states.

    A local folder may hold a ``README.md`` whose metadata names the licence (as ours do).
    """
    if licence is not None:
        known = {item.id: item for _, item in _KNOWN if item.id != "other"} | {"deepseek": _DEEPSEEK}
        return Source(name, role, known.get(licence.lower(), Licence(licence.lower())))
    for pattern, found in _KNOWN:
        if fnmatch.fnmatch(name.lower(), pattern):
            return Source(name, role, found)
    if Path(name).resolve().is_relative_to(_EMBEDDED):
        return Source(f"dart-math-suite/embedded-{Path(name).name}", role, _APACHE)
    # A card is published: of a local folder it shows the name, not the path.
    shown = name if _is_hub_name(name) else Path(name).resolve().name
    return Source(shown, role, _licence_of_card(Path(name) / "README.md"))


def _licence_of_card(path: Path) -> Licence | None:
    if not path.is_file():
        return None
    metadata = _metadata(path.read_text(encoding="utf-8"))
    if not metadata.get("license"):
        return None
    identifier, name = str(metadata["license"]), metadata.get("license_name")
    for known in (_DEEPSEEK, _LLAMA3, _LLAMA31):
        if (identifier, name) == (known.id, known.name):
            return known
    return Licence(identifier, name, metadata.get("license_link"), str(metadata.get("license_terms", "")))


def inherited_licence(sources: Sequence[Source]) -> Licence | None:
    """The licence that something made from ``sources`` has to carry, or None if one of them is not known."""
    licences = [item.licence for item in sources]
    if not licences or any(item is None for item in licences):
        return None
    restrictive: list[Licence] = []
    for item in licences:
        assert item is not None
        if not item.permissive and item not in restrictive:
            restrictive.append(item)
    if not restrictive:
        return next((item for item in licences if item == _APACHE), licences[0])
    if len(restrictive) == 1:
        return restrictive[0]
    prefix = next((item.name_prefix for item in restrictive if item.name_prefix), None)
    return Licence(
        "other",
        "-and-".join(item.name or item.id for item in restrictive),
        restrictive[0].link,
        " ".join(item.terms for item in restrictive),
        prefix,
    )


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
    chosen = _choose([base, *data], licence)
    metadata: dict[str, Any] = {
        "language": ["en"],
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["mathematics", "reasoning", "dart-math"],
        **_licence_metadata(chosen),
        "base_model": base.name if _is_hub_name(base.name) else None,
        "datasets": [item.name for item in data if item.role == "training data" and _is_hub_name(item.name)] or None,
        "metrics": ["accuracy"] if results else None,
        "model-index": _model_index(name, results) if results else None,
    }
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
    chosen = _choose(sources, licence)
    metadata: dict[str, Any] = {
        "language": ["en"],
        "pretty_name": name,
        "task_categories": ["text-generation"],
        "tags": ["mathematics", "synthetic", "rejection-sampling", "dart-math"],
        "size_categories": [_size_category(n_rows)],
        **_licence_metadata(chosen),
    }
    sections = [
        f"# {markdown_text(name)}",
        f"{n_rows:,} responses to mathematical queries, each checked against its query's reference answer, made by "
        "difficulty-aware rejection sampling ([DART-Math](https://arxiv.org/abs/2407.13690)).",
        notes.strip(),
        _table("Columns", ("column", "meaning"), list(columns.items())),
        _table("How it was made", ("setting", "value"), list(settings.items())),
        _licence_section(sources, chosen),
        f"## Citation\n\n{_BIBTEX}",
    ]
    return _render(metadata, sections)


def check_licence(card: str, name: str | None = None) -> None:
    """Refuse to publish under a card that lacks a licence, or under a name that its licence does not allow.

    Args:
        card: the README.md's text.
        name: the repository's name (``user/name``), where there is a rule about names to check.

    Raises:
        CardError: with one line that says what to do.
    """
    metadata = _metadata(card)
    if not metadata.get("license"):
        raise CardError(
            "refusing to push without a licence: the licence of a source is not known; name it (for example "
            "--license apache-2.0) once you have checked that its terms allow it"
        )
    terms = [str(metadata["license"]), *str(metadata.get("license_name") or "").split("-and-")]
    for rule in (_LLAMA3, _LLAMA31):
        bare = name.rsplit("/", 1)[-1] if name else None
        if rule.id in terms and bare is not None and rule.name_prefix and not bare.startswith(rule.name_prefix):
            raise CardError(f"the {rule.id} licence wants the name to begin with {rule.name_prefix!r} (got {bare!r})")


def markdown_text(text: str) -> str:
    """``text`` as inert Markdown: no HTML, no table breaks, no links, one line."""
    escaped = html.escape(" ".join(text.split()), quote=False)
    return "".join(f"\\{char}" if char in "\\`*_[]|#~" else char for char in escaped)


def _choose(sources: Sequence[Source], own: str | None) -> Licence | None:
    if own is None:
        return inherited_licence(sources)
    # The owner may speak for a source whose licence is not known here, but not against those that are.
    inherited = inherited_licence([item for item in sources if item.licence is not None])
    if inherited is not None and not inherited.permissive and own.lower() not in {inherited.id, inherited.name}:
        label = inherited.name or inherited.id
        raise CardError(f"licence {own!r} would drop the {label} terms inherited from the sources: leave it out")
    return inherited if inherited is not None and not inherited.permissive else Licence(own.lower())


def _licence_metadata(licence: Licence | None) -> dict[str, str | None]:
    if licence is None:
        return {}
    other = licence.id == "other"
    return {
        "license": licence.id,
        "license_name": licence.name if other else None,
        "license_link": licence.link if other else None,
    }


def _licence_section(sources: Sequence[Source], licence: Licence | None) -> str:
    rows = [(item.role, item.name, _licence_label(item.licence)) for item in sources]
    lines = [_table("Licence", ("source", "name", "licence"), rows)]
    if licence is None:
        lines.append("**The licence of a source is not known: do not redistribute this before it is.**")
    elif licence.terms:
        lines.append(licence.terms)
    return "\n\n".join(lines)


def _licence_label(licence: Licence | None) -> str:
    return "not known" if licence is None else licence.name or licence.id


def _is_hub_name(name: str) -> bool:
    return name.count("/") == 1 and not name.startswith((".", "/", "~"))


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


def _model_index(name: str, results: Sequence[Result]) -> list[dict[str, Any]]:
    """The hub's ``model-index`` (huggingface_hub.EvalResult is its reader)."""
    entries = []
    for result in results:
        dataset = {"type": result.dataset, "name": result.benchmark, "config": result.config, "split": result.split}
        label = result.metric + (f", {result.note}" if result.note else "")
        entries.append(
            {
                "task": {"type": "text-generation", "name": "Mathematical Problem-Solving"},
                "dataset": {key: value for key, value in dataset.items() if value is not None},
                "metrics": [{"type": "accuracy", "name": label, "value": round(100 * result.value, 2)}],
            }
        )
    return [{"name": name, "results": entries}]


def _render(metadata: Mapping[str, Any], sections: Sequence[str]) -> str:
    present = {key: value for key, value in metadata.items() if value is not None}
    front = yaml.safe_dump(present, sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{front}---\n\n" + "\n\n".join(section for section in sections if section).rstrip() + "\n"


def _metadata(card: str) -> dict[str, Any]:
    if not card.startswith("---\n"):
        return {}
    front, mark, _ = card[4:].partition("\n---\n")
    loaded = yaml.safe_load(front) if mark else None
    return loaded if isinstance(loaded, dict) else {}
