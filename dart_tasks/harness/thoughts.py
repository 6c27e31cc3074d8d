"""Where a response's thought ends and its answer begins, for lengths; what counts as an answer is the grader's."""

from __future__ import annotations

import re
from collections.abc import Callable

from dart_tasks.harness.served import beside_of

__all__ = ["OPENED_THOUGHT", "closes_unopened", "lengths", "split_thought"]

_NAME = r"(?:[a-z]{1,12}:)?(?:think|thinking|thoughts?|reasoning)"
OPENED_THOUGHT = re.compile(
    rf"(<{_NAME}>|◁think▷|\[THINK\]|<\|begin_of_thought\|>|<\|START_THINKING\|>)\s*\Z", re.IGNORECASE
)
"""The tag at the end of a prompt, as chat templates of reasoning models put it there."""

_OPEN = re.compile(OPENED_THOUGHT.pattern.removesuffix(r"\s*\Z"), re.IGNORECASE)
_CLOSE = re.compile(rf"</{_NAME}>|◁/think▷|\[/THINK\]|<\|end_of_thought\|>|<\|END_THINKING\|>", re.IGNORECASE)


def split_thought(response: str) -> tuple[str, str]:
    """(thought, answer); a thought that never closes is all of the response, one that is not there is empty."""
    closings = list(_CLOSE.finditer(response))
    if closings:
        return response[: closings[-1].start()], response[closings[-1].end() :]
    opening = _OPEN.match(response.lstrip())
    return (response, "") if opening else ("", response)


def closes_unopened(response: str) -> bool:
    """Whether it ends a thought that it did not begin, so that the prompt had."""
    closing = _CLOSE.search(response)
    return closing is not None and _OPEN.search(response, 0, closing.start()) is None


def lengths(response: str, count: Callable[[str], int] | None) -> tuple[int, int] | None:
    """The tokens of a response's thought and answer; None where nothing tells them.

    As a server told them; else counted by ``count``; else the total that a server told, split by characters.
    """
    what = beside_of(response)
    thought, answer = (what.thought, str(response)) if what.thought else split_thought(response)
    if what.n_tokens is not None and (what.n_thought_tokens is not None or not thought):
        n_thought = what.n_thought_tokens or 0
        return n_thought, max(0, what.n_tokens - n_thought)
    if count is not None:
        return count(thought), count(answer)
    if what.n_tokens is None:
        return None
    n_thought = round(what.n_tokens * len(thought) / len(thought + answer))
    return n_thought, what.n_tokens - n_thought
