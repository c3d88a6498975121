"""The results of a benchmark in words and Markdown tables, in percent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd

from ..markdown import markdown_table
from .summary import METRICS

_PREFACE = """\
Figures are percent, mean ± standard deviation over {draws} of the support set. k is the number of examples per
concept; every encoder gets the same draws, which are nested in k. Intervals in brackets are 95 % percentile bootstrap
intervals over the draws, too narrow where there are fewer than five. Differences are taken draw by draw. Two protocols:

- **blog**: the protocol of the NuNER blog post. Frozen encoder, one multinomial linear head over outside and the
  concepts, word by word, no decoding.
- **entity**: the recognizer that `nerfound.fit(…, l2=…)` makes, on the same draws. Frozen encoder, linear head over
  BIO labels, constrained decoding. Strict: boundaries and concept are right; exact: the boundaries are; partial:
  half a hit for an overlap.

Token F1 runs several points above strict entity F1 of the same predictions: compare within one table only.
"""


def results_markdown(summary: pd.DataFrame, differences: pd.DataFrame) -> str:
    """The raw-results tables of the NuNER blog post: per metric a row per task and encoder, a column per k.

    Args:
        summary (`pandas.DataFrame`): of [`~nerfound.evaluation.summary.summarise`].
        differences (`pandas.DataFrame`): of [`~nerfound.evaluation.summary.paired_differences`]; they stand below the
            rows of their task. May have no row.

    Returns:
        `str`: Markdown, with a heading per metric that names its protocol.
    """
    parts = ["# Results\n", _PREFACE.format(draws=counted_draws(int(summary["draws"].max())))]
    for metric, rows in summary.groupby("metric", sort=False):
        compared = differences[differences["metric"] == metric]
        ks = sorted(rows["k"].unique())
        header = ["task", "encoder", *(f"k={k}" for k in ks)]
        parts += [
            f"## {METRICS[metric].title}\n",
            markdown_table(header, _results_rows(rows, compared)),
            "<details><summary>95 % intervals of the means</summary>\n",
            markdown_table(header, _rows(rows, _interval_cell)),
            "</details>\n",
        ]
    return "\n".join(parts)


def counted_draws(draws: int) -> str:
    """How many draws, in words."""
    return f"{draws} draw" if draws == 1 else f"{draws} draws"


def _results_rows(summary: pd.DataFrame, differences: pd.DataFrame) -> list[list[str]]:
    """The rows of every task, and below them its differences."""
    rows: list[list[str]] = []
    for task, of_task in summary.groupby("task", sort=False):
        rows += _rows(of_task, lambda row: f"{100 * row.mean:.1f} ± {100 * row.sd:.1f}")
        compared = differences[differences["task"] == task]
        compared = compared.assign(encoder=compared["encoder"] + " − " + compared["baseline"])
        rows += [[name, f"*{encoder}*", *cells] for name, encoder, *cells in _rows(compared, _difference_cell)]
    return rows


def _rows(statistics: pd.DataFrame, cell: Callable[[Any], str]) -> Iterator[list[str]]:
    for (task, encoder), curve in statistics.groupby(["task", "encoder"], sort=False):
        yield [task, encoder, *(cell(row) for row in curve.sort_values("k").itertuples())]


def _interval_cell(row: Any) -> str:
    return f"[{100 * row.low:.1f}, {100 * row.high:.1f}]"


def _difference_cell(row: Any) -> str:
    return f"{100 * row.mean:+.1f} [{100 * row.low:+.1f}, {100 * row.high:+.1f}]".replace("-", "−")
