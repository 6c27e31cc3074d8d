"""A chart as inline SVG: no library, no file beside the page, text that can be selected."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from dart_tasks.console import printable
from dart_tasks.report.summary import LengthBin, percent

__all__ = ["lengths_chart"]

_WIDTH, _HEIGHT = 420, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 12, 12, 40


def lengths_chart(title: str, unit: str, series: Sequence[tuple[int, str, Sequence[LengthBin]]]) -> str:
    """Accuracy (0 to 100%) over length (doubling), a line of points with intervals for each (colour, run, bins).

    A point's area grows with the number of responses; its title tells the figures.
    """
    lowest = min(found.low for _, _, bins in series for found in bins).bit_length() - 1
    highest = max(found.high for _, _, bins in series for found in bins).bit_length() - 1
    most = max(found.n for _, _, bins in series for found in bins)
    step = (_WIDTH - _LEFT - _RIGHT) / (highest - lowest)

    def x(found: LengthBin, aside: float) -> float:
        return _LEFT + step * (found.low.bit_length() - 1 - lowest + 0.5) + aside

    def y(value: float) -> float:
        return _TOP + (1 - value) * (_HEIGHT - _TOP - _BOTTOM)

    label = html.escape(printable(f"{title}: accuracy by {unit}"), quote=True)
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">']
    for tenth in range(0, 11, 2):
        height = y(tenth / 10)
        parts.append(f'<path class="grid" d="M{_LEFT} {height:.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{height + 4:.1f}" text-anchor="end">{10 * tenth}%</text>')
    every = math.ceil((highest - lowest) / 9)
    for bits in range(lowest, highest + 1, every):
        size = 1 << bits
        shown = f"{size >> 10}k" if size >= 1024 else str(size)
        place = _LEFT + step * (bits - lowest)
        parts.append(f'<text x="{place:.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{shown}</text>')
    parts.append(f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 6}" text-anchor="middle">{html.escape(unit)}</text>')
    for index, (colour, run, bins) in enumerate(series):
        aside = 4 * (index - (len(series) - 1) / 2)  # so that points of equal runs do not hide each other
        path = "L".join(f"{x(found, aside):.1f} {y(found.accuracy):.1f}" for found in bins)
        parts.append(f'<g class="c{colour % 6}"><path class="line" d="M{path}"/>')
        for found in bins:
            low, high = map(percent, found.interval)
            text = f"{run}: {found.low:,} to {found.high - 1:,} {unit}: "
            text += f"{percent(found.accuracy)}% ({low} to {high}) of {found.n:,}"
            radius = 2 + 5 * math.sqrt(found.n / most)
            parts.append(
                f'<g><title>{html.escape(printable(text))}</title><path class="whisker" '
                f'd="M{x(found, aside):.1f} {y(found.interval[0]):.1f}V{y(found.interval[1]):.1f}"/>'
                f'<circle cx="{x(found, aside):.1f}" cy="{y(found.accuracy):.1f}" r="{radius:.1f}"/></g>'
            )
        parts.append("</g>")
    return "".join(parts) + "</svg>"
