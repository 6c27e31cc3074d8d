"""What was asked of each server, over all attempts at a run: trials, tokens of prompts and responses, cost.

Counted are trials that were recorded. A server may also charge for answers that were cut off or came twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from dart_tasks.console import counted
from synth.ledger import Ledger

__all__ = ["Usage", "usage_lines", "usage_of"]


@dataclass(slots=True)
class Usage:
    """Of one server, or of all together.

    Attributes:
        n_uncounted: trials whose prompt tokens the server did not tell; they are in no other sum but ``n_tokens``.
        cost: in the currency of ``--price-in`` and ``--price-out``; None where an attempt named no price.
    """

    n_trials: int = 0
    n_prompt_tokens: int = 0
    n_uncounted: int = 0
    n_tokens: int = 0
    cost: float | None = 0.0

    def add(self, other: Usage) -> None:
        """Take in another."""
        self.n_trials += other.n_trials
        self.n_prompt_tokens += other.n_prompt_tokens
        self.n_uncounted += other.n_uncounted
        self.n_tokens += other.n_tokens
        self.cost = None if self.cost is None or other.cost is None else self.cost + other.cost

    def told(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)

    def line(self) -> str:
        """In words."""
        counts = (self.n_trials, "trial"), (self.n_prompt_tokens, "prompt token"), (self.n_tokens, "response token")
        said = ", ".join(counted(number, noun) for number, noun in counts)
        if self.cost is not None:
            digits = 2 if self.cost >= 1 else 6
            said += f", cost {'at least ' if self.n_uncounted else ''}{self.cost:,.{digits}f}"
        return said + (f" (prompts of {counted(self.n_uncounted, 'trial')} not counted)" if self.n_uncounted else "")


def usage_of(ledger: Ledger) -> dict[str, Usage]:
    """By the server's address; empty for a run that used none."""
    found: dict[str, Usage] = {}
    for url, price_in, price_out, n_trials, n_prompts, n_prompt_tokens, n_tokens in ledger.tokens_by_endpoint():
        cost = None
        if price_in is not None and price_out is not None:
            cost = (n_prompt_tokens * price_in + n_tokens * price_out) / 1e6
        part = Usage(n_trials, n_prompt_tokens, n_trials - n_prompts, n_tokens, cost)
        found.setdefault(url, Usage()).add(part)
    return found


def usage_lines(usage: dict[str, Usage]) -> Iterable[str]:
    """A line of each server, and of all where there are several."""
    for url, used in usage.items():
        yield f"{url}: {used.line()}"
    if len(usage) > 1:
        total = Usage()
        for used in usage.values():
            total.add(used)
        yield f"all servers: {total.line()}"
