"""A response's text as a document: blocks of the kinds in which answers stand, each kind found when it is asked for.

====================  ================================================================
code                  programs (blanked, for their numbers answer nothing) and outputs
JSON                  the values of ``answer`` fields
tag                   ``<answer>``, ``<solution>``, ``<final>``
box                   ``\\boxed{...}``
formula               inline and displayed
amount                ``$5``, told from formulas once, for the whole text
line                  heading, list item, table row, sentences
====================  ================================================================
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from dart_tasks.grading.extract.dollars import mark_money
from dart_tasks.grading.extract.unwrap import BOX, box_at
from dart_tasks.grading.parse.notation import with_grids

__all__ = ["DISPLAY", "FORMULA", "IMPLIES", "MAX_TAIL", "Block", "Document", "IsValue", "formula_content", "prepared"]

IsValue: TypeAlias = Callable[[str], bool]
MAX_TAIL = 8_000  # characters, from the end, in which what is merely last is sought
MAX_BOXES = 64  # looked at, from the end
MAX_FORMULA = 3_000

_SPACE = re.compile(r"(?!\n\n(?!\s))\s{2,}")
_BOX_HIT = re.compile(r"\\boxed|\\fbox|\\framebox|\x08oxed|<\|begin_of_box")
_GAPS = ("  ", " \n", "\n ", "\n\n\n", "\t", "\r", "\f", "\v", "\xa0", "\u3000", "\u2003", "\u2028")
_QUOTE = re.compile(r"(?<=\n)>[ \t]+(?=\S)")
_STRUCK = re.compile(  # struck out, or a comment of TeX
    r"<(s|del|strike)>[^<>]{0,1000}</\1>|~~[^~\n]{1,1000}~~|^[ \t]*%[^\n]{0,1000}\\boxed[^\n]*", re.MULTILINE
)
_ANNOTATION = re.compile(r"<<([^<>\n]{0,200})>>(?=(\s?[$\d.-])?)")  # GSM8K's calculator: 2*3=<<2*3=6>>6
_TWO_BACKSLASHES = re.compile(
    r"(?<!\\)\\\\(?=(?:[dt]?frac|sqrt|boxed|text|mathrm|begin|end|pi|left|right|cdot|times|infty|theta|alpha"
    r"|beta)(?![a-z]))"
)
_DRAWING = re.compile(r"\[asy\].*?(?:\[/asy\]|\Z)", re.DOTALL)
_WORD_BOX = re.compile(r"(?<![A-Za-z\\])boxed\{([^{}]{1,200})\}")  # no box without its backslash
_TAG = re.compile(r"\\(?:tag\*?|label)\s*\{[^{}]{0,40}\}")
_CHINESE_PERCENT = re.compile(r"百分之(\d+(?:\.\d+)?)")
_CHINESE_FRACTION = re.compile(r"(\d+)分之(\d+)")
_FENCE = re.compile(r"```[ \t]*([A-Za-z+]*)[^\n]{0,80}\n(.*?)(?:\n[ \t]*```|\Z)", re.DOTALL)
_PROGRAM = re.compile(
    r"(?m)^[ \t]*(?:import |from \w+ import|def |print\(|for \w+ in |return |#include|\w+ = [^\n]{1,200}$)"
)
_INLINE = r"(?<!\\)\$(?:[^$\n\\]|\\[^\n]){1,2000}\$|\\\((?:.{1,2000}?)\\\)"
_ENVIRONMENTS = r"align|aligned|gather|gathered|equation|eqnarray|cases|array|[pbvBV]?matrix|split|multline"
DISPLAY = re.compile(
    rf"\$\$.{{1,{MAX_FORMULA}}}?\$\$|\\\[.{{1,{MAX_FORMULA}}}?\\\]"
    rf"|\\begin\{{((?:{_ENVIRONMENTS})\*?)\}}.{{1,{MAX_FORMULA}}}?\\end\{{\1\}}",
    re.DOTALL,
)
FORMULA = re.compile(rf"{DISPLAY.pattern}|{_INLINE}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a document: its kind, where it stands, what it holds."""

    kind: str
    start: int
    end: int
    content: str


def _shorter(match: re.Match[str]) -> str:
    return "\n\n" if match[0].count("\n") > 1 else "\n" if "\n" in match[0] else " "


def _annotated(match: re.Match[str]) -> str:
    return "" if match[1] is None or match[2] else match[1].rpartition("=")[2]


def _without_program(match: re.Match[str]) -> str:
    language, content = match[1].lower(), match[2]
    if language in ("json", "output", "text", "plaintext", "latex", "markdown", "math", "tex"):
        return match[0]
    if language or _PROGRAM.search(content):
        return "\n\n"
    return match[0]


def prepared(text: str) -> str:
    """The text without programs, drawings, comments, what is struck out, calculator annotations and quotation marks of
    mail; with dollar signs told apart, and shorter gaps."""
    if "```" in text:
        text = _FENCE.sub(_without_program, text)
    if "<!--" in text:
        first, *others = text.split("<!--")
        text = first + "".join(other.rpartition("-->")[2] for other in others)
    if "~~" in text or "</" in text or "%" in text:
        text = _STRUCK.sub(" ", text)
    if "[asy]" in text:
        text = _DRAWING.sub("\n\n", text)
    if "<<" in text:
        text = _ANNOTATION.sub(_annotated, text)
    if any(map(text.__contains__, _GAPS)):
        text = _SPACE.sub(_shorter, text)  # so that no pattern meets a long run of spaces
    text = with_grids(text)
    if "\n> " in text:
        text = _QUOTE.sub("", text)
    if "\\\\" in text:
        text = _TWO_BACKSLASHES.sub(r"\\", text)
    if "\\tag" in text or "\\label" in text:
        text = _TAG.sub("", text)
    if text.count("boxed{") > text.count("\\boxed{"):
        text = _WORD_BOX.sub(r"\1", text)
    if "分之" in text or "根号" in text:
        text = (
            _CHINESE_FRACTION.sub(r"\2/\1", _CHINESE_PERCENT.sub(r"\1%", text))
            .replace("正负", "±")
            .replace("根号", "√")
        )
    return mark_money(text.replace("₤", "£"))


class Document:
    """A text, prepared, and its blocks."""

    def __init__(self, text: str, is_value: IsValue, question: str | None = None) -> None:
        """``is_value`` says whether an answer's text can be compared as it stands."""
        self.text = text
        self.is_value = is_value
        self.question = question

    def part(self, text: str) -> Document:
        """A part of the document's text, or of what stands in it, as a document."""
        return Document(text, self.is_value, self.question)

    @cached_property
    def boxes(self) -> list[Block]:
        """The last boxes, in order of appearance; a box inside another is part of it."""
        blocks: list[Block] = []
        if "box" not in self.text and "\x08oxed" not in self.text:
            return blocks
        end = 0
        hits = [hit.start() for hit in _BOX_HIT.finditer(self.text)][-MAX_BOXES:]
        for macro in (BOX.match(self.text, hit) for hit in hits):
            if macro is not None and macro.start() >= end:
                end, content = box_at(self.text, macro.start(), macro.end())
                blocks.append(Block("box", macro.start(), end, content.strip()))
        return blocks

    @cached_property
    def output(self) -> str:
        """What a program printed, if the response ends with that."""
        fences = list(_FENCE.finditer(self.text[-MAX_TAIL:]))
        if (
            not fences
            or fences[-1][1].lower() not in ("output", "text", "")
            or fences[-1].end() < len(self.text[-MAX_TAIL:].rstrip())
        ):
            return ""
        return fences[-1][2].strip()


_LAST_SIDE = re.compile(r"(?<![<>!:\\])=")


def formula_content(formula: str) -> str:
    """A formula without its delimiters; of several aligned rows the last."""
    content = formula.strip()
    for opening, closing in (("$$", "$$"), ("$", "$"), ("\\[", "\\]"), ("\\(", "\\)")):
        if content.startswith(opening) and content.endswith(closing) and len(content) >= len(opening) + len(closing):
            content = content[len(opening) : len(content) - len(closing)].strip()
            break
    aligned = _ALIGNED.search(content)
    if aligned:
        inner = [found[0] for found in _INNER.finditer(aligned[2])]
        rows = [row for row in _INNER.sub("\0", aligned[2]).split("\\\\") if row.strip()]
        cells = rows[-1].split("&") if rows else [""]
        content = " ".join(cell for cell in cells if not _REMARK.fullmatch(cell))
        for matrix in inner[len(inner) - content.count("\0") :]:
            content = content.replace("\0", matrix, 1)
    *before, last = IMPLIES.split(_SPACING.sub("", content))
    if before and _STATES.search(last) and all(_STATES.search(part) for part in before if part.strip()):
        content = last  # 2x = 6 \implies x = 3
    return _SPACING.sub("", content.strip().rstrip(".,;").removesuffix("\\")).strip()


IMPLIES = re.compile(
    r"\\(?:implies|iff|(?:L|l)ong(?:left)?rightarrow|Long(?:left)?rightarrow|(?:Left)?[rR]ightarrow|therefore)(?![A-Za-z])|[⇒⟹⇔∴]"
)
_STATES = re.compile(r"[=<>≤≥]|\\(?:[lg]eq?(?:slant)?|in|approx|equiv)(?![A-Za-z])")
_SPACING = re.compile(r"^(?:\s|\\q?quad(?![A-Za-z]))+|(?<=Rightarrow)\\q?quad(?![A-Za-z])")
_REMARK = re.compile(r"\s*\\text\w*\s*\{[^{}]*\}\s*[.,]?\s*")
_INNER = re.compile(r"\\begin\{(\w*matrix|array|cases)\}.*?\\end\{\1\}", re.DOTALL)
_ALIGNED = re.compile(
    r"\\begin\{(align|aligned|gather|gathered|eqnarray|split|multline|equation)\*?\}(.*)\\end\{\1\*?\}", re.DOTALL
)
