"""Placing words in pictures so that none lies on another. Boxes are arrays of left, bottom, right, top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.textpath import TextPath

_LONGEST_NAME = 40


def shortened(name: str) -> str:
    """A name as it fits a picture: cut off with an ellipsis where it is very long."""
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1].rstrip() + "…"


def outline(text: str, size: float) -> TextPath:
    """The outline of a text, its base line at 0, in the units of `size`, the size of its letters."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    return TextPath((0, 0), text, size=size, prop=FontProperties(family="DejaVu Sans"))


def text_box(text: str, size: float) -> np.ndarray:
    """The box of a text's ink, from where its base line begins; all zeros for nothing but white space."""
    return ink_box(outline(text, size))


def ink_box(path: TextPath) -> np.ndarray:
    """The box of an outline: of its control points, in a fraction of the time that the exact extents of curves take."""
    points = path.vertices[path.codes != path.CLOSEPOLY]  # these have no place of their own
    return np.concatenate([points.min(0), points.max(0)]) if len(points) else np.zeros(4)


def overlapping(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which of `boxes` `(…, 4)` overlap any of `others` `(count, 4)`: bool `(…,)`."""
    boxes = boxes[..., None, :]
    apart = (boxes[..., :2] >= others[:, 2:]) | (boxes[..., 2:] <= others[:, :2])
    return np.asarray(~apart.any(-1).all(-1))


def pack(sizes: Sequence[tuple[float, float]], aspect: float) -> np.ndarray:
    """Place boxes around the origin, the first in the middle, each as near to it as there is room.

    Args:
        sizes: width and height of each box, spacing included.
        aspect (`float`): width of the whole to its height, about.

    Returns:
        `np.ndarray` of shape `(count, 2)`: the centres. The boxes do not overlap.
    """
    extents = np.asarray(sizes, dtype=float)
    step = extents[:, 1].min() / 4
    # Boxes fill far more than a quarter of an area four times theirs: there is always room
    reach = 2 * np.sqrt(extents.prod(1).sum() * max(1.0, 1 / aspect)) + extents.max()
    axis = np.arange(-reach, reach + step, step)
    grid = np.stack(np.meshgrid(axis * max(1.0, aspect), axis), -1).reshape(-1, 2)
    grid = grid[np.argsort(np.hypot(grid[:, 0] / aspect, grid[:, 1]), kind="stable")]
    placed = np.empty((0, 4))
    centres = []
    for extent in extents:
        centre = _first_free(grid, extent, placed)
        centres.append(centre)
        placed = np.vstack([placed, [*(centre - extent / 2), *(centre + extent / 2)]])
    return np.array(centres)


def _first_free(grid: np.ndarray, extent: np.ndarray, placed: np.ndarray) -> np.ndarray:
    for start in range(0, len(grid), 2_000):
        centres = grid[start : start + 2_000]
        taken = overlapping(np.hstack([centres - extent / 2, centres + extent / 2]), placed)
        if not taken.all():
            return centres[taken.argmin()]
    raise AssertionError("the grid is larger than all boxes together")
