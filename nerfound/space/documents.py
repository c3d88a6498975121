"""What a visitor teaches: concepts and marked examples, as the page holds them and as the library reads them.

The page's side is JSON, `{"concepts": [{"name", "description"}], "examples": [{"text", "entities"}]}` with offsets in
code points; anything may stand in it, since anyone can send it. The library's side is a checked [`SupportSet`].
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ..concepts import concept_key
from ..fewshot import Example, SupportSet, parse_examples, read_examples, to_inline
from ..fewshot.inline import parse_inline
from ..spans import Span
from .limits import (
    MAX_CHARACTERS,
    MAX_CONCEPTS,
    MAX_DESCRIPTION,
    MAX_EXAMPLE_CHARACTERS,
    MAX_EXAMPLES,
    MAX_FILE_BYTES,
    MAX_NAME,
    ON_YOUR_MACHINE,
    RefusedError,
)

Document = dict[str, Any]

FILE_TYPES = (".jsonl", ".conll", ".bio", ".tsv", ".txt")
_BREAK = re.compile(r"[\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_NONE = "\ufffe"
_ANCHOR = Example("none", (Span(0, 4, _NONE),))
T = TypeVar("T")


def empty_document() -> Document:
    """A document with nothing in it."""
    return {"concepts": [], "examples": []}


def read_document(document: Any) -> SupportSet:
    """Check a document of the page.

    Returns:
        [`SupportSet`]: perhaps without examples, concepts or mentions: a visitor is still at it.

    Raises:
        RefusedError: if it is malformed or beyond the limits; names the value and the mend.
    """
    if not isinstance(document, Mapping):
        raise RefusedError('Give {"concepts": [{"name", "description"}], "examples": [{"text", "entities"}]}.')
    concepts = _read_concepts(document.get("concepts") or [])
    examples = document.get("examples") or []
    if not isinstance(examples, list):
        raise RefusedError("The examples must be a list.")
    return _parse(examples, concepts)


def ready_to_fit(document: Any, *, names_suffice: bool) -> SupportSet:
    """A document that a recognizer can be fitted on.

    Args:
        document: of the page.
        names_suffice (`bool`): whether concepts are known by their names, before any mention. Texts in which nothing at
            all is marked yet are then left out: they do not say that there is nothing in them.

    Raises:
        RefusedError: if there is nothing to learn from yet, or as `read_document`.
    """
    support = read_document(document)
    if not support.concepts:
        raise RefusedError("Nothing to learn yet: name a concept, such as “city”, then mark some mentions of it.")
    marked = any(example.entities for example in support.examples)
    if marked:
        return support
    if names_suffice:
        return SupportSet((), support.concepts)
    if not support.examples:
        raise RefusedError("No example yet: add a text, then mark the mentions in it.")
    raise RefusedError("Nothing is marked yet: select a mention in an example and choose its concept.")


def with_marked_concepts(support: SupportSet) -> SupportSet:
    """A support set with those of its concepts that have a mention."""
    marked = {entity.label for example in support.examples for entity in example.entities}
    return SupportSet(support.examples, {name: text for name, text in support.concepts.items() if name in marked})


def write_document(support: SupportSet) -> Document:
    """The page's side of a support set."""
    return {
        "concepts": [{"name": name, "description": text} for name, text in support.concepts.items()],
        "examples": [
            {"text": example.text, "entities": [entity._asdict() for entity in example.entities]}
            for example in support.examples
        ],
    }


def to_markup(document: Any) -> str:
    """The examples of a document as inline markup, one per line."""
    return "\n".join(to_inline(example) for example in read_document(document).examples)


def from_markup(markup: str, document: Any) -> Document:
    """A document with the examples of some inline markup, one per line; new labels become concepts.

    Raises:
        RefusedError: if the markup is malformed; names the line.
    """
    descriptions = read_document({"concepts": document.get("concepts")} if isinstance(document, Mapping) else {})
    rows = []
    for number, line in enumerate(markup.splitlines(), start=1):
        if line.strip():
            rows.append(_plain(lambda line=line: parse_inline(line), f"Line {number}"))  # type: ignore[misc]
    labels = (span.label.strip() for _, spans in rows for span in spans)
    concepts = _merged(descriptions.concepts, dict.fromkeys(labels, ""))
    examples = [{"text": text, "entities": [span._asdict() for span in spans]} for text, spans in rows]
    return write_document(_parse(examples, concepts))


def import_file(path: str, document: Any) -> Document:
    """A document with the examples of an uploaded file added, read by the package's readers and nothing else.

    Raises:
        RefusedError: if the file is too large, of another kind or malformed; names the line.
    """
    support = read_document(document)
    file = Path(path)
    if file.suffix not in FILE_TYPES:
        raise RefusedError(f"{file.name} is of another kind: name it {', '.join(FILE_TYPES)}.")
    if file.stat().st_size > MAX_FILE_BYTES:
        raise RefusedError(
            f"{file.name} has {file.stat().st_size:,} bytes; this page reads at most {MAX_FILE_BYTES:,}."
        )
    try:
        read = read_examples(file)
    except (ValueError, RecursionError, OSError) as error:  # JSON nested beyond measure
        raise RefusedError(f"Could not read {str(error).replace(str(file), file.name)}") from error
    added = SupportSet(tuple(map(_on_one_line, read.examples)), read.concepts)
    return write_document(_united(support, added))


def add_examples(document: Any, text: str, entities: Any, concepts: Sequence[str] = ()) -> Document:
    """A document with a corrected text added, a line of it per example; an example with the same text is replaced.

    Args:
        document: of the page.
        text (`str`): the text that was extracted from.
        entities: what the visitor left, relabelled or added on it.
        concepts (`Sequence[str]`): names that the labels of the entities may have besides the document's.
    """
    support = read_document(document)
    known = _merged(support.concepts, dict.fromkeys(concepts, ""))
    corrected = _parse([{"text": text, "entities": entities}], known, longest=len(text) + 1)
    lines = tuple(_lines_of(corrected.examples[0]))
    replaced = {line.text for line in lines}
    kept = tuple(example for example in support.examples if example.text not in replaced)
    return write_document(_united(SupportSet(kept, known), SupportSet(lines, {})))


def _united(support: SupportSet, added: SupportSet) -> SupportSet:
    return _parse([*support.examples, *added.examples], _merged(support.concepts, added.concepts))


def _merged(concepts: Mapping[str, str], others: Mapping[str, str]) -> dict[str, str]:
    merged = dict(concepts)
    for name, description in others.items():
        merged[name] = merged.get(name) or description
    return merged


def _read_concepts(raw: Any) -> dict[str, str]:
    concepts: dict[str, str] = {}
    spelling: dict[str, str] = {}
    if not isinstance(raw, list):
        raise RefusedError("The concepts must be a list.")
    for concept in raw:
        fields = concept if isinstance(concept, Mapping) else {"name": concept}
        name, description = fields.get("name"), fields.get("description") or ""
        if not isinstance(name, str) or not name.strip() or not isinstance(description, str):
            raise RefusedError("A concept needs a name, such as “city”.")
        name = name.strip()
        if spelling.setdefault(concept_key(name), name) in concepts:
            raise RefusedError(f"The concept “{name[:MAX_NAME]}” is there twice: remove one, or rename it.")
        concepts[name] = description.strip()
    return concepts


def _parse(examples: Iterable[Any], concepts: dict[str, str], longest: int = MAX_EXAMPLE_CHARACTERS) -> SupportSet:
    """Examples and concepts checked by the library, within the limits of the page."""
    examples = list(examples)
    _check_concepts(concepts)
    if len(examples) > MAX_EXAMPLES:
        raise RefusedError(f"{len(examples):,} examples; this page takes at most {MAX_EXAMPLES}. {ON_YOUR_MACHINE}")
    support = SupportSet((), concepts)
    if examples and concepts:
        support = _plain(lambda: parse_examples(examples, concepts=concepts), "")
    elif examples:  # labels become concepts; with the anchor, a document without any label is read as well
        read = _plain(lambda: parse_examples([*examples, _ANCHOR]), "")
        support = SupportSet(read.examples[:-1], {name: text for name, text in read.concepts.items() if name != _NONE})
        _check_concepts(support.concepts)
    for number, example in enumerate(support.examples, start=1):
        if len(example.text) > longest:
            raise RefusedError(
                f"Example {number} has {len(example.text):,} characters; give at most {longest:,}: "
                "cut it into sentences, one per line."
            )
    total = sum(len(example.text) for example in support.examples)
    if total > max(MAX_CHARACTERS, longest):
        raise RefusedError(
            f"The examples have {total:,} characters together; this page takes {MAX_CHARACTERS:,}. {ON_YOUR_MACHINE}"
        )
    return support


def _check_concepts(concepts: Mapping[str, str]) -> None:
    if len(concepts) > MAX_CONCEPTS:
        raise RefusedError(f"{len(concepts)} concepts; this page takes at most {MAX_CONCEPTS}. {ON_YOUR_MACHINE}")
    for name, description in concepts.items():
        if len(name) > MAX_NAME:
            raise RefusedError(f"The concept “{name[:MAX_NAME]}…” has a long name: give at most {MAX_NAME} characters.")
        if len(description) > MAX_DESCRIPTION:
            raise RefusedError(f"The description of “{name}” is long: give at most {MAX_DESCRIPTION} characters.")


def _plain(read: Callable[[], T], place: str) -> T:
    """What `read` returns; its complaint as one for the visitor, who counts from 1."""
    try:
        return read()
    except ValueError as error:
        message = re.sub(r"^example (\d+)", lambda match: f"Example {int(match[1]) + 1}", str(error))
        raise RefusedError(f"{place}: {message}" if place else message) from error


def _on_one_line(example: Example) -> Example:
    """An example without line breaks, which inline markup has no place for; offsets stay."""
    return Example(_BREAK.sub(" ", example.text), example.entities, example.words)


def _lines_of(example: Example) -> Iterable[Example]:
    """The lines of an example that hold a word, each as one of its own; what lies within a mention is no line break."""
    inside = {i for start, end, _ in example.entities for i in range(start, end)}
    breaks = [match.start() for match in _BREAK.finditer(example.text) if match.start() not in inside]
    start = 0
    for end in [*breaks, len(example.text)]:
        if example.text[start:end].strip():
            entities = tuple(
                entity._replace(start=entity.start - start, end=entity.end - start)
                for entity in example.entities
                if start <= entity.start < end
            )
            yield _on_one_line(Example(example.text[start:end], entities))
        start = end + 1
