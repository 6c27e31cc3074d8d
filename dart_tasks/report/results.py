"""lm-eval's result and sample files, read into data classes.

``lm_eval --output_path OUT --log_samples`` writes ``OUT/MODEL/results_DATE.json`` and, beside it,
``samples_TASK_DATE.jsonl`` for every task; a report finds the second by the first's date.
"""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dart_tasks.files import DataError
from dart_tasks.grading import GRADER_VERSION, Verdict
from dart_tasks.harness.graded import FILTER, GradedItem
from dart_tasks.harness.samples import Sample, read_samples
from dart_tasks.harness.served import whole
from dart_tasks.harness.thoughts import split_thought
from dart_tasks.problems import BENCHMARKS

__all__ = ["Graded", "Item", "Run", "Score", "TaskResult", "read_items", "read_logs", "read_runs", "told_apart"]

_MINI = "dart_math_mini_"


@dataclass(frozen=True)
class Score:
    """A metric's value, as a fraction, and its standard error where there is one; NaN is a refused metric."""

    value: float
    stderr: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Graded(Verdict):
    """One response with the verdict on it.

    Attributes:
        truncated: whether it was cut off: known where there is a finish reason, else probable; None: not known.
        finish_reason: how it ended, where the server told.
        thought_tokens: the length of its thought, where that was counted.
        judged: a second judge's verdict, where there is one.
    """

    response: str
    truncated: bool | None
    finish_reason: str | None = None
    thought_tokens: int | None = None
    judged: Verdict | None = None

    @property
    def thought_characters(self) -> int:
        """The length of its thought; 0 where there is none."""
        return len(split_thought(self.response)[0])

    @property
    def disputed(self) -> bool:
        """Whether the two judges differ."""
        return self.judged is not None and self.judged.correct != self.correct


@dataclass(frozen=True)
class Item:
    """One problem with its k graded responses."""

    id: str
    query: str
    reference: str
    metadata: Mapping[str, Any]
    responses: tuple[Graded, ...]

    @property
    def accuracy(self) -> float:
        """The share of the responses that are correct."""
        return sum(graded.correct for graded in self.responses) / len(self.responses)

    @property
    def reference_text(self) -> str:
        """The reference answer as a person reads it."""
        value = json.loads(self.reference)
        return value if isinstance(value, str) else self.reference


@dataclass(frozen=True)
class TaskResult:
    """One task of a run; ``items`` is empty where samples were not logged."""

    task: str
    benchmark: str
    version: str
    grader_version: str
    template: str
    shots: int
    k: int
    n_items: int
    n_available: int
    scores: Mapping[str, Score]
    items: tuple[Item, ...]

    @property
    def title(self) -> str:
        """The benchmark's name, the same for all variants of its prompt, with a mark on our own items."""
        record = BENCHMARKS.get(self.benchmark)
        name = record.title if record else self.task
        return f"{name} (mini)" if self.is_mini else name

    @property
    def is_mini(self) -> bool:
        """Whether it ran on our own items."""
        return self.task.startswith(_MINI)

    @property
    def variant(self) -> str:
        """``chat`` or ``fewshot``, by the task's name; empty for the plain task."""
        return next((end for end in ("chat", "fewshot") if self.task.endswith(f"_{end}")), "")

    @property
    def accuracy(self) -> Score:
        """The headline: pass@1, or the mean over k samples."""
        return self.scores["acc"]

    @property
    def complete(self) -> bool:
        """Whether every item was evaluated."""
        return self.n_items == self.n_available


@dataclass(frozen=True)
class Run:
    """One results file: a model evaluated on some of our tasks."""

    label: str
    model: str
    path: Path
    date: str
    tasks: tuple[TaskResult, ...]

    def task(self, title: str) -> TaskResult | None:
        """The result on a benchmark, by its title."""
        return next((task for task in self.tasks if task.title == title), None)

    def mean(self, titles: Sequence[str], metric: str = "acc") -> Score | None:
        """The unweighted mean over tasks, its standard error as for independent scores; None where one has none."""
        found = [result.scores.get(metric) for title in titles if (result := self.task(title)) is not None]
        scores = [score for score in found if score is not None]
        if not scores or len(scores) != len(titles):
            return None
        errors = [score.stderr for score in scores]
        known = [error for error in errors if error is not None]
        stderr = math.sqrt(sum(error**2 for error in known)) / len(scores) if len(known) == len(errors) else None
        return Score(sum(score.value for score in scores) / len(scores), stderr)


def read_runs(path: Path) -> list[Run]:
    """A results file and the samples beside it: a run for each variant of the prompt (plain, chat, few-shot).

    Raises:
        DataError: it is no lm-eval result, or holds none of our tasks.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        raise DataError(f"{path} is not JSON") from None
    try:
        tasks = [
            _task_result(name, data, path)
            for name in data["results"]
            if name in data["configs"] and f"acc,{FILTER}" in data["results"][name]
        ]
        model = _model_name(data)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is not a results file of lm-eval (results_*.json)") from None
    if not tasks:
        scores_of = data["results"].values() if isinstance(data["results"], dict) else ()
        if any(key.startswith("bypass,") for scores in scores_of for key in scores):
            raise DataError(f"{path} was made with --predict_only: dart-report --regrade grades the samples beside it")
        raise DataError(f"{path} holds no results of dart_math tasks: of others give the samples_*.jsonl beside it")
    return _by_variant(Run(Path(model).name or model, model, path, path.stem.removeprefix("results_"), tuple(tasks)))


def _by_variant(run: Run) -> list[Run]:
    """A run for each variant of the prompt: they share the benchmarks' names."""
    runs = []
    for variant in dict.fromkeys(task.variant for task in run.tasks):
        part = tuple(task for task in run.tasks if task.variant == variant)
        runs.append(replace(run, label=run.label + (f" ({variant})" if variant else ""), tasks=part))
    return runs


def read_logs(paths: Sequence[Path]) -> list[Run]:
    """Sample logs alone, of our tasks or of any whose target is an answer: a run for each folder, date and variant.

    Our grader judges all of it as of now.

    Raises:
        DataError: one is no sample log, or holds no samples.
    """
    found: dict[tuple[Path, str], list[TaskResult]] = {}
    for path in dict.fromkeys(paths):
        name = path.name.partition(".jsonl")[0].removeprefix("samples_")
        task, _, date = name.rpartition("_")
        found.setdefault((path.parent, date), []).append(_logged_task(path, task or name))
    runs = []
    for (folder, date), tasks in found.items():
        name = folder.resolve().name
        runs += _by_variant(Run(name.rpartition("__")[2], name.replace("__", "/"), folder, date, tuple(tasks)))
    return runs


def _logged_task(path: Path, name: str) -> TaskResult:
    samples = read_samples(path)
    if not samples:
        raise DataError(f"{path} holds no samples")
    from dart_tasks.harness.filters import grade_responses

    responses, docs = [sample.responses for sample in samples], [sample.doc for sample in samples]
    graded = grade_responses(responses, docs)
    items = _items([_graded_anew(sample, item) for sample, item in zip(samples, graded, strict=True)], path)
    accuracies = [item.accuracy for item in items]
    scores = {"acc": Score(sum(accuracies) / len(items), _standard_error(accuracies))}
    if all(sample.verdicts for sample in samples):
        logged = [sum(sample.verdicts) / len(sample.verdicts) for sample in samples]
        scores["acc as logged"] = Score(sum(logged) / len(items), _standard_error(logged))
    return TaskResult(
        task=name,
        benchmark=str(samples[0].doc.get("benchmark") or "generic"),
        version="?",
        grader_version=GRADER_VERSION,
        template="?",
        shots=0,
        k=max(len(sample.responses) for sample in samples),
        n_items=len(items),
        n_available=len(items),
        scores=scores,
        items=items,
    )


def _graded_anew(sample: Sample, item: GradedItem) -> Sample:
    """With new verdicts, and what the log has that only the run could tell."""
    if sample.graded is not None:
        old = sample.graded
        item = replace(
            item, truncated=old.truncated, thought_tokens=old.thought_tokens, answer_tokens=old.answer_tokens
        )
    return replace(sample, graded=item)


def _standard_error(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def told_apart(runs: Sequence[Run]) -> list[str]:
    """A label for each run: its model's last name, and as much of the path before it as tells models apart.

    Runs of one model are numbered in their order.
    """
    labels = [run.label for run in runs]
    for depth in range(2, max((len(Path(run.model).parts) for run in runs), default=0) + 1):
        alike = [label for label in labels if labels.count(label) > 1]
        for index, run in enumerate(runs):
            if labels[index] in alike and len({other.model for other in runs if other.label == run.label}) > 1:
                longer = Path(*Path(run.model).parts[-depth:])
                labels[index] = str(longer) + run.label.removeprefix(longer.name)
    return [f"{label} #{index}" if labels.count(label) > 1 else label for index, label in enumerate(labels, 1)]


def _model_name(data: Mapping[str, Any]) -> str:
    arguments = data.get("config", {}).get("model_args")
    if isinstance(arguments, str):
        arguments = dict(part.split("=", 1) for part in arguments.split(",") if "=" in part)
    named = (arguments or {}).get("pretrained") or (arguments or {}).get("model") or data["config"].get("served_model")
    return str(named or data.get("model_name") or data.get("config", {}).get("model") or "model")


def _task_result(name: str, data: Mapping[str, Any], path: Path) -> TaskResult:
    samples = path.with_name(f"samples_{name}_{path.stem.removeprefix('results_')}.jsonl")
    results, config = data["results"][name], data["configs"][name]
    metadata = config.get("metadata") or {}
    scores = {}
    for key, value in results.items():
        metric, _, filter_name = key.partition(",")
        if filter_name == FILTER and not metric.endswith("_stderr") and isinstance(value, int | float):
            stderr = results.get(f"{metric}_stderr,{FILTER}")
            scores[metric] = Score(float(value), float(stderr) if isinstance(stderr, int | float) else None)
    if "acc" not in scores:
        raise KeyError("acc")
    counts = data.get("n-samples", {}).get(name, {})
    items = read_items(samples) if samples.is_file() else ()
    evaluated = int(counts.get("effective", len(items)))
    available = int(counts.get("original", evaluated))
    if (record := BENCHMARKS.get(str(metadata.get("benchmark")))) and not name.startswith(_MINI):
        rows = record.splits["test"].rows  # lm-eval counts what it was given, be it a part of the benchmark
        available = available if available in rows else rows[0]
    return TaskResult(
        task=name,
        benchmark=str(metadata.get("benchmark", "generic")),
        version=str(data.get("versions", {}).get(name, "?")),
        grader_version=str(metadata.get("grader_version", "?")),
        template=str(metadata.get("template", "alpaca")),
        shots=int(data.get("n-shot", {}).get(name, 0)),
        k=int(config.get("repeats", 1)),
        n_items=evaluated,
        n_available=available,
        scores=scores,
        items=items,
    )


def read_items(path: Path) -> tuple[Item, ...]:
    """The items of a sample log.

    Raises:
        DataError: it is not a log of a dart_math task.
    """
    return _items([sample for sample in read_samples(path) if sample.filter == FILTER], path)


def _items(samples: Sequence[Sample], path: Path) -> tuple[Item, ...]:
    items = {sample.id: _item(sample, path) for sample in samples}
    if len(items) < len(samples):
        counts = Counter(sample.id for sample in samples)
        identity, count = counts.most_common(1)[0]
        raise DataError(f"{path} has {count} samples of {identity}: a log of several runs?")
    return tuple(items.values())


def _item(sample: Sample, path: Path) -> Item:
    graded, doc = sample.graded, sample.doc
    if graded is None or len(graded.verdicts) != len(sample.responses):
        raise DataError(f"{path}: sample {sample.id} is not one of a dart_math task")
    unknown = (None,) * len(sample.responses)
    reasons = graded.finish_reasons or unknown
    told = tuple(None if reason is None else reason == "length" for reason in reasons)
    columns = (
        sample.responses,
        graded.verdicts,
        told if graded.truncated is None else graded.truncated,
        reasons,
        graded.thought_tokens or unknown,
    )
    responses = tuple(
        Graded(
            **{name: getattr(verdict, name) for name in Verdict.__slots__},
            response=whole(text),
            truncated=cut,
            finish_reason=reason,
            thought_tokens=n_tokens,
        )
        for text, verdict, cut, reason, n_tokens in zip(*columns, strict=True)
    )
    return Item(sample.id, doc["query"], doc["reference"], json.loads(doc.get("metadata") or "{}"), responses)
