"""A user's own concepts, for annotation with a closed ontology."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from ..concepts import Concept, concept_key

_FORMS = "a mapping of names to descriptions, or a list of names or of {name, description}"


def read_ontology(path: str | os.PathLike[str]) -> tuple[Concept, ...]:
    """Read concepts from a YAML or JSON file.

    ```yaml
    restaurant: A place that serves meals.
    city: A large settlement.
    ```

    A list of names, or of mappings with `name` and `description`, is read too.

    Args:
        path (`str` or `os.PathLike`): the file.

    Returns:
        `tuple[Concept, ...]`: in the order of the file.

    Raises:
        ValueError: if the file holds anything else, names no concept, or names one twice.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        return checked_ontology(content)
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from error


def checked_ontology(content: Any) -> tuple[Concept, ...]:
    """Concepts from a mapping or list, checked; see `read_ontology`."""
    if not isinstance(content, Mapping | list | tuple) or not content:
        raise ValueError(f"{content!r:.80} names no concepts; write {_FORMS}")
    pairs: Iterable[Any] = content.items() if isinstance(content, Mapping) else content
    concepts: dict[str, Concept] = {}
    for item in pairs:
        concept = _concept(item)
        if other := concepts.get(concept_key(concept.name)):
            raise ValueError(f"concept {concept.name!r} is the same as {other.name!r}; name each one once")
        concepts[concept_key(concept.name)] = concept
    return tuple(concepts.values())


def _concept(item: Any) -> Concept:
    if isinstance(item, Mapping):
        item = item.get("name"), item.get("description")
    name, description = (item, None) if isinstance(item, str) else item if _is_pair(item) else (None, None)
    description = "" if description is None else description
    if not isinstance(name, str) or not isinstance(description, str) or not name.strip():
        raise ValueError(f"{item!r:.80} is no concept; write {_FORMS}, as strings (quote yes, no and numbers)")
    return Concept(*(" ".join(field.split()) for field in (name, description)))


def _is_pair(item: Any) -> bool:
    return isinstance(item, tuple) and len(item) == 2
