r"""The six benchmarks: where each comes from, how it is checked, and how a row becomes a :class:`Problem`.

This is the only place for these facts; the lm-eval YAMLs, the documentation and the reports read them from here or are
held to them by a test. One problem, as ``load("math")`` gives it::

    Problem(id="math/0b5d…", benchmark="math", query="What is $1+1$?", reference="2", tolerance=None,
            metadata={"level": 1, "subject": "Prealgebra"})

    >>> from dart_tasks.benchmarks import load
    >>> problems = load("gsm8k", data_dir="benchmarks/")   # or the hub, or the folder named by DART_MATH_DATA

Problems are ordered by their content (the hash in their id), not by their place in a file, because the hub splits MATH
into seven configurations: so hub and local data give equal lists, and ``--limit 20`` takes a mixed sample.

Sources: MATH (arXiv 2103.03874), GSM8K (arXiv 2110.14168), CollegeMath of MWPBench (arXiv 2403.02884),
DeepMind-Mathematics (arXiv 1904.01557; the 1,000 problems of DART-Math), OlympiadBench (arXiv 2402.14008),
TheoremQA (arXiv 2305.12524).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from dart_tasks import parse_rows
from dart_tasks.files import DataError, read_rows
from dart_tasks.parse_rows import Parsed, Reference, Row

__all__ = [
    "BENCHMARKS",
    "DATA_DIR_VARIABLE",
    "Benchmark",
    "BenchmarkName",
    "FileSource",
    "HubSource",
    "Problem",
    "Reference",
    "Split",
    "load",
    "load_problem_file",
]

DATA_DIR_VARIABLE = "DART_MATH_DATA"
"""Environment variable naming a folder of benchmark files that replaces the network."""

BenchmarkName = Literal["math", "gsm8k", "college_math", "deepmind_mathematics", "olympiadbench", "theoremqa"]
SplitName = Literal["train", "test"]


@dataclass(frozen=True)
class Problem:
    """One problem with its reference answer in the benchmark's native type.

    Attributes:
        id: stable across hub and local copies: the benchmark's name and a hash of the query and reference.
        query: the problem's text as a model is to see it, without any prompt template.
        tolerance: absolute error allowed by the benchmark for this item (OlympiadBench's ``error``), or None.
        metadata: facets to report by (level, subject, ...), and flags such as ``picture``.
    """

    id: str
    benchmark: str
    query: str
    reference: Reference
    tolerance: float | None = None
    metadata: Mapping[str, str | int | bool | None] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class HubSource:
    """A dataset on the Hugging Face hub at a pinned commit; several configurations are read one after the other."""

    repo: str
    revision: str
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
class Benchmark:
    """All that is known of one benchmark.

    Attributes:
        title: the name shown in tables.
        in_domain: whether DART-Math's training queries come from its training set.
        columns: columns that every row has.
        facets: metadata keys by which accuracy is reported.
        shots: exemplars in the few-shot variant.
        relative_tolerance: a second, looser metric for numbers, where the benchmark defines one.
        licence: of the items, as their source states it.
        parse: a row into (query, reference, tolerance, metadata).
    """

    name: BenchmarkName
    title: str
    in_domain: bool
    splits: Mapping[SplitName, Split]
    columns: tuple[str, ...]
    facets: tuple[str, ...]
    licence: str
    paper: str
    parse: Callable[[Row], Parsed]
    shots: int = 4
    relative_tolerance: float | None = None

    @property
    def task(self) -> str:
        """The lm-eval task's name."""
        return f"dart_math_{self.name}"


_MATH_CONFIGS = (
    "algebra",
    "counting_and_probability",
    "geometry",
    "intermediate_algebra",
    "number_theory",
    "prealgebra",
    "precalculus",
)
_MATH_REVISION = "21a5633873b6a120296cce3e2df9d5550074f4a3"
_GSM8K_REVISION = "e53f048856ff4f594e959d75785d2c2d37b678ee"

BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType(
    {
        benchmark.name: benchmark
        for benchmark in (
            Benchmark(
                name="math",
                title="MATH",
                in_domain=True,
                splits={
                    "test": Split(
                        "math_test.jsonl",
                        (5000,),
                        HubSource("EleutherAI/hendrycks_math", _MATH_REVISION, "test", _MATH_CONFIGS),
                    ),
                    "train": Split(
                        "math_train.jsonl",
                        (7500,),
                        HubSource("EleutherAI/hendrycks_math", _MATH_REVISION, "train", _MATH_CONFIGS),
                    ),
                },
                columns=("problem", "level", "type", "solution"),
                facets=("level", "subject"),
                licence="MIT",
                paper="https://arxiv.org/abs/2103.03874",
                parse=parse_rows.math,
            ),
            Benchmark(
                name="gsm8k",
                title="GSM8K",
                in_domain=True,
                splits={
                    "test": Split(
                        "gsm8k_test.jsonl", (1319,), HubSource("openai/gsm8k", _GSM8K_REVISION, "test", ("main",))
                    ),
                    "train": Split(
                        "gsm8k_train.jsonl", (7473,), HubSource("openai/gsm8k", _GSM8K_REVISION, "train", ("main",))
                    ),
                },
                columns=("question", "answer"),
                facets=(),
                licence="MIT",
                paper="https://arxiv.org/abs/2110.14168",
                parse=parse_rows.gsm8k,
            ),
            Benchmark(
                name="college_math",
                title="CollegeMath",
                in_domain=False,
                splits={
                    "test": Split(
                        "college_math_test.jsonl",
                        (2818,),
                        FileSource(
                            "https://raw.githubusercontent.com/QwenLM/Qwen2.5-Math/"
                            "a45202bd16f1ec06f433442dc1152d0074773465/evaluation/data/college_math/test.jsonl",
                            "91131bc4a355b884fc63ef7c4f048c35adb030004a4cb07b1475698f120aa4a6",
                        ),
                    )
                },
                columns=("question", "answer", "data_topic", "license"),
                facets=("topic",),
                licence="per item: CC BY, CC BY-NC-SA (809 items), GFDL (148), free of charge (101)",
                paper="https://arxiv.org/abs/2403.02884",
                parse=parse_rows.college_math,
            ),
            Benchmark(
                name="deepmind_mathematics",
                title="DeepMind-Mathematics",
                in_domain=False,
                splits={
                    "test": Split(
                        "deepmind_mathematics.json",
                        (1000,),
                        FileSource(
                            "https://raw.githubusercontent.com/hkust-nlp/dart-math/"
                            "219b32467b55f7c610195e148b56df3431e1a963/data/dsets/deepmind-mathematics.json",
                            "1caa7e191af2df1c110ca405dcaf7fc663a1bac16f589e6af853bff5d1012a11",
                        ),
                    )
                },
                columns=("question", "answer"),
                facets=(),
                licence="Apache-2.0",
                paper="https://arxiv.org/abs/1904.01557",
                parse=parse_rows.deepmind,
            ),
            Benchmark(
                name="olympiadbench",
                title="OlympiadBench-Math",
                in_domain=False,
                splits={
                    "test": Split(
                        "olympiadbench_oe_to_maths_en_comp.json",
                        (675, 674),  # the hub's copy has one row fewer than the authors' repository
                        HubSource(
                            "Hothan/OlympiadBench",
                            "91184b52131e7fc9455fef848035173aea8cc01a",
                            "train",
                            ("OE_TO_maths_en_COMP",),
                        ),
                    )
                },
                columns=(
                    "question",
                    "final_answer",
                    "answer_type",
                    "is_multiple_answer",
                    "unit",
                    "error",
                    "subfield",
                ),
                facets=("answer_type", "subfield"),
                licence="Apache-2.0",
                paper="https://arxiv.org/abs/2402.14008",
                parse=parse_rows.olympiad,
            ),
            Benchmark(
                name="theoremqa",
                title="TheoremQA",
                in_domain=False,
                splits={
                    "test": Split(
                        "theoremqa.json",
                        (800,),
                        HubSource("TIGER-Lab/TheoremQA", "a340b1782960a712843aae3ed25f1e013cc008a5", "test"),
                    )
                },
                columns=("Question", "Answer", "Answer_type", "Picture"),
                facets=("answer_type", "picture"),
                licence="MIT",
                paper="https://arxiv.org/abs/2305.12524",
                parse=parse_rows.theoremqa,
                shots=5,
                relative_tolerance=0.04,
            ),
        )
    }
)


def load(
    name: str, split: str = "test", data_dir: str | os.PathLike[str] | None = None, *, verify: bool = True
) -> list[Problem]:
    """All problems of a benchmark's split, in an order that depends on their content only.

    Args:
        name: a key of :data:`BENCHMARKS`.
        data_dir: a folder of files named as in the record; default: the folder in ``DART_MATH_DATA``, else the hub.
        verify: refuse data whose row count, or checksum where it is pinned, is not the benchmark's (off for a sample in
            the same format).

    Raises:
        DataError: unknown name or split, no network and no folder, a missing, incomplete or changed file.
    """
    if name not in BENCHMARKS:
        raise DataError(f"unknown benchmark {name!r}: choose one of {', '.join(BENCHMARKS)}")
    benchmark = BENCHMARKS[name]
    if split not in benchmark.splits:
        raise DataError(f"{benchmark.title} has no split {split!r}: choose one of {', '.join(benchmark.splits)}")
    from dart_tasks import download

    part = benchmark.splits[split]  # type: ignore[index]
    folder = data_dir or os.environ.get(DATA_DIR_VARIABLE)
    if folder:
        path = Path(folder) / part.file_name
        source = f"{DATA_DIR_VARIABLE} is {folder!r}" if not data_dir else f"data_dir is {str(folder)!r}"
        _check_exists(path, f"{source}; put the benchmark there, or leave it out to use the hub")
        if verify and isinstance(part.source, FileSource):
            _check_sum(path, part.source.sha256)
        rows: Sequence[Row] = read_rows(path)
    elif isinstance(part.source, FileSource):
        rows = read_rows(download.pinned_file(part.source.url, part.source.sha256, benchmark.title))
    else:
        rows = list(download.hub_rows(part.source, benchmark.title))
    if verify and len(rows) not in part.rows:
        where = f"in {folder}" if folder else "from its source"
        raise DataError(f"{benchmark.title} {where} has {len(rows):,} rows, not {part.rows[0]:,}: an incomplete copy?")
    missing = sorted({column for row in rows for column in benchmark.columns if column not in row})
    if missing:
        raise DataError(f"{benchmark.title}: rows without the column {', '.join(missing)} in {part.file_name}")
    return _with_ids(benchmark, (benchmark.parse(row) for row in rows))


def _with_ids(
    benchmark: Benchmark,
    parsed: Iterable[Parsed],
) -> list[Problem]:
    seen: Counter[str] = Counter()
    problems = []
    for query, reference, tolerance, metadata in parsed:
        content = json.dumps([query, reference], ensure_ascii=False).encode()
        key = f"{benchmark.name}/{hashlib.sha256(content).hexdigest()[:12]}"
        seen[key] += 1
        unique = key if seen[key] == 1 else f"{key}-{seen[key]}"  # a few problems occur twice
        problems.append(Problem(unique, benchmark.name, query, reference, tolerance, MappingProxyType(dict(metadata))))
    return sorted(problems, key=lambda problem: problem.id)


def load_problem_file(path: str | os.PathLike[str]) -> list[Problem]:
    """Problems of one's own: JSONL with columns ``id``, ``query``, ``answer`` and, optionally, ``level``; file order.

    Raises:
        DataError: no such file, or a row that lacks a column.
    """
    file, problems, seen = Path(path), [], set()
    _check_exists(file, "name a file of problems")
    for number, row in enumerate(read_rows(file), 1):
        missing = [column for column in ("id", "query", "answer") if row.get(column) is None]
        if missing:
            raise DataError(f"{path}: row {number} lacks the column {', '.join(missing)}")
        if not isinstance(row["query"], str) or isinstance(row["answer"], dict):
            raise DataError(f"{path}: row {number}: query must be text, answer text, a number, a truth value or a list")
        if str(row["id"]) in seen:
            raise DataError(f"{path}: row {number} has the id of an earlier row ({row['id']!r})")
        seen.add(str(row["id"]))
        facets: Mapping[str, Any] = MappingProxyType({key: row[key] for key in ("level", "domain") if key in row})
        problems.append(Problem(str(row["id"]), "generic", row["query"], row["answer"], None, facets))
    if not problems:
        raise DataError(f"{path} holds no problems")
    return problems


def _check_exists(path: Path, remedy: str) -> None:
    if not path.is_file():
        raise DataError(f"no file {path}: {remedy}")


def _check_sum(path: Path, sha256: str) -> None:
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise DataError(f'{path} differs from the pinned file (by its checksum); "verify": false accepts it')
