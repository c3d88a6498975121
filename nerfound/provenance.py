"""Where a model or corpus came from, in words that say nothing of the machine it was made on."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .offline import DEFAULT_ENCODER, DEFAULT_FOUNDATION, is_default_foundation, resolve_foundation

RECORD_FILE = "training.json"
"""What pre-training leaves about itself beside the model; its names are those of `public_name`."""

CURVE_FILE = "trainer_state.json"
"""Losses and metrics of a run, step by step; the Trainer writes it."""


def public_name(name_or_path: str | os.PathLike[str]) -> str:
    """A Hub id as it is; of a folder or file, its last part alone. So a name with a `/` in it is a Hub id."""
    name = os.fspath(name_or_path)
    if name == DEFAULT_ENCODER.split("/")[1]:
        return DEFAULT_ENCODER
    if is_default_foundation(name):
        return DEFAULT_FOUNDATION
    return name if is_hub_id(name) else Path(name).resolve().name


def is_hub_id(name: str) -> bool:
    """Whether a name is `namespace/name`, and no folder or file of that name is here."""
    namespace, separator, rest = name.partition("/")
    return (
        bool(separator and rest)
        and "/" not in rest
        and namespace not in {"", ".", "..", "~"}
        and not (
            Path(name).exists() or Path(rest).suffix in {".parquet", ".jsonl", ".txt", ".csv", ".conll", ".gz", ".zst"}
        )
    )


def recorded_base(folder: str | os.PathLike[str]) -> str | None:
    """The Hub id of the encoder that a named foundation, or one in a folder, was trained from, if that is recorded."""
    path = Path(resolve_foundation(os.fspath(folder)), RECORD_FILE)
    name = json.loads(path.read_text(encoding="utf-8")).get("token_encoder", "") if path.is_file() else ""
    return name if is_hub_id(name) else None


def public_command(command: str, known_as: Mapping[str, str] | None = None) -> str:
    """A command line with `public_name` in the place of every path.

    Args:
        command (`str`): as a shell takes it.
        known_as (`Mapping[str, str]`, *optional*): what stands for some paths, such as the id of what is pushed.
    """
    return shlex.join(_public_word(word, known_as or {}) for word in shlex.split(command))


def _public_word(word: str, known_as: Mapping[str, str]) -> str:
    name, separator, value = word.rpartition("=")
    if value in known_as:
        return f"{name}{separator}{known_as[value]}"
    is_path = "/" in value and not value.startswith("-")
    return f"{name}{separator}{public_name(value)}" if is_path else word


def versions(*others: str) -> dict[str, str]:
    """The versions that a result may depend on, and those of other packages."""
    return {package: version(package) for package in ("nerfound", "torch", "transformers", "datasets", *others)}


def recorded(**facts: Any) -> dict[str, Any]:
    """Facts without those that have no value, and the versions."""
    return {name: value for name, value in facts.items() if value not in (None, [], {}, "")} | {"versions": versions()}
