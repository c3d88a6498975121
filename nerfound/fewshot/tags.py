"""Per-word tags and the word spans they stand for: BIO, BIOES (also spelled BILOU) and IO."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from ..spans import Span

OUTSIDE = "O"
# BILOU says L(ast) and U(nit) where BIOES says E(nd) and S(ingle).
_OPENING = frozenset("BSU")
_CLOSING = frozenset("ESLU")
_PREFIXES = _OPENING | _CLOSING | {"I"}


def split_tag(tag: str) -> tuple[str, str]:
    """Split a tag into its position letter and its label.

    Args:
        tag (`str`): `"O"`, or a letter of BIOES / BILOU, a hyphen and a label, such as `"B-PER"`.

    Returns:
        `tuple[str, str]`: `("B", "PER")`; `("O", "")` outside every entity.

    Raises:
        ValueError: if the tag is neither.
    """
    if tag == OUTSIDE:
        return OUTSIDE, ""
    if isinstance(tag, str):
        prefix, hyphen, label = tag.partition("-")
        if prefix in _PREFIXES and hyphen and label.strip():
            return prefix, label.strip()
    raise ValueError(
        f"unknown tag {tag!r}: write 'O' outside entities, else B-, I-, E- or S- before the label, such as 'B-PER'"
    )


def tags_to_spans(tags: Iterable[str]) -> list[Span]:
    """Read the spans off a sentence's tags.

    One reading serves all three schemes: a span begins at B or S, at a change of label, and after O, E or S; it ends
    before the next beginning and at E or S. Hence an `I` that follows nothing begins a span, which is what IO and the
    older IOB1 files mean by it.

    Args:
        tags (`Iterable[str]`): one tag per word.

    Returns:
        `list[Span]`: word indices, `end` exclusive, in order; they never overlap.

    Raises:
        ValueError: if a tag is unknown; names the word's index.
    """
    spans: list[Span] = []
    start, current = 0, ""  # the open span; "" when none is
    index = -1
    for index, tag in enumerate(tags):
        try:
            prefix, label = split_tag(tag)
        except ValueError as error:
            raise ValueError(f"word {index}: {error}") from None
        if current and (label != current or prefix in _OPENING):
            spans.append(Span(start, index, current))
            current = ""
        if label and not current:
            start, current = index, label
        if current and prefix in _CLOSING:
            spans.append(Span(start, index + 1, current))
            current = ""
    if current:
        spans.append(Span(start, index + 1, current))
    return spans


def spans_to_tags(spans: Sequence[Span], num_words: int, scheme: Literal["BIO", "BIOES", "IO"] = "BIO") -> list[str]:
    """Write word spans as tags: the inverse of [`tags_to_spans`].

    IO cannot tell two adjacent spans of one label from a single longer one; the other two schemes lose nothing.

    Args:
        spans (`Sequence[Span]`): word indices, `end` exclusive, in any order, without overlap.
        num_words (`int`): number of words of the sentence.
        scheme (`str`, *optional*, defaults to `"BIO"`): `"BIO"`, `"BIOES"` or `"IO"`.

    Returns:
        `list[str]`: `num_words` tags.

    Raises:
        ValueError: if the scheme is unknown, or a span is empty, leaves the sentence or overlaps another.
    """
    if scheme not in ("BIO", "BIOES", "IO"):
        raise ValueError(f"unknown tag scheme {scheme!r}: choose 'BIO', 'BIOES' or 'IO'")
    tags = [OUTSIDE] * num_words
    for start, end, label in spans:
        if not 0 <= start < end <= num_words:
            raise ValueError(f"the span {start}..{end} ({label!r}) does not fit a sentence of {num_words} words")
        if any(tag != OUTSIDE for tag in tags[start:end]):
            raise ValueError(
                f"the span {start}..{end} ({label!r}) overlaps another: tags are flat, so give spans without overlap"
            )
        tags[start:end] = [f"{letter}-{label}" for letter in _letters(end - start, scheme)]
    return tags


def _letters(length: int, scheme: str) -> str:
    """The position letters of one span of `length` words."""
    if scheme == "IO":
        return "I" * length
    if scheme == "BIO":
        return "B" + "I" * (length - 1)
    return "S" if length == 1 else "B" + "I" * (length - 2) + "E"
