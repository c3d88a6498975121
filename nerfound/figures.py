"""The look of all pictures, and how they become files. matplotlib is an extra: only making pictures imports it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PALETTE = ("#000000", "#E69F00", "#0072B2", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
"""Okabe and Ito's colours, which colour-blind readers tell apart, without their yellow, too pale for a line."""
INK = "#444444"

_STYLE = {
    "font.size": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "lines.linewidth": 2.2,
    "lines.markersize": 7,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
    "text.parse_math": False,  # names are text: a $ in them is a dollar sign
    "svg.hashsalt": "nerfound",  # else the ids in the file are random
}
_SUFFIXES = {".png": {"Software": None}, ".svg": {"Date": None}}  # what would differ between equal pictures


@contextmanager
def figure_style() -> Iterator[None]:
    """Draw in the style of this package, whatever the user has in a matplotlibrc.

    Raises:
        ModuleNotFoundError: without matplotlib, naming the extra.
    """
    try:
        from matplotlib import style
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("plots need matplotlib: pip install 'nerfound[plots]'") from error
    with style.context(["default", _STYLE]):
        yield


def save_figure(figure: Figure, path: Path) -> list[Path]:
    """Write a figure as `path` with `.png` and with `.svg` after it, within `figure_style`; equal figures, equal files.

    Returns:
        `list[Path]`: the files written.
    """
    written = [path.with_name(path.name + suffix) for suffix in _SUFFIXES]
    for file in written:
        with atomic_path(file) as partial:
            figure.savefig(partial, format=file.suffix[1:], metadata=_SUFFIXES[file.suffix])
    return written
