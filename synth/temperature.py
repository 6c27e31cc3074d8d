"""Search of the sampling temperature on a few queries: pass rate, duplicates, and coverage at equal tokens.

A higher temperature finds more different solutions and fails more often; what decides is how many queries are solved,
and how many different responses are gathered, for the same number of sampled tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from synth.ledger import StoredResult

__all__ = ["TemperatureRow", "compare"]


@dataclass(frozen=True, slots=True)
class TemperatureRow:
    """One temperature. Coverage and distinct responses are counted over the first ``budget_tokens`` tokens."""

    temperature: float
    pass_rate: float
    duplicate_rate: float
    """Share of correct responses that repeat an earlier one of their query."""
    truncated_rate: float
    mean_tokens: float
    coverage: float
    n_distinct: int


def compare(
    results: Sequence[tuple[float, Sequence[StoredResult]]], n_queries: int, lenient: bool = False
) -> tuple[int, list[TemperatureRow]]:
    """The budget (tokens of the cheapest temperature) and one row for each temperature."""
    budget = min(sum(row.n_tokens for row in rows) for _, rows in results)
    return budget, [_row(temperature, rows, n_queries, budget, lenient) for temperature, rows in results]


def _row(
    temperature: float, rows: Sequence[StoredResult], n_queries: int, budget: int, lenient: bool
) -> TemperatureRow:
    correct = [row for row in rows if row.result(lenient).correct]
    distinct = {(row.query, row.text_key) for row in correct}
    spent, within = 0, set[tuple[int, int]]()
    for row in sorted(rows, key=lambda row: (row.trial, row.query)):  # every first trial, every second, ...
        spent += row.n_tokens
        if spent > budget:
            break
        if row.result(lenient).correct:
            within.add((row.query, row.text_key))
    return TemperatureRow(
        temperature,
        len(correct) / max(1, len(rows)),
        1 - len(distinct) / max(1, len(correct)),
        sum(row.truncated for row in rows) / max(1, len(rows)),
        sum(row.n_tokens for row in rows) / max(1, len(rows)),
        len({query for query, _ in within}) / n_queries,
        len(within),
    )
