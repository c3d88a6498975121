"""A user's own concepts, for annotation with a closed ontology."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from ..concepts import Concept, concept_key
from ..corpus.lines import BLOCK_SEPARATOR
from .naming import normalise_concept
from .parsing import MAX_CONCEPT_CHARACTERS

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
        key = concept_key(normalise_concept(concept.name))  # as answers are read
        if not key or len(key) > MAX_CONCEPT_CHARACTERS or BLOCK_SEPARATOR in key:
            raise ValueError(
                f"concept {concept.name!r:.100} cannot be read from an answer; name it in words, in at most "
                f"{MAX_CONCEPT_CHARACTERS} characters, without {BLOCK_SEPARATOR}"
            )
        if other := concepts.get(key):
            raise ValueError(f"concept {concept.name!r} is the same as {other.name!r}; name each one once")
        concepts[key] = concept
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
