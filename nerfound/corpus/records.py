"""From one record of any source to one row of the corpus.

A record is a mapping in one of three layouts, told apart by its keys:

| layout | keys |
|---|---|
| source | `text`, `annotations`: a list of `[mention, concept, description]` or `[mention, concept]` |
| aligned | `text`, `entities`: a list of `{start, end, text, concept, description}`, offsets in characters |
| NuNER | `input`, `output`: a Python list literal of `"mention <> concept <> description"` or `"mention <> concept"` |

`id`, `language` and `domain` may stand beside them; what else does is left out.
"""

from __future__ import annotations

import ast
import hashlib
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..concepts import concept_key
from .alignment import Annotation, align_annotations, sort_entities
from .lines import NUNER_SEPARATOR, split_annotation
from .report import AlignmentReport, DropReason
from .schema import CorpusEntity, CorpusRow, validate_row

Record = Mapping[str, Any]

# The key under which a CSV reader files the fields of a row beyond its header.
SURPLUS_FIELDS = "surplus fields"
_EXCERPT_LENGTH = 60


def rows_from_records(
    records: Iterable[tuple[str, Record]], *, propagate: bool, report: AlignmentReport
) -> Iterator[CorpusRow]:
    """Align, check and count records, one at a time.

    Args:
        records (`Iterable[tuple[str, Record]]`): each with the place where it stood, for messages.
        propagate (`bool`): see `align_annotations`.
        report (`AlignmentReport`): receives the counts, in place, as the rows are consumed.

    Raises:
        ValueError: at the first record that fits no layout or whose values are wrong, naming place and mend.
    """
    for where, record in records:
        source = _from_nuner(record, where, report) if {"input", "output"} <= record.keys() else record
        if source is not None:
            row, counts = _row_from_record(source, where, propagate)
            report.merge(counts)
            yield row


def passage_id(text: str) -> str:
    """The id of a passage whose source names none: the same text always gets the same one.

    So copies of a passage, in any order and file, fall on the same side of a hold-out split.
    """
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _row_from_record(record: Record, where: str, propagate: bool) -> tuple[CorpusRow, AlignmentReport]:
    text = record.get("text")
    if not isinstance(text, str):
        raise ValueError(f"{where}: 'text' is {text!r}; every record needs a passage, as a string")
    annotations, entities = record.get("annotations"), record.get("entities")
    if (annotations is None) == (entities is None):
        raise ValueError(
            f"{where}: {'neither' if entities is None else 'both'} of 'annotations' and 'entities'; give one: "
            "[[mention, concept, description], ...] to be aligned, or entities with character offsets"
        )
    row = CorpusRow(
        id=passage_id(text) if record.get("id") is None else record["id"],
        language=_or_empty(record.get("language")),
        domain=_or_empty(record.get("domain")),
        text=text,
        entities=[],
    )
    if annotations is None:
        row["entities"] = _completed(entities)
        validate_row(row, where)
        row["entities"], counts = _distinct_entities(row["entities"], where)
    else:
        checked = _checked_annotations(annotations, where)
        row["entities"], counts = align_annotations(text, checked, propagate=propagate, where=where)
        validate_row(row, where)
    return row, counts


def _or_empty(value: Any) -> Any:
    return "" if value is None else value  # an absent string reads as None in Parquet and data sets


def _checked_annotations(annotations: Any, where: str) -> Iterator[Annotation]:
    if not isinstance(annotations, list):
        raise ValueError(f"{where}: 'annotations' is {annotations!r}; it must be a list")
    for number, annotation in enumerate(annotations, start=1):
        fields = annotation if isinstance(annotation, list | tuple) else []
        if len(fields) not in (2, 3) or not all(isinstance(field, str) for field in fields):
            raise ValueError(
                f"{where}: annotation {number} is {annotation!r}; it must be [mention, concept, description], "
                "three strings, of which the last may be left out"
            )
        yield Annotation(*fields)


def _completed(entities: Any) -> Any:
    """Entities with the keys of the schema alone, and a description each; what is no entity stays, to be refused."""
    if not isinstance(entities, list):
        return entities
    return [_completed_entity(entity) if isinstance(entity, Mapping) else entity for entity in entities]


def _completed_entity(entity: Mapping[str, Any]) -> dict[str, Any]:
    known = {key: entity[key] for key in CorpusEntity.__annotations__ if key in entity}
    return {**known, "description": _or_empty(entity.get("description"))}


def _distinct_entities(entities: list[CorpusEntity], where: str) -> tuple[list[CorpusEntity], AlignmentReport]:
    """Aligned entities, sorted, without those that repeat a span under the same concept."""
    counts = AlignmentReport(passages=1, given=len(entities))
    distinct: dict[tuple[int, int, str], CorpusEntity] = {}
    for entity in entities:
        key = entity["start"], entity["end"], concept_key(entity["concept"])
        if key in distinct:
            counts.drop(DropReason.DUPLICATE, where, entity["text"], entity["concept"])
        else:
            distinct[key] = entity
    counts.aligned = len(distinct)
    return sort_entities(distinct.values()), counts


def _from_nuner(record: Record, where: str, report: AlignmentReport) -> Record | None:
    """A row of the published NuNER data in the source layout, or `None`, counted, if it is one of the known-bad."""
    text, output = record["input"], record["output"]
    excerpt = repr(text)[:_EXCERPT_LENGTH]
    if record.get(SURPLUS_FIELDS):
        report.skip("more fields than columns", where, excerpt)
    elif not isinstance(text, str) or not text.strip():
        report.skip("no input", where, excerpt)
    elif not isinstance(output, str) or not output.strip():
        report.skip("no output", where, excerpt)
    elif (items := _parse_list(output)) is None:
        report.skip("output does not parse as a list of strings", where, repr(output)[:_EXCERPT_LENGTH])
    else:
        annotations = [list(split_annotation(item, NUNER_SEPARATOR, text)) for item in items]
        return {"text": text, "language": "English", "annotations": annotations}
    return None


def _parse_list(output: str) -> list[str] | None:
    """The list of strings that a Python literal denotes, or `None` if it denotes anything else."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\d" in a published string is odd, not dangerous
            items = ast.literal_eval(output)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):  # the last two: nested beyond measure
        return None
    if isinstance(items, list) and all(isinstance(item, str) for item in items):
        return items
    return None
