"""What the Hub reads of a README.md: its metadata block, and whether that is valid."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import yaml

_BLOCK = re.compile(r"\A\s*---[ \t]*\r?\n(.*?)^---[ \t]*\r?$", re.DOTALL | re.MULTILINE)
_COLORS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
_SDKS = {"gradio", "streamlit", "docker", "static"}


def metadata(readme: str) -> dict[str, Any]:
    """The metadata of a card.

    Raises:
        ValueError: if the block is not YAML, or not a mapping.
    """
    block = _BLOCK.match(readme)
    try:
        data = yaml.safe_load(block[1]) if block else {}
    except yaml.YAMLError as error:
        raise ValueError(f"Invalid YAML metadata: {error}") from error
    if not isinstance(data or {}, dict):
        raise ValueError(f"The metadata must be a mapping, not {type(data).__name__}")
    return data or {}


def check(readme: str, repo_type: str) -> tuple[list[str], list[str]]:
    """What is wrong with a card: errors, for which the Hub rejects it, and warnings."""
    try:
        data = metadata(readme)
    except ValueError as error:
        return [str(error)], []
    rules = _RULES | (_SPACE_RULES if repo_type == "space" else {})
    errors = [f'"{name}" {rule}' for name, (rule, holds) in rules.items() if name in data and not holds(data[name])]
    errors += _index_errors(data.get("model-index", [])) if repo_type == "model" else []
    if repo_type == "space" and data and "sdk" not in data:
        errors.append('"sdk" is required')
    return errors, [] if data else ["empty or missing yaml metadata in repo card"]


def tags(data: dict[str, Any]) -> list[str]:
    """The tags that the Hub derives from the metadata."""
    derived = [f"{name}:{value}" for name in ("license", "dataset", "base_model") for value in _list(data, name)]
    derived += [f"dataset:{value}" for value in _list(data, "datasets")]
    plain = [value for name in ("library_name", "pipeline_tag", "tags", "language") for value in _list(data, name)]
    return list(dict.fromkeys([*plain, *derived, "region:us"]))


def _list(data: dict[str, Any], name: str) -> list[str]:
    value = data.get(name) or []
    return value if isinstance(value, list) else [value]


def _text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _text_or_texts(value: object) -> bool:
    return _text(value) or _texts(value)


Rules = dict[str, tuple[str, Callable[[Any], bool]]]
_RULES: Rules = {
    **dict.fromkeys(("library_name", "pipeline_tag", "pretty_name", "license_name"), ("must be a string", _text)),
    **dict.fromkeys(("tags", "datasets", "metrics", "task_categories"), ("must be an array", _texts)),
    **dict.fromkeys(("license", "language", "base_model"), ("must be a string or an array", _text_or_texts)),
}
_SPACE_RULES: Rules = {
    "sdk": (f"must be one of {sorted(_SDKS)}", lambda value: value in _SDKS),
    "colorFrom": (f"must be one of {sorted(_COLORS)}", lambda value: value in _COLORS),
    "colorTo": (f"must be one of {sorted(_COLORS)}", lambda value: value in _COLORS),
    "sdk_version": ("must be a string", _text),
    "app_file": ("must be a string", _text),
    "short_description": ("must be at most 60 characters", lambda value: _text(value) and len(value) <= 60),
}


def _index_errors(index: object) -> Iterable[str]:
    """`model-index` results name their task, data set and metrics."""
    if not isinstance(index, list):
        yield '"model-index" must be an array'
        return
    for i, model in enumerate(index):
        if not isinstance(model, dict) or not _text(model.get("name")):
            yield f'"model-index[{i}].name" is required'
            continue
        for j, result in enumerate(model.get("results") or []):
            place = f"model-index[{i}].results[{j}]"
            for part, names in (("task", ["type"]), ("dataset", ["type", "name"])):
                for name in names:
                    if not _text((result.get(part) or {}).get(name)):
                        yield f'"{place}.{part}.{name}" is required'
            for k, metric in enumerate(result.get("metrics") or [{}]):
                for name in ("type", "value"):
                    if metric.get(name) is None:
                        yield f'"{place}.metrics[{k}].{name}" is required'
