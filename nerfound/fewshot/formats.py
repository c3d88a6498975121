"""The forms in which a user may give labelled examples, and the one form in which the library holds them.

Wherever an example comes from (inline markup, character offsets, tagged tokens, token spans, a `datasets.Dataset`, a
file), it becomes an [`Example`] and is checked by the same code, which names the example, the value and the mend.
"""

from __future__ import annotations

import json
import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import datasets

from ..concepts import concept_key
from ..spans import Span
from .files import READERS, declared_label_names, parquet_features
from .inline import parse_inline, write_inline
from .tags import tags_to_spans

Concepts = Mapping[str, str] | Sequence[str]

_FORMS = (("text", "entities"), ("tokens", "tags"), ("tokens", "ner_tags"), ("tokens", "spans"))
_FORMS_TEXT = (
    "a string such as 'a table at [Nobu](restaurant name)', or a dict with 'text' and 'entities', "
    "'tokens' and 'tags' (or 'ner_tags'), or 'tokens' and 'spans'"
)


@dataclass(frozen=True)
class Example:
    """One labelled text.

    Attributes:
        text (`str`): the text.
        entities (`tuple[Span, ...]`): character offsets and labels, sorted by start, the enclosing span first.
        words (`tuple[tuple[int, int], ...]` or `None`): character offsets of the tokens that the source gave; `None`
            if it was not tokenised.
    """

    text: str
    entities: tuple[Span, ...]
    words: tuple[tuple[int, int], ...] | None = None


@dataclass(frozen=True)
class SupportSet:
    """Labelled examples and the concepts they are labelled with.

    Attributes:
        examples (`tuple[Example, ...]`): the examples, in the order given.
        concepts (`dict[str, str]`): label to description (`""` where none was given). The order is the caller's where
            concepts were given, else that of first appearance.
    """

    examples: tuple[Example, ...]
    concepts: dict[str, str]


def parse_examples(
    examples: Iterable[Any],
    *,
    concepts: Concepts | None = None,
    nested: bool = False,
    label_names: Sequence[str] | None = None,
) -> SupportSet:
    r"""Read labelled examples in any of the accepted forms, which may be mixed.

    - `"a table at [Nobu](restaurant name)"`: inline markup; `\[`, `\]`, `\(`, `\)` and `\\` are plain characters, and
      so are brackets that no `(label)` follows.
    - `{"text": ..., "entities": [{"start": 11, "end": 15, "label": "restaurant name"}]}`: character offsets. An entity
      may say `concept` instead of `label`, give the concept's `description`, and repeat its `text` (or `word`), which
      is then checked.
    - `{"tokens": [...], "tags": [...]}`, or `ner_tags`: BIO, BIOES or IO tags, or class ids.
    - `{"tokens": [...], "spans": [[start, end, label], ...]}`: token indices, `end` exclusive; a span may also be a
      dict with those keys.
    - an [`Example`].

    Tokens are joined by single spaces. White space at the ends of spans and labels is trimmed. An entity that is given
    twice counts once.

    Args:
        examples (`Iterable`, or `datasets.Dataset`): the examples. Other columns of a data set are ignored.
        concepts (`Mapping[str, str]` or `Sequence[str]`, *optional*): label to description, or labels. If given, no
            other label may occur, and these descriptions take precedence over those of entities, of which the first
            counts.
        nested (`bool`, *optional*, defaults to `False`): whether entities may overlap.
        label_names (`Sequence[str]`, *optional*): the tag that each class id stands for; read from the features of a
            `datasets.Dataset` whose tags are of type `ClassLabel`.

    Returns:
        [`SupportSet`]: the examples and their concepts.

    Raises:
        ValueError: if there is no example or no concept, or an example is not valid; names the example by its index.
    """
    if isinstance(examples, (str, bytes, Mapping)):
        hint = {
            datasets.DatasetDict: "choose a split, such as dataset['train']",
            datasets.IterableDatasetDict: "choose a split, such as dataset['train']",
            str: "put it into a list, or call read_examples for a file or data set",
        }.get(type(examples), "put it into a list")
        raise ValueError(f"examples must be an iterable of examples, but is one {type(examples).__name__}: {hint}")
    if isinstance(examples, (datasets.Dataset, datasets.IterableDataset)):
        label_names = label_names or declared_label_names(examples.features)
        examples = examples.with_format(None)
    located = ((f"example {index}", raw) for index, raw in enumerate(examples))
    return _collect(located, concepts, nested, label_names)


def read_examples(
    path_or_id: str | os.PathLike[str],
    *,
    concepts: Concepts | str | os.PathLike[str] | None = None,
    nested: bool = False,
    label_names: Sequence[str] | None = None,
    config: str | None = None,
    split: str | None = None,
    revision: str | None = None,
) -> SupportSet:
    """Read labelled examples from a file, or from a data set of the Hub.

    The form of a file follows from its name: `.jsonl` (an example per line, in a form that [`parse_examples`] takes),
    `.txt` (a sentence with inline markup per line), `.conll`, `.bio` or `.tsv` (a token per line, its tag in the last
    column, an empty line between sentences, `-DOCSTART-` skipped) or `.parquet`. Columns are separated by tabs if the
    line has one, else by white space.

    Args:
        path_or_id (`str` or `os.PathLike`): a file, or what `datasets.load_dataset` takes.
        concepts (*optional*): as in [`parse_examples`], or the path of a JSON file for [`read_concepts`].
        nested (`bool`, *optional*, defaults to `False`): whether entities may overlap.
        label_names (`Sequence[str]`, *optional*): the tag that each class id stands for, where the data do not say.
        config (`str`, *optional*): configuration of the data set. Not for files, like the next two.
        split (`str`, *optional*, defaults to `"train"`): split of the data set.
        revision (`str`, *optional*): revision of the data set.

    Returns:
        [`SupportSet`]: the examples and their concepts.

    Raises:
        FileNotFoundError: if a file of one of these kinds does not exist.
        ValueError: if the file is of another kind or not valid; names the file and the line.
    """
    if isinstance(concepts, (str, os.PathLike)):
        concepts = read_concepts(concepts)
    path = Path(path_or_id)
    if path.suffix in READERS:
        options = {"config": config, "split": split, "revision": revision}
        for name, value in options.items():
            if value is not None:
                raise ValueError(f"{path}: {name}={value!r} applies to data sets, not to a file: leave it out")
        if path.suffix == ".parquet":
            label_names = label_names or declared_label_names(parquet_features(path))
        return _collect(READERS[path.suffix](path), concepts, nested, label_names)
    if path.is_file():
        raise ValueError(f"{path}: unknown kind of file {path.suffix!r}: name it {', '.join(READERS)}")
    dataset = datasets.load_dataset(os.fspath(path_or_id), config, split=split or "train", revision=revision)
    return parse_examples(dataset, concepts=concepts, nested=nested, label_names=label_names)


def read_concepts(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read concepts from a JSON file: an object of label to description, or an array of labels.

    Raises:
        ValueError: if the file holds anything else; names the file.
    """
    try:
        return parse_concepts(json.loads(Path(path).read_text(encoding="utf-8")))
    except ValueError as error:  # also JSON and Unicode errors
        raise ValueError(f"{os.fspath(path)}: {error}") from error


def to_inline(example: Example) -> str:
    """Write an example as inline markup, the inverse of [`parse_examples`]; given tokens are not kept.

    Raises:
        ValueError: if two entities cross without one enclosing the other, which markup cannot express.
    """
    return write_inline(example.text, example.entities)


class _ConceptSet:
    """The concepts of a support set while it is being read."""

    def __init__(self, given: dict[str, str] | None) -> None:
        self.descriptions = dict(given or {})
        self._closed = given is not None
        self._spelling = {concept_key(label): label for label in self.descriptions}

    def add(self, label: str, description: str) -> None:
        """Register a label that occurs in an example, or refuse it."""
        spelling = self._spelling.setdefault(concept_key(label), label)
        if spelling != label:
            raise ValueError(
                f"label {label!r} differs from {spelling!r} in case or white space only: write one of the two"
            )
        if self._closed and label not in self.descriptions:
            raise ValueError(
                f"label {label!r} is not among the given concepts {_shorten(list(self.descriptions))}: "
                "add it to `concepts`, or correct the label"
            )
        if not self.descriptions.get(label):
            self.descriptions[label] = description


def _collect(
    located: Iterable[tuple[str, Any]],
    concepts: Concepts | None,
    nested: bool,
    label_names: Sequence[str] | None,
) -> SupportSet:
    """Parse raw examples that come with the place where they stand, which errors name."""
    found = _ConceptSet(None if concepts is None else parse_concepts(concepts))
    parsed = []
    for place, raw in located:
        try:
            example, descriptions = _parse_example(raw, nested, label_names)
            for entity in example.entities:
                found.add(entity.label, descriptions.get(entity.label, ""))
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error
        parsed.append(example)
    if not parsed:
        raise ValueError("the support set is empty: give at least one example")
    if not found.descriptions:
        raise ValueError(f"none of the {len(parsed)} examples has an entity: label some, or give `concepts`")
    return SupportSet(tuple(parsed), found.descriptions)


def parse_concepts(concepts: Any) -> dict[str, str]:
    """Check concepts that the caller gave, as a mapping to descriptions or as a sequence of labels."""
    if isinstance(concepts, Mapping):
        pairs = list(concepts.items())
    elif isinstance(concepts, Sequence) and not isinstance(concepts, (str, bytes)):
        pairs = [(label, "") for label in concepts]
    else:
        raise ValueError(
            f"concepts must map labels to descriptions, or be a sequence of labels, but are of type "
            f"{type(concepts).__name__}"
        )
    if not pairs:
        raise ValueError("the given concepts are empty: name at least one, or leave `concepts` out")
    given = _ConceptSet(None)
    for raw_label, description in pairs:
        label = _clean_label(raw_label)
        if label in given.descriptions:
            raise ValueError(f"concept {label!r} is given twice")
        given.add(label, _clean_description(description, label))
    return given.descriptions


def _parse_example(raw: Any, nested: bool, label_names: Sequence[str] | None) -> tuple[Example, dict[str, str]]:
    """One example of any form, and the descriptions of concepts that came with it."""
    if isinstance(raw, Example):
        return _build(raw.text, raw.entities, raw.words, nested), {}
    if isinstance(raw, str):
        text, spans = parse_inline(raw)
        return _build(text, spans, None, nested), {}
    if not isinstance(raw, Mapping):
        raise ValueError(f"an example is {_FORMS_TEXT}; this is of type {type(raw).__name__}: {_shorten(raw)}")
    forms = [form for form in _FORMS if all(raw.get(key) is not None for key in form)]
    if len(forms) != 1:
        fault = f"is of several forms at once, {forms}" if forms else "is of no known form"
        raise ValueError(f"a dict with the keys {list(raw)} {fault}: give {_FORMS_TEXT}, one of them")
    if forms == [("text", "entities")]:
        return _parse_offsets(raw, nested)
    return _parse_tokens(raw, forms[0][1], nested, label_names), {}


def _parse_offsets(raw: Mapping[str, Any], nested: bool) -> tuple[Example, dict[str, str]]:
    text = _clean_text(raw["text"])
    spans = []
    descriptions: dict[str, str] = {}
    for entity in _records(raw["entities"], "entities"):
        span = _parse_span(entity)
        _check_bounds(span, len(text), "characters")
        for key in ("text", "word"):
            repeated, covered = entity.get(key), text[span.start : span.end]
            if repeated is not None and (not isinstance(repeated, str) or repeated.strip() != covered.strip()):
                raise ValueError(
                    f"the entity's {key} is {repeated!r}, but its offsets {span.start}..{span.end} cover {covered!r}: "
                    f"correct `start` and `end`, or leave {key!r} out"
                )
        description = _clean_description(entity.get("description"), span.label)
        if not descriptions.get(span.label):
            descriptions[span.label] = description
        spans.append(span)
    return _build(text, spans, None, nested), descriptions


def _parse_tokens(raw: Mapping[str, Any], key: str, nested: bool, label_names: Sequence[str] | None) -> Example:
    tokens = _list(raw["tokens"], "tokens")
    words = []
    position = 0
    for index, token in enumerate(tokens):
        if not isinstance(token, str) or not token.strip():
            raise ValueError(f"token {index} is {token!r}: every token must be a string with a visible character")
        words.append(_trim(token, 0, len(token), position))
        position += len(token) + 1
    if key == "spans":
        token_spans = [_parse_span(span) for span in _records(raw["spans"], "spans")]
    else:
        tags = _list(raw[key], key)
        if len(tags) != len(tokens):
            raise ValueError(f"{len(tokens)} tokens, but {len(tags)} {key}: give one tag per token")
        token_spans = tags_to_spans(_named_tag(tag, index, label_names) for index, tag in enumerate(tags))
    for span in token_spans:
        _check_bounds(span, len(words), "tokens")
    spans = [Span(words[span.start][0], words[span.end - 1][1], span.label) for span in token_spans]
    return _build(" ".join(tokens), spans, words, nested)


def _build(text: Any, spans: Iterable[Span], words: Iterable[tuple[int, int]] | None, nested: bool) -> Example:
    """Check, trim and sort the entities of an example."""
    text = _clean_text(text)
    entities = set()
    for span in spans:
        label = _clean_label(span.label)
        _check_bounds(span, len(text), "characters")
        if not text[span.start : span.end].strip():
            raise ValueError(
                f"the span {span.start}..{span.end} (label {label!r}) covers only white space, "
                f"{text[span.start : span.end]!r}: correct it, or take it out"
            )
        entities.add(Span(*_trim(text, span.start, span.end), label))
    ordered = sorted(entities, key=lambda span: (span.start, -span.end, span.label))
    if not nested:
        for first, second in pairwise(ordered):
            if second.start < first.end:
                named = " and ".join(
                    f"{text[s.start : s.end]!r} ({s.label}, {s.start}..{s.end})" for s in (first, second)
                )
                raise ValueError(f"{named} overlap: keep one of them, or allow overlap with nested=True")
    return Example(text, tuple(ordered), None if words is None else tuple(words))


def _parse_span(raw: Any) -> Span:
    """A span given as a dict, or as `[start, end, label]`; in whatever unit."""
    fields: list[Any]
    if isinstance(raw, Mapping):
        label, concept = raw.get("label"), raw.get("concept")
        if label is not None and concept is not None and label != concept:
            raise ValueError(f"an entity has both label {label!r} and concept {concept!r}: give one of them")
        fields = [raw.get("start"), raw.get("end"), concept if label is None else label]
    else:
        fields = _list(raw, "a span")
        if len(fields) != 3:
            raise ValueError(f"a span is [start, end, label], but this has {len(fields)} items: {_shorten(raw)}")
    start, end, label = fields
    for name, value in (("start", start), ("end", end)):
        if not _is_whole_number(value):
            raise ValueError(f"the {name} of the span {_shorten(raw)} is {value!r}: give a whole number")
    return Span(operator.index(start), operator.index(end), _clean_label(label))


def _records(value: Any, name: str) -> list[Any]:
    """A list of records, also if given as a dict of columns, as `datasets` returns some nested features."""
    if isinstance(value, Mapping):
        columns = {key: _list(column, name) for key, column in value.items()}
        if len({len(column) for column in columns.values()}) > 1:
            raise ValueError(f"{name} are columns of different lengths: {_shorten(value)}")
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    records = _list(value, name)
    if name == "entities":
        for record in records:
            if not isinstance(record, Mapping):
                raise ValueError(f"an entity is a dict with 'start', 'end' and 'label', not {_shorten(record)}")
    return records


def _list(value: Any, name: str) -> list[Any]:
    if hasattr(value, "tolist"):  # numpy arrays and tensors
        value = value.tolist()
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{name} must be a list, but is of type {type(value).__name__}: {_shorten(value)}")
    return list(value)


def _named_tag(tag: Any, index: int, label_names: Sequence[str] | None) -> str:
    """A tag as a string: itself, or the name of a class id."""
    if isinstance(tag, str):
        return tag
    if not _is_whole_number(tag):
        raise ValueError(f"the tag of word {index} is {tag!r}: give a string such as 'B-PER', or a class id")
    if label_names is None:
        raise ValueError(
            f"the tag of word {index} is the class id {tag}, whose name is not known: pass label_names=['O', 'B-PER', "
            "...], or a datasets.Dataset whose tags are of type ClassLabel"
        )
    if not 0 <= tag < len(label_names):
        raise ValueError(f"the tag of word {index} is the class id {tag}, but there are {len(label_names)} label names")
    return label_names[tag]


def _is_whole_number(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)


def _check_bounds(span: Span, length: int, unit: str) -> None:
    start, end, label = span
    if start >= end:
        raise ValueError(f"the span {start}..{end} (label {label!r}) is empty: `end` is exclusive, and above `start`")
    if start < 0 or end > length:
        raise ValueError(
            f"the span {start}..{end} (label {label!r}) is off the text, which has {length} {unit}: "
            f"`start` and `end` count {unit} from 0, `end` is exclusive"
        )


def _trim(text: str, start: int, end: int, shift: int = 0) -> tuple[int, int]:
    """The offsets without the white space at both ends; `shift` is added to them."""
    covered = text[start:end]
    return (
        shift + start + len(covered) - len(covered.lstrip()),
        shift + end - len(covered) + len(covered.rstrip()),
    )


def _clean_text(text: Any) -> str:
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"the text is {text!r}: it must be a string with a visible character")
    return text


def _clean_label(label: Any) -> str:
    if not isinstance(label, str) or not label.strip():
        raise ValueError(f"a label is {label!r}: give the concept's name as a string")
    return label.strip()


def _clean_description(description: Any, label: str) -> str:
    if description is not None and not isinstance(description, str):
        raise ValueError(f"the description of {label!r} is {_shorten(description)}: give a string")
    return (description or "").strip()


def _shorten(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 200 else f"{shown[:200]}..."
