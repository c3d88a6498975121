"""Passages to train on, small runs in this process, what they leave, and `nerfound` in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from nerfound.corpus import load_packaged_corpus
from nerfound.pretraining.run import main

ROOT = Path(__file__).parents[2]
NERFOUND = ("-m", "nerfound")
"""The `nerfound` command, whether or not it is installed."""
LAUNCH = ("-m", "accelerate.commands.accelerate_cli", "launch", "--cpu", "--main_process_port", "0")
"""`accelerate launch`; with a port of its own, so that tests may run side by side."""

EPOCHS, BATCH, TRAINED = 3, 8, 49  # of 60 passages, a tenth is held out
STEPS = EPOCHS * -(-TRAINED // BATCH)


def row(text: str, *entities: tuple[str, ...], name: str = "r") -> dict[str, Any]:
    """A passage with entities given as (mention, concept, description); the first occurrence is meant."""
    found = []
    for mention, concept, *description in entities:
        start = text.index(mention)
        found.append(
            {
                "start": start,
                "end": start + len(mention),
                "text": mention,
                "concept": concept,
                "description": description[0] if description else "",
            }
        )
    return {"id": name, "language": "English", "domain": "", "text": text, "entities": found}


@cache
def passages(count: int = 60) -> list[dict[str, Any]]:
    """The first English passages of the packaged corpus."""
    return list(load_packaged_corpus().take(count))


def write_passages(path: Path, count: int = 60) -> Path:
    """Write passages of the packaged corpus as a corpus in JSON lines."""
    return write_rows(path, passages(count))


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Write rows as a corpus in JSON lines."""
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return path


def start(*arguments: object, **variables: str) -> subprocess.Popen[str]:
    """Start Python with arguments and environment variables, on one thread, its input and output in pipes."""
    fixed = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env=os.environ | fixed | variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def run(*arguments: object, text: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python with arguments to its end, with `text` on its standard input; it may fail."""
    with start(*arguments, **variables) as process:
        try:
            output, errors = process.communicate(text, timeout=120)
        finally:
            process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def in_process(common: list[str], folder: Path, *options: object) -> None:
    """A run in this process."""
    main([*common, "--output_dir", str(folder), *map(str, options)])


def state_of(folder: Path) -> dict[str, Any]:
    """The Trainer's state at the end of a run."""
    return json.loads((folder / "trainer_state.json").read_text())


def same_weights(one: Path, other: Path) -> bool:
    """Whether two folders hold the same model, bit for bit."""
    a, b = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def logged(folder: Path, name: str) -> list[float]:
    """All values of this name that a run logged."""
    return [entry[name] for entry in state_of(folder)["log_history"] if name in entry]
