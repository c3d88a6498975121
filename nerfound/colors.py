"""Words coloured by their vectors: what an encoder sees in a text, at a glance. Near vectors have near colours.

A picture has room for three dimensions of a vector's hundreds. The three that vary most in a text show little: much of
what a plain encoder's vectors vary by is place, case and grammar; and such axes would change with every text. So the
axes are fixed, once per encoder, on passages of the packaged corpus. Vectors are whitened by how the words *outside* of
mentions vary there, and of what is left, those three directions are taken in which words *inside* of mentions lie
furthest from them. Which concept a mention is of plays no part.

The three are turned to be the axes of OKLab, in which equal distances look equal. Towards the mean of the mentions'
words it gets darker: an ordinary word is pale and grey. At right angles to that lies the hue: what kind of thing it is.
Lightness is bounded, so that every word can be read. So colours can be compared across texts; and how much colour there
is, and whether equal hues mean equal kinds of things, is the encoder's. The hues of further encoders are turned onto
those of the first, as far as a rotation can: beside one another, equal hues mean about the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from transformers import PreTrainedModel

from .corpus.packaged import load_packaged_corpus
from .decoding import word_scores
from .fewshot.embedding import embed_windows, windows_of
from .fewshot.fitting import load_foundation
from .fewshot.formats import Example
from .figures import oklab_to_rgb
from .modeling_nuner import NuNerForTokenClassification
from .offline import DEFAULT_ENCODER, DEFAULT_FOUNDATION
from .provenance import public_name
from .spans import segment_words

DEFAULT_ENCODERS = (DEFAULT_ENCODER, DEFAULT_FOUNDATION)
"""What `nerfound colors` sets side by side."""

Encoder: TypeAlias = str | os.PathLike[str] | PreTrainedModel

_REFERENCE_STRIDE = 60  # of the packaged corpus: 101 of its passages
_SHRINKAGE = 0.05  # of the covariance, towards that of equal variances: some directions hardly vary in so few words
_WINDOWS_AHEAD = 64
_PALEST, _DARKER, _CHROMA = 0.92, 0.22, 0.14


class ColoredWord(NamedTuple):
    """A word of a text, `text[start:end]`, and its colour: red, green, blue from 0 to 255."""

    start: int
    end: int
    rgb: tuple[int, int, int]


class Panel(NamedTuple):
    """A text's words as one encoder sees them, under the encoder's name."""

    title: str
    words: list[ColoredWord]


@dataclass(frozen=True)
class ColorAxes:
    """The three directions of one encoder's vectors that are shown; see the module's docstring.

    Args:
        center (`np.ndarray` of shape `(hidden_size,)`): the vector of an ordinary word.
        axes (`np.ndarray` of shape `(hidden_size, 3)`): for lightness, blue to yellow, green to red; on each, 95 of 100
            words of mentions lie between -1 and 1.
        hues (`np.ndarray` of shape `(words, 2)`): the mentions' words on the last two, whitened: what the hues of
            another encoder are turned onto. Not a number where the tokenizer drops a word.
    """

    center: np.ndarray
    axes: np.ndarray
    hues: np.ndarray

    def colors(self, vectors: np.ndarray) -> np.ndarray:
        """Colours of word vectors: `(words, hidden_size)` to `(words, 3)`, uint8."""
        places = (_unit(vectors) - self.center) @ self.axes
        first, second, third = (places / np.cbrt(1 + np.abs(places) ** 3)).T  # soft: outliers do not all look alike
        return oklab_to_rgb(_PALEST - _DARKER * first.clip(-0.1), _CHROMA * third, _CHROMA * second)


def color_words(
    text: str, encoder: Encoder, *, axes: ColorAxes | None = None, batch_size: int = 32
) -> list[ColoredWord]:
    """Colour every word of a text by three dimensions of its vector.

    Args:
        text (`str`): any text; a long one is read through overlapping windows.
        encoder (`str`, `os.PathLike` or `PreTrainedModel`): anything that a foundation may be.
        axes ([`ColorAxes`], *optional*): the encoder's, where they are known; else they are made, which takes seconds.
        batch_size (`int`, *optional*, defaults to 32): windows at a time.

    Returns:
        `list[ColoredWord]`: in order. Words that the tokenizer drops, such as control characters, are left out.
    """
    model = load_foundation(encoder)
    axes = axes or fit_color_axes(model)
    colored = []
    for _, words, vectors in _embedded(model, [text], batch_size):
        colors = axes.colors(vectors).tolist()
        colored += [ColoredWord(start, end, tuple(rgb)) for (start, end), rgb in zip(words, colors, strict=True)]
    return colored


def color_panels(text: str, encoders: Sequence[Encoder]) -> list[Panel]:
    """Colour a text by several encoders, side by side, the axes of each turned onto those of the first."""
    panels = []
    first: ColorAxes | None = None
    for encoder in encoders:
        model = load_foundation(encoder)
        axes = fit_color_axes(model, like=first)
        first = first or axes
        name = encoder.name_or_path if isinstance(encoder, PreTrainedModel) else encoder
        panels.append(Panel(public_name(name), color_words(text, model, axes=axes)))
    return panels


def fit_color_axes(encoder: Encoder, *, like: ColorAxes | None = None) -> ColorAxes:
    """The axes by which an encoder's vectors are coloured, from passages of the packaged corpus. Deterministic.

    Args:
        encoder (`str`, `os.PathLike` or `PreTrainedModel`): anything that a foundation may be.
        like ([`ColorAxes`], *optional*): of another encoder, to turn these onto.
    """
    vectors, mentioned = _reference_vectors(load_foundation(encoder))
    known = np.isfinite(vectors).all(1)
    ordinary = vectors[known & ~mentioned]
    center = ordinary.mean(0)
    whitening = _whitening(ordinary - center)
    away = (vectors[mentioned] - center) @ whitening
    kept = known[mentioned]
    space = np.linalg.svd(away[kept], full_matrices=False)[2][:3].T
    towards = _unit(space @ (space.T @ away[kept].mean(0)))
    across = away @ space - np.outer(away @ towards, towards @ space)
    plane = np.linalg.svd(across[kept], full_matrices=False)[2][:2].T
    plane = plane / _safe((across[kept] @ plane).std(0))
    hues = across @ plane
    if like is None:  # the sign of a principal axis is arbitrary: to the side on which its tail is long
        turn = np.diag(np.where((hues[kept] ** 3).sum(0) < 0, -1, 1))
    else:
        both = kept & np.isfinite(like.hues).all(1)
        left, _, right = np.linalg.svd(hues[both].T @ like.hues[both])
        turn = left @ right
    axes = np.column_stack([towards, space @ plane @ turn])
    reach = _safe(np.quantile(np.abs(away[kept] @ axes), 0.95, axis=0))
    return ColorAxes(center, whitening @ axes / reach, hues @ turn)


def _reference_vectors(model: NuNerForTokenClassification) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of the words of some packaged passages, and which of them stand in mentions."""
    corpus = load_packaged_corpus()
    passages = corpus.select(range(0, len(corpus), _REFERENCE_STRIDE))
    texts, mentions = passages["text"][:], passages["entities"][:]
    words = [(number, *word) for number, text in enumerate(texts) for word in segment_words(text)]
    rows = {word: row for row, word in enumerate(words)}
    mentioned = np.array(
        [
            any(mention["start"] <= start and end <= mention["end"] for mention in mentions[number])
            for number, start, end in words
        ]
    )
    vectors = np.full((len(rows), model.config.hidden_size), np.nan, dtype=np.float32)
    for number, offsets, found in _embedded(model, texts):
        vectors[[rows[number, start, end] for start, end in offsets]] = _unit(found)
    return vectors, mentioned


def _embedded(
    model: NuNerForTokenClassification, texts: Sequence[str], batch_size: int = 32
) -> Iterator[tuple[int, list[tuple[int, int]], np.ndarray]]:
    """The number of a text, offsets of some of its words, their vectors: few windows at a time are in memory."""
    windows = windows_of(model, [Example(text, ()) for text in texts])
    for start in range(0, len(windows), _WINDOWS_AHEAD):
        chunk = windows[start : start + _WINDOWS_AHEAD]
        for window, states in zip(chunk, embed_windows(model, chunk, batch_size=batch_size), strict=True):
            first, end = window.tokens[window.owned].T
            words = [(begin, behind) for begin, behind in window.words[window.owned].tolist()]
            yield window.text, words, word_scores(states.numpy(), first, end)


def _whitening(centred: np.ndarray) -> np.ndarray:
    """The symmetric matrix that gives vectors of this spread equal variance in all directions."""
    covariance = centred.T.astype(np.float64) @ centred / len(centred)
    size = len(covariance)
    shrunk = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * np.trace(covariance) / size * np.eye(size)
    values, directions = np.linalg.eigh(shrunk)
    return directions / np.sqrt(_safe(values)) @ directions.T


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length 1: their nearness is that of their directions."""
    return vectors / _safe(np.linalg.norm(vectors, axis=-1, keepdims=True))


def _safe(divisor: np.ndarray) -> np.ndarray:
    return np.maximum(divisor, 1e-9)
