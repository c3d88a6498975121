"""The map of a corpus's concepts: near names lie near each other, in a picture and on a page to explore.

UMAP lays the concept vectors out twice: in two dimensions for the place of a concept, in three for its colour.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ..figures import INK, figure_style, oklab_to_rgb, save_figure
from ..files import write_text_atomically
from .lettering import overlapping, shortened, text_box

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CONCEPTS = 50_000
FEWEST_CONCEPTS = 20
_NEIGHBOURS = 15
_CHUNK_ROWS = 1_024
_WIDTH = 12.0  # of the picture, inches
_LOWEST, _HIGHEST = 6.0, 12.0
_LABELS = 160
_SVG_DPI = 100
_TEMPLATE = "concept_map.html"


@dataclass(frozen=True)
class ConceptMap:
    """Concepts with their places and colours, the most common first.

    Args:
        names (`list[str]`): of the concepts.
        counts (`list[int]`): how often each occurs.
        places (`np.ndarray` of shape `(concepts, 2)`): the longer side horizontal, in units of
            UMAP; far islands are drawn nearer.
        colors (`np.ndarray` of shape `(concepts, 3)`): red, green, blue, uint8; all dark enough for a white page.
        total (`int`): concepts of the corpus, of which these are the most common.
    """

    names: list[str]
    counts: list[int]
    places: np.ndarray
    colors: np.ndarray
    total: int

    @property
    def subtitle(self) -> str:
        """What the map shows, in a line."""
        shown = f"{len(self.names):,} concepts"
        if len(self.names) < self.total:
            shown = f"the {len(self.names):,} most common of {self.total:,} concepts"
        return f"{shown}; place: UMAP of the names' vectors to two dimensions, colour: to three"


def make_concept_map(
    concepts: Mapping[str, int],
    encode: Callable[[Sequence[str]], ArrayLike],
    *,
    seed: int = 0,
    limit: int = MOST_CONCEPTS,
) -> ConceptMap:
    """Lay out concepts by the vectors of their names. On one machine, equal vectors and seeds give equal maps.

    Args:
        concepts (`Mapping[str, int]`): how often each occurs, the most common first: `CorpusStatistics.concepts`.
        encode (`Callable`): vectors `(names, dim)` of names, such as those of a dual encoder's concept encoder.
        seed (`int`, *optional*, defaults to 0): of UMAP.
        limit (`int`, *optional*, defaults to 50,000): at most so many concepts, the most common.

    Raises:
        ModuleNotFoundError: without umap-learn.
        ValueError: if there are fewer than 20 concepts.
    """
    names = list(concepts)[:limit]
    if len(names) < FEWEST_CONCEPTS:
        raise ValueError(f"{len(names)} concepts make no map; it needs {FEWEST_CONCEPTS}")
    vectors = np.asarray(encode(names), dtype=np.float32)
    neighbours = _nearest(vectors, min(_NEIGHBOURS, len(names) - 1))
    places = _compact(_upright(_umap(vectors, neighbours, 2, seed)))
    colors = _colors(_upright(_umap(vectors, neighbours, 3, seed)))
    return ConceptMap(names, list(concepts.values())[:limit], places, colors, len(concepts))


def draw_concept_map(concept_map: ConceptMap, output_dir: Path) -> list[Path]:
    """Draw a map as `concept_map.png` and `concept_map.svg`, the most common names written in where there is room.

    In the SVG the points are one embedded picture, coarser than the PNG: the file stays small however many there are.

    Returns:
        `list[Path]`: the files written.

    Raises:
        ModuleNotFoundError: without matplotlib.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    with figure_style():
        from matplotlib import rc_context

        figure, path = _draw(concept_map), output_dir / "concept_map"
        written = save_figure(figure, path, (".png",))
        with rc_context({"savefig.dpi": _SVG_DPI}):
            return written + save_figure(figure, path, (".svg",))


def write_concept_map_page(concept_map: ConceptMap, path: Path, title: str) -> None:
    """Write a map as a web page to zoom, pan and search: one file, which loads nothing and works offline.

    Names are data of the page, never markup or script; its content security policy runs no script but its own.

    Args:
        concept_map (`ConceptMap`): what to show.
        path (`Path`): the file to write; it is replaced.
        title (`str`): heading of the page.
    """
    template = (resources.files(__package__) / _TEMPLATE).read_text(encoding="utf-8")
    low, high = concept_map.places.min(0), concept_map.places.max(0)
    places = np.rint((concept_map.places - low) * (10_000 / max(*(high - low), 1e-9))).astype(int)
    red, green, blue = concept_map.colors.astype(int).T
    data = {
        "names": concept_map.names,
        "counts": concept_map.counts,
        "x": places[:, 0].tolist(),
        "y": (places[:, 1].max() - places[:, 1]).tolist(),  # pages count from the top
        "colors": (red << 16 | green << 8 | blue).tolist(),
    }
    values = {
        "title": html.escape(title),
        "subtitle": html.escape(concept_map.subtitle),
        "policy": f"default-src 'none'; base-uri 'none'; form-action 'none'; "
        f"script-src '{_hash_of('script', template)}'; style-src '{_hash_of('style', template)}'",
        "data": _inert_json(data),
    }
    # In one pass: what a value holds is not looked at again
    write_text_atomically(path, re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template))


def _nearest(vectors: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The nearest vectors of each by cosine, itself first, and their distances: exact, whatever the threads."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    columns, distances = [], []
    for start in range(0, len(unit), _CHUNK_ROWS):
        distance = 1 - unit[start : start + _CHUNK_ROWS] @ unit.T
        rows = np.arange(len(distance))
        distance[rows, start + rows] = -1
        nearest = np.argpartition(distance, count - 1, axis=1)[:, :count]
        order = np.argsort(np.take_along_axis(distance, nearest, 1), axis=1, kind="stable")
        columns.append(np.take_along_axis(nearest, order, 1))
        distances.append(np.take_along_axis(distance, columns[-1], 1).clip(0))
    return np.vstack(columns).astype(np.int32), np.vstack(distances)


def _umap(vectors: np.ndarray, neighbours: tuple[np.ndarray, np.ndarray], dimensions: int, seed: int) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Tensorflow not installed", ImportWarning)
        warnings.filterwarnings("ignore", "precomputed_knn", UserWarning)  # it only tells that nothing can be added
        try:
            from umap import UMAP
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("the concept map needs umap-learn: pip install 'nerfound[plots]'") from error
        layout = UMAP(
            n_components=dimensions,
            n_neighbors=neighbours[0].shape[1],
            metric="cosine",
            precomputed_knn=(*neighbours, None),  # for both layouts; else each searches anew, and compiles the search
            random_state=seed,
            n_jobs=1,
        )
        return layout.fit_transform(vectors)


def _upright(points: np.ndarray) -> np.ndarray:
    """Points about their mean, turned so that they extend most along the first axis, then along the second …"""
    centred = points - points.mean(0)
    axes = np.linalg.svd(centred, full_matrices=False)[2]
    axes *= np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])[:, None]
    return centred @ axes.T


def _compact(points: np.ndarray) -> np.ndarray:
    """Points with the outermost hundredth on each axis drawn in, in their order: empty sea would take half the map."""
    far = np.maximum(np.quantile(np.abs(points), 0.99, axis=0), 1e-9)
    beyond = (np.abs(points) / far - 1).clip(0)
    return points.clip(-far, far) + 0.25 * far * np.tanh(beyond) * np.sign(points)


def _colors(points: np.ndarray) -> np.ndarray:
    """Colours of points in three dimensions, in the perceptual space OKLab.

    The first axis is blue to yellow and the second dark to light, which nearly all eyes tell apart; green to red, which
    many do not, is the third.
    """
    scale = np.maximum(np.quantile(np.abs(points), 0.95, axis=0), 1e-9)
    first, second, third = (points / scale).clip(-1, 1).T
    return oklab_to_rgb(0.57 + 0.13 * second, 0.13 * third, 0.13 * first)


def _draw(concept_map: ConceptMap) -> Figure:
    from matplotlib.figure import Figure

    low, high = concept_map.places.min(0), concept_map.places.max(0)
    margin = 0.02 * max(*(high - low), 1e-9)
    low, high = low - margin, high + margin
    width, head = 72 * _WIDTH, 52.0  # points
    height = float(np.clip(width * (high - low)[1] / (high - low)[0], 72 * _LOWEST, 72 * _HIGHEST))
    figure = Figure(figsize=(_WIDTH, (height + head) / 72), dpi=160)
    axes = figure.add_axes((0, 0, 1, height / (height + head)))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    scale = min(width / (high - low)[0], height / (high - low)[1])
    points = (concept_map.places - (low + high) / 2) * scale + np.array([width, height]) / 2
    shares = np.sqrt(np.array(concept_map.counts) / concept_map.counts[0])
    axes.scatter(
        points[::-1, 0],  # the most common last, on top of the others
        points[::-1, 1],
        s=6 + 50 * shares[::-1] ** 2,
        c=concept_map.colors[::-1] / 255,
        alpha=0.7,
        linewidths=0,
        rasterized=True,
    )
    # A pale box instead of an outline of the letters, which would make up most of the SVG
    paper = {"facecolor": "white", "alpha": 0.7, "linewidth": 0, "boxstyle": "round,pad=0.08"}
    for index, left, baseline, size in _labels(concept_map.names, points, shares, (width, height)):
        axes.text(
            left,
            baseline,
            shortened(concept_map.names[index]),
            fontsize=size,
            color=concept_map.colors[index] / 255 * 0.55,
            bbox=paper,
        )
    top = height + head
    figure.text(14 / width, 1 - 20 / top, "Concept map", fontweight="bold", fontsize=15, va="center")
    figure.text(
        14 / width, 1 - 41 / top, f"{concept_map.subtitle}; size: annotations", color=INK, fontsize=11, va="center"
    )
    return figure


def _labels(
    names: Sequence[str], points: np.ndarray, shares: np.ndarray, canvas: tuple[float, float]
) -> list[tuple[int, float, float, float]]:
    """Where to write names, in points: index, left, base line, size. The most common come first; none overlap."""
    placed = np.empty((0, 4))
    labels: list[tuple[int, float, float, float]] = []
    for index in range(min(len(names), 10 * _LABELS)):
        size = 7.5 + 10 * float(shares[index])
        box = text_box(shortened(names[index]), size)
        middle = (box[:2] + box[2:]) / 2
        gap = 3 + (box[2:] - box[:2]) / 2
        # Centred on the point, then above, below, right and left of it
        shifts = np.array([[0, 0], [0, gap[1]], [0, -gap[1]], [gap[0], 0], [-gap[0], 0]])
        corners = points[index] + shifts - middle
        boxes = np.hstack([corners, corners]) + box
        free = ~overlapping(boxes + np.array([-6, -2, 6, 2]), placed)
        free &= (boxes[:, :2] >= 2).all(1) & (boxes[:, 2:] <= np.array(canvas) - 2).all(1)
        if free.any():
            place = int(free.argmax())
            placed = np.vstack([placed, boxes[place]])
            left, baseline = corners[place].tolist()
            labels.append((index, left, baseline, size))
        if len(labels) == _LABELS:
            break
    return labels


def _inert_json(data: object) -> str:
    """JSON that cannot end the element of the page it stands in."""
    text = json.dumps(data, separators=(",", ":"))  # ASCII: every other character is an escape of JSON
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _hash_of(element: str, template: str) -> str:
    """The source expression of a content security policy that admits this element of the template alone."""
    match = re.search(f"<{element}>(.*?)</{element}>", template, re.DOTALL)
    assert match is not None
    return "sha256-" + base64.b64encode(hashlib.sha256(match[1].encode()).digest()).decode()
