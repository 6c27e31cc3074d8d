"""Licences of models and data sets: what is known of them, and what something made from them has to carry.

A model inherits the licence of its base model, and, through its training data, that of the synthesiser: permissive
ones fold into each other, a restrictive one stays (DeepSeek's use restrictions, Llama's naming rule), two restrictive
ones are both listed. A card whose sources are not all known has no licence, and is not to be pushed.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from dart_tasks.problems import BENCHMARKS

__all__ = [
    "CardError",
    "Licence",
    "Role",
    "Source",
    "check_licence",
    "chosen_licence",
    "inherited_licence",
    "licence_label",
    "licence_metadata",
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

    @property
    def on_hub(self) -> bool:
        """Whether the name is one on the hub, rather than a folder's."""
        return _is_hub_name(self.name)


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
    ("hendrycks/competition_math", _MIT),
    ("hkust-nlp/dart-math-*", _MIT),
    ("dart-math-suite/embedded*", _APACHE),
    *(
        (repo.lower(), Licence(record.licence.lower()))
        for record in BENCHMARKS.values()
        for repo in record.repos
        if " " not in record.licence  # one licence for all items
    ),
)


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


def chosen_licence(sources: Sequence[Source], own: str | None) -> Licence | None:
    if own is None:
        return inherited_licence(sources)
    # The owner may speak for a source whose licence is not known here, but not against those that are.
    inherited = inherited_licence([item for item in sources if item.licence is not None])
    if inherited is not None and not inherited.permissive and own.lower() not in {inherited.id, inherited.name}:
        label = inherited.name or inherited.id
        raise CardError(f"licence {own!r} would drop the {label} terms inherited from the sources: leave it out")
    return inherited if inherited is not None and not inherited.permissive else Licence(own.lower())


def licence_metadata(licence: Licence | None) -> dict[str, Any]:
    if licence is None:
        return {}
    other = licence.id == "other"
    return {
        "license": licence.id,
        "license_name": licence.name if other else None,
        "license_link": licence.link if other else None,
    }


def licence_label(licence: Licence | None) -> str:
    return "not known" if licence is None else licence.name or licence.id


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


def _is_hub_name(name: str) -> bool:
    return name.count("/") == 1 and not name.startswith((".", "/", "~"))


def _metadata(card: str) -> dict[str, Any]:
    if not card.startswith("---\n"):
        return {}
    front, mark, _ = card[4:].partition("\n---\n")
    loaded = yaml.safe_load(front) if mark else None
    return loaded if isinstance(loaded, dict) else {}
