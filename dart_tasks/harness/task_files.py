"""Writes the task YAMLs and the tables of docs/evaluation.md from the benchmarks' records.

    python -m dart_tasks.harness.task_files

Run it after adding a benchmark; a test says when it was forgotten. The demo task, and what all tasks and groups share
(``_dart_math_yaml``, ``_dart_math_group_yaml``), are written by hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from dart_tasks.embedded import MINI_DIR
from dart_tasks.files import write_atomically
from dart_tasks.problems import BENCHMARKS, Benchmark
from dart_tasks.problems.record import HubSource

__all__ = ["VERSION", "main", "task_files", "with_tables"]

VERSION = 4
"""Of the tasks: raised with any change of prompts or grader, as scores of two versions are not to be compared."""

_CHECKOUT = Path(__file__).resolve().parents[2]
_GROUPS_OF_GROUPS = {"suite": ("in_domain", "out_of_domain")}


def task_files() -> dict[str, str]:
    """The text of every file, by its path within the folder."""
    variants = {"": "", "_chat": "chat/", "_fewshot": "fewshot/"}
    named = {group: _members(group) for record in BENCHMARKS.values() for group in record.groups} | _GROUPS_OF_GROUPS
    files = {
        f"{folder}dart_math_{group}{end}.yaml": _group(group + end, [member + end for member in members], folder)
        for end, folder in variants.items()
        for group, members in named.items()
    }
    for record in BENCHMARKS.values():
        files |= {f"{folder}{record.task}{end}.yaml": _task(record, end, folder) for end, folder in variants.items()}
    mini = [record for record in BENCHMARKS.values() if (MINI_DIR / record.splits["test"].file_name).is_file()]
    files |= {f"mini/dart_math_mini_{record.name}.yaml": _task(record, "mini", "mini/") for record in mini}
    head = "# Our own items, about 25 per benchmark: for plumbing, not for scores.\n"
    return files | {"mini/dart_math_mini.yaml": head + _group("mini", [f"mini_{r.name}" for r in mini], "mini/")}


def _members(group: str) -> tuple[str, ...]:
    return tuple(record.name for record in BENCHMARKS.values() if group in record.groups)


def _group(name: str, members: list[str], folder: str) -> str:
    tasks = "".join(f"  - dart_math_{member}\n" for member in members)
    head = f"include: {'../' if folder else ''}_dart_math_group_yaml\ngroup: dart_math_{name}\n"
    if len({record.k for record in BENCHMARKS.values() if f"dart_math_{record.name}" in tasks}) > 1:
        # Of members with different k a mean of pass@16 would be that of some of them.
        tasks += "aggregate_metric_list:\n  - {metric: acc, aggregation: mean, weight_by_size: false}\n"
    return f"{head}task:\n{tasks}metadata:\n  version: {VERSION}\n"


def _task(record: Benchmark, variant: str, folder: str) -> str:
    def lines() -> Iterator[str]:
        yield f"include: {'../' if folder else ''}_dart_math_yaml"
        yield f"task: dart_math_mini_{record.name}" if variant == "mini" else f"task: {record.task}{variant}"
        mark = {"": "", "_chat": " (chat)", "_fewshot": " (few-shot)", "mini": " (mini)"}[variant]
        yield f"task_alias: {record.title}{mark}"
        if variant == "_fewshot":
            yield f"num_fewshot: {record.shots}"
        yield f"metadata:\n  benchmark: {record.name}"
        if template := {"_chat": "chat", "_fewshot": "plain"}.get(variant):
            yield f"  template: {template}"
        if variant == "mini":
            yield "  data_dir: mini"
        if record.k > 1:
            yield f"  k: {record.k}"
        yield f"  version: {VERSION}"

    return "\n".join(lines()) + "\n"


def with_tables(page: str) -> str:
    """The text of docs/evaluation.md with its two tables of benchmarks as the records have them."""
    tasks, files = [], []
    for record in BENCHMARKS.values():
        split = record.splits["test"]
        source = split.source
        home = source.repo if isinstance(source, HubSource) else f"file of {'/'.join(source.url.split('/')[3:5])}"
        items = " or ".join(f"{count:,}" for count in split.rows)
        facets = ", ".join(facet.replace("_", " ") for facet in record.facets)
        tasks.append((record.title, f"`{record.task}`", items, str(record.shots), facets, home))
        paper = f"[{record.paper.rsplit('/', 1)[-1]}]({record.paper})"
        files.append((record.title, f"`{split.file_name}`", paper, record.licence))
    page = _with_table(
        page, "tasks", ("benchmark", "task", "items", "shots (`_fewshot`)", "accuracy also by", "source"), tasks
    )
    return _with_table(page, "sources", ("benchmark", "local file", "paper", "licence of the items"), files)


def _with_table(page: str, name: str, header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in (header, *rows)]
    lines.insert(1, "|---" * len(header) + "|")
    before, mark, rest = page.partition(f"<!-- {name} -->\n")
    return before + mark + "\n".join(lines) + "\n<!-- end -->" + rest.partition("<!-- end -->")[2]


def main() -> None:
    """Write them all."""
    for name, text in task_files().items():
        write_atomically(_CHECKOUT / "task_configs" / name, text)
    page = _CHECKOUT / "docs" / "evaluation.md"
    write_atomically(page, with_tables(page.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
