"""The records: a problem, from source to score and to training data; and a benchmark, all that is known of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "GENERIC",
    "Benchmark",
    "Exemplar",
    "FileSource",
    "HubSource",
    "Parsed",
    "Policy",
    "Problem",
    "QuerySource",
    "Reference",
    "Row",
    "Split",
]

GENERIC = "generic"
"""The benchmark of problems that are of none."""

Row = Mapping[str, Any]
Reference = str | bool | int | float | list[int] | list[float] | list[str]
Facets = Mapping[str, str | int | bool | None]
Parsed = tuple[str, Reference, float | None, Facets]
"""What a row says: query, reference, tolerance, metadata."""

_DOMAINS = ("domain", "subject", "topic", "subfield")


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem with its reference answer: what is evaluated on, and what responses are sampled for.

    Attributes:
        id: unique in its set, and the same wherever the set is loaded from.
        query: the problem's text as a model is to see it, without any prompt template.
        reference: in the source's native type.
        benchmark: whose grading policy applies.
        dataset: the set that it was read from, where several are mixed.
        fail_rate: the share of wrong responses, where a column gave it beforehand.
        tolerance: absolute error allowed by the benchmark for this item (OlympiadBench's ``error``), or None.
        metadata: facets to report by (level, subject, ...), and flags such as ``picture``.
    """

    id: str
    query: str
    reference: Any
    benchmark: str = GENERIC
    dataset: str = ""
    fail_rate: float | None = None
    tolerance: float | None = None
    metadata: Facets = field(default_factory=dict)

    @property
    def level(self) -> int | None:
        """The difficulty; None where the source does not say (MATH train has two items of "Level ?")."""
        value = self.metadata.get("level")
        return value if isinstance(value, int) else None

    @property
    def domain(self) -> str | None:
        """The part of mathematics, under whichever name the source has for it."""
        return next((str(value) for key in _DOMAINS if (value := self.metadata.get(key)) is not None), None)


@dataclass(frozen=True)
class Exemplar:
    """A query, its worked solution without the closing sentence, the answer, and how that sentence begins."""

    query: str
    solution: str
    answer: str
    closing: str = "The answer is"

    @property
    def response(self) -> str:
        """The solution with its answer stated."""
        return f"{self.solution} {self.closing} \\boxed{{{self.answer}}}."


@dataclass(frozen=True)
class Policy:
    """How a benchmark's answers are compared, where notation leaves it open.

    Attributes:
        absolute_tolerance: an item's tolerance is an absolute error, rather than one relative to the reference.
        float_tolerance: relative error allowed to references that are floats (and to nothing else), as text.
        text_sequences: a reference in text is a sequence: ordered if its numbers stand apart by spaces alone, else a
            list whose brackets do not matter.
    """

    absolute_tolerance: bool = False
    float_tolerance: str | None = None
    text_sequences: bool = False


@dataclass(frozen=True)
class HubSource:
    """A dataset on the Hugging Face hub; several configurations are read one after the other.

    ``revision`` is the commit it is pinned to, or None where none is known: then it is the newest.
    """

    repo: str
    revision: str | None
    split: str
    configs: tuple[str | None, ...] = (None,)


@dataclass(frozen=True)
class FileSource:
    """A plain file at a pinned URL."""

    url: str
    sha256: str


@dataclass(frozen=True)
class Split:
    """One split: its file name in a local folder, the row counts that are right, and where it comes from otherwise."""

    file_name: str
    rows: tuple[int, ...]
    source: HubSource | FileSource


@dataclass(frozen=True)
class QuerySource:
    """Queries to synthesise for, which ``dart-synth --dataset`` knows by name.

    ``columns`` names those that a run has to name (``query_column``, ...); the others are found by their usual names.
    """

    source: HubSource
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Benchmark:
    """All that is known of one benchmark.

    Attributes:
        title: the name shown in tables.
        place: its place in tables and groups.
        groups: the lm-eval groups that it is a member of, without ``dart_math_``.
        splits: ``test``, and ``train`` where there is one.
        columns: columns that every row has.
        parse: a row into (query, reference, tolerance, metadata).
        exemplars: those of the few-shot variant; written for this project, none is an item.
        licence: of the items, as their source states it.
        policy: how answers are compared.
        facets: metadata keys by which accuracy is reported.
        relative_tolerance: a second, looser metric for numbers, where the benchmark defines one.
        queries: what can be synthesised for, by name.
        instructs: whether the queries themselves say how the answer is to be given.
        k: responses per item, unless a run says otherwise; small sets need several.
    """

    name: str
    title: str
    place: int
    groups: tuple[str, ...]
    splits: Mapping[str, Split]
    columns: tuple[str, ...]
    parse: Callable[[Row], Parsed]
    exemplars: tuple[Exemplar, ...]
    licence: str
    paper: str
    policy: Policy = Policy()
    facets: tuple[str, ...] = ()
    relative_tolerance: float | None = None
    queries: Mapping[str, QuerySource] = field(default_factory=dict)
    instructs: bool = False
    k: int = 1

    @property
    def task(self) -> str:
        """The lm-eval task's name."""
        return f"dart_math_{self.name}"

    @property
    def repos(self) -> frozenset[str]:
        """The datasets of the hub that its items and queries come from."""
        sources = [*(split.source for split in self.splits.values()), *(part.source for part in self.queries.values())]
        return frozenset(source.repo for source in sources if isinstance(source, HubSource))

    @property
    def shots(self) -> int:
        """Exemplars in the few-shot variant."""
        return len(self.exemplars)

    @property
    def in_domain(self) -> bool:
        """Whether DART-Math's training queries come from its training set."""
        return "in_domain" in self.groups
