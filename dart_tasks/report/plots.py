"""Bar charts as inline SVG: no library, no file beside the page, text that can be selected."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Bar", "bar_chart"]

_ROW, _LABEL, _WIDTH, _VALUE = 22, 190, 340, 130


@dataclass(frozen=True)
class Bar:
    """One bar: a fraction from 0 to 1, what it is called, and what is written after it."""

    label: str
    value: float
    text: str


def bar_chart(title: str, bars: Sequence[Bar]) -> str:
    """Horizontal bars on a scale from 0 to 1."""
    height = _ROW * (len(bars) + 1) + 8
    total = _LABEL + _WIDTH + _VALUE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} {height}" width="{total}" height="{height}" '
        f'role="img" aria-label="{html.escape(title, quote=True)}">',
        f'<text x="0" y="15" class="title">{html.escape(title)}</text>',
    ]
    for index, bar in enumerate(bars):
        top = _ROW * (index + 1) + 4
        length = _WIDTH * min(max(bar.value, 0.0), 1.0)
        label = bar.label if len(bar.label) <= 28 else bar.label[:27] + "…"
        parts += [
            f'<text x="{_LABEL - 8}" y="{top + 13}" text-anchor="end">{html.escape(label)}</text>',
            f'<rect x="{_LABEL}" y="{top + 1}" width="{_WIDTH}" height="{_ROW - 6}" class="track"/>',
            f'<rect x="{_LABEL}" y="{top + 1}" width="{length:.1f}" height="{_ROW - 6}" class="bar"/>',
            f'<text x="{_LABEL + _WIDTH + 8}" y="{top + 13}">{html.escape(bar.text)}</text>',
        ]
    return "".join(parts) + "</svg>"
