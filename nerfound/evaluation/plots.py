"""Pictures of a benchmark: F1 against examples per concept, a line per encoder."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..figures import INK, PALETTE, figure_style, save_figure
from .efficiency import examples_needed
from .report import counted_draws
from .summary import AVERAGE, METRICS, Scores, scores_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The lists differ in length, so that encoders beyond the seventh still get a look of their own.
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_LINE_STYLES = ("--", "-.", "-", ":")


def plot_curves(frame: pd.DataFrame, output_dir: Path, metric: str = "token_macro_f1") -> list[Path]:
    """Draw the data-efficiency curves: one picture per task, and one of the average over tasks.

    A line is the mean over the draws of the support set, its band one standard deviation of single draws up and down.
    What is known without any example is a hollow point at k = 0, left of a break in the axis.
    The pictures are 8 inches wide, meant for 800 pixels, and equal files for equal results.

    Args:
        frame (`pandas.DataFrame`): the results of the benchmark.
        output_dir (`Path`): gets `curve_<task>.png` and `.svg`, and `curve_average.png` and `.svg` where there is more
            than one task. What a file name cannot hold is a `-` in it.
        metric (`str`): a name of `METRICS`.

    Returns:
        `list[Path]`: the files written.

    Raises:
        ModuleNotFoundError: without matplotlib.
        ValueError: if the metric is unknown, a score of it is missing, or two tasks would be one file.
    """
    scores = scores_of(frame, metric)
    names = {task: "curve_" + re.sub(r"[^\w.-]+", "-", task) for task in scores.tasks}
    if len(set(names.values())) < len(names):
        raise ValueError(f"two of these tasks would be one file, rename one of them: {', '.join(names)}.")
    output_dir.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    with figure_style():
        for task, name in names.items():
            written += save_figure(_draw(scores, task, metric), output_dir / name)
    return written


def _draw(scores: Scores, task: str, metric: str) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), dpi=200, layout="constrained")
    axes = figure.subplots()
    for number, encoder in enumerate(scores.encoders):
        draws = 100 * scores.fitted(task, encoder)
        mean = draws.mean(axis=0)
        sd = draws.std(axis=0, ddof=1) if len(draws) > 1 else np.zeros_like(mean)
        color = PALETTE[number % len(PALETTE)]
        marker = _MARKERS[number % len(_MARKERS)]
        style = _LINE_STYLES[number % len(_LINE_STYLES)]
        axes.plot(scores.shots, mean, label=encoder, color=color, marker=marker, linestyle=style)
        axes.fill_between(scores.shots, np.maximum(mean - sd, 0), mean + sd, color=color, alpha=0.15, linewidth=0)
        zero_shot = scores.zero_shot(task, encoder)
        if zero_shot is not None:  # hollow and dotted: the scale has no 0
            ks, values = (_place_of_zero(scores), *scores.shots[:1]), (100 * zero_shot, *mean[:1])
            axes.plot(ks, values, color=color, marker=marker, linestyle=":", markevery=[0], markerfacecolor="white")
    _label(axes, scores, task, metric)
    _add_legend(figure, scores, task)
    if task == AVERAGE:
        _annotate_efficiency(axes, scores)
    return figure


def _place_of_zero(scores: Scores) -> float:
    """Where k = 0 stands on the logarithmic scale: one doubling before the first k."""
    return scores.shots[0] / 2 if scores.shots else 1.0


def _label(axes: Axes, scores: Scores, task: str, metric: str) -> None:
    tasks = [name for name in scores.tasks if name != AVERAGE]
    spread = f"{counted_draws(len(scores.seeds))} of the support set"
    if len(scores.seeds) > 1:
        spread = f"mean of {spread}; band: ± 1 standard deviation of single draws"
    lines = [*textwrap.wrap(", ".join(tasks), 80), spread] if task == AVERAGE else [spread]
    title = f"Average over {len(tasks)} tasks" if task == AVERAGE else task
    axes.set_title(title, loc="left", fontweight="bold", pad=12 + 13.5 * len(lines))
    axes.text(0, 1.03, "\n".join(lines), transform=axes.transAxes, color=INK, fontsize=11)
    axes.set_xscale("log", base=2)
    axes.set_xticks([k or _place_of_zero(scores) for k in scores.ks], labels=[str(k) for k in scores.ks])
    axes.minorticks_off()
    if 0 in scores.ks[:-1]:
        _break_axis(axes, _place_of_zero(scores) * 2**0.5)
    axes.set_xlabel("examples per concept (log scale)")
    axes.set_ylabel(f"{METRICS[metric].title} (%)")
    axes.set_ylim(bottom=0)


def _break_axis(axes: Axes, k: float) -> None:
    """Two strokes through the horizontal axis, before which the scale does not hold."""
    place: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "clip_on": False}
    axes.scatter([k], [0], s=36, marker="s", color="white", zorder=3, **place)
    axes.scatter([k * 0.96, k * 1.04], [0, 0], s=80, marker=[(-2, -5), (2, 5)], color=INK, zorder=4, **place)


def _add_legend(figure: Figure, scores: Scores, task: str) -> None:
    """A legend below the axes, where no line runs into it, in the order in which the lines end above each other."""
    handles, names = figure.axes[0].get_legend_handles_labels()
    final = scores.values[scores.tasks.index(task), :, :, -1].mean(axis=1)
    order = np.argsort(-final, kind="stable")
    columns = max(1, 80 // (max(map(len, names)) + 8))
    figure.legend([handles[i] for i in order], [names[i] for i in order], loc="outside lower center", ncols=columns)


def _annotate_efficiency(axes: Axes, scores: Scores) -> None:
    """An arrow from the best encoder to where the first one is as good, at the largest k where it gets there."""
    if not scores.shots:
        return
    base, *others = (scores.fitted(AVERAGE, encoder).mean(axis=0) for encoder in scores.encoders)
    best = max([base, *others], key=np.mean)
    ends = [(k, f1, examples_needed(scores.shots, base, f1)) for k, f1 in zip(scores.shots, best, strict=True)]
    ends = [end for end in ends if not end[-1].sign and end[-1].value >= 1.5 * end[0]]  # a shorter arrow says nothing
    if not ends:
        return
    k, f1, needed = ends[-1]
    arrow = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.2, "shrinkA": 6, "shrinkB": 0}
    axes.annotate("", xy=(needed.value, 100 * f1), xytext=(k, 100 * f1), arrowprops=arrow)
    axes.vlines([k, needed.value], 0, 100 * f1, colors=INK, linestyles=":", linewidth=1, zorder=1)
    right = needed.value**2 > scores.shots[0] * scores.shots[-1]
    axes.annotate(
        f"{k} example{'s' * (k > 1)} ≈ {needed}\nof {scores.encoders[0]}",
        xy=(needed.value if right else k, 0.04),
        xycoords=axes.get_xaxis_transform(),
        xytext=(-6 if right else 6, 0),
        textcoords="offset points",
        ha="right" if right else "left",
        color=INK,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 2},
    )
