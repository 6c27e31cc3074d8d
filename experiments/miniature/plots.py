"""The report's pictures: the analogue of the paper's Figure 1, accuracy by level, by student, and against size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.miniature.statistics import Estimate

__all__ = ["Curve", "figure_one", "levels_plot", "regimes_plot", "scaling_plot"]

_COLOURS = {"vanilla": "#7f7f7f", "uniform": "#1f77b4", "prop2diff": "#d62728", "prop2diff-tokens": "#ff9896"}
_OTHER = "#9467bd"


@dataclass(frozen=True)
class Curve:
    """One arm: its name (which sets the colour), its label, and values, with intervals where there are any."""

    name: str
    label: str
    x: Sequence[float]
    y: Sequence[float]
    estimates: Sequence[Estimate] = ()

    @property
    def colour(self) -> str:
        return _COLOURS.get(self.name, _OTHER)

    @property
    def errors(self) -> list[list[float]]:
        """Distances down and up to the interval's ends, in percent, as matplotlib wants them."""
        return [
            [100 * (estimate.mean - estimate.low) for estimate in self.estimates],
            [100 * (estimate.high - estimate.mean) for estimate in self.estimates],
        ]


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    _pyplot().close(figure)


def figure_one(
    accuracy: Mapping[str, Sequence[Curve]], responses: Sequence[Curve], baseline: Mapping[str, float], path: Path
) -> None:
    """Left: accuracy by strategy, in groups of problems. Right: responses per query against its fail rate."""
    plt = _pyplot()
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), width_ratios=(1.15, 1))
    for position, (group, bars) in enumerate(accuracy.items()):
        width = 0.8 / len(bars)
        for i, bar in enumerate(bars):
            x = position + (i - (len(bars) - 1) / 2) * width
            left.bar(x, 100 * bar.y[0], width * 0.92, color=bar.colour, label=None if position else bar.label,
                     yerr=bar.errors, capsize=3, error_kw={"linewidth": 1})  # fmt: skip
        left.hlines(100 * baseline[group], position - 0.45, position + 0.45, colors="black", linestyles="dotted",
                    linewidth=1, label=None if position else "student before")  # fmt: skip
    left.set_xticks(range(len(accuracy)), list(accuracy))
    left.set(
        ylabel="accuracy on held-out problems, %", title="Accuracy at equal data set size (light red: at equal tokens)"
    )
    left.legend(fontsize=8, loc="upper right")
    for curve in responses:
        right.plot(curve.x, curve.y, marker="o", markersize=4, color=curve.colour, label=curve.label)
    right.set(
        xlabel="fail rate of the query", ylabel="responses per query", title="Responses per query against difficulty"
    )
    right.set_xlim(0, 1)
    right.set_ylim(bottom=0)
    right.legend(fontsize=8)
    _save(figure, path)


def levels_plot(differences: Sequence[Curve], ticks: Sequence[str], path: Path) -> None:
    """Difference to vanilla on each group of problems, in points, with intervals."""
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(8, 3.8))
    axes.axhline(0, color=_COLOURS["vanilla"], linewidth=1)
    for i, curve in enumerate(differences):
        x = [position + (i - (len(differences) - 1) / 2) * 0.18 for position in curve.x]
        axes.errorbar(x, [100 * y for y in curve.y], yerr=curve.errors, fmt="o", capsize=3, color=curve.colour,
                      label=curve.label)  # fmt: skip
    axes.set_xticks(range(len(ticks)), ticks)
    axes.set(ylabel="points of accuracy above vanilla", title="Difference to vanilla, with 95% intervals")
    axes.legend(fontsize=8)
    _save(figure, path)


def regimes_plot(panels: Mapping[str, Sequence[Curve]], path: Path) -> None:
    """Difference to vanilla against the student's accuracy before, a panel for each group of problems."""
    plt = _pyplot()
    figure, all_axes = plt.subplots(1, len(panels), figsize=(4 * len(panels), 3.8), squeeze=False, sharey=True)
    for axes, (group, curves) in zip(all_axes[0], panels.items(), strict=True):
        axes.axhline(0, color=_COLOURS["vanilla"], linewidth=1)
        for i, curve in enumerate(curves):
            x = [100 * value + 0.8 * (i - (len(curves) - 1) / 2) for value in curve.x]
            axes.errorbar(x, [100 * y for y in curve.y], yerr=curve.errors, marker="o", capsize=3, color=curve.colour,
                          label=curve.label)  # fmt: skip
        axes.set(xlabel="accuracy of the student before, %", title=group)
    all_axes[0][0].set_ylabel("points of accuracy above vanilla")
    all_axes[0][-1].legend(fontsize=8)
    _save(figure, path)


def scaling_plot(panels: Mapping[str, Sequence[Curve]], path: Path) -> None:
    """Accuracy against data set size, a panel for each group of problems."""
    plt = _pyplot()
    figure, all_axes = plt.subplots(1, len(panels), figsize=(4.5 * len(panels), 3.8), squeeze=False)
    for axes, (group, curves) in zip(all_axes[0], panels.items(), strict=True):
        for curve in curves:
            axes.errorbar(curve.x, [100 * y for y in curve.y], yerr=curve.errors, marker="o", capsize=3,
                          color=curve.colour, label=curve.label)  # fmt: skip
        axes.set(xscale="log", xlabel="responses in the data set", ylabel="accuracy, %", title=group)
        sizes = curves[0].x if curves else []
        axes.set_xticks(list(sizes), [f"{size:,.0f}" for size in sizes])
        axes.minorticks_off()
    all_axes[0][0].legend(fontsize=8)
    _save(figure, path)
