"""From an answer to the entities of its text: strict about what enters the corpus, forgiving about the rest."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..concepts import Concept, concept_key
from ..corpus.alignment import Aligner, Annotation, sort_entities
from ..corpus.report import AlignmentReport, DropReason
from ..corpus.schema import CorpusEntity
from .cache import Answer
from .ontology import MAX_CONCEPT_CHARACTERS, is_part_of_speech, is_placeholder, normalise_concept
from .prompts import Prompt
from .proposals import Proposal, RejectedLine, RejectReason, proposals_from_json, proposals_from_lines

MAX_MENTION_CHARACTERS = 200
MAX_DESCRIPTION_CHARACTERS = 500
_REFUSAL = re.compile(
    r"\s*(?:i['’]m sorry|i am sorry|sorry[,.]|i can(?:no|['’])t|i(?:['’]| a)m unable|as an ai)", re.IGNORECASE
)
_NONE = "none"
_DROP_REASONS = {
    DropReason.EMPTY_MENTION: RejectReason.EMPTY,
    DropReason.EMPTY_CONCEPT: RejectReason.EMPTY,
    DropReason.NOT_IN_TEXT: RejectReason.NOT_IN_TEXT,
    DropReason.INSIDE_A_WORD: RejectReason.INSIDE_A_WORD,
    DropReason.EXHAUSTED: RejectReason.EXHAUSTED,
    DropReason.DUPLICATE: RejectReason.EXHAUSTED,
}


class AnnotatedEntity(CorpusEntity):
    """An entity of the corpus, with its concept's name as the annotator wrote it."""

    raw_concept: str


@dataclass
class Reading:
    """What an answer came to.

    Args:
        entities (`list[AnnotatedEntity]`): in the order of the corpus.
        rejected (`list[RejectedLine]`): the lines that gave no entity, in the order of the answer.
        reason (`RejectReason`, *optional*): why the text is not in the corpus; `None` if it is.
    """

    entities: list[AnnotatedEntity] = field(default_factory=list)
    rejected: list[RejectedLine] = field(default_factory=list)
    reason: RejectReason | None = None


class AnswerReader:
    """Reads the answers to one prompt.

    Args:
        prompt (`Prompt`): the prompt that was answered.
        nested (`bool`, *optional*): whether entities may overlap; by default they may if the ontology is open. Of two
            that may not, the one that the answer gives first stays.
    """

    def __init__(self, prompt: Prompt, *, nested: bool | None = None) -> None:
        self.prompt = prompt
        self._nested = not prompt.concepts if nested is None else nested
        self._ontology = {concept_key(normalise_concept(concept.name)): concept for concept in prompt.concepts}

    def read(self, text: str, answer: Answer) -> Reading:
        """Read one answer.

        Args:
            text (`str`): the text that was to be annotated.
            answer (`Answer`): the answer, which may be anything.
        """
        if answer.refusal or answer.finish_reason == "content_filter":
            return Reading(reason=RejectReason.REFUSED)
        truncated = answer.finish_reason == "length"
        content = _without_thoughts(answer.content.strip())
        if self._says_none(content):
            return Reading()
        if not content:
            return Reading(reason=RejectReason.TRUNCATED if truncated else RejectReason.NO_ANSWER)
        proposals = self._proposals(content, text)
        if proposals is None:
            return Reading(reason=_reason_without_json(content, truncated))
        if truncated and proposals and not self.prompt.structured:
            proposals[-1] = RejectedLine(RejectReason.TRUNCATED, proposals[-1].line)
        reading = self._align(text, proposals)
        if not reading.entities and (proposals or not self._ontology):
            reading.reason = _reason_without_entities(content, truncated, bool(proposals))
        return reading

    def _says_none(self, content: str) -> bool:
        return bool(self._ontology) and content.strip(" .\"'`").casefold() == _NONE

    def _proposals(self, content: str, text: str) -> list[Proposal | RejectedLine] | None:
        if self.prompt.structured:
            return proposals_from_json(content, text)
        return list(proposals_from_lines(content, text, self.prompt))

    def _align(self, text: str, proposals: Iterable[Proposal | RejectedLine]) -> Reading:
        reading = Reading()
        aligner = Aligner(text, AlignmentReport(), "")
        raw: dict[tuple[str, str], str] = {}
        accepted: list[CorpusEntity] = []
        for proposal in proposals:
            if isinstance(proposal, RejectedLine):
                reading.rejected.append(proposal)
                continue
            checked = self._check(proposal)
            if isinstance(checked, RejectedLine):
                reading.rejected.append(checked)
                continue
            aligner.report = AlignmentReport()  # of this line alone, to learn what became of it
            aligner.place(checked)
            dropped = [_DROP_REASONS[DropReason(reason)] for reason in aligner.report.dropped]
            if not dropped and not self._fits(aligner.entities[-1], accepted):
                dropped = [RejectReason.OVERLAP]
            if dropped:
                reading.rejected.append(RejectedLine(dropped[0], proposal.line))
            else:
                accepted.append(aligner.entities[-1])
                raw.setdefault((checked.mention, checked.concept), proposal.concept)
        placed = len(aligner.entities)
        aligner.propagate()
        for entity in aligner.entities[placed:]:
            if (entity["text"], entity["concept"]) in raw and self._fits(entity, accepted):
                accepted.append(entity)
        reading.entities = [
            AnnotatedEntity(**entity, raw_concept=raw[entity["text"], entity["concept"]])
            for entity in sort_entities(accepted)
        ]
        return reading

    def _check(self, proposal: Proposal) -> Annotation | RejectedLine:
        """The annotation that a proposal makes, under its normalised or listed concept, or why it makes none."""
        concept = normalise_concept(proposal.concept)
        if reason := _flaw(proposal, concept):
            return RejectedLine(reason, proposal.line)
        if not self._ontology and (reason := _emptiness(concept)):
            return RejectedLine(reason, proposal.line)
        if not self._ontology:
            return Annotation(proposal.mention, concept, " ".join(proposal.description.split()))
        listed: Concept | None = self._ontology.get(concept_key(concept))
        if listed is None:
            return RejectedLine(RejectReason.UNKNOWN_CONCEPT, proposal.line)
        return Annotation(proposal.mention, listed.name, listed.description)

    def _fits(self, entity: CorpusEntity, accepted: list[CorpusEntity]) -> bool:
        return self._nested or all(
            entity["end"] <= other["start"] or other["end"] <= entity["start"] for other in accepted
        )


def _without_thoughts(content: str) -> str:
    """An answer without the draft that some models write before it."""
    return content.partition("</think>")[2].strip() if content.startswith("<think>") else content


def _flaw(proposal: Proposal, concept: str) -> RejectReason | None:
    if not proposal.mention or not concept:
        return RejectReason.EMPTY
    if (
        len(proposal.mention) > MAX_MENTION_CHARACTERS
        or len(concept) > MAX_CONCEPT_CHARACTERS
        or len(proposal.description) > MAX_DESCRIPTION_CHARACTERS
    ):
        return RejectReason.OVER_LONG
    return None


def _emptiness(concept: str) -> RejectReason | None:
    """Why an invented concept means nothing, if it does not."""
    if is_part_of_speech(concept):
        return RejectReason.PART_OF_SPEECH
    return RejectReason.PLACEHOLDER if is_placeholder(concept) else None


def _reason_without_json(content: str, truncated: bool) -> RejectReason:
    if truncated:
        return RejectReason.TRUNCATED
    return RejectReason.REFUSED if _REFUSAL.match(content) else RejectReason.NOT_JSON


def _reason_without_entities(content: str, truncated: bool, proposed: bool) -> RejectReason:
    if _REFUSAL.match(content):
        return RejectReason.REFUSED
    if truncated:
        return RejectReason.TRUNCATED
    return RejectReason.NO_USABLE_LINE if proposed else RejectReason.NO_ANSWER
