"""Where a response's thought ends and its answer begins, for lengths; what counts as an answer is the grader's."""

from __future__ import annotations

import re

__all__ = ["OPENED_THOUGHT", "split_thought"]

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
