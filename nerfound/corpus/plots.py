"""Pictures of a corpus: how often its concepts occur, which are common, and which occur once."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..figures import INK, PALETTE, figure_style, save_figure
from .lettering import ink_box, outline, pack, shortened, text_box
from .statistics import QUANTITIES, TOP_CONCEPTS, CorpusStatistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BLACK, _ORANGE, _BLUE, _GREEN, _PURPLE, _VERMILION, _SKY = PALETTE
_WORD_COLORS = (_BLUE, _VERMILION, _BLACK, "#00734f", "#9c4f7c")  # two of the palette, darkened: words are thin
_LARGEST_RATIO = 9.0  # of letters: the smallest word of the cloud stays readable
_SAMPLE_LINES, _SAMPLE_SIZE, _SAMPLE_WIDTH = 30, 9.0, 540.0  # lines; letters and line width in points


def plot_statistics(statistics: CorpusStatistics, output_dir: Path, *, seed: int = 0) -> list[Path]:
    """Draw what the blog post shows of its corpus; equal statistics and seeds give equal files.

    Args:
        statistics (`CorpusStatistics`): of the corpus.
        output_dir (`Path`): gets `concepts_by_rank`, `cumulative_share`, `common_concepts` and, where concepts occur
            once, `rare_concepts`: each as `.png` and `.svg`, 8 inches wide.
        seed (`int`, *optional*, defaults to 0): of the sample of rare concepts.

    Returns:
        `list[Path]`: the files written.

    Raises:
        ModuleNotFoundError: without matplotlib.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    with figure_style():
        figures = {
            "concepts_by_rank": _concepts_by_rank(statistics),
            "cumulative_share": _cumulative_share(statistics),
            "common_concepts": _common_concepts(statistics),
        }
        if statistics.singletons:
            figures["rare_concepts"] = _rare_concepts(statistics, seed)
        return [path for name, figure in figures.items() for path in save_figure(figure, output_dir / name)]


def _concepts_by_rank(statistics: CorpusStatistics) -> Figure:
    counts = np.array(list(statistics.concepts.values()))
    figure, axes = _canvas(
        "Annotations of each concept, sorted by rank",
        f"{len(counts):,} concepts, {statistics.annotations:,} annotations; both axes logarithmic",
    )
    ranks = np.arange(1, len(counts) + 1)
    axes.plot(ranks, counts, color=_BLUE, drawstyle="steps-post")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(0.7, 1.7 * counts[0])
    axes.set_xlabel("rank of the concept")
    axes.set_ylabel("annotations")
    for rank in [1, 10, 100, 1_000]:
        if rank <= len(counts) and counts[rank - 1] > 1:
            name = shortened(list(statistics.concepts)[rank - 1])
            _mark(axes, rank, counts[rank - 1], f"{name}: {counts[rank - 1]:,}", place=(8, 6))
    if once := len(statistics.singletons):
        first = len(counts) - once + 1
        _mark(axes, first, 1, f"{once:,} concepts occur once", place=(-10, 5), align="right")
    _plain_numbers(axes)
    return figure


def _cumulative_share(statistics: CorpusStatistics) -> Figure:
    counts = np.array(list(statistics.concepts.values()))
    figure, axes = _canvas(
        "Share of annotations that the most common concepts cover",
        f"{len(counts):,} concepts, {statistics.annotations:,} annotations; ranks logarithmic",
    )
    share = 100 * counts.cumsum() / counts.sum()
    axes.plot(np.arange(1, len(counts) + 1), share, color=_BLUE)
    axes.set_xscale("log")
    axes.set_ylim(0, 104)
    axes.set_xlabel("number of concepts, the most common first")
    axes.set_ylabel("share of annotations (%)")
    top = min(TOP_CONCEPTS, len(counts))
    _mark(axes, top, share[top - 1], f"here: {top} concepts, {share[top - 1]:.1f} %", place=(10, -16))
    blog = QUANTITIES["top_share"].blog
    if blog is not None and top == TOP_CONCEPTS:
        axes.plot([TOP_CONCEPTS], [100 * blog], "D", color=_VERMILION)
        text = f"the blog's corpus: {TOP_CONCEPTS} concepts, {100 * blog:.0f} %"
        above = 100 * blog > share[top - 1]
        _note(axes, TOP_CONCEPTS, 100 * blog, text, (-10, 6 if above else -16), "right", _VERMILION)
    if once := len(statistics.singletons):
        start = share[len(counts) - once - 1] if once < len(counts) else 0.0
        axes.axhspan(start, 100, color=_ORANGE, alpha=0.18, linewidth=0)
        text = f"concepts that occur once: {100 - start:.1f} %"
        axes.text(0.01, 99, text, transform=axes.get_yaxis_transform(), va="top", color=INK, fontsize=11)
    _plain_numbers(axes)
    return figure


def _common_concepts(statistics: CorpusStatistics) -> Figure:
    """The most common concepts, the area of their letters in proportion to their counts."""
    from matplotlib.patches import PathPatch
    from matplotlib.transforms import Affine2D

    common = statistics.common
    largest = max(common.values())
    scales = [max((count / largest) ** 0.5, 1 / _LARGEST_RATIO) for count in common.values()]
    outlines = [outline(shortened(name), 100 * scale) for name, scale in zip(common, scales, strict=True)]
    boxes = np.array([ink_box(path) for path in outlines])
    spacing = np.array([(24 * scale + 8, 14 * scale + 3) for scale in scales])
    centres = pack(boxes[:, 2:] - boxes[:, :2] + spacing, aspect=1.75)
    shifts = centres - (boxes[:, :2] + boxes[:, 2:]) / 2
    note = f"letters' area in proportion to annotations ({min(common.values()):,} to {largest:,})"
    if scales[-1] <= 1 / _LARGEST_RATIO:
        note += ", to a smallest size"
    figure, axes = _canvas(f"The {len(common)} most common concepts", f"{note}; colours only tell names apart")
    for number, (path, shift) in enumerate(zip(outlines, shifts, strict=True)):
        moved = path.transformed(Affine2D().translate(*shift))
        axes.add_patch(PathPatch(moved, color=_WORD_COLORS[number % len(_WORD_COLORS)], linewidth=0))
    figure.set_layout_engine("none")
    axes.set_position((0.015, 0.015, 0.97, 0.84))
    axes.set_axis_off()
    low, high = (boxes[:, :2] + shifts).min(0), (boxes[:, 2:] + shifts).max(0)
    page = np.array([8 * 0.97, 5 * 0.84])
    half = page * ((high - low) / page).max() / 2  # the same scale both ways
    (left, bottom), (right, top) = (low + high) / 2 - half, (low + high) / 2 + half
    axes.set(xlim=(left, right), ylim=(bottom, top))
    return figure


def _rare_concepts(statistics: CorpusStatistics, seed: int) -> Figure:
    """A sample of concepts that occur once: as many as fill the page, in the order of the alphabet."""
    singletons = statistics.singletons
    sampled = random.Random(seed).sample(singletons, min(len(singletons), 12 * _SAMPLE_LINES))
    lines = _lines(sampled)
    shown = sum(len(line) for line in lines)
    figure, axes = _canvas(
        "A sample of concepts that occur once" if shown < len(singletons) else "The concepts that occur once",
        f"{shown:,} of {len(singletons):,}, which are {len(singletons) / len(statistics.concepts):.0%} of the concepts",
        height=1.0 + 0.21 * len(lines),
    )
    axes.set(xlim=(0, _SAMPLE_WIDTH), ylim=(-len(lines), 0))
    axes.set_axis_off()
    for number, line in enumerate(lines):
        gap = _SAMPLE_WIDTH - sum(width for _, width in line)
        # A full line is spread over the page; the last may not be full
        space = min(gap / max(1, len(line) - 1), 4 * _SAMPLE_SIZE)
        left = 0.0
        for position, (name, width) in enumerate(line):
            color = _BLUE if (number + position) % 2 else _BLACK
            axes.text(left, -number - 0.5, name, fontsize=_SAMPLE_SIZE, va="center_baseline", color=color)
            left += width + space
    return figure


def _lines(names: list[str]) -> list[list[tuple[str, float]]]:
    """As many of the names as fill the page, in lines, with their widths: sorted, so the number must be known first."""
    widths = {name: text_box(name, _SAMPLE_SIZE)[2] for name in map(shortened, names)}
    count = len(names)
    while True:
        lines: list[list[tuple[str, float]]] = [[]]
        left = 0.0
        for name in sorted(map(shortened, names[:count]), key=str.casefold):
            if lines[-1] and left + widths[name] > _SAMPLE_WIDTH:
                lines.append([])
                left = 0.0
            lines[-1].append((name, widths[name]))
            left += widths[name] + 1.6 * _SAMPLE_SIZE
        if len(lines) <= _SAMPLE_LINES:
            return lines
        count -= max(1, len(lines) - _SAMPLE_LINES)


def _canvas(title: str, subtitle: str, height: float = 5.0) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, height), dpi=200, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, loc="left", fontweight="bold", pad=26)
    axes.annotate(
        subtitle,
        (0, 1),
        xycoords="axes fraction",
        xytext=(0, 9),
        textcoords="offset points",
        color=INK,
        fontsize=11,
    )
    return figure, axes


def _mark(axes: Axes, x: float, y: float, text: str, place: tuple[float, float], align: str = "left") -> None:
    axes.plot([x], [y], "o", color=_BLUE)
    _note(axes, x, y, text, place, align, INK)


def _note(axes: Axes, x: float, y: float, text: str, place: tuple[float, float], align: str, color: str) -> None:
    axes.annotate(text, (x, y), xytext=place, textcoords="offset points", ha=align, color=color, fontsize=11)


def _plain_numbers(axes: Axes) -> None:
    """10,000 rather than a power of ten, on logarithmic axes."""
    from matplotlib.ticker import FuncFormatter

    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log":
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else ""))
