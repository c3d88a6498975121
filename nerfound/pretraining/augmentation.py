"""Passages as other writers would have them: cut out of their context, or without punctuation.

The packaged corpus is polished prose of a few sentences. What a recognizer reads may be a query, a message or a line of
a table: shown pieces of passages and plain words too, the encoder learns to do without the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import regex

FEWEST_WORDS = 5
"""Words of the shortest piece."""

_WORD = regex.compile(r"\S+")
# Not what makes a number, an amount or a name: 1,900.50, 40%, R&D, x-ray, don't, km/h
_PUNCTUATION = regex.compile(r"(?<!\p{N})[.,:]|[.,:](?!\p{N})|[\p{P}--[.,:%&/'’\-]]|['’](?!\w)", regex.VERSION1)
_BETWEEN_LETTERS = regex.compile(rf"(?<=\p{{L}})(?:{_PUNCTUATION.pattern})(?=\p{{L}})", regex.VERSION1)


@dataclass(frozen=True)
class Augmentation:
    """How often, and how, passages are changed.

    Args:
        crop_share (`float`): share of the passages of which a piece is shown: some words in a row, at least
            `FEWEST_WORDS`; more where a mention would be cut.
        plain_share (`float`): share of the passages that are shown without punctuation.
    """

    crop_share: float
    plain_share: float

    def __call__(self, row: dict[str, Any], random: np.random.Generator) -> dict[str, Any]:
        """A row of a concept corpus, changed or not; the row itself stays as it is."""
        crop, plain = random.random(2) < (self.crop_share, self.plain_share)
        row = crop_passage(row, random) if crop else row
        return without_punctuation(row) if plain else row


def crop_passage(row: dict[str, Any], random: np.random.Generator) -> dict[str, Any]:
    """A random piece of a passage, from word to word."""
    words = [match.span() for match in _WORD.finditer(row["text"])]
    if len(words) <= FEWEST_WORDS:
        return row
    count = int(random.integers(FEWEST_WORDS, len(words)))
    first = int(random.integers(0, len(words) - count + 1))
    start, end = words[first][0], words[first + count - 1][1]
    cut = [entity for entity in row["entities"] if entity["start"] < end and entity["end"] > start]
    start = min([start, *(entity["start"] for entity in cut)])
    end = max([end, *(entity["end"] for entity in cut)])
    entities = [
        entity | {"start": entity["start"] - start, "end": entity["end"] - start}
        for entity in row["entities"]
        if start <= entity["start"] and entity["end"] <= end
    ]
    return row | {"text": row["text"][start:end], "entities": entities}


def without_punctuation(row: dict[str, Any]) -> dict[str, Any]:
    """A passage without its punctuation; a mention that is nothing else is none any more."""
    # Between two letters (mhra.gov.uk) there was a border of words, which a space keeps
    spaced = _BETWEEN_LETTERS.sub(" ", row["text"])
    kept = np.ones(len(spaced), dtype=bool)
    for match in _PUNCTUATION.finditer(spaced):
        kept[match.start() : match.end()] = False
    position = np.concatenate([[0], np.cumsum(kept)])
    moved = [
        entity | {"start": int(position[entity["start"]]), "end": int(position[entity["end"]])}
        for entity in row["entities"]
    ]
    text = "".join(character for character, keep in zip(spaced, kept, strict=True) if keep)
    entities = [
        entity | {"text": text[entity["start"] : entity["end"]]} for entity in moved if entity["start"] < entity["end"]
    ]
    return row | {"text": text, "entities": entities}
