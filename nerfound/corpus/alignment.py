"""From `(mention, concept, description)` annotations to character spans.

The rule, in full. Mention, concept and description are stripped of white space at their ends; nothing is lower-cased
or normalised otherwise. A mention *occurs* where the text has exactly its characters, beginning at the start of a word
and ending at the end of a word of `segment_words`. Two concept names are the same if their `concept_key` is.

1. Annotations are read in order. A cursor stands at the *start* of the last aligned mention (at first: of the text).
2. An annotation takes the first occurrence at or after the cursor, but after the end of the last occurrence taken by
   the same mention under the same concept. So a repeated line takes the next occurrence, a nested mention
   ("September" after "September 1") is found inside, and a mention under two concepts gets one span twice.
3. If there is none, it takes the first occurrence in the text that overlaps none taken by the same mention under the
   same concept: annotations may come out of order.
4. If there is none either, it is dropped, for a counted reason: `DropReason`.
5. When all lines are read, every further occurrence of an annotated mention gets all concepts of that mention, unless
   it overlaps an entity: its own, or one of another mention ("gas" inside an annotated "natural gas"). Longer mentions
   go first, so that their further occurrences shield what lies inside them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable
from operator import itemgetter
from typing import NamedTuple

from ..concepts import concept_key
from ..spans import segment_words
from .report import AlignmentReport, DropReason
from .schema import CorpusEntity


class Annotation(NamedTuple):
    """What an annotator wrote: a mention of the text, its concept, and a description of that concept."""

    mention: str
    concept: str
    description: str = ""

    def stripped(self) -> Annotation:
        """The same without white space at the ends of its fields."""
        return Annotation(*(field.strip() for field in self))


def align_annotations(
    text: str, annotations: Iterable[Annotation], *, propagate: bool = True, where: str = ""
) -> tuple[list[CorpusEntity], AlignmentReport]:
    """Find the character spans of annotations in their text. The rule stands at the head of this module.

    Args:
        text (`str`): the passage.
        annotations (`Iterable[Annotation]`): in the annotator's order.
        propagate (`bool`, *optional*, defaults to `True`): whether further occurrences of an annotated mention, which
            no annotation has taken, get its concepts too.
        where (`str`, *optional*): where the passage stood; kept with the report's examples.

    Returns:
        `tuple[list[CorpusEntity], AlignmentReport]`: the entities, sorted by `(start, -end, concept)`, and the counts
        of one passage.
    """
    aligner = Aligner(text, AlignmentReport(passages=1), where)
    for annotation in annotations:
        aligner.place(Annotation(*annotation).stripped())
    if propagate:
        aligner.propagate()
    return sort_entities(aligner.entities), aligner.report


def sort_entities(entities: Iterable[CorpusEntity]) -> list[CorpusEntity]:
    """Entities in the order of every corpus: by start, the longer first, then by concept."""
    return sorted(entities, key=lambda entity: (entity["start"], -entity["end"], entity["concept"]))


class Aligner:
    """The alignment of one passage: annotations are placed one by one; `entities` grows, the report counts drops.

    Args:
        text (`str`): the passage.
        report (`AlignmentReport`): counts what is dropped, by reason.
        where (`str`): place of the passage, for the report.
    """

    def __init__(self, text: str, report: AlignmentReport, where: str) -> None:
        self.text = text
        self.report = report
        self.where = where
        self.entities: list[CorpusEntity] = []
        self._cursor = 0
        words = segment_words(text)
        self._word_starts = {start for start, _ in words}
        self._word_ends = {end for _, end in words}
        self._occurrences: dict[str, list[int]] = {}
        # By mention and concept: the starts of the occurrences taken, ascending, and the end of the last one taken.
        self._taken: dict[tuple[str, str], list[int]] = defaultdict(list)
        self._last_end: dict[tuple[str, str], int] = defaultdict(int)
        # The annotation that first named a concept for a mention: what further occurrences of the mention receive.
        self._concepts: dict[str, dict[str, Annotation]] = defaultdict(dict)

    def place(self, annotation: Annotation) -> None:
        """Give an annotation its span, or count why it gets none."""
        self.report.given += 1
        start, reason = self._choose(annotation)
        if reason is not None:
            self.report.drop(reason, self.where, annotation.mention, annotation.concept)
            return
        key = concept_key(annotation.concept)
        insort(self._taken[annotation.mention, key], start)
        self._last_end[annotation.mention, key] = start + len(annotation.mention)
        self._concepts[annotation.mention].setdefault(key, annotation)
        self._cursor = start
        self._add(annotation, start)
        self.report.aligned += 1

    def propagate(self) -> None:
        """Give the concepts of each aligned mention to those of its occurrences that overlap no entity."""
        covered = _disjoint((entity["start"], entity["end"]) for entity in self.entities)
        for mention in sorted(self._concepts, key=len, reverse=True):  # a stable sort: ties stay in the lines' order
            for start in self._find(mention):
                end = start + len(mention)
                place = bisect_right(covered, start, key=itemgetter(1))  # of the first span that ends after the start
                if place == len(covered) or end <= covered[place][0]:
                    covered.insert(place, (start, end))
                    for annotation in self._concepts[mention].values():
                        self._add(annotation, start)
                        self.report.propagated += 1

    def _choose(self, annotation: Annotation) -> tuple[int, DropReason | None]:
        """The start of the span that an annotation takes, or the reason why there is none."""
        mention = annotation.mention
        if not mention:
            return -1, DropReason.EMPTY_MENTION
        if not annotation.concept:
            return -1, DropReason.EMPTY_CONCEPT
        occurrences = self._find(mention)
        if not occurrences:
            return -1, DropReason.INSIDE_A_WORD if mention in self.text else DropReason.NOT_IN_TEXT
        key = mention, concept_key(annotation.concept)
        earliest = max(self._cursor, self._last_end[key])
        for candidates in (occurrences[bisect_left(occurrences, earliest) :], occurrences):
            for start in candidates:
                if _is_free(start, len(mention), self._taken[key]):
                    return start, None
        return -1, DropReason.EXHAUSTED

    def _find(self, mention: str) -> list[int]:
        """The starts of all occurrences of a mention on word boundaries, ascending; they may overlap."""
        if mention not in self._occurrences:
            starts = []
            start = self.text.find(mention)
            while start >= 0:
                if start in self._word_starts and start + len(mention) in self._word_ends:
                    starts.append(start)
                start = self.text.find(mention, start + 1)
            self._occurrences[mention] = starts
        return self._occurrences[mention]

    def _add(self, annotation: Annotation, start: int) -> None:
        self.entities.append(
            CorpusEntity(
                start=start,
                end=start + len(annotation.mention),
                text=annotation.mention,
                concept=annotation.concept,
                description=annotation.description,
            )
        )


def _is_free(start: int, length: int, taken: list[int]) -> bool:
    """Whether a span overlaps none of the spans of the same length that begin at the ascending starts `taken`."""
    place = bisect_right(taken, start - length)
    return place == len(taken) or start + length <= taken[place]


def _disjoint(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The union of spans, as disjoint spans in ascending order."""
    union: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if union and start < union[-1][1]:
            union[-1] = union[-1][0], max(end, union[-1][1])
        else:
            union.append((start, end))
    return union
