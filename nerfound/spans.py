"""Entities, words and their character offsets, BIO tags and their decoding.

Everything in this module speaks of *character offsets into the original string*: `text == source[start:end]` holds for
every entity, in every script. A *word* is the smallest unit that an entity can begin or end with.
"""

from __future__ import annotations

from typing import NamedTuple, TypedDict

import numpy as np
import regex

# Scripts that write no spaces between words: there every character (with its marks) is a word of its own.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
# A grapheme, without the white space that Unicode would glue to a prepended mark
_GRAPHEME = r"(?:\p{GCB=Prepend}++(?=\s)|\X)"
_WORD = regex.compile(
    rf"(?=[{_UNSPACED}])\X"  # one character of an unspaced script, with its marks
    # 1,900.50 and 10:30 are one word, before 億 too; 10.30am is no number, nor is the keycap 1️⃣
    rf"|\p{{N}}++(?:[.,:]\p{{N}}++)*+(?![\p{{L}}--[{_UNSPACED}]]|[\p{{GCB=Extend}}\p{{GCB=SpacingMark}}\p{{GCB=ZWJ}}])"
    rf"|(?:(?=[[\p{{L}}\p{{N}}_]--[{_UNSPACED}]]){_GRAPHEME})+"  # letters and digits, with their marks and joiners
    rf"|(?!\s){_GRAPHEME}",  # anything else: one grapheme (punctuation, an emoji with its modifiers)
    regex.VERSION1,
)


class Entity(TypedDict, total=False):
    """An entity found in, or annotated on, a text: `text == source[start:end]`, always."""

    start: int
    end: int
    label: str
    text: str
    score: float


class Span(NamedTuple):
    """A typed span; the unit of `start` and `end` (words or characters) is the caller's."""

    start: int
    end: int
    label: str


def segment_words(text: str) -> list[tuple[int, int]]:
    """Split a text into words: the units at which an entity may begin or end.

    Runs of letters, digits and their combining marks are words; numbers keep their inner separators; characters of
    scripts without spaces, punctuation marks and emoji stand alone. White space belongs to no word.

    Args:
        text (`str`): any text.

    Returns:
        `list[tuple[int, int]]`: character offsets `(start, end)` of each word, ascending, non-overlapping.
    """
    return [match.span() for match in _WORD.finditer(text)]


CONTINUES = 0.75
"""Added to the score of each further word of an entity: mentions are coherent, more than each word by itself tells."""

ADJOINS = -0.6
"""Added to the score of a word that begins an entity right behind another one."""


def decode_bio(emissions: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The best legal BIO labelling of each sequence.

    `I-c` may follow only `B-c` or `I-c`; everything else may follow anything. A labelling scores the sum of its words'
    emissions, plus `CONTINUES` for each further word of an entity, plus `ADJOINS` for each entity right behind another.
    Where the best labels of the words make a legal labelling without such neighbours, it is the best; the other
    sequences are searched (Viterbi).

    Args:
        emissions (`np.ndarray` of shape `(batch, words, 1 + 2 × concepts)`): log-probabilities of O, B-first, I-first,
            B-second, …; anything beyond a sequence's length.
        lengths (`np.ndarray` of shape `(batch,)`): words of each sequence.

    Returns:
        `np.ndarray` of shape `(batch, words)`: label ids, int64; 0 beyond a sequence's length.
    """
    batch, words, labels = emissions.shape
    if not words or labels == 1:
        return np.zeros((batch, words), dtype=np.int64)
    scores = emissions.copy()
    scores[..., 2::2] += CONTINUES  # wherever it may stand at all, it goes on
    path = np.where(np.arange(words) < lengths[:, None], scores.argmax(-1), 0)
    before = np.pad(path, ((0, 0), (1, 0)))[:, :-1]
    begins, inside = path % 2 == 1, (path > 0) & (path % 2 == 0)
    searched = ((inside & (before != path) & (before != path - 1)) | (begins & (before > 0))).any(1)
    path[searched] = _viterbi(scores[searched], lengths[searched])
    return path


def _viterbi(emissions: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """`decode_bio` by dynamic programming, vectorised over sequences and concepts; `CONTINUES` is in the emissions."""
    batch, words, labels = emissions.shape
    path = np.zeros((batch, words), dtype=np.int64)
    rows = np.arange(batch)
    score = emissions[:, 0].astype(np.float64)
    score[:, 2::2] = -np.inf  # nothing begins inside
    before_outside = np.zeros((words, batch), dtype=np.int64)  # best predecessor of O
    before_begin = np.zeros((words, batch), dtype=np.int64)  # best predecessor of every B
    from_inside = np.zeros((words, batch, labels // 2), dtype=bool)  # whether I-c comes from I-c rather than B-c
    scores = [score]
    for t in range(1, words):
        before_outside[t] = score.argmax(1)
        adjoined = score + ADJOINS
        adjoined[:, 0] = score[:, 0]
        before_begin[t] = adjoined.argmax(1)
        begin, inside = score[:, 1::2], score[:, 2::2]
        from_inside[t] = inside > begin
        new = np.repeat(adjoined.max(1)[:, None], labels, axis=1)
        new[:, 0] = score.max(1)
        new[:, 2::2] = np.maximum(begin, inside)
        score = new + emissions[:, t]
        scores.append(score)
    label = np.zeros(batch, dtype=np.int64)
    for t in range(words - 1, -1, -1):
        last, active = lengths - 1 == t, lengths - 1 >= t
        label[last] = scores[t][last].argmax(1)
        path[active, t] = label[active]
        concept = np.maximum(label - 1, 0) // 2
        continued = 1 + 2 * concept + from_inside[t][rows, concept]
        label = np.select([label == 0, label % 2 == 1], [before_outside[t], before_begin[t]], continued)
    return path


def decode_spans(paths: np.ndarray) -> np.ndarray:
    """The spans of legal BIO labellings.

    Args:
        paths (`np.ndarray` of shape `(batch, words)`): label ids.

    Returns:
        `np.ndarray` of shape `(spans, 4)`: sequence, first word, word behind the last, concept; in that order.
    """
    # One position more than there are words, so that no span runs on into the next sequence
    labels = np.pad(paths, ((0, 0), (0, 1))).ravel()
    starts = np.flatnonzero(labels % 2)
    others = np.flatnonzero((labels == 0) | (labels % 2 == 1))
    ends = others[np.searchsorted(others, starts, side="right")]
    rows, firsts = np.divmod(starts, paths.shape[1] + 1)
    return np.stack([rows, firsts, firsts + ends - starts, labels[starts] // 2], axis=1)
