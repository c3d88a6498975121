"""The folder of a Space, checked before it is pushed: its metadata, its requirements, and nothing hidden in it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import yaml
from huggingface_hub import SpaceCard, SpaceCardData
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

REQUIREMENTS = "requirements.txt"
_SDKS = ("gradio", "streamlit", "docker", "static")
_PYTHON_SDKS = ("gradio", "streamlit")
_LONGEST_DESCRIPTION = 60
_COMMIT = re.compile(r"@[0-9a-f]{40}(#|$)|#sha256=[0-9a-f]{64}")


def stage_space(source: str | os.PathLike[str], folder: Path) -> SpaceCardData:
    """Copy the folder of a Space, as it is pushed: without hidden files (such as `.env`) and compiled modules.

    Args:
        source (`str` or `os.PathLike`): folder with `README.md`, `requirements.txt` and the app.
        folder (`Path`): to write to.

    Returns:
        `SpaceCardData`: the metadata of its `README.md`.

    Raises:
        ValueError: if the metadata are not those of a Space, the app is missing, or a requirement is not pinned.
    """
    source = Path(source)
    if not (source / "README.md").is_file():
        raise ValueError(f"{source} has no README.md: give the folder of a Space.")
    data = read_space_card(source / "README.md")
    if data.sdk in _PYTHON_SDKS:
        if not (source / str(data.app_file)).is_file():
            raise ValueError(f"{source} has no {data.app_file}, which its README.md names as app_file.")
        pinned = read_requirements(source / REQUIREMENTS)
        if pinned.get(data.sdk, data.sdk_version) != data.sdk_version:
            raise ValueError(
                f"{source / REQUIREMENTS} pins {data.sdk}=={pinned[data.sdk]}, but sdk_version in README.md, which is "
                f"what the Hub installs, is {data.sdk_version}: give one version in both."
            )
    for path in _published(source):
        copy = folder / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    return data


def read_space_card(path: Path) -> SpaceCardData:
    """The metadata of a Space's card, if they are what the Hub needs to start it.

    Raises:
        ValueError: naming the file, the field and its value.
    """
    try:
        data = SpaceCard.load(path).data
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: its metadata are no YAML ({error}).") from error
    if data.sdk not in _SDKS:
        raise ValueError(f"{path}: sdk is {data.sdk!r}: give one of {', '.join(_SDKS)}.")
    if data.sdk in _PYTHON_SDKS:
        if not isinstance(data.app_file, str):
            raise ValueError(f"{path}: app_file is {data.app_file!r}: give the file that starts the app.")
        _check_version(path, "sdk_version", data.sdk_version)
        if data.python_version is not None:
            _check_version(path, "python_version", data.python_version)
    description = data.get("short_description") or ""
    if len(description) > _LONGEST_DESCRIPTION:
        raise ValueError(
            f"{path}: short_description has {len(description)} characters, the Hub takes {_LONGEST_DESCRIPTION}."
        )
    return data


def read_requirements(path: Path) -> dict[str, str]:
    """The version that a requirements file pins of every package, by normalised name.

    A Space is built anew at any time: what is not pinned may be another version then. Pinned are `name==version`,
    `name @ url` with a commit or a hash in the address, and files that lie beside the requirements. Options of pip,
    such as `--extra-index-url`, are let through.

    Raises:
        ValueError: if the file is missing, or naming the line that pins nothing.
    """
    if not path.is_file():
        raise ValueError(f"{path.parent} has no {path.name}: without it the Space starts with whatever the Hub has.")
    pinned: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = re.sub(r"(^|\s)#.*$", "", line).strip()
        if not text or text.startswith("--") or (text.startswith("./") and (path.parent / text).is_file()):
            continue
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            raise ValueError(f"{path}, line {number}: {text!r} is no requirement ({error}).") from error
        version = _pin(requirement)
        if version is None:
            raise ValueError(
                f"{path}, line {number}: {text!r} is not pinned: give {requirement.name}==VERSION, or an address with "
                "a commit or a hash in it."
            )
        pinned[canonicalize_name(requirement.name)] = version
    return pinned


def _pin(requirement: Requirement) -> str | None:
    if requirement.url is not None:
        return requirement.url if _COMMIT.search(requirement.url) else None
    exact = [part.version for part in requirement.specifier if part.operator in {"==", "==="}]
    return exact[0] if exact and not exact[0].endswith("*") else None


def _check_version(place: Path, name: str, value: object) -> None:
    """YAML reads `5.10` as the number 5.1, so that a version must be in quotes."""
    try:
        Version(value if isinstance(value, str) else "")
    except InvalidVersion:
        raise ValueError(f'{place}: {name} is {value!r}: give a version, in quotes: {name}: "5.10".') from None


def _published(source: Path) -> Iterator[Path]:
    for path in sorted(source.rglob("*")):
        parts = path.relative_to(source).parts
        hidden = any(part.startswith(".") or part == "__pycache__" for part in parts)
        if path.is_file() and not hidden and path.suffix != ".pyc":
            yield path
