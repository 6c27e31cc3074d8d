"""Text of models and data sets with its formulas as MathML, for the page.

>>> split("so $x=4$.")
['so ', '$x=4$', '.']
>>> mathml("$x=4$")
'<mrow><mi>x</mi><mo>=</mo><mn>4</mn></mrow>'

The grader's own reading of a text parts it, so that ``$5`` is money here as there. The text is untrusted: of what the
converter makes, only elements and attributes of MathML that carry no address, name or style are written.
"""

from __future__ import annotations

import html
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from dart_tasks.console import printable
from dart_tasks.grading.extract.document import FORMULA
from dart_tasks.grading.extract.dollars import mark_money

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["as_formula", "mathml", "split"]

MAX_FORMULA = 1_000
"""Characters of a formula that is converted; longer ones stay text, so that each takes milliseconds."""
_MAX_MATHML = 30_000
_DELIMITERS = (("$$", "$$"), ("$", "$"), ("\\[", "\\]"), ("\\(", "\\)"))
_ELEMENTS = set(
    "menclose mfrac mi mmultiscripts mn mo mover mpadded mphantom mprescripts mroot mrow ms mspace msqrt mstyle msub "
    "msubsup msup mtable mtd mtext mtr munder munderover none".split()
)
_ATTRIBUTES = set(
    "accent columnalign columnlines columnspacing displaystyle fence form linethickness mathvariant maxsize minsize "
    "movablelimits notation rowlines rowspacing scriptlevel stretchy width".split()
)
_VALUE = re.compile(
    r"(?:[a-z-]{1,20}|[+-]?\d?\d?(?:\.\d{1,3})?(?:em|ex|pt|%)?)(?: (?:[a-z]{1,10}|\d(?:\.\d)?em)){0,20}"
)
_DEFINES = re.compile(r"\\(?:def|let|g?newcommand|renewcommand|providecommand|require|href|style|class|cssId)(?![a-z])")
_LOOKS_LIKE_TEX = re.compile(r"(?!.*(?<![\\A-Za-z])[A-Za-z]{3,} +[A-Za-z]{2,}).*[\\^_{}]")


def split(text: str) -> list[str]:
    """The text, in parts: those at odd places are formulas with their delimiters."""
    parts, done = [], 0
    for formula in FORMULA.finditer(mark_money(text)):
        parts += [text[done : formula.start()], text[formula.start() : formula.end()]]
        done = formula.end()
    return [*parts, text[done:]]


def as_formula(answer: str) -> list[str]:
    """An answer or a reference in parts, as :func:`split` gives them; one without delimiters may be all formula."""
    parts = split(answer)
    return ["", answer, ""] if len(parts) == 1 and _LOOKS_LIKE_TEX.match(answer) else parts


@lru_cache(maxsize=1 << 16)
def mathml(formula: str) -> str | None:
    """The content of a ``math`` element; None where the formula is too long or cannot be converted in full."""
    from latex2mathml.converter import convert_to_element

    if len(formula) > MAX_FORMULA or _DEFINES.search(formula):
        return None
    content = formula.strip()
    for opening, closing in _DELIMITERS:
        if content.startswith(opening) and content.endswith(closing) and len(content) >= len(opening + closing):
            content = content[len(opening) : -len(closing)]
            break
    try:
        found = "".join(_serialised(convert_to_element(content)))
    except Exception:  # the library raises many kinds; the formula stays text
        return None
    return found if len(found) <= _MAX_MATHML else None


def _serialised(element: Element) -> list[str]:
    """Raises ValueError at what is no MathML of ours, or is TeX still."""
    text = printable(html.unescape(element.text or ""))
    if "\\" in text:
        raise ValueError
    inner = [html.escape(text), *(part for child in element for part in _serialised(child))]
    if element.tag == "math":
        return inner
    if element.tag not in _ELEMENTS:
        raise ValueError
    attributes = "".join(
        f' {name}="{value}"'
        for name, value in element.attrib.items()
        if name in _ATTRIBUTES and _VALUE.fullmatch(value) and (name, value) != ("stretchy", "false")
    )
    return [f"<{element.tag}{attributes}>", *inner, f"</{element.tag}>"]
