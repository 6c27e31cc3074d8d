"""Bar charts as inline SVG: no library, no file beside the page, text that can be selected."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from dart_tasks.console import printable

__all__ = ["Bar", "bar_chart"]

_ROW, _LABEL, _WIDTH, _VALUE = 22, 190, 340, 220


@dataclass(frozen=True)
class Bar:
    """One bar: a fraction from 0 to 1, what it is called, what is written after it, and its interval if it has one."""

    label: str
    value: float
    text: str
    interval: tuple[float, float] | None = None


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
            f'<text x="{_LABEL - 8}" y="{top + 13}" text-anchor="end">{html.escape(printable(label))}</text>',
            f'<rect x="{_LABEL}" y="{top + 1}" width="{_WIDTH}" height="{_ROW - 6}" class="track"/>',
            f'<rect x="{_LABEL}" y="{top + 1}" width="{length:.1f}" height="{_ROW - 6}" class="bar"/>',
            *([_whisker(bar.interval, top + _ROW // 2 - 2)] if bar.interval else []),
            f'<text x="{_LABEL + _WIDTH + 8}" y="{top + 13}">{html.escape(bar.text)}</text>',
        ]
    return "".join(parts) + "</svg>"


def _whisker(interval: tuple[float, float], middle: int) -> str:
    low, high = (_LABEL + _WIDTH * end for end in interval)
    return f'<path d="M{low:.1f} {middle - 4}v8m0-4H{high:.1f}m0-4v8" class="whisker"/>'
