"""From the logits of a window's tokens to the entities of its text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from .spans import Entity, decode_bio, decode_spans
from .windows import Window, batch_windows


def word_log_probabilities(logits: Tensor, windows: Sequence[Window], *, nested: bool = False) -> np.ndarray:
    """Log-probabilities of the words of some windows, from the logits of their tokens.

    The first token of an entity is `B`, all further ones are `I`; so a word that begins an entity scores `B` on its
    first token and `I` on the others, a word inside scores `I` on all. A word's score is the mean over its tokens.

    Args:
        logits (`torch.Tensor` of shape `(batch, tokens, labels)`): padded on the right.
        windows (`Sequence[Window]`): one per row.
        nested (`bool`): whether each concept's (O, B, I) is a distribution of its own.

    Returns:
        `np.ndarray` of shape `(batch, words, labels)`; nested: `(batch, words, concepts, 3)`. float32, padded with 0.
    """
    if nested:
        pairs = logits[..., 1:].unflatten(-1, (-1, 2))
        log_p = F.log_softmax(F.pad(pairs.float(), (1, 0)), dim=-1).flatten(-2)
        begins, insides = slice(1, None, 3), slice(2, None, 3)
    else:
        log_p = F.log_softmax(logits.float(), dim=-1)
        begins, insides = slice(1, None, 2), slice(2, None, 2)
    scores = log_p.cpu().numpy()
    spans = np.zeros((len(windows), max(len(window.words) for window in windows), 2), dtype=np.int64)
    spans[..., 1] = 1
    for row, window in enumerate(windows):
        spans[row, : len(window.words)] = window.tokens
    spans += np.arange(len(windows))[:, None, None] * scores.shape[1]
    result = word_scores(scores.reshape(-1, scores.shape[2]), spans[..., 0], spans[..., 1], begins, insides)
    return result.reshape(*result.shape[:2], -1, 3) if nested else result


def word_scores(
    scores: np.ndarray, first: np.ndarray, end: np.ndarray, begins: slice = slice(0), insides: slice = slice(0)
) -> np.ndarray:
    """Mean scores of words over their tokens.

    Args:
        scores (`np.ndarray` of shape `(tokens, labels)`): of the tokens.
        first, end (`np.ndarray` of any shape): first token of each word, and the token behind its last.
        begins, insides (`slice`): labels of a word that begins an entity, whose tokens after the first are inside it.

    Returns:
        `np.ndarray` of shape `(*first.shape, labels)`, float32.
    """
    # Sums over token ranges are differences of running sums; float64 keeps them exact to well below float32
    running = np.zeros((len(scores) + 1, scores.shape[1]))
    np.cumsum(scores, axis=0, out=running[1:])
    words = running[end] - running[first]
    rest = running[end] - running[first + 1]
    words[..., begins] = scores[first][..., begins] + rest[..., insides]
    return (words / (end - first)[..., None]).astype(np.float32)


def decode_windows(
    logits: Tensor, windows: Sequence[Window], labels: Sequence[str], *, nested: bool = False
) -> list[list[Entity]]:
    """Entities that begin in a word of each window's own, in order of their start; without `text`.

    Args:
        logits (`torch.Tensor` of shape `(batch, tokens, 1 + 2 × concepts)`)
        windows (`Sequence[Window]`): one per row.
        labels (`Sequence[str]`): names of the concepts.
        nested (`bool`): decode every concept on its own.

    Returns:
        `list[list[Entity]]`: with `start`, `end`, `label`, and `score`: the mean probability of the label over the
        entity's words.
    """
    log_p = word_log_probabilities(logits, windows, nested=nested)
    lengths = np.array([len(window.words) for window in windows])
    if nested:  # every concept of every window is a sequence of its own
        concepts = log_p.shape[2]
        chains = log_p.transpose(0, 2, 1, 3).reshape(-1, log_p.shape[1], 3)
        spans = decode_spans(decode_bio(chains, np.repeat(lengths, concepts)))
        spans[:, 3] = spans[:, 0] % concepts
        spans[:, 0] //= concepts
        probability = np.exp(log_p[..., 1:]).sum(-1)
    else:
        spans = decode_spans(decode_bio(log_p, lengths))
        probability = np.exp(log_p[..., 1:]).reshape(*log_p.shape[:2], -1, 2).sum(-1)
    entities: list[list[Entity]] = [[] for _ in windows]
    for row, first, end, concept in spans.tolist():
        window = windows[row]
        if window.owned[first]:
            entities[row].append(
                Entity(
                    start=int(window.words[first, 0]),
                    end=int(window.words[end - 1, 1]),
                    label=labels[concept],
                    score=min(float(probability[row, first:end, concept].mean()), 1.0),
                )
            )
    for row in entities:
        row.sort(key=lambda entity: (entity["start"], -entity["end"], entity["label"]))
    return entities


def decode_texts(
    texts: Sequence[str],
    windows: Sequence[Window],
    logits_of: Callable[[list[int]], Tensor],
    labels: Sequence[str],
    *,
    nested: bool = False,
    batch_size: int = 32,
) -> list[list[Entity]]:
    """Entities of texts from the windows that hold them, batched by length; the order of the texts is kept.

    Args:
        texts (`Sequence[str]`): what `window.text` points into.
        windows (`Sequence[Window]`): of all texts, in order.
        logits_of (`Callable`): gives the logits `(batch, tokens, labels)` of the windows with these indices.
        labels (`Sequence[str]`): names of the concepts.
        nested (`bool`): decode every concept on its own.
        batch_size (`int`): windows at a time.
    """
    found: list[list[Entity]] = [[] for _ in windows]
    for batch in batch_windows(windows, batch_size):
        decoded = decode_windows(logits_of(batch), [windows[i] for i in batch], labels, nested=nested)
        for i, entities in zip(batch, decoded, strict=True):
            found[i] = entities
    parts: list[list[list[Entity]]] = [[] for _ in texts]
    for window, entities in zip(windows, found, strict=True):
        parts[window.text].append(entities)
    return [merge_entities(of_text, text, nested=nested) for of_text, text in zip(parts, texts, strict=True)]


def merge_entities(parts: Iterable[list[Entity]], text: str, *, nested: bool = False) -> list[Entity]:
    """Entities of a text from those of its windows, in order; where two windows disagree, the earlier one counts."""
    merged: list[Entity] = []
    covered = 0
    for entity in (entity for part in parts for entity in part):
        if nested or entity["start"] >= covered:
            merged.append(Entity(**entity, text=text[entity["start"] : entity["end"]]))
            covered = entity["end"]
    return merged
