"""Cut a synthesised data set to an exact number of responses, or to the tokens of another one, by chance alone.

Usage::

    python -m experiments.miniature.cut POOL --size 2640 --seed 0 --tokenizer DIR --output DIR
    python -m experiments.miniature.cut POOL --tokens-of OTHER_DIR --seed 0 --tokenizer DIR --output DIR

Quotas are whole numbers, so no k gives exactly the wanted size. Every response has the same chance to stay: cutting the
last trials instead would take from the hard queries of Prop2Diff only. The training file's order does not matter, as
``train/sft.py`` shuffles.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import click

from dart_tasks.prompts import get_template

__all__ = ["Summary", "cut_to_size", "cut_to_tokens", "read_summary"]

Row = dict[str, Any]
TEMPLATE = get_template("alpaca")


@dataclass(frozen=True)
class Summary:
    """What ``summary.json`` beside the data says. Tokens are those of prompt and response with BOS and EOS."""

    n_available: int
    n_responses: int
    n_tokens: int
    n_response_tokens: int
    responses_by_level: dict[str, int]
    queries_by_level: dict[str, int]
    """Queries with at least one response."""
    responses_by_query: dict[str, int]


def read_summary(folder: Path) -> Summary:
    """The summary of a cut data set."""
    return Summary(**json.loads((folder / "summary.json").read_text(encoding="utf-8")))


def shuffled(rows: Sequence[Row], seed: int) -> list[Row]:
    """The rows in an order that depends on the seed alone, not on the order they come in."""
    ordered = sorted(rows, key=lambda row: (row["query_id"], row["trial"]))
    Random(seed).shuffle(ordered)
    return ordered


def cut_to_size(rows: Sequence[Row], size: int, seed: int) -> list[Row]:
    """``size`` rows by chance (all where there are fewer)."""
    return shuffled(rows, seed)[:size]


def cut_to_tokens(rows: Sequence[Row], tokens: int, seed: int) -> list[Row]:
    """Rows by chance up to the first that would exceed ``tokens`` (each row's are in ``training_tokens``)."""
    kept, total = [], 0
    for row in shuffled(rows, seed):
        total += row["training_tokens"]
        if total > tokens:
            break
        kept.append(row)
    return kept


def _read(pool: Path, keep_duplicates: bool, per_query: dict[str, int]) -> list[Row]:
    import pyarrow.parquet as pq

    columns = ["query_id", "trial", "query", "response", "level", "n_tokens"]
    if not keep_duplicates:
        rows: list[Row] = pq.read_table(pool / "dataset" / "data" / "train.parquet", columns=columns).to_pylist()
        return rows
    # Duplicates are trials of the pool like any other: up to the query's quota, in trial order.
    flags = ["correct", "explicit"]
    rows = pq.read_table(pool / "dataset" / "pool" / "train.parquet", columns=columns + flags).to_pylist()
    kept: list[Row] = []
    taken: dict[str, int] = {}
    for row in sorted(rows, key=lambda row: (row["query_id"], row["trial"])):
        count = taken.get(row["query_id"], 0)
        if row["correct"] and row["explicit"] and count < per_query[row["query_id"]]:
            taken[row["query_id"]] = count + 1
            kept.append({column: row[column] for column in columns})
    return kept


def _quotas(pool: Path) -> dict[str, int]:
    import pyarrow.parquet as pq

    table = pq.read_table(pool / "dataset" / "queries" / "train.parquet", columns=["query_id", "quota"])
    return {row["query_id"]: row["quota"] for row in table.to_pylist()}


def _count_tokens(rows: Sequence[Row], tokenizer: Path) -> None:
    from tokenizers import Tokenizer

    encode = Tokenizer.from_file(str(tokenizer / "tokenizer.json")).encode
    length: dict[str, int] = {}
    for row in rows:
        if row["query"] not in length:
            length[row["query"]] = len(encode(TEMPLATE.render(row["query"])).ids)  # with BOS
        response = len(encode(row["response"], add_special_tokens=False).ids) + 1  # EOS
        row["response_tokens"], row["training_tokens"] = response, length[row["query"]] + response


def summarise(kept: Sequence[Row], n_available: int) -> Summary:
    """Counts of what was kept."""
    by_query: dict[str, int] = {}
    by_level: dict[str, int] = {}
    solved: dict[str, set[str]] = {}
    for row in kept:
        level = str(row["level"])
        by_query[row["query_id"]] = by_query.get(row["query_id"], 0) + 1
        by_level[level] = by_level.get(level, 0) + 1
        solved.setdefault(level, set()).add(row["query_id"])
    return Summary(
        n_available, len(kept), sum(row["training_tokens"] for row in kept),
        sum(row["response_tokens"] for row in kept),
        dict(sorted(by_level.items())), {level: len(ids) for level, ids in sorted(solved.items())},
        dict(sorted(by_query.items())),
    )  # fmt: skip


@click.command()
@click.argument("pool", type=click.Path(path_type=Path, exists=True))
@click.option("--size", type=click.IntRange(1), help="Responses to keep.")
@click.option("--tokens-of", type=click.Path(path_type=Path, exists=True), help="Keep as many tokens as this one.")
@click.option("--keep-duplicates", is_flag=True, help="Let repeated responses count toward a query's quota.")
@click.option("--seed", default=0, show_default=True)
@click.option("--tokenizer", type=click.Path(path_type=Path, exists=True), required=True, help="A model's folder.")
@click.option("--output", type=click.Path(path_type=Path), required=True)
def main(
    pool: Path, size: int | None, tokens_of: Path | None, keep_duplicates: bool, seed: int, tokenizer: Path,
    output: Path,
) -> None:  # fmt: skip
    """Write OUTPUT/train.jsonl and OUTPUT/summary.json."""
    if size is not None and tokens_of is not None:
        raise click.UsageError("give --size or --tokens-of, not both")
    rows = _read(pool, keep_duplicates, _quotas(pool) if keep_duplicates else {})
    _count_tokens(rows, tokenizer)
    if tokens_of is not None:
        kept = cut_to_tokens(rows, read_summary(tokens_of).n_tokens, seed)
    else:
        kept = cut_to_size(rows, size or len(rows), seed)
    output.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps({"query": row["query"], "response": row["response"]}) + "\n" for row in kept)
    (output / "train.jsonl").write_text("".join(lines), encoding="utf-8")
    summary = summarise(kept, len(rows))
    (output / "summary.json").write_text(json.dumps(asdict(summary)) + "\n", encoding="utf-8")
    click.echo(f"{summary.n_responses:,} of {len(rows):,} responses, {summary.n_tokens:,} tokens")
    if size is not None and summary.n_responses < size:
        click.echo(f"warning: {pool} has fewer than the {size:,} responses wanted", err=True)


if __name__ == "__main__":
    main()
