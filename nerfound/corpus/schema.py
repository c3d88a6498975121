"""The one schema of a concept corpus, and what a row must satisfy to belong to one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from datasets import Features, List, Value

CORPUS_FEATURES = Features(
    {
        "id": Value("string"),
        "language": Value("string"),
        "domain": Value("string"),
        "text": Value("string"),
        "entities": List(
            {
                "start": Value("int32"),
                "end": Value("int32"),
                "text": Value("string"),
                "concept": Value("string"),
                "description": Value("string"),
            }
        ),
    }
)

_ROW_STRINGS = ("id", "language", "domain", "text")
_ENTITY_STRINGS = ("text", "concept", "description")


class CorpusEntity(TypedDict):
    """A mention of a concept: `text == row["text"][start:end]`, always."""

    start: int
    end: int
    text: str
    concept: str
    description: str


class CorpusRow(TypedDict):
    """A passage with its entities; `language` and `domain` are empty where the source names none."""

    id: str
    language: str
    domain: str
    text: str
    entities: list[CorpusEntity]


def validate_row(row: Mapping[str, Any], where: str) -> None:
    """Check that a row fits `CORPUS_FEATURES` and that its entities lie on its text.

    Args:
        row (`Mapping[str, Any]`): the row, with the columns of `CORPUS_FEATURES` and no others. Entities may nest,
            overlap, and repeat a span under several concepts.
        where (`str`): where the row stood, for the error message: `corpus.jsonl:12`.

    Raises:
        ValueError: if a column is missing or surplus, a value has the wrong type or cannot be stored as UTF-8, the id
            or the text is empty, a span leaves the text, an entity's text is not its span's, or a concept is empty.
    """
    _check_keys(row, CORPUS_FEATURES, where)
    for column in _ROW_STRINGS:
        _check_string(row[column], column, where)
    for column in ("id", "text"):
        if not row[column].strip():
            raise ValueError(f"{where}: '{column}' is empty; give it a value or leave the passage out")
    if not isinstance(row["entities"], list):
        raise ValueError(f"{where}: 'entities' is {row['entities']!r}; it must be a list, empty if there are none")
    for number, entity in enumerate(row["entities"], start=1):
        _validate_entity(entity, row["text"], f"{where}: entity {number}")


def _validate_entity(entity: Any, text: str, where: str) -> None:
    if not isinstance(entity, Mapping):
        raise ValueError(f"{where} is {entity!r}; it must be an object with start, end, text, concept, description")
    _check_keys(entity, CORPUS_FEATURES["entities"].feature, where)
    for key in _ENTITY_STRINGS:
        _check_string(entity[key], key, where)
    start, end = entity["start"], entity["end"]
    for key, offset in (("start", start), ("end", end)):
        if type(offset) is not int:  # a bool is an int, but no offset
            raise ValueError(f"{where}: '{key}' is {offset!r}; it must be an integer, in characters")
    if not 0 <= start < end <= len(text):
        raise ValueError(
            f"{where}: span {start}:{end} does not lie on the text of {len(text)} characters; "
            "offsets count characters (not bytes or tokens) and must satisfy 0 <= start < end <= length"
        )
    if entity["text"] != text[start:end]:
        raise ValueError(
            f"{where}: 'text' is {entity['text']!r}, but the passage reads {text[start:end]!r} at {start}:{end}; "
            "correct the offsets, or give 'annotations' instead of 'entities' to have them found"
        )
    if not entity["concept"].strip():
        raise ValueError(f"{where}: the concept of {entity['text']!r} is empty; name it or leave the entity out")


def _check_keys(mapping: Mapping[str, Any], expected: Mapping[str, Any], where: str) -> None:
    if missing := [key for key in expected if key not in mapping]:
        raise ValueError(f"{where}: {', '.join(missing)} missing; the columns are {', '.join(expected)}")
    if surplus := [str(key) for key in mapping if key not in expected]:
        raise ValueError(f"{where}: unknown {', '.join(surplus)}; the columns are {', '.join(expected)}")


def _check_string(value: Any, name: str, where: str) -> None:
    if not isinstance(value, str):
        raise ValueError(f"{where}: '{name}' is {value!r}; it must be a string")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{where}: '{name}' holds {value[error.start]!r}, half of a character (a lone surrogate), "
            f"at {error.start}; repair or remove it"
        ) from None
