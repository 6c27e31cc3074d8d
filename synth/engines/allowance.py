"""How much may be asked of a server in a minute: requests, and tokens of prompts and responses.

In no 60 seconds more than the limit is asked for. (A leaky bucket such as aiolimiter's lets twice as much through in
the first minute, and takes back nothing when a response is shorter than it might have been.)
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

__all__ = ["Allowance", "Spent"]

_WINDOW_S = 60.0


@dataclass(slots=True)
class Spent:
    """A request that counts: when it was sent, and its tokens (an upper bound until they are known)."""

    at_s: float
    n_tokens: int


class Allowance:
    """The limits of one server; None: there is none. Times are of one clock, and never go back."""

    def __init__(self, requests_per_minute: int | None = None, tokens_per_minute: int | None = None) -> None:
        self._requests = requests_per_minute
        self._tokens = tokens_per_minute
        self._spent: deque[Spent] = deque()
        self._n_tokens = 0

    def wait_s(self, now_s: float, n_tokens: int) -> float:
        """Time until a request of so many tokens may be sent; one beyond the limit is sent alone."""
        while self._spent and self._spent[0].at_s <= now_s - _WINDOW_S:
            self._n_tokens -= self._spent.popleft().n_tokens
        until_s = now_s
        if self._requests is not None and len(self._spent) >= self._requests:
            until_s = self._spent[-self._requests].at_s + _WINDOW_S
        if self._tokens is not None:
            left = self._n_tokens
            for spent in self._spent:
                if left + n_tokens <= self._tokens:
                    break
                left -= spent.n_tokens
                until_s = max(until_s, spent.at_s + _WINDOW_S)
        return until_s - now_s

    def spend(self, now_s: float, n_tokens: int) -> Spent:
        """A request is sent."""
        spent = Spent(now_s, n_tokens)
        if self._requests is not None or self._tokens is not None:
            self._spent.append(spent)
            self._n_tokens += n_tokens
        return spent

    def settle(self, spent: Spent, n_tokens: int) -> None:
        """It had so many tokens."""
        if self._spent and self._spent[0].at_s <= spent.at_s:  # else it counts no longer
            self._n_tokens += n_tokens - spent.n_tokens
        spent.n_tokens = n_tokens
