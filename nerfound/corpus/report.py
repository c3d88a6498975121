"""What became of the annotations of a corpus: every one is aligned, or dropped for a counted reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

MAX_EXAMPLES_PER_REASON = 3


class DropReason(StrEnum):
    """Why an annotation was dropped."""

    EMPTY_MENTION = "empty mention"
    EMPTY_CONCEPT = "empty concept"
    NOT_IN_TEXT = "not in text"
    INSIDE_A_WORD = "inside a word"
    EXHAUSTED = "exhausted"  # repeated more often than the mention occurs
    DUPLICATE = "duplicate"  # the same span given twice under one concept, where spans are given


class Drop(NamedTuple):
    """An example of a dropped annotation, or of a skipped passage (then `concept` is empty)."""

    reason: str
    where: str
    mention: str
    concept: str


@dataclass
class AlignmentReport:
    """Counts of what was read: `aligned + dropped.total() == given`, always.

    Args:
        passages (`int`): passages kept.
        given (`int`): annotations on them.
        aligned (`int`): annotations that became an entity.
        propagated (`int`): entities added on further occurrences of an annotated mention.
        dropped (`Counter[str]`): annotations without an entity, by `DropReason`.
        skipped (`Counter[str]`): passages left out, by reason (sources with known-bad rows only).
        examples (`list[Drop]`): the first `MAX_EXAMPLES_PER_REASON` drops and skips of each reason.
    """

    passages: int = 0
    given: int = 0
    aligned: int = 0
    propagated: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    examples: list[Drop] = field(default_factory=list)

    def drop(self, reason: DropReason, where: str, mention: str, concept: str) -> None:
        """Count one dropped annotation."""
        self.dropped[reason.value] += 1
        self._keep_example(Drop(reason.value, where, mention, concept))

    def skip(self, reason: str, where: str, excerpt: str) -> None:
        """Count one passage left out."""
        self.skipped[reason] += 1
        self._keep_example(Drop(reason, where, excerpt, ""))

    def merge(self, other: AlignmentReport) -> None:
        """Add another report's counts and examples to this one, in place."""
        self.passages += other.passages
        self.given += other.given
        self.aligned += other.aligned
        self.propagated += other.propagated
        self.dropped.update(other.dropped)
        self.skipped.update(other.skipped)
        for example in other.examples:
            self._keep_example(example)

    def __add__(self, other: AlignmentReport) -> AlignmentReport:
        total = AlignmentReport()
        total.merge(self)
        total.merge(other)
        return total

    def __str__(self) -> str:
        share = f" ({self.aligned / self.given:.2%})" if self.given else ""
        lines = [
            f"{self.passages:,} passages, {self.given:,} annotations: {self.aligned:,} aligned{share}, "
            f"{self.dropped.total():,} dropped; {self.propagated:,} further occurrences annotated"
        ]
        for title, counts in (("dropped", self.dropped), ("passages skipped", self.skipped)):
            lines += [f"  {title}, {reason}: {count:,}{self._shown(reason)}" for reason, count in counts.most_common()]
        return "\n".join(lines)

    def _keep_example(self, example: Drop) -> None:
        if sum(kept.reason == example.reason for kept in self.examples) < MAX_EXAMPLES_PER_REASON:
            self.examples.append(example)

    def _shown(self, reason: str) -> str:
        shown = [
            f"{example.mention!r}" + (f" as {example.concept!r}" if example.concept else "") + f" at {example.where}"
            for example in self.examples
            if example.reason == reason
        ]
        return f" (such as {'; '.join(shown)})" if shown else ""
