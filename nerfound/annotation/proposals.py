"""The fields of an answer: from its text to proposed annotations, each a mention, a concept and a description.

Everything here is untrusted: the text may hold the separator, line ends and instructions, the answer anything. Two
rules keep a text from steering how its answer is read. An annotation that stands in the text or in the prompt is an
echo, never an annotation, whatever dress of bullets, quotes, emphasis, stops and spaces it wears. And only a mention
may hold the separator; a line that could be read in two ways, because the text holds the separator where the line
does, is rejected.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, NamedTuple

from ..corpus.lines import BLOCK_SEPARATOR
from .ontology import unquoted
from .prompts import Prompt

_BULLET = re.compile(r"^(?:[-*•]|\d{1,3}[.)])\s+")
_FENCE = re.compile(r"^\s*```\w*\s*$")
_DRESS = re.compile("[\"'`*“”‘’«»„‹›]")
_KEYS = ("entity", "concept", "description")


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


class RejectedLine(NamedTuple):
    """A line of an answer that did not become an entity."""

    reason: RejectReason
    line: str


class Proposal(NamedTuple):
    """An annotation as an answer proposes it; `line` is how it stood there."""

    line: str
    mention: str
    concept: str
    description: str


def proposals_from_lines(content: str, text: str, prompt: Prompt) -> Iterator[Proposal | RejectedLine]:
    """Read the lines of an answer in the `-|-` format. Blank lines and code fences are passed over."""
    told = {_bare(line) for line in prompt.system.splitlines()}
    bare_text = _bare(text) if BLOCK_SEPARATOR in text else ""
    for line in map(str.strip, content.split("\n")):
        if not line or _FENCE.match(line):
            continue
        bare = _bare(line)
        if bare in told or (BLOCK_SEPARATOR in bare and bare in bare_text):
            yield RejectedLine(RejectReason.ECHO, line)
            continue
        proposal = _proposal(line, text)
        if isinstance(proposal, Proposal) and _is_echo(proposal, bare_text):
            proposal = RejectedLine(RejectReason.ECHO, line)
        yield proposal


def proposals_from_json(content: str, text: str) -> list[Proposal | RejectedLine] | None:
    """Read an answer in the JSON of `Prompt.response_format`; `None` if it is not that."""
    content = content.strip()
    if content.startswith("```"):
        content = content.partition("\n")[2].rstrip().removesuffix("```")
    try:
        answer = json.loads(content)
        entities = answer["entities"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if not isinstance(entities, list):
        return None
    squeezed_text = _squeezed(text)
    if _squeezed(content) in squeezed_text:
        return [RejectedLine(RejectReason.ECHO, content)]
    return [_proposal_from_object(entity, squeezed_text) for entity in entities]


def _proposal_from_object(entity: Any, squeezed_text: str) -> Proposal | RejectedLine:
    line = json.dumps(entity, ensure_ascii=False)
    fields = [entity.get(key, "") for key in _KEYS] if isinstance(entity, dict) else []
    if not fields or set(entity) - set(_KEYS) or not all(isinstance(field, str) for field in fields):
        return RejectedLine(RejectReason.FIELD_COUNT, line)
    if all(_squeezed(f"{key}: {field}") in squeezed_text for key, field in zip(_KEYS[:2], fields, strict=False)):
        return RejectedLine(RejectReason.ECHO, line)
    return Proposal(line, *(_storable(field) for field in fields))


def _proposal(line: str, text: str) -> Proposal | RejectedLine:
    """Split a line: the mention may hold the separator, the two fields after it may not."""
    as_it_stands = line.partition(BLOCK_SEPARATOR)[0].strip() in text  # a mention may begin like a list item
    fields = (line if as_it_stands else _BULLET.sub("", line)).split(BLOCK_SEPARATOR)
    if len(fields) < 2:
        return RejectedLine(RejectReason.FIELD_COUNT, line)
    if len(fields) == 2:
        return Proposal(line, _present(fields[0], text), fields[1].strip(), "")
    *head, concept, description = fields
    mention = _present(BLOCK_SEPARATOR.join(head), text)
    if unquoted(BLOCK_SEPARATOR.join(fields[:-1])) in text:
        return RejectedLine(RejectReason.AMBIGUOUS, line)
    if len(head) > 1 and mention not in text:
        return RejectedLine(RejectReason.FIELD_COUNT, line)
    return Proposal(line, mention, concept.strip(), description.strip())


def _present(mention: str, text: str) -> str:
    """The mention, without the quotes around it if the text has it only so."""
    mention = mention.strip()
    return mention if mention in text else unquoted(mention)


def _is_echo(proposal: Proposal, bare_text: str) -> bool:
    """Whether two fields of a proposal stand in the text one beside the other, with the separator between them."""
    _, mention, concept, description = proposal
    pairs = [(mention, concept), (concept, description)] if description else [(mention, concept)]
    return any(_bare(BLOCK_SEPARATOR.join(pair)) in bare_text for pair in pairs)


def _bare(text: str) -> str:
    """A line or text as it is compared: without what an annotator may add or leave out when it copies."""
    undressed = _BULLET.sub("", " ".join(_DRESS.sub("", text).split()))
    return BLOCK_SEPARATOR.join(field.strip(" .,:;") for field in undressed.split(BLOCK_SEPARATOR)).casefold()


def _squeezed(json_text: str) -> str:
    """JSON as it is compared: without quotes and white space."""
    return "".join(_DRESS.sub("", json_text).split()).casefold()


def _storable(field: str) -> str:
    return field.encode("utf-8", "replace").decode().strip()
