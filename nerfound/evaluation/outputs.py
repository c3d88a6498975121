"""The files that a benchmark leaves for people to read, and what it was run with."""

from __future__ import annotations

import json
import platform
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from ..files import write_text_atomically
from ..provenance import versions
from .benchmark import BenchmarkResult
from .efficiency import efficiency_markdown
from .plots import plot_curves
from .report import results_markdown
from .summary import paired_differences, summarise


def write_reports(result: BenchmarkResult, output: Path, run: Mapping[str, Any] | None = None) -> None:
    """Write `results.md`, `efficiency.md`, the pictures of the curves and `run.json` into a folder.

    Args:
        result (`BenchmarkResult`): of `run_benchmark`. The others are compared with its first encoder; where there
            is only one, or no k above 0, there is no `efficiency.md`.
        output (`Path`): a folder that exists.
        run (`Mapping[str, Any]`, *optional*): what else `run.json` is to say, such as the command.
    """
    frame = result.frame
    encoders = list(dict.fromkeys(frame["encoder"]))
    differences = pd.concat(
        [paired_differences(frame[frame["encoder"].isin(pair)], pair[0]) for pair in _pairs(encoders)]
    )
    write_text_atomically(output / "results.md", results_markdown(summarise(frame), differences))
    if len(encoders) > 1 and frame["k"].any():
        write_text_atomically(output / "efficiency.md", efficiency_markdown(frame, encoders[0]))
    facts = {
        "hashes": {"encoders": result.weights, "data": result.data},
        "phases": asdict(result.timing),
        "versions": software(),
    }
    _write_run(output / "run.json", {**(run or {}), **facts})
    try:
        plot_curves(frame, output, "token_macro_f1" if "blog" in set(frame["protocol"]) else "entity_micro_f1")
    except ModuleNotFoundError as error:
        warnings.warn(f"{output}: no curves were drawn: {error}", stacklevel=2)


def _pairs(encoders: Sequence[str]) -> Sequence[tuple[str, str]]:
    """Every two encoders, the earlier first; the one with itself, where it is alone."""
    return list(combinations(encoders, 2)) or [(encoders[0], encoders[0])]


def _write_run(path: Path, run: Mapping[str, Any]) -> None:
    """Write what this run was, and what the earlier ones in this folder were, whose results it goes on from."""
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        earlier = {}
    runs = [*earlier.pop("earlier_runs", []), earlier] if earlier else []
    write_text_atomically(path, json.dumps({**run, "earlier_runs": runs}, indent=1, default=str) + "\n")


def software() -> dict[str, str]:
    """Versions that a figure may depend on, and the machine."""
    machine = {"python": platform.python_version(), "machine": platform.machine(), "processor": _processor()}
    return machine | versions("tokenizers", "numpy")


def _processor() -> str:
    try:
        names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    except OSError:
        names = []
    return names[0].partition(":")[2].strip() if names else platform.processor()
