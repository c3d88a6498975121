"""Linear probes: heads fitted on cached token vectors of a few sentences, and scored on those of a test set.

Everything that does not depend on the support set is laid out once, as flat arrays: scoring a head is a few matrix
products.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..decoding import word_scores
from ..fewshot.embedding import EmbeddedExamples
from ..fewshot.fitting import fit_few_shot_head
from ..fewshot.heads import LinearHead, fit_linear_head
from ..fewshot.priors import HeadPrior
from ..spans import decode_bio, decode_spans, segment_words
from .counting import entity_rows, word_rows

PROTOCOLS = ("blog", "entity")
"""`"blog"`: F1 of words, by a multinomial head over outside and the concepts, word by word; `"entity"`: F1 of entities,
by a BIO head and legal decoding. A head with a prior is a BIO head in both: words are labelled by decoded entities."""


def untouched_head(prior: HeadPrior) -> LinearHead:
    """The head of a prior that no example has moved."""
    return LinearHead(prior.weight, prior.bias, 0.0, torch.empty(0))


class SupportVectors:
    """Labelled token vectors of all sentences that any support set is drawn from.

    Args:
        embedded (`EmbeddedExamples`): the sentences.
        concepts (`Sequence[str]`): in the order of a head's rows.
    """

    def __init__(self, embedded: EmbeddedExamples, concepts: Sequence[str]) -> None:
        self.vectors, self.labels, self.groups = embedded.training_data(concepts)
        self.concepts = concepts

    def tokens_of(self, sentences: Sequence[int]) -> Tensor:
        """Which rows of the vectors are tokens of some sentences, given by their positions in `embedded`."""
        return torch.isin(self.groups, torch.tensor(sentences))

    def fit(self, sentences: Sequence[int], protocol: str, l2: float) -> LinearHead:
        """Fit the head of a protocol on some of the sentences."""
        tokens = self.tokens_of(sentences)
        vectors, labels = self.vectors[tokens], self.labels[tokens]
        if protocol == "blog":  # B and I are one class, and no class has anything in common with another
            classes = 1 + len(self.concepts)
            return fit_linear_head(vectors, (labels + 1) // 2, classes, l2=l2, factors=torch.eye(classes))
        return fit_linear_head(vectors, labels, 1 + 2 * len(self.concepts), l2=l2)

    def fit_from(self, prior: HeadPrior, sentences: Sequence[int]) -> LinearHead:
        """Fit a BIO head that starts from a prior on some of the sentences, as `nerfound.fit` does."""
        tokens = self.tokens_of(sentences)
        support = self.vectors[tokens], self.labels[tokens], self.groups[tokens]
        return fit_few_shot_head(*support, 1 + 2 * len(self.concepts), prior=prior)


class TestVectors:
    """Token vectors of a test set, its words and gold entities, laid out for scoring one head after another.

    All texts lie on one axis of characters, one behind the other.

    Args:
        embedded (`EmbeddedExamples`): the test sentences.
        concepts (`Sequence[str]`): in the order of a head's rows.

    Raises:
        ValueError: if no sentence has a word.
    """

    __test__ = False  # the name is no test's

    def __init__(self, embedded: EmbeddedExamples, concepts: Sequence[str]) -> None:
        self.concepts = concepts
        examples, windows = embedded.examples, embedded.windows
        if not windows:
            raise ValueError("the test set has no word to score on: all of its texts are empty.")
        self.vectors = torch.cat(embedded.vectors)
        lengths = np.array([len(example.text) + 1 for example in examples])
        offsets = np.cumsum(lengths) - lengths
        words = [segment_words(example.text) if example.words is None else example.words for example in examples]
        self.words = _on_axis(words, offsets)
        gold = [[(start, end, concepts.index(label)) for start, end, label in e.entities] for e in examples]
        self.gold_spans = _on_axis(gold, offsets, columns=3)
        self.gold_words = self._label_words(self.gold_spans)

        sizes = np.array([len(window) for window in windows])
        self.tokens = np.concatenate(
            [window.tokens + start for window, start in zip(windows, np.cumsum(sizes) - sizes, strict=True)]
        )
        self.bounds = np.concatenate([window.words + offsets[window.text] for window in windows])
        self.owned = np.concatenate([window.owned for window in windows])
        self.word_counts = np.array([len(window.words) for window in windows])
        self.in_window = np.arange(self.word_counts.max()) < self.word_counts[:, None]
        self.positions = np.searchsorted(self.words[:, 0], self.bounds[:, 0])  # of the windows' words among all words

    def score(self, head: LinearHead, protocol: str) -> list[dict[str, Any]]:
        """Scores of a head: a row per class, and one each for the micro and the macro average.

        Returns:
            `list[dict[str, Any]]`: rows of `word_rows`; for `"entity"` with those of `entity_rows` merged in, whose
            `support` counts.
        """
        if protocol == "entity":
            words, entities = self._score_decoded(head)
            return [w | e for w, e in zip(words, entities, strict=True)]
        found = np.full(len(self.words), -1)
        first, end = self.tokens.T
        scores = word_scores(self._log_p(head), first, end)
        found[self.positions[self.owned]] = scores.argmax(-1)[self.owned] - 1
        return word_rows(self.gold_words, found, self.concepts)

    def score_in_all(self, head: LinearHead) -> list[dict[str, Any]]:
        """Scores of one BIO head in all protocols: the rows of `score`, each with its `protocol`."""
        words, entities = self._score_decoded(head)
        both = [w | e for w, e in zip(words, entities, strict=True)]
        return [{"protocol": "blog"} | row for row in words] + [{"protocol": "entity"} | row for row in both]

    def _score_decoded(self, head: LinearHead) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The rows of words, each labelled by the decoded entity that it is in, and those of the entities."""
        first, end = self.tokens.T
        spans = self._decode(word_scores(self._log_p(head), first, end, slice(1, None, 2), slice(2, None, 2)))
        words = word_rows(self.gold_words, self._label_words(spans), self.concepts)
        return words, entity_rows(self.gold_spans, spans, self.concepts)

    def _log_p(self, head: LinearHead) -> np.ndarray:
        return F.log_softmax(head(self.vectors), dim=-1).numpy()

    def _decode(self, scores: np.ndarray) -> np.ndarray:
        """Entities `(spans, 3)` on the axis: those that begin in a word of their window's own, the earlier first."""
        emissions = np.zeros((*self.in_window.shape, scores.shape[1]), dtype=np.float32)
        emissions[self.in_window] = scores
        window, first, end, concept = decode_spans(decode_bio(emissions, self.word_counts)).T
        before = (np.cumsum(self.word_counts) - self.word_counts)[window]
        first, last = before + first, before + end - 1
        spans = np.stack([self.bounds[first, 0], self.bounds[last, 1], concept], axis=1)[self.owned[first]]
        return _without_overlap(spans)

    def _label_words(self, spans: np.ndarray) -> np.ndarray:
        """Label id of each word that a span covers at least in part, else -1."""
        labels = np.full(len(self.words), -1)
        firsts = np.searchsorted(self.words[:, 1], spans[:, 0], side="right")
        ends = np.searchsorted(self.words[:, 0], spans[:, 1], side="left")
        for first, end, label in zip(firsts.tolist(), ends.tolist(), spans[:, 2].tolist(), strict=True):
            labels[first:end] = label
        return labels


def _on_axis(rows: Sequence[Sequence[tuple[int, ...]]], offsets: np.ndarray, columns: int = 2) -> np.ndarray:
    """Rows of all texts, of which the first two columns are characters, moved to where their text lies."""
    flat = np.array([row for text in rows for row in text], dtype=np.int64).reshape(-1, columns)
    flat[:, :2] += np.repeat(offsets, [len(text) for text in rows])[:, None]
    return flat


def _without_overlap(spans: np.ndarray) -> np.ndarray:
    """Drop spans that begin before an earlier one has ended: where two windows disagree, the earlier counts."""
    if not (spans[1:, 0] < spans[:-1, 1]).any():
        return spans
    kept, covered = [], 0
    for row, (start, end, _) in enumerate(spans.tolist()):
        if start >= covered:
            kept.append(row)
            covered = end
    return spans[kept]
