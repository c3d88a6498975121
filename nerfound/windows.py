"""Texts as windows of tokens: the unit that an encoder reads, with the words that it holds.

A text longer than the encoder reads at once becomes overlapping windows. Each word belongs to exactly one of them, the
one in which it stands further from an edge; the others see it as context.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import BatchEncoding, PreTrainedTokenizerBase

from .spans import segment_words

DEFAULT_MAX_TOKENS = 256
"""Tokens of a window, special tokens included; attention over longer ones costs more than their overlap."""

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # JSON may hold halves of a pair; tokenizers refuse them


@dataclass
class Window:
    """Part of a text, as one input of the encoder.

    Args:
        text (`int`): index of the text it comes from.
        inputs (`dict[str, list[int]]`): what the encoder reads, such as `input_ids`; unpadded.
        words (`np.ndarray` of shape `(words, 2)`): character offsets in the text.
        tokens (`np.ndarray` of shape `(words, 2)`): first token of each word, and the token behind its last.
        owned (`np.ndarray` of shape `(words,)`): whether the word belongs to this window.
    """

    text: int
    inputs: dict[str, list[int]]
    words: np.ndarray
    tokens: np.ndarray
    owned: np.ndarray

    def __len__(self) -> int:
        return len(self.inputs["input_ids"])


def make_windows(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    words: Sequence[Sequence[tuple[int, int]] | None] | None = None,
    *,
    max_tokens: int = DEFAULT_MAX_TOKENS,
    overlap: int | None = None,
) -> list[Window]:
    """Tokenize texts into windows, in the order of the texts. A text without any word gives none.

    Args:
        tokenizer (`PreTrainedTokenizerBase`): a fast one.
        texts (`Sequence[str]`)
        words (`Sequence`, *optional*): character offsets of each text's words, where they are known (tokenised data);
            by default, and for `None`, those of `segment_words`.
        max_tokens (`int`): tokens of a window, special tokens included.
        overlap (`int`, *optional*): tokens that neighbouring windows share; a quarter of a window by default.

    Raises:
        ValueError: if the tokenizer cannot tell character offsets, or a window is too small for its overlap.
    """
    if not tokenizer.is_fast:
        raise ValueError(f"{type(tokenizer).__name__} tells no character offsets: a fast tokenizer is needed.")
    overlap = max_tokens // 4 if overlap is None else overlap
    if not 0 <= overlap < max_tokens - tokenizer.num_special_tokens_to_add():
        raise ValueError(f"overlap={overlap} leaves no room for new tokens in a window of {max_tokens}.")
    if not texts:
        return []
    encoded = tokenizer(
        [_LONE_SURROGATE.sub("\ufffd", text) for text in texts],
        truncation=True,
        max_length=max_tokens,
        stride=overlap,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    sources = encoded["overflow_to_sample_mapping"]
    order = -1 if tokenizer.truncation_side == "left" else 1  # then the last part of a text comes first
    windows: list[Window] = []
    first = 0
    for source, text in enumerate(texts):
        last = first
        while last < len(sources) and sources[last] == source:
            last += 1
        given = words[source] if words is not None else None
        spans = np.asarray(segment_words(text) if given is None else given, dtype=np.int64).reshape(-1, 2)
        if len(spans):
            windows += _windows_of_text(encoded, range(first, last)[::order], source, spans)
        first = last
    return windows


def _windows_of_text(encoded: BatchEncoding, rows: range, source: int, words: np.ndarray) -> Iterator[Window]:
    offsets = [np.asarray(encoded["offset_mapping"][row], dtype=np.int64) for row in rows]
    names = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in encoded]
    border = 0
    for i, row in enumerate(rows):
        # Special tokens have the offsets (0, 0); an empty token says nothing about a word either
        real = np.flatnonzero(offsets[i][:, 1] > offsets[i][:, 0])
        if not len(real):
            continue
        starts, ends = offsets[i][real].T
        next_border = np.iinfo(np.int64).max
        if i + 1 < len(rows):
            following = offsets[i + 1][offsets[i + 1][:, 1] > 0]
            # Without overlap there may be a gap: a word that begins in it has its tokens behind it
            next_border = min(ends[-1], (ends[-1] + following[0, 0]) // 2)
        # Only the words that this window touches: a long text has many windows and many more words
        low = np.searchsorted(words[:, 1], starts[0], side="right")
        near = words[low : np.searchsorted(words[:, 0], ends[-1], side="left")]
        first = np.searchsorted(ends, near[:, 0], side="right")
        behind = np.searchsorted(starts, near[:, 1], side="left")
        present = behind > first  # what the tokenizer drops has no token
        yield Window(
            text=source,
            inputs={name: encoded[name][row] for name in names},
            words=near[present],
            tokens=np.stack([real[first[present]], real[behind[present] - 1] + 1], axis=1),
            owned=(near[present, 0] >= border) & (near[present, 0] < next_border),
        )
        border = next_border


def batch_windows(windows: Sequence[Window], batch_size: int) -> Iterator[list[int]]:
    """Indices of windows in batches of similar length, longest first, so that little padding is computed."""
    order = sorted(range(len(windows)), key=lambda index: -len(windows[index]))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def pad_windows(
    windows: Sequence[Window], tokenizer: PreTrainedTokenizerBase, device: torch.device | str = "cpu"
) -> dict[str, Tensor]:
    """Windows as one batch of the encoder's inputs, each of shape `(batch, tokens)`, padded on the right."""
    padding = {
        "input_ids": tokenizer.pad_token_id or 0,
        "attention_mask": 0,
        "token_type_ids": tokenizer.pad_token_type_id,
    }
    longest = max(map(len, windows))
    return {
        name: torch.tensor(
            [window.inputs[name] + [padding[name]] * (longest - len(window)) for window in windows], device=device
        )
        for name in windows[0].inputs
    }
