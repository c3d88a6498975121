"""The results of a benchmark in words and Markdown tables, in percent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pandas as pd

from ..markdown import markdown_table
from .summary import METRICS, has_prior

_PREFACE = """\
Figures are percent, mean ± standard deviation over {draws} of the support set. k is the number of examples per
concept; every encoder gets the same draws, which are nested in k. Intervals in brackets are 95 % percentile bootstrap
intervals over the draws, too narrow where there are fewer than five. Differences are taken draw by draw. Encoders are
frozen, heads linear:

- A line with the name of an encoder: the recipe of the NuNER blog post, whose heads know nothing before the first
  example. Token F1: one multinomial head over outside and the concepts, word by word, no decoding. Entity F1 (and token
  F1, decoded): the recognizer that `nerfound.fit(…, recipe="blog", l2=…)` makes, a head over BIO labels, legally
  decoded.
{with_prior}- Strict: boundaries and concept are right; exact: the boundaries are; partial: half a hit for an overlap.

Token F1 runs several points above strict entity F1 of the same predictions: compare within one table only.
"""

_WITH_PRIOR = """\
- A line with **+ prior**: the recognizer that `nerfound.fit(…)` makes on the same encoder. Its BIO head starts from
  the vectors of the concepts' names and descriptions; how far these are trusted, and the penalty for leaving them,
  follow from how many examples there are. One head for all tables, legally decoded: for token F1, words are labelled by
  the decoded entities. At k = 0 nothing is drawn, and the head is the prior itself; heads without one have no k = 0.
"""


def results_markdown(summary: pd.DataFrame, differences: pd.DataFrame) -> str:
    """The raw-results tables of the NuNER blog post: per metric a row per task and encoder, a column per k.

    Args:
        summary (`pandas.DataFrame`): of [`~nerfound.evaluation.summary.summarise`].
        differences (`pandas.DataFrame`): of [`~nerfound.evaluation.summary.paired_differences`]; they stand below the
            rows of their task. May have no row.

    Returns:
        `str`: Markdown, with a heading per metric; where a line has no k = 0, the cell is empty.
    """
    draws = counted_draws(int(summary["draws"].max()))
    with_prior = _WITH_PRIOR if summary["encoder"].map(has_prior).any() else ""
    parts = ["# Results\n", _PREFACE.format(draws=draws, with_prior=with_prior)]
    for metric, rows in summary.groupby("metric", sort=False):
        compared = differences[differences["metric"] == metric]
        ks = sorted(rows["k"].unique())
        header = ["task", "encoder", *(f"k={k}" for k in ks)]
        parts += [
            f"## {METRICS[metric].title}\n",
            markdown_table(header, _results_rows(rows, compared, ks)),
            "<details><summary>95 % intervals of the means</summary>\n",
            markdown_table(header, _rows(rows, ks, _interval_cell)),
            "</details>\n",
        ]
    return "\n".join(parts)


def counted_draws(draws: int) -> str:
    """How many draws, in words."""
    return f"{draws} draw" if draws == 1 else f"{draws} draws"


def _results_rows(summary: pd.DataFrame, differences: pd.DataFrame, ks: Sequence[int]) -> list[list[str]]:
    """The rows of every task, and below them its differences."""
    rows: list[list[str]] = []
    for task, of_task in summary.groupby("task", sort=False):
        rows += _rows(of_task, ks, _score_cell)
        compared = differences[differences["task"] == task]
        compared = compared.assign(encoder=compared["encoder"] + " − " + compared["baseline"])
        rows += [[name, f"*{encoder}*", *cells] for name, encoder, *cells in _rows(compared, ks, _difference_cell)]
    return rows


def _rows(statistics: pd.DataFrame, ks: Sequence[int], cell: Callable[[Any], str]) -> Iterator[list[str]]:
    for (task, encoder), curve in statistics.groupby(["task", "encoder"], sort=False):
        cells = {row.k: cell(row) for row in curve.itertuples()}
        yield [task, encoder, *(cells.get(k, "") for k in ks)]


def _score_cell(row: Any) -> str:
    return f"{100 * row.mean:.1f} ± {100 * row.sd:.1f}" if row.k else f"{100 * row.mean:.1f}"


def _interval_cell(row: Any) -> str:
    return f"[{100 * row.low:.1f}, {100 * row.high:.1f}]" if row.k else "no draw"


def _difference_cell(row: Any) -> str:
    interval = f" [{100 * row.low:+.1f}, {100 * row.high:+.1f}]" if row.k else ""
    return f"{100 * row.mean:+.1f}{interval}".replace("-", "−")
