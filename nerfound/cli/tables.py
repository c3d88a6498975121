"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


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


def transfer_table(summary: Sequence[Mapping[str, Any]]) -> Table:
    """The rows of `summarise`, base and foundation one below the other, in percent."""
    shots = list(dict.fromkeys(row["k"] for row in summary))
    table = Table("task", "encoder", *(f"k={k}" for k in shots), title="token macro-F1 / strict entity F1")
    cells = {(row["task"], row["encoder"], row["k"]): row for row in summary}
    encoders = list(dict.fromkeys(row["encoder"] for row in summary))
    for task in dict.fromkeys(row["task"] for row in summary):
        for encoder in encoders:
            values = [
                f"{100 * row['token_macro_f1']:.1f} ± {100 * row['token_macro_f1_std']:.1f} / "
                f"{100 * row['entity_micro_f1']:.1f}"
                for row in (cells[task, encoder, k] for k in shots)
            ]
            table.add_row(task, encoder, *values, end_section=encoder == encoders[-1])
    return table
