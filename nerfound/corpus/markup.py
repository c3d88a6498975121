"""Passages with their entities marked inline, for reading."""

from __future__ import annotations

from collections.abc import Iterable

import regex

from .alignment import sort_entities
from .schema import CorpusEntity

_CONTROL = regex.compile(r"[^\P{Cc}\n\t]")


def mark_entities(text: str, entities: Iterable[CorpusEntity]) -> str:
    """Write a passage's entities into it as `[mention](concept)`.

    Nested mentions are marked inside each other, several concepts of one span are listed in one pair of parentheses.
    A mention that crosses the end of another cannot be marked inline: it follows the passage on a line of its own.
    Control characters are replaced as by `printable`.

    Args:
        text (`str`): the passage.
        entities (`Iterable[CorpusEntity]`): its entities, with offsets into `text`.

    Example:
        `[[September](month) 1](date) [1939](year)`
    """
    concepts: dict[tuple[int, int], list[str]] = {}
    for entity in sort_entities(entities):
        concepts.setdefault((entity["start"], entity["end"]), []).append(entity["concept"])
    pieces: list[str] = []
    crossing: list[str] = []
    open_spans: list[tuple[int, int]] = []
    position = 0

    def close_until(limit: int) -> None:
        nonlocal position
        while open_spans and open_spans[-1][1] <= limit:
            span = open_spans.pop()
            pieces.append(f"{text[position : span[1]]}]({', '.join(concepts[span])})")
            position = span[1]

    for (start, end), names in concepts.items():
        close_until(start)
        if open_spans and end > open_spans[-1][1]:
            crossing.append(f"\n  + [{text[start:end]}]({', '.join(names)})")
            continue
        pieces.append(text[position:start] + "[")
        position = start
        open_spans.append((start, end))
    close_until(len(text))
    return printable("".join([*pieces, text[position:], *crossing]))


def printable(text: str) -> str:
    """Text from a file, made safe to print: control characters, which could command a terminal, become U+FFFD."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
