"""Inline markup, the quickest way to write an example: `book a table at [Nobu](restaurant name)`."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate

from ..spans import Span

_ESCAPABLE = frozenset("\\[]()")
_HINT = r"write [mention](label), and \[ \] \( \) for brackets that are part of the text or of a label"


def parse_inline(marked: str) -> tuple[str, list[Span]]:
    r"""Read a marked-up text.

    `[mention](label)` marks an entity and may enclose others. A backslash makes a following `[`, `]`, `(`, `)` or
    backslash plain text. Brackets that no `(label)` follows are plain text, too.

    Args:
        marked (`str`): a text with markup.

    Returns:
        `tuple[str, list[Span]]`: the text without markup, and the mentions' character offsets into it in the order in
        which they close. Mentions and labels come as they stand: not trimmed, perhaps empty.

    Raises:
        ValueError: if a label is not closed, or `](` closes a mention that no `[` opened.
    """
    pieces: list[str] = []  # one character each, or "" where a bracket turned out to be markup
    opened: list[int] = []  # indices of `[` in pieces that may yet turn out to be markup
    marks: list[tuple[int, int, str]] = []  # in indices of pieces
    position = 0
    while position < len(marked):
        character = marked[position]
        if _is_escape(marked, position):
            pieces.append(marked[position + 1])
            position += 2
        elif marked.startswith("](", position):
            if not opened:
                raise ValueError(f"'](' without a '[' before it, near {_excerpt(marked, position)!r}: {_HINT}")
            label, position = _read_label(marked, position + 2)
            start = opened.pop()
            pieces[start] = ""
            marks.append((start, len(pieces), label))
        else:
            if character == "[":
                opened.append(len(pieces))
            elif character == "]" and opened:
                opened.pop()
            pieces.append(character)
            position += 1
    offsets = [0, *accumulate(map(len, pieces))]
    return "".join(pieces), [Span(offsets[start], offsets[end], label) for start, end, label in marks]


def write_inline(text: str, spans: Iterable[Span]) -> str:
    """Write a text and its entities as inline markup: the inverse of [`parse_inline`].

    Args:
        text (`str`): any text.
        spans (`Iterable[Span]`): character offsets; spans may be nested in one another.

    Returns:
        `str`: the marked-up text, with brackets and backslashes of the text and the labels escaped.

    Raises:
        ValueError: if two spans cross, which markup cannot express, or a span leaves the text.
    """
    waiting = sorted(spans, key=lambda span: (span.start, -span.end, span.label), reverse=True)
    for start, end, label in waiting:
        if not 0 <= start < end <= len(text):
            raise ValueError(f"the span {start}..{end} ({label!r}) does not fit a text of {len(text)} characters")
    written: list[str] = []
    opened: list[Span] = []
    for position in range(len(text) + 1):
        while opened and opened[-1].end == position:
            written.append(f"]({_escape(opened.pop().label, '()')})")
        while waiting and waiting[-1].start == position:
            span = waiting.pop()
            if opened and span.end > opened[-1].end:
                raise ValueError(
                    f"the spans {opened[-1]} and {span} cross, which inline markup cannot express: "
                    "write the example as a dict of 'text' and 'entities'"
                )
            opened.append(span)
            written.append("[")
        written.append(_escape(text[position : position + 1]))
    return "".join(written)


def _read_label(marked: str, position: int) -> tuple[str, int]:
    """The label that begins at `position`, and the position behind its closing parenthesis."""
    begin, label = position, []
    while position < len(marked):
        character = marked[position]
        if _is_escape(marked, position):
            label.append(marked[position + 1])
            position += 2
            continue
        position += 1
        if character == ")":
            return "".join(label), position
        if character in _ESCAPABLE and character != "\\":
            break
        label.append(character)
    raise ValueError(f"a label is not closed by ')', near {_excerpt(marked, begin)!r}: {_HINT}")


def _is_escape(marked: str, position: int) -> bool:
    return marked[position] == "\\" and marked[position + 1 : position + 2] in _ESCAPABLE


def _escape(text: str, also: str = "") -> str:
    """Parentheses need an escape in labels only: in a text they mean something behind an unescaped `]` alone."""
    return "".join(f"\\{character}" if character in "\\[]" or character in also else character for character in text)


def _excerpt(marked: str, position: int) -> str:
    return marked[max(0, position - 24) : position + 24]
