"""Problems for reinforcement learning, of the difficulty that a model learns from, out of pools of trials.

One row, in the columns of verl (https://verl.readthedocs.io, "Prepare data for post-training") and TRL (``prompt``,
``reference``)::

    {"data_source": "gsm8k", "prompt": [{"role": "user", "content": "A crate holds 12 eggs. ..."}], "ability": "math",
     "reward_model": {"style": "rule", "ground_truth": "36"}, "reference": "36",
     "extra_info": {"index": 0, "query_id": "gsm8k/0", "question": "A crate ...", "pass_rate": 0.25, "n_trials": 16,
                    "level": 2, "domain": None, "dataset": "gsm8k"}}
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dart_tasks.files import replacing
from synth.curate import Pool, read_trials

__all__ = ["problem_rows", "write_problems"]


def problem_rows(
    pools: Sequence[Pool], lenient: bool, leave_out: frozenset[str], low: float, high: float
) -> tuple[list[dict[str, Any]], int]:
    """The problems whose pass rate, estimated as ``synth.difficulty`` says, is between ``low`` and ``high`` inclusive.

    And the number of those of which nothing tells one: no trial was recorded, or none could be graded.

    Raises:
        PoolError: a pool cannot be read, or tells nothing of difficulty.
    """
    found, _, _ = read_trials(pools, lenient, needs_difficulty=True)
    rows: list[dict[str, Any]] = []
    n_unknown = 0
    for query_id, told in found.items():
        query, pass_rate = told.query, told.pass_rate
        if query_id not in leave_out and not told.is_known:
            n_unknown += 1
        if query_id in leave_out or not told.is_known or not low <= pass_rate <= high:
            continue
        reference = query.reference if isinstance(query.reference, str) else json.dumps(query.reference)
        rows.append(
            {
                "data_source": query.benchmark, "prompt": [{"role": "user", "content": query.query}],
                "ability": "math", "reward_model": {"style": "rule", "ground_truth": reference},
                "reference": reference,
                "extra_info": {
                    "index": len(rows), "query_id": query_id, "question": query.query, "pass_rate": pass_rate,
                    "n_trials": told.n_trials, "level": query.level, "domain": query.domain, "dataset": query.dataset,
                },
            }
        )  # fmt: skip
    return rows, n_unknown


def write_problems(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write them as Parquet, atomically."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, number = pa.string(), pa.int64()
    schema = pa.schema(
        {
            "data_source": text, "prompt": pa.list_(pa.struct({"role": text, "content": text})), "ability": text,
            "reward_model": pa.struct({"style": text, "ground_truth": text}), "reference": text,
            "extra_info": pa.struct(
                {
                    "index": number, "query_id": text, "question": text, "pass_rate": pa.float64(),
                    "n_trials": number, "level": number, "domain": text, "dataset": text,
                }
            ),
        }
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, "wb") as file:
        pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), file)
