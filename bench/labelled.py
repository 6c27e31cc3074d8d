"""Labelled cases, the layouts in which they come, and the graders that the benches compare on them.

A case of ours, alone (``answer``, put into ``\\boxed{}``) or a whole response::

    {"id": "money-001", "kind": "money", "benchmark": "gsm8k", "question": "...", "reference": "35",
     "response": "So she has $85 - $50 = $35 left.", "expected": true}
"""

from __future__ import annotations

import ast
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeAlias

from dart_tasks.console import first_line
from dart_tasks.files import DataError, read_rows
from dart_tasks.grading import BENCHMARKS, Case, Verdict, extract, grade
from dart_tasks.report.judges import math_verify_judge

__all__ = [
    "GRADERS",
    "Judge",
    "Labelled",
    "Outcome",
    "Showing",
    "build",
    "judge_all",
    "load",
    "ours",
    "showing",
    "verdict_of",
]

NAMES = {"collegemath": "college_math", "deepmind": "deepmind_mathematics"}
Judge: TypeAlias = Callable[[Case], bool]


@dataclass(frozen=True)
class Labelled:
    """A case with the verdict that it should get; figures are given by source, kind or benchmark."""

    id: str
    case: Case
    expected: bool
    source: str
    kind: str

    @property
    def benchmark(self) -> str:
        return self.case.benchmark


@dataclass(frozen=True)
class Layout:
    """The columns of a public set, in each the names that are tried in turn."""

    name: str
    response: tuple[str, ...]
    reference: tuple[str, ...]
    label: tuple[str, ...]  # none: every row is an attack, that is, wrong


# Told apart by the first column named.
LAYOUTS = {
    "pred_or_response": Layout("development set", ("pred_or_response",), ("ref",), ("expected",)),
    "expected": Layout("shipped set", ("response", "answer"), ("reference",), ("expected",)),
    "gold_judgment": Layout("VerifierBench", ("llm_response",), ("gold_answer",), ("gold_judgment",)),
    "gold_correct": Layout("VerifyBench", ("completion",), ("answer",), ("gold_correct",)),
}
ATTACKS = Layout(  # hkust-nlp/rl-verifier-pitfalls_hacking_data; its card names no columns
    "hacking data",
    ("response", "hacking_response", "model_output", "output", "prediction", "completion", "solution_str"),
    ("reference", "ground_truth", "gt_answer", "gold_answer", "gold", "gt", "target", "answer"),
    (),
)
LABELS = {"a": True, "b": False, "c": False, "correct": True, "incorrect": False, "invalid": False}
LABELS |= {"true": True, "false": False, "1": True, "0": False}


def load(where: str | Path) -> list[Labelled]:
    """The undisputed cases of a file (JSON Lines, a JSON list) or dataset (a folder, or ``owner/name`` on the hub).

    Raises:
        DataError: it cannot be read, or lacks a column; the message names it.
    """
    path, where = Path(where), str(where)
    on_hub = not path.exists() and re.fullmatch(r"[\w.-]+/[\w.-]+", where) and not path.suffix.startswith(".json")
    if path.is_dir() or on_hub:
        rows = _dataset_rows(where)
    else:
        rows = read_rows(path)
    if not rows:
        raise DataError(f"{where} holds no rows")
    layout = next((layout for mark, layout in LAYOUTS.items() if mark in rows[0]), None)
    if layout is None and "hacking" in where:
        layout = ATTACKS
    if layout is None:
        raise DataError(
            f"{where}: no column of labels (looked for {', '.join(LAYOUTS)}; found {', '.join(map(str, rows[0]))})"
        )
    return [_labelled(row, layout, path.stem, number) for number, row in enumerate(rows, 1) if not row.get("debatable")]


def _dataset_rows(name: str) -> list[dict[str, Any]]:
    import datasets

    try:
        splits = datasets.load_dataset(name)
    except Exception as error:  # the library raises a dozen kinds, with pages of text
        raise DataError(f"cannot load the dataset {name}: {first_line(error)[:200]}") from None
    return [{"source": split, **row} for split, rows in splits.items() for row in rows]


def _labelled(row: dict[str, Any], layout: Layout, stem: str, number: int) -> Labelled:
    where = f"row {number} of {stem}"
    column, response = _first(row, layout.response, "response", where)
    _, reference = _first(row, layout.reference, "reference answer", where)
    alone = column == "answer" or (layout.name == "development set" and row.get("kind") == "pair")
    benchmark = NAMES.get(str(row.get("benchmark")), str(row.get("benchmark")))
    options = {"reasoning": tuple(row["reasoning"])} if row.get("reasoning") else {}
    options |= {"thought_opened": True} if row.get("thought_opened") else {}
    case = Case(
        f"\\boxed{{{response}}}" if alone else str(response),
        _without_list(reference) if layout.name == "VerifierBench" else reference,
        benchmark if benchmark in BENCHMARKS else "generic",
        row.get("question"),
        row.get("tol", row.get("tolerance")),
        row.get("finish_reason"),
        **options,
    )
    expected = False
    if layout.label:
        label_column, label = _first(row, layout.label, "label", where)
        if str(label).lower() not in LABELS:
            raise DataError(f"{where}: {label_column} is {label!r}, none of {', '.join(LABELS)}")
        expected = LABELS[str(label).lower()]
    source = str(row.get("source") or row.get("data_source") or stem)
    kind = str(row.get("kind") or row.get("answer_type") or layout.name)
    return Labelled(str(row.get("id") or row.get("completion_id") or f"{stem}-{number}"), case, expected, source, kind)


def _first(row: dict[str, Any], names: Sequence[str], what: str, where: str) -> tuple[str, Any]:
    for name in names:
        if row.get(name) is not None:
            return name, row[name]
    raise DataError(f"{where}: no {what} (looked for {', '.join(names)}; found {', '.join(map(str, row))})")


def _without_list(reference: object) -> object:
    """VerifierBench writes some answers as a Python list in text: "['C']" is C."""
    if isinstance(reference, str) and re.match(r"\s*\[\s*['\"]", reference):
        try:
            return ", ".join(map(str, ast.literal_eval(reference.strip())))
        except (ValueError, SyntaxError):
            return reference
    return reference


def verdict_of(case: Case) -> Verdict:
    return grade(**{field.name: getattr(case, field.name) for field in fields(case)})


def ours(case: Case) -> bool:
    return verdict_of(case).correct


def _math_verify() -> Judge:
    judge = math_verify_judge()
    return lambda case: judge(case).correct


def _minerva() -> Judge:
    from lm_eval.tasks.minerva_math.utils import is_equiv, normalize_final_answer

    def judge(case: Case) -> bool:  # its own extraction reads only its own prompt's format, so it is given ours
        found = normalize_final_answer(extract(case.response))
        return bool(is_equiv(normalize_final_answer(str(case.reference)), found))

    return judge


def _verl_dapo() -> Judge:
    from verl.utils.reward_score.math_dapo import compute_score

    return lambda case: bool(compute_score(case.response, str(case.reference))["acc"])


def _verl_prime() -> Judge:
    from verl.utils.reward_score.prime_math import compute_score

    return lambda case: bool(compute_score(case.response, str(case.reference))[0])


# Distribution and maker. verl's prime_math runs text of the responses as Python (SymPy's parse_expr).
GRADERS: dict[str, tuple[str, Callable[[], Judge]]] = {
    "ours": ("dart-math-suite", lambda: ours),
    "math-verify": ("math-verify", _math_verify),
    "minerva": ("lm-eval", _minerva),
    "verl-dapo": ("verl", _verl_dapo),
    "verl-prime": ("verl", _verl_prime),
}


def build(name: str) -> tuple[str, Judge] | None:
    """A grader's title with its version, and the grader; None, and a line on stderr, where it is not usable."""
    distribution, make = GRADERS[name]
    try:
        return (name if name == "ours" else f"{name} {version(distribution)}"), make()
    except (ImportError, PackageNotFoundError, AssertionError) as error:
        print(f"{name}: not usable here ({first_line(error)[:80]})", file=sys.stderr)
        return None


@dataclass(frozen=True)
class Outcome:
    """A grader's verdict on a case, and the CPU seconds of this process that it took."""

    accepted: bool
    cpu_s: float


def judge_all(judge: Judge, cases: Sequence[Labelled]) -> list[Outcome]:
    outcomes = []
    for item in cases:
        started = time.process_time()
        try:
            accepted = judge(item.case)
        except Exception:  # a grader that raises has not accepted
            accepted = False
        outcomes.append(Outcome(accepted, time.process_time() - started))
    return outcomes


@dataclass(frozen=True)
class Showing:
    """How a grader did on some cases: shares in [0, 1], None where nothing was accepted or nothing was right."""

    n: int
    accuracy: float
    precision: float | None
    recall: float | None
    false_accepts: int
    false_rejects: int


def showing(cases: Sequence[Labelled], outcomes: Sequence[Outcome]) -> Showing:
    pairs = [(item.expected, outcome.accepted) for item, outcome in zip(cases, outcomes, strict=True)]
    true_accepts, accepted = pairs.count((True, True)), sum(taken for _, taken in pairs)
    right = sum(expected for expected, _ in pairs)
    return Showing(
        len(pairs),
        sum(expected == taken for expected, taken in pairs) / len(pairs),
        true_accepts / accepted if accepted else None,
        true_accepts / right if right else None,
        accepted - true_accepts,
        right - true_accepts,
    )
