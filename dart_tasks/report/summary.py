"""What a report says, computed once from the runs, for the terminal, Markdown and HTML alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from dart_tasks.grading import Verdict
from dart_tasks.problems.benchmarks import BENCHMARKS, SUITE
from dart_tasks.report.published import published_table
from dart_tasks.report.results import Graded, Item, Run, Score, TaskResult
from dart_tasks.report.significance import Comparison, compare, holm, wilson

__all__ = [
    "LENGTHS",
    "Agreement",
    "Cell",
    "Difference",
    "Disagreement",
    "Group",
    "LengthBin",
    "Pair",
    "Report",
    "ScoreTable",
    "agreement",
    "benchmark_titles",
    "by_length",
    "differences",
    "disagreements",
    "flag_counts",
    "groups",
    "notes",
    "pairs",
    "percent",
    "score_table",
    "summarise",
]


@dataclass(frozen=True)
class Cell:
    """One figure of the score table, in percent; empty where there is none."""

    text: str
    detail: str = ""


@dataclass(frozen=True)
class ScoreTable:
    """Rows of (name, cells): our runs first, then the published models; the benchmarks that each mean is of."""

    columns: tuple[str, ...]
    ours: tuple[tuple[str, tuple[Cell, ...]], ...]
    published: tuple[tuple[str, tuple[Cell, ...]], ...]
    means: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Group:
    """Accuracy of one group of items (a level, an answer type) in one run, with its 95% interval over items."""

    facet: str
    name: str
    n_items: int
    accuracy: float

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95% interval over the items."""
        return wilson(self.accuracy, self.n_items)


@dataclass(frozen=True)
class Pair:
    """The comparison of two runs on one task or on all that they share."""

    title: str
    first: str
    second: str
    result: Comparison


@dataclass(frozen=True)
class Difference:
    """The items (ids) of a benchmark that the one or the other of two runs, named by their places, answers right more
    often, and the number that they answer equally well; items are matched by their ids."""

    title: str
    first: int
    second: int
    first_better: tuple[str, ...]
    second_better: tuple[str, ...]
    equal: int


@dataclass(frozen=True)
class Agreement:
    """Counts of a task's responses by the verdicts of the two judges."""

    both_right: int
    only_ours: int
    only_theirs: int
    both_wrong: int

    @property
    def n(self) -> int:
        """The number of responses."""
        return self.both_right + self.only_ours + self.only_theirs + self.both_wrong

    @property
    def share(self) -> float:
        """The share of responses with the same verdict."""
        return (self.both_right + self.both_wrong) / self.n


@dataclass(frozen=True)
class Disagreement:
    """A response on which the judges differ."""

    run: Run
    task: TaskResult
    item: Item
    trial: int
    graded: Graded
    judged: Verdict


@dataclass(frozen=True)
class LengthBin:
    """The accuracy of the responses of ``low`` <= length < ``high``."""

    low: int
    high: int
    n: int
    accuracy: float

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95% interval over the responses."""
        return wilson(self.accuracy, self.n)


@dataclass(frozen=True)
class Report:
    """All that is computed from the runs once."""

    runs: tuple[Run, ...]
    table: ScoreTable
    pairs: tuple[Pair, ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]


def summarise(runs: Sequence[Run]) -> Report:
    """The report on some runs."""
    table = score_table(runs)
    return Report(tuple(runs), table, tuple(pairs(runs)), tuple(differences(runs)), tuple(notes(runs, table)))


def percent(value: float) -> str:
    """A fraction as a percentage with one decimal, or a dash for a refused metric."""
    return "–" if value != value else f"{100 * value:.1f}"


def _cell(score: Score | None) -> Cell:
    if score is None:
        return Cell("")
    return Cell(percent(score.value), f"±{100 * score.stderr:.1f}" if score.stderr is not None else "")


def benchmark_titles(runs: Sequence[Run]) -> tuple[str, ...]:
    """The title of every task of any run, benchmarks in the suite's order, then the others by name."""
    order = {name: index for index, name in enumerate(BENCHMARKS)}
    found = {task.title: order.get(task.benchmark, len(order)) for run in runs for task in run.tasks}
    return tuple(sorted(found, key=lambda title: (found[title], title)))


def _suite(runs: Sequence[Run]) -> dict[str, str]:
    """The title of each of the six benchmarks (or else of their mini items), if a run has them all."""
    for is_mini in (False, True):
        for run in runs:
            chosen = {task.benchmark: task.title for task in run.tasks if task.is_mini is is_mini}
            if set(SUITE) <= set(chosen):
                return {name: chosen[name] for name in SUITE}
    return {}


def score_table(runs: Sequence[Run]) -> ScoreTable:
    """Accuracy per task and the three means, our runs above the published models (where a run has the whole suite)."""
    titles, suite = benchmark_titles(runs), _suite(runs)
    groups_of = {
        "in-domain": [suite[name] for name in suite if SUITE[name].in_domain],
        "out-of-domain": [suite[name] for name in suite if not SUITE[name].in_domain],
        "average": list(suite.values()),
    }
    ours = []
    for run in runs:
        cells = [_cell(found.accuracy if (found := run.task(title)) else None) for title in titles]
        cells += [_cell(run.mean(members)) for members in groups_of.values()] if suite else []
        ours.append((run.label, tuple(cells)))
    benchmark_of = {title: name for name, title in suite.items() if title == SUITE[name].title}
    published = []
    for row in published_table().rows if benchmark_of else ():
        cells = [_published(row.scores.get(benchmark_of.get(title, ""))) for title in titles]
        for members in (True, False):
            part = [row.scores.get(name) for name, record in SUITE.items() if record.in_domain is members]
            known = [score for score in part if score is not None]
            cells.append(_published(sum(known) / len(known) if len(known) == len(part) else None))
        published.append((row.model, (*cells, _published(row.average))))
    means = groups_of if suite else {}
    return ScoreTable((*titles, *means), tuple(ours), tuple(published), means)


def _published(score: float | None) -> Cell:
    return Cell("" if score is None else f"{score:.1f}")


def groups(task: TaskResult) -> list[Group]:
    """Accuracy by each facet's values (level, subject, answer type, ...), from the logged items."""
    record = BENCHMARKS.get(task.benchmark)
    found = []
    for facet in record.facets if record else ("level",):
        values: dict[str, list[float]] = {}
        for item in task.items:
            if (value := item.metadata.get(facet)) is not None:
                values.setdefault(str(value), []).append(item.accuracy)
        found += [Group(facet, name, len(seen), sum(seen) / len(seen)) for name, seen in sorted(values.items())]
    return found


def flag_counts(task: TaskResult) -> dict[str, int]:
    """How answers were found, the grader's flags, and truncation, counted over responses."""
    counts: Counter[str] = Counter()
    for item in task.items:
        for graded in item.responses:
            counts[f"found: {graded.source}"] += 1
            counts["stated explicitly"] += graded.explicit
            if graded.truncated is not None:
                counts["truncated" if graded.finish_reason else "likely truncated"] += graded.truncated
            counts.update(f"flag: {flag}" for flag in graded.flags)
    return dict(sorted(counts.items()))


def pairs(runs: Sequence[Run]) -> list[Pair]:
    """Every two runs compared on each task that both have samples of, and over all of those together.

    The p-values are corrected for all of these tests.
    """
    found = []
    for index, first in enumerate(runs):
        for second in runs[index + 1 :]:
            shared = [
                (before, after)
                for before in first.tasks
                if (after := second.task(before.title)) and before.items and after.items
            ]
            for before, after in shared:
                if result := compare([_accuracies(before)], [_accuracies(after)]):
                    found.append(Pair(before.title, first.label, second.label, result))
            if len(shared) > 1:
                together = compare([_accuracies(task) for task, _ in shared], [_accuracies(task) for _, task in shared])
                if together:
                    found.append(Pair(f"mean of {len(shared)}", first.label, second.label, together))
    corrected = holm([pair.result.p_value for pair in found])
    return [replace(pair, result=replace(pair.result, corrected_p=p)) for pair, p in zip(found, corrected, strict=True)]


def differences(runs: Sequence[Run]) -> list[Difference]:
    """For every two runs and each task that both have samples of, on which items they differ."""
    found = []
    for (first, run), (second, other) in combinations(enumerate(runs), 2):
        for task in run.tasks:
            before, after = _accuracies(task), _accuracies(match) if (match := other.task(task.title)) else {}
            shared = sorted(before.keys() & after.keys())
            down = tuple(item for item in shared if before[item] > after[item])
            up = tuple(item for item in shared if before[item] < after[item])
            if shared:
                found.append(Difference(task.title, first, second, down, up, len(shared) - len(down) - len(up)))
    return found


def agreement(task: TaskResult) -> Agreement | None:
    """How often the two judges agree on a task's responses; None where there is no second one."""
    counts = Counter(
        (graded.correct, graded.judged.correct) for item in task.items for graded in item.responses if graded.judged
    )
    if not counts:
        return None
    return Agreement(counts[True, True], counts[True, False], counts[False, True], counts[False, False])


def disagreements(runs: Sequence[Run]) -> list[Disagreement]:
    """Every response on which the judges differ, by run, task and item."""
    return [
        Disagreement(run, task, item, trial, graded, graded.judged)
        for run in runs
        for task in run.tasks
        for item in task.items
        for trial, graded in enumerate(item.responses)
        if graded.judged and graded.judged.correct != graded.correct
    ]


LENGTHS: Mapping[str, Callable[[Graded], int | None]] = {
    "characters of the response": lambda graded: len(graded.response),
    "characters of thought": lambda graded: graded.thought_characters if graded.thought_tokens is None else None,
    "tokens of thought": lambda graded: graded.thought_tokens,
}
"""The lengths by which accuracy is told, None or 0 where a response has no such; a thought's in tokens if counted."""


def by_length(task: TaskResult, length: Callable[[Graded], int | None]) -> list[LengthBin]:
    """Accuracy by one of :data:`LENGTHS`, in bins that double."""
    bins: dict[int, list[bool]] = {}
    for item in task.items:
        for graded in item.responses:
            if found := length(graded):
                bins.setdefault(found.bit_length(), []).append(graded.correct)
    return [
        LengthBin(1 << bits - 1, 1 << bits, len(seen), sum(seen) / len(seen)) for bits, seen in sorted(bins.items())
    ]


def _accuracies(task: TaskResult) -> dict[str, float]:
    return {item.id: item.accuracy for item in task.items}


def notes(runs: Sequence[Run], table: ScoreTable) -> list[str]:
    """What a reader must know of these figures: partial runs, protocols, truncation, who judged the published ones."""
    lines = []
    for run in runs:
        partial = [task for task in run.tasks if not task.complete]
        if partial:
            counts = ", ".join(f"{task.title} {task.n_items:,} of {task.n_available:,}" for task in partial)
            lines.append(f"{run.label}: only part of the items ({counts}); not comparable with full scores.")
        sampled = sorted({task.k for task in run.tasks if task.k > 1})
        if sampled:
            lines.append(
                f"{run.label}: {', '.join(map(str, sampled))} sampled responses per item; accuracy is their mean."
            )
        refused = [
            task.title for task in run.tasks if any(score.value != score.value for score in task.scores.values())
        ]
        if refused:
            lines.append(
                f"{run.label}: maj@k and pass@k are not reported for {', '.join(refused)}, as the responses of most "
                "items are identical (a served model with a fixed seed?)."
            )
        lines += _mismatches(run)
        lines += _truncation(run)
    for title in benchmark_titles(runs):
        versions = {task.grader_version for run in runs if (task := run.task(title))} - {"?"}
        if len(versions) > 1:
            lines.append(
                f"{title} was judged by graders {' and '.join(sorted(versions))}, whose verdicts do not compare: give "
                "the samples_*.jsonl of these runs instead of their results, and all are judged by today's."
            )
    for run, other in combinations(runs, 2):
        for task in run.tasks:
            ours, theirs = _accuracies(task), _accuracies(match) if (match := other.task(task.title)) else {}
            if ours and theirs and ours.keys().isdisjoint(theirs):
                lines.append(f"{run.label} and {other.label} have no item of {task.title} in common: not compared.")
    if table.published:
        published = published_table()
        lines.append(
            f"Published figures: {published.source}, retrieved {published.retrieved}; judged by {published.judged_by}."
        )
        lines += published.slips
    return lines


def _mismatches(run: Run) -> list[str]:
    """Where the samples are not those that the results are of."""
    lines = []
    for task in run.tasks:
        mean = sum(item.accuracy for item in task.items) / len(task.items) if task.items else 0.0
        if task.items and len(task.items) != task.n_items:
            counts = f"{len(task.items):,} samples of {task.n_items:,} evaluated items"
            lines.append(f"{run.label}: {task.title} has {counts}; comparisons and groups are of these.")
        elif task.items and abs(mean - task.accuracy.value) > 1e-6:
            lines.append(
                f"{run.label}: the samples of {task.title} have an accuracy of {percent(mean)}%, the results say "
                f"{percent(task.accuracy.value)}%: not of one run, or edited?"
            )
    return lines


def _truncation(run: Run) -> list[str]:
    """How many responses were likely cut off; and what a report without samples cannot show."""
    responses = [graded for task in run.tasks for item in task.items for graded in item.responses]
    known = [graded.truncated for graded in responses if graded.truncated is not None]
    told = all("truncated" in task.scores for task in run.tasks if not task.items)  # a served model's are known
    likely = "" if told and all(graded.finish_reason for graded in responses) else "likely "
    lines = [f"{run.label}: {sum(known):,} of {len(known):,} responses were {likely}truncated."] if known else []
    without = [task for task in run.tasks if not task.items]
    if without:
        shares = [f"{task.title} {percent(task.scores[metric].value)}%" for task in without
                  for metric in ("truncated", "likely_truncated") if metric in task.scores]  # fmt: skip
        lines.append(
            f"{run.label}: no samples of {', '.join(task.title for task in without)} beside {run.path.name} (run "
            "lm_eval with --log_samples, and keep its file names): no comparisons, groups or failures of these."
            + (f" {likely.capitalize()}truncated: {', '.join(shares)}." if shares else "")
        )
    return lines
