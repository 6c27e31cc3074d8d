"""The marks around an answer: boxes, emphasis, quotes, code, dollars, full stops."""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["BOX", "MAX_ANSWER", "box_at", "clean"]

MAX_ANSWER = 20_000
# Also as JSON leaves it that was read with "\b" as a backspace, and as GLM-4.5V writes it.
BOX = re.compile(r"(?:\\(?:boxed|fbox|framebox)|\x08oxed)\s*(?=[{\d A-Za-z\\-])|<\|begin_of_box\|>")
_UNBRACED = re.compile(r"[^\s$.,;]+")
_DELIMITERS = (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ('"', '"'), ("“", "”"), ("「", "」"))
_FACTORIAL = re.compile(r"(?:(?<=\d)|(\(\d[\d+ -]{0,20}\)))!=(?!=)")
_SIGNS = " ✅✔️☑🎉👉🎯➡→⇒∴▶•●"


def box_at(text: str, start: int, after: int) -> tuple[int, str]:
    """(end, content) of the box whose macro stands from start to after; an unclosed one reaches to its line's end."""
    if text[start] == "<":
        end = text.find("<|end_of_box|>", after)
        end = end if 0 <= end < after + MAX_ANSWER else _line_end(text, after)
        return end, text[after:end]
    index = after
    while index < len(text) and text[index] == " ":
        index += 1
    if index >= len(text) or text[index] != "{":
        match = _UNBRACED.match(text, index)
        return (match.end(), match[0]) if match else (index, "")
    depth = 0
    position = index
    limit = min(len(text), index + MAX_ANSWER)
    for brace in _BRACES.finditer(text, index, limit):
        position = brace.end()
        if brace[0] == "{":
            depth += 1
        elif brace[0] == "}":
            depth -= 1
            if depth == 0:
                return position, text[index + 1 : position - 1]
    end = _line_end(text, index + 1)
    return end, text[index + 1 : end].rstrip(" .")


_BRACES = re.compile(r"\\.|[{}]", re.DOTALL)
_UNCLOSED_END = re.compile(r"\$|\n|\\[\])]")


def _line_end(text: str, start: int) -> int:
    found = _UNCLOSED_END.search(text, start, start + MAX_ANSWER)
    return found.start() if found else min(len(text), start + MAX_ANSWER)


def clean(answer: str) -> str:
    """An answer without the marks around it: bold, quotes, code, a full stop, dollars."""
    return answer if answer.isalnum() else _clean_short(answer) if len(answer) <= 200 else _clean(answer)


@lru_cache(maxsize=4096)
def _clean_short(answer: str) -> str:
    return _clean(answer)


def _clean(answer: str) -> str:
    answer = " ".join(answer.split())
    if "!=" in answer:
        answer = _FACTORIAL.sub(r"\1! =", answer)  # 5!=120 is no inequality
    if answer[:1].isalnum() and answer[-1:].isalnum():  # no mark at either end
        return answer
    before = None
    while before != answer and answer and not (answer[0].isalnum() and answer[-1].isalnum()):
        before = answer
        answer = answer.strip("*` ").removeprefix("__").removesuffix("__")
        answer = answer.removeprefix("=>").removeprefix("->").strip(_SIGNS).rstrip("。，；") or answer
        if answer.endswith((".", ",", ";", ":")) and not answer.endswith(("\\,", "\\;", "\\:", ".m.", "...")):
            answer = answer.rstrip(answer[-1]).rstrip()
        for opening, closing in _DELIMITERS:
            inside = answer[len(opening) : len(answer) - len(closing)]
            if (
                len(answer) > len(opening) + len(closing)
                and answer.startswith(opening)
                and answer.endswith(closing)
                and opening not in inside
            ):
                answer = inside.strip()
    return answer
