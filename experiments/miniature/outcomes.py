"""Keep of lm-eval's logged samples what the report needs: which problems were solved, and the responses.

Usage: ``python -m experiments.miniature.outcomes DIR``, with DIR the ``--output_path`` of ``lm_eval --log_samples``.
Writes DIR/outcomes.parquet (id, correct, answer, response, in the order of ids) and deletes the samples, 10 MB a model.
"""

from __future__ import annotations

from pathlib import Path

import click

from dart_tasks.report.results import read_items

__all__ = ["read_correct"]


def read_correct(folder: Path) -> dict[str, bool]:
    """Whether each problem was solved."""
    import pyarrow.parquet as pq

    table = pq.read_table(folder / "outcomes.parquet", columns=["id", "correct"])
    return dict(zip(table["id"].to_pylist(), table["correct"].to_pylist(), strict=True))


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
def main(folder: Path) -> None:
    """Condense lm-eval's samples to outcomes.parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (samples,) = folder.rglob("samples_*.jsonl")
    rows = []
    for item in read_items(samples):
        (graded,) = item.responses
        rows.append({"id": item.id, "correct": graded.correct, "answer": graded.answer, "response": graded.response})
    rows.sort(key=lambda row: str(row["id"]))
    pq.write_table(pa.Table.from_pylist(rows), folder / "outcomes.parquet", compression="zstd")
    samples.unlink()
    click.echo(f"{sum(bool(row['correct']) for row in rows):,} of {len(rows):,} problems solved")


if __name__ == "__main__":
    main()
