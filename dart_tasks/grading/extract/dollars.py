"""Which ``$`` delimit a formula and which are money, decided once for a whole text, in linear time.

In ``the pens cost $3, so $x = 12 / 3$`` the first is money, the other two delimit a formula: between a dollar sign and
the next one stands a formula, unless it reads as prose or as a sum of amounts.
"""

from __future__ import annotations

import re

__all__ = ["MONEY", "mark_money"]

MONEY = "＄"  # full width; it stands for a sign that is money, so that positions in the text stay as they are
_DOLLARS = re.compile(r"(?<!\\)\$\$?")
_OPENS_AMOUNT = re.compile(r"\s?[-−]?(?:\d|\.\d|<<)")
_IN_TEX = re.compile(r"\\(?:text\w*|mbox|math\w+|emph|operatorname|begin|end)\s*\{[^{}]*\}|\\[A-Za-z]+|\\.", re.DOTALL)
_WORD = r"(?<![^\s(])[A-Za-z][a-z]+(?![^\s,.;:)])"
_STOP = re.compile(
    r"(?<![^\s(,])(?:an|are|as|at|be|by|for|from|he|if|in|is|of|on|or|per|she|so|the|to|we)(?![^\s,.;:)])"
)
_PROSE = re.compile(rf"{_WORD}[,.;:]?\s+{_WORD}")


def mark_money(text: str) -> str:
    """The text with :data:`MONEY` in place of every dollar sign that delimits no formula."""
    if "$" not in text:
        return text
    marks = [(mark.start(), mark.end()) for mark in _DOLLARS.finditer(text)]
    marked: list[str] = []
    done = 0  # the text is copied up to here
    index = 0
    while index < len(marks):
        start, end = marks[index]
        following = marks[index + 1] if index + 1 < len(marks) else None
        if following is not None and _is_formula(text, start, end, *following):
            index += 2
            continue
        marked.append(text[done:start] + MONEY * (end - start))
        done = end
        index += 1
    return "".join(marked) + text[done:]


def _is_formula(text: str, start: int, end: int, closing: int, closed: int) -> bool:
    """Whether what stands between these two signs, next to each other, reads as a formula."""
    content = text[end:closing]
    if end - start == 2 or closed - closing == 2:
        return end - start == closed - closing
    if not content.strip() or "\n\n" in content:
        return False
    if start and text[start - 1].isdigit() and content[0].isspace():
        return False  # 5$ and 6$
    after = text[closed : closed + 1]
    is_amount = _OPENS_AMOUNT.match(content) is not None
    if is_amount and (after.isdigit() or after == "<" or _breaks_off(content)):
        return False  # $30 - $20
    if not is_amount and "\\" in content:
        return True
    prose = _IN_TEX.sub("+", content)
    if is_amount:
        return not (_STOP.search(prose) or _PROSE.search(prose))
    return not _PROSE.search(prose)


def _breaks_off(content: str) -> bool:
    """Whether this is the start of a sum of amounts: ``30 - ``, ``5 and ``; a formula may end with a space too."""
    if content[0].isspace() or not content[-1].isspace():
        return False
    return content.rstrip()[-1] in "-−–+*/÷×x=,;:(" or not any(mark in content for mark in "\\^_=")
