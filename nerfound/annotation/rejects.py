"""What was rejected, and why: lines of answers, and texts without a usable answer."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from ..corpus import DropReason


class RejectReason(StrEnum):
    """Why a line of an answer, or a text, is not in the corpus."""

    # Of a line
    FIELD_COUNT = "wrong field count"
    AMBIGUOUS = "ambiguous separator"  # the text itself holds `-|-` where the line does
    ECHO = "prompt echo"  # a line of the prompt, or an annotation that stands in the text
    EMPTY = "empty field"
    OVER_LONG = "over-long field"
    NOT_IN_TEXT = "mention not in text"
    INSIDE_A_WORD = "mention inside a word"
    EXHAUSTED = "mention repeated too often"
    PART_OF_SPEECH = "part-of-speech concept"
    PLACEHOLDER = "placeholder concept"
    UNKNOWN_CONCEPT = "concept not in the ontology"
    OVERLAP = "overlaps another entity"
    # Of a line, or of a whole text
    TRUNCATED = "truncated by length"
    # Of a text
    REFUSED = "refused"
    NO_ANSWER = "empty answer"
    NOT_JSON = "not the JSON asked for"
    NO_USABLE_LINE = "no usable line"
    FAILED = "request failed"


DROP_REASONS = {
    DropReason.EMPTY_MENTION: RejectReason.EMPTY,
    DropReason.EMPTY_CONCEPT: RejectReason.EMPTY,
    DropReason.NOT_IN_TEXT: RejectReason.NOT_IN_TEXT,
    DropReason.INSIDE_A_WORD: RejectReason.INSIDE_A_WORD,
    DropReason.EXHAUSTED: RejectReason.EXHAUSTED,
    DropReason.DUPLICATE: RejectReason.EXHAUSTED,
}


class RejectedLine(NamedTuple):
    """A line of an answer that did not become an entity."""

    reason: RejectReason
    line: str
