"""The files that a benchmark leaves for people to read, and what it was run with."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..files import write_text_atomically
from .benchmark import BenchmarkResult
from .efficiency import efficiency_markdown
from .plots import plot_curves
from .report import results_markdown
from .summary import paired_differences, summarise


def write_reports(result: BenchmarkResult, output: Path, run: Mapping[str, Any] | None = None) -> None:
    """Write `results.md`, `efficiency.md`, the pictures of the curves and `run.json` into a folder.

    Args:
        result (`BenchmarkResult`): of `run_benchmark`. The others are compared with its first encoder; where there
            is only one, there is no `efficiency.md`.
        output (`Path`): a folder that exists.
        run (`Mapping[str, Any]`, *optional*): what else `run.json` is to say, such as the command.
    """
    frame = result.frame
    encoders = list(dict.fromkeys(frame["encoder"]))
    differences = paired_differences(frame, encoders[0])
    write_text_atomically(output / "results.md", results_markdown(summarise(frame), differences))
    if len(encoders) > 1:
        write_text_atomically(output / "efficiency.md", efficiency_markdown(frame, encoders[0]))
    facts = {
        "hashes": {"encoders": result.weights, "data": result.data},
        "phases": asdict(result.timing),
        "versions": software(),
    }
    write_text_atomically(output / "run.json", json.dumps({**(run or {}), **facts}, indent=1, default=str) + "\n")
    plot_curves(frame, output, "token_macro_f1" if "blog" in set(frame["protocol"]) else "entity_micro_f1")


def software() -> dict[str, str]:
    """Versions that a figure may depend on, and the machine."""
    packages = ("nerfound", "torch", "transformers", "tokenizers", "numpy", "datasets")
    machine = {"python": platform.python_version(), "machine": platform.machine(), "processor": _processor()}
    return machine | {package: version(package) for package in packages}


def _processor() -> str:
    try:
        names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    except OSError:
        names = []
    return names[0].partition(":")[2].strip() if names else platform.processor()
