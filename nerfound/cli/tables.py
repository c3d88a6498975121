"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from ..evaluation.summary import METRICS

HEADLINES = ("token_macro_f1", "entity_micro_f1")


def score_table(scores: Mapping[str, Any]) -> None:
    """Print the metrics of `evaluate_spans`: a row per concept, then the averages, in percent."""
    table = Table("concept", "mentions", "strict F1", "exact F1", "partial F1", "token F1")
    for label, row in scores["per_class"].items():
        views = [f"{100 * row[f'{view}_f1']:.1f}" for view in ("strict", "exact", "partial", "token")]
        table.add_row(label, str(row["support"]), *views)
    table.add_section()
    for average in ("micro", "macro"):
        views = [f"{100 * scores[f'{view}_{average}_f1']:.1f}" for view in ("strict", "exact", "partial", "token")]
        table.add_row(f"{average} average", "", *views)
    Console().print(table)


def headline_rows(summary: pd.DataFrame) -> list[dict[str, Any]]:
    """The two headline figures of `summarise`: a row per task, encoder and k, with their standard deviations."""
    rows: dict[tuple[str, str, int], dict[str, Any]] = {}
    for cell in summary[summary["metric"].isin(HEADLINES)].itertuples():
        row = rows.setdefault(
            (cell.task, cell.encoder, cell.k), {"task": cell.task, "encoder": cell.encoder, "k": int(cell.k)}
        )
        row |= {cell.metric: cell.mean, f"{cell.metric}_std": cell.sd}
    return list(rows.values())


def transfer_table(summary: pd.DataFrame) -> Table:
    """The headline figures, the encoders of a task one below the other, in percent."""
    cells = {(row["task"], row["encoder"], row["k"]): row for row in headline_rows(summary)}
    tasks, encoders, ks = (list(dict.fromkeys(values)) for values in zip(*cells, strict=True))
    metrics = [name for name in HEADLINES if name in set(summary["metric"])]
    shots = sorted(ks)
    table = Table(
        "task", "encoder", *(f"k={k}" for k in shots), title=" / ".join(METRICS[name].title for name in metrics)
    )
    for task in tasks:
        for encoder in encoders:
            values = [_headline_cell(cells.get((task, encoder, k)), metrics) for k in shots]
            table.add_row(task, encoder, *values, end_section=encoder == encoders[-1])
    return table


def _headline_cell(row: Mapping[str, Any] | None, metrics: Sequence[str]) -> str:
    """The figures of a row; empty without one, as for an encoder that needs examples at k = 0."""
    if row is None:
        return ""
    return " / ".join(
        f"{100 * row[name]:.1f}" + (f" ± {100 * row[f'{name}_std']:.1f}" if row["k"] else "") for name in metrics
    )
