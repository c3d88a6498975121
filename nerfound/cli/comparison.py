"""The runs of `nerfound benchmark`: encoders on few-shot tasks, with results written as they come."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from ..evaluation.transfer import Task, markdown_table, read_task, summarise, transfer_scores
from ..files import write_text_atomically


def compare_encoders(
    encoders: Mapping[str, str],
    folders: Sequence[Path],
    output: Path,
    *,
    shots: Sequence[int],
    repeats: int,
    split: str,
    test_limit: int | None,
    l2: float | None,
) -> None:
    """Score encoders on the tasks in some folders; write `results.json` and `results.md`."""
    tasks = [read_task(folder, split=split, test_limit=test_limit) for folder in folders]
    rows = score_with_progress(encoders, tasks, shots=shots, repeats=repeats, l2=l2)
    summary = summarise(rows)
    setting = {"encoders": dict(encoders), "split": split, "test_limit": test_limit, "repeats": repeats, "l2": l2}
    write_results(output, {"rows": summary, "draws": rows, "setting": setting | software()})
    table = markdown_table(summary)
    write_text_atomically(output / "results.md", table + "\n")
    typer.echo(table)


def score_with_progress(
    encoders: Mapping[str, str], tasks: Sequence[Task], *, shots: Sequence[int], repeats: int, l2: float | None = None
) -> list[dict[str, Any]]:
    """The rows of `transfer_scores`; a status line on a terminal, or lines in a log, say where it is."""
    console = Console(stderr=True)
    with console.status("reading") as status:
        progress = status.update if console.is_terminal else console.print
        return list(transfer_scores(encoders, tasks, shots=shots, repeats=repeats, l2=l2, progress=progress))


def write_results(output: Path, results: Mapping[str, Any]) -> None:
    """Write `results.json`, whole or not at all."""
    output.mkdir(parents=True, exist_ok=True)
    write_text_atomically(output / "results.json", json.dumps(results, indent=1) + "\n")


def software() -> dict[str, str]:
    """Versions that a figure may depend on."""
    return {"python": platform.python_version()} | {
        package: version(package) for package in ("nerfound", "torch", "transformers", "nervaluate")
    }
