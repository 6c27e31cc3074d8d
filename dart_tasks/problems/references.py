r"""What other people's rows call a question, and the reference answer within what they call an answer.

That answer is what follows ``####``, the content of the last ``\boxed{}``, or the text itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["QUESTION_COLUMNS", "last_boxed", "question_of", "reference_of"]

QUESTION_COLUMNS = ("question", "query", "problem", "Question")


def question_of(row: Mapping[str, Any]) -> str | None:
    """The question's text in a row, if one of the usual columns has it."""
    return next((row[name] for name in QUESTION_COLUMNS if isinstance(row.get(name), str)), None)


def last_boxed(text: str) -> str | None:
    r"""The content of the last balanced ``\boxed{...}`` (or ``\boxed 5``) of a reference solution."""
    start = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    if start < 0:
        return None
    brace = re.match(r"\\(?:boxed|fbox)\s*(\{)?", text[start:])
    assert brace is not None
    if brace.group(1) is None:
        bare = re.match(r"[^\s$.]+", text[start + brace.end() :])
        return bare.group() if bare else None
    depth, begin = 1, start + brace.end()
    for index in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[index], 0) if text[index - 1] != "\\" else 0
        if depth == 0:
            return text[begin:index]
    return None


def reference_of(value: Any) -> Any:
    """The reference answer in an answer or solution column's value."""
    if not isinstance(value, str):
        return value
    before, hashes, last = value.rpartition("#### ")
    if hashes and last.strip() and "\n" not in last.strip() and before[-1:] in ("", " ", "\n", "\t"):
        return last.strip().replace(",", "")
    if (start := value.rfind("\n#### ")) >= 0:
        return value[start + 6 :].strip().replace(",", "")
    boxed = last_boxed(value)
    return (boxed if boxed is not None else value).strip()
