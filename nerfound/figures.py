"""The look of all pictures, and how they become files. matplotlib is an extra: only making pictures imports it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

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
_METADATA = {".png": {"Software": None}, ".svg": {"Date": None}}  # what would differ between equal pictures


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


def save_figure(figure: Figure, path: Path, suffixes: Sequence[str] = (".png", ".svg")) -> list[Path]:
    """Write a figure as `path` with each suffix after it, within `figure_style`; equal figures, equal files.

    Returns:
        `list[Path]`: the files written.
    """
    written = [path.with_name(path.name + suffix) for suffix in suffixes]
    for file in written:
        with atomic_path(file) as partial:
            figure.savefig(partial, format=file.suffix[1:], metadata=_METADATA[file.suffix])
    return written


def oklab_to_rgb(lightness: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """sRGB of OKLab (Björn Ottosson, 2020), in which equal distances look equal; what no screen can show is clipped.

    Args:
        lightness (`np.ndarray` of shape `(colors,)`): 0 is black, 1 white.
        a, b (`np.ndarray` of shape `(colors,)`): green to red, blue to yellow; 0 is grey.

    Returns:
        `np.ndarray` of shape `(colors, 3)`: red, green, blue, uint8.
    """
    cones = np.stack(
        [
            lightness + 0.3963377774 * a + 0.2158037573 * b,
            lightness - 0.1055613458 * a - 0.0638541728 * b,
            lightness - 0.0894841775 * a - 1.2914855480 * b,
        ]
    )
    to_rgb = [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
    linear = (np.array(to_rgb) @ cones**3).clip(0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(255 * encoded.T).astype(np.uint8)
