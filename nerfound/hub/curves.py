"""The picture of a training curve: losses, and beside them how well concepts are ranked, by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..figures import PALETTE, figure_style, save_figure
from .records import CurvePoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ORANGE, _BLUE, _GREEN = PALETTE[1:4]


def plot_training(log: Sequence[CurvePoint], path: Path) -> Path:
    """Draw what was logged of a training: the loss and, where it was measured, the mean average precision of concepts.

    Args:
        log (`Sequence[CurvePoint]`): in the order of training.
        path (`Path`): without its suffix.

    Returns:
        `Path`: the file written, a `.png`.

    Raises:
        ModuleNotFoundError: without matplotlib.
    """
    with figure_style():
        from matplotlib.figure import Figure

        ranked = any(point.eval_map is not None for point in log)
        figure = Figure(figsize=(8, 3.2), layout="constrained")
        panels = figure.subplots(1, 1 + ranked, squeeze=False)[0]
        _draw(panels[0], log, "loss", "training batches", _BLUE)
        _draw(panels[0], log, "eval_loss", "held-out passages", _ORANGE, marker="o")
        panels[0].set_title("Loss", loc="left", fontweight="bold")
        panels[0].set_ylim(bottom=0)
        panels[0].legend()
        if ranked:
            _draw(panels[1], log, "eval_map", "held-out passages", _GREEN, marker="o")
            panels[1].set_title("Mean average precision of concepts", loc="left", fontweight="bold")
            panels[1].set_ylim(0, 1)
        for panel in panels:
            panel.set_xlabel("epoch")
            panel.set_xlim(left=0)
        path.parent.mkdir(parents=True, exist_ok=True)
        return save_figure(figure, path, [".png"])[0]


def _draw(axes: Axes, log: Sequence[CurvePoint], name: str, label: str, color: str, *, marker: str = "") -> None:
    points = [(point.epoch, getattr(point, name)) for point in log if getattr(point, name) is not None]
    if points:
        axes.plot(*zip(*points, strict=True), color=color, marker=marker, label=label)
