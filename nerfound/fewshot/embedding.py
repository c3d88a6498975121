"""Frozen token vectors of labelled texts: embedded once, fitted on as often as one likes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..modeling_nuner import IGNORED, NuNerForTokenClassification
from ..spans import Span
from ..windows import DEFAULT_MAX_TOKENS, Window, batch_windows, make_windows, pad_windows
from .formats import Example


@dataclass
class EmbeddedExamples:
    """Token vectors of examples, window by window.

    Args:
        examples (`Sequence[Example]`)
        windows (`list[Window]`): of all examples, in order.
        vectors (`list[torch.Tensor]`): of each window, `(tokens, hidden_size)`, float32 on the CPU.
    """

    examples: Sequence[Example]
    windows: list[Window]
    vectors: list[Tensor]

    def select(self, indices: Iterable[int]) -> EmbeddedExamples:
        """The same, of these examples only; window indices still point into `examples`."""
        wanted = set(indices)
        kept = [i for i, window in enumerate(self.windows) if window.text in wanted]
        return EmbeddedExamples(self.examples, [self.windows[i] for i in kept], [self.vectors[i] for i in kept])

    def training_data(self, concepts: Sequence[str], *, nested: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """What a head is fitted on: the tokens of every word in its own window.

        Returns:
            `vectors` `(tokens, hidden_size)`, `labels` (see `token_labels`) and `groups` `(tokens,)`, the index of
            the example that each token comes from.
        """
        vectors, labels, groups = [], [], []
        for window, hidden in zip(self.windows, self.vectors, strict=True):
            label = token_labels(window, self.examples[window.text].entities, concepts, nested=nested)
            kept = torch.from_numpy((label != IGNORED).reshape(len(label), -1).all(1))
            vectors.append(hidden[kept])
            labels.append(torch.from_numpy(label)[kept])
            groups.append(torch.full((int(kept.sum()),), window.text))
        if not vectors:
            raise ValueError("the support set has no word to fit on: all of its texts are empty.")
        return torch.cat(vectors), torch.cat(labels), torch.cat(groups)


def token_labels(
    window: Window, entities: Iterable[Span], concepts: Sequence[str], *, nested: bool = False
) -> np.ndarray:
    """Label ids of a window's tokens.

    Args:
        window (`Window`)
        entities (`Iterable[Span]`): of the window's text, in characters.
        concepts (`Sequence[str]`): in the order of the head's rows.
        nested (`bool`): one label per concept.

    Returns:
        `np.ndarray`, int64: flat: `(tokens,)`, 0 outside, `1 + 2c` begin, `2 + 2c` inside; nested:
        `(tokens, concepts)`, 0, 1, 2. -100 for special tokens and for words that belong to another window.
    """
    labels = np.full((len(window), len(concepts)) if nested else len(window), IGNORED, dtype=np.int64)
    for first, end in window.tokens[window.owned]:
        labels[first:end] = 0
    labelled = labels != IGNORED
    for start, end, concept in entities:
        words = np.flatnonzero((window.words[:, 0] < end) & (window.words[:, 1] > start))
        if not len(words):
            continue
        index = concepts.index(concept)
        column, begin = (labels[:, index], 1) if nested else (labels, 1 + 2 * index)
        first, last = window.tokens[words[0], 0], window.tokens[words[-1], 1]
        column[first:last] = begin + 1
        column[first] = begin
    labels[~labelled] = IGNORED
    return labels


def embed_examples(
    model: NuNerForTokenClassification,
    examples: Sequence[Example],
    *,
    batch_size: int = 32,
    max_tokens: int | None = None,
    token_states: Callable[..., Tensor] | None = None,
) -> EmbeddedExamples:
    """Run the frozen token encoder over examples, once.

    Args:
        model (`NuNerForTokenClassification`): with or without a head.
        examples (`Sequence[Example]`)
        batch_size (`int`): windows at a time.
        max_tokens (`int`, *optional*): of a window; 256 or what the encoder reads at most, by default.
        token_states (`Callable`, *optional*): gives the vectors of a batch's tokens; the model's own by default.
    """
    windows = windows_of(model, examples, max_tokens=max_tokens)
    vectors = embed_windows(model, windows, batch_size=batch_size, token_states=token_states)
    return EmbeddedExamples(examples, windows, vectors)


def windows_of(
    model: NuNerForTokenClassification, examples: Sequence[Example], *, max_tokens: int | None = None
) -> list[Window]:
    """The windows in which a model reads examples, over the examples' own words where they have some."""
    return make_windows(
        model.tokenizer,
        [example.text for example in examples],
        [example.words for example in examples],
        max_tokens=max_tokens or min(DEFAULT_MAX_TOKENS, model.config.max_input_tokens),
    )


@torch.no_grad()
def embed_windows(
    model: NuNerForTokenClassification,
    windows: Sequence[Window],
    *,
    batch_size: int = 32,
    token_states: Callable[..., Tensor] | None = None,
) -> list[Tensor]:
    """Vectors `(tokens, hidden_size)` of each window, float32 on the CPU; arguments as for `embed_examples`."""
    token_states = token_states or model.token_states
    vectors: list[Tensor] = [torch.empty(0)] * len(windows)
    for batch in batch_windows(windows, batch_size):
        states = token_states(**pad_windows([windows[i] for i in batch], model.tokenizer, model.device))
        for row, i in enumerate(batch):
            vectors[i] = states[row, : len(windows[i])].float().cpu().clone()  # not a view that keeps the padding
    return vectors
