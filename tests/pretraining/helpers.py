"""Passages to train on, and `nerfound` in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from nerfound.corpus import load_packaged_corpus

ROOT = Path(__file__).parents[2]
NERFOUND = ("-m", "nerfound")
"""The `nerfound` command, whether or not it is installed."""
LAUNCH = ("-m", "accelerate.commands.accelerate_cli", "launch", "--cpu", "--main_process_port", "0")
"""`accelerate launch`; with a port of its own, so that tests may run side by side."""


@cache
def passages(count: int = 60) -> list[dict[str, Any]]:
    """The first English passages of the packaged corpus."""
    return list(load_packaged_corpus().take(count))


def write_passages(path: Path, count: int = 60) -> Path:
    """Write passages as a corpus in JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in passages(count)), encoding="utf-8")
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
