"""Batches of passages, and that of the concept contrast: the distinct concepts they hold, and which token is which."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import BatchEncoding, PreTrainedTokenizerBase

from ..concepts import Concept, concept_key
from ..modeling_nuner import IGNORED
from .augmentation import Augmentation


@dataclass
class PassageCollator:
    """What the collators of all objectives share: passages become tokens, and those that are cut are counted.

    What is drawn at random is a function of `seed` and of the batch's row ids, not of a running random state: a resumed
    run, or one with more workers, sees the same batches.

    Args:
        tokenizer (`PreTrainedTokenizerBase`): fast tokenizer of the token encoder.
        max_tokens (`int`): passages are cut after this many tokens; `cut_passages` counts them.
        augmentation (`Augmentation`, *optional*): what is done to passages before; nothing by default.
        seed (`int`)
    """

    tokenizer: PreTrainedTokenizerBase
    _: KW_ONLY
    max_tokens: int = 256
    augmentation: Augmentation | None = None
    seed: int = 0
    cut_passages: int = field(default=0, init=False)

    def generator(self, rows: Sequence[dict[str, Any]]) -> np.random.Generator:
        """The random numbers of a batch."""
        return np.random.default_rng([self.seed, zlib.crc32("\n".join(row["id"] for row in rows).encode())])

    def augment(self, rows: Sequence[dict[str, Any]], random: np.random.Generator) -> Sequence[dict[str, Any]]:
        """The rows as they are shown in this batch."""
        return rows if self.augmentation is None else [self.augmentation(row, random) for row in rows]

    def tokenize(self, rows: Sequence[dict[str, Any]]) -> tuple[BatchEncoding, np.ndarray]:
        """Tokens of the rows' texts with their special tokens mask, and offsets `(batch, tokens, 2)` in characters."""
        tokens = self.tokenizer(
            [row["text"] for row in rows],
            padding=True,
            truncation=True,
            max_length=self.max_tokens,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
            return_tensors="pt",
        )
        offsets = tokens.pop("offset_mapping").numpy()
        if offsets.shape[1] == self.max_tokens:
            ends = offsets[..., 1].max(1)
            self.cut_passages += sum(end < len(row["text"].rstrip()) for row, end in zip(rows, ends, strict=True))
        return tokens, offsets


def boundary_labels(offsets: np.ndarray, entities: Iterable[dict[str, Any]]) -> np.ndarray:
    """int64 `(tokens,)`: 0 outside of all mentions, 1 the first token of one, 2 a further one; the shorter mention
    counts where several overlap."""
    labels = np.zeros(len(offsets), dtype=np.int64)
    for entity in sorted(entities, key=lambda entity: entity["start"] - entity["end"]):
        inside = np.flatnonzero(covered_tokens(offsets, entity))
        labels[inside] = 2
        labels[inside[:1]] = 1  # none, if the mention was cut off
    return labels


def covered_tokens(offsets: np.ndarray, entity: dict[str, Any]) -> np.ndarray:
    """Boolean `(tokens,)`: the tokens of a passage, given by their offsets `(tokens, 2)`, that overlap a mention."""
    return (offsets[:, 0] < entity["end"]) & (offsets[:, 1] > entity["start"])


@dataclass
class ConceptContrastCollator(PassageCollator):
    """Turns rows of a concept corpus into a batch for [`NuNerForConceptContrast`].

    Each distinct concept of the batch (by `concept_key`) stands in it once, as its name or, with probability
    `description_share`, as name and description.

    Args:
        tokenizer, concept_tokenizer (`PreTrainedTokenizerBase`): fast tokenizers of the two encoders.
        description_share (`float`): between 0 and 1.
        max_tokens, augmentation, seed: as for [`PassageCollator`].
        near_duplicates (`NearDuplicates`, *optional*): concepts that are no negatives of each other.
    """

    concept_tokenizer: PreTrainedTokenizerBase
    _: KW_ONLY
    description_share: float = 0.7
    near_duplicates: NearDuplicates | None = None

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """Collate rows with `id`, `text` and `entities` (see `CORPUS_FEATURES`)."""
        random = self.generator(rows)
        rows = self.augment(rows, random)
        tokens, offsets = self.tokenize(rows)
        concepts = self._distinct_concepts(rows, random)
        labels = self._label(rows, offsets, list(concepts))
        encoded = self.concept_tokenizer(
            [concept.text for concept in concepts.values()] or [""],  # a batch without entities is all negatives
            padding=True,
            truncation=True,
            max_length=64,
            return_tensors="pt",
        )
        return {
            **tokens,
            "concept_input_ids": encoded["input_ids"],
            "concept_attention_mask": encoded["attention_mask"],
            "labels": torch.from_numpy(labels),
            "boundary_labels": torch.from_numpy(
                np.stack([boundary_labels(where, row["entities"]) for row, where in zip(rows, offsets, strict=True)])
            ),
        }

    def _distinct_concepts(self, rows: Sequence[dict[str, Any]], random: np.random.Generator) -> dict[str, Concept]:
        concepts: dict[str, Concept] = {}
        for row in rows:
            for entity in row["entities"]:
                key = concept_key(entity["concept"])
                if key not in concepts:
                    described = random.random() < self.description_share
                    concepts[key] = Concept(entity["concept"], entity["description"] if described else "")
        return concepts

    def _label(self, rows: Sequence[dict[str, Any]], offsets: np.ndarray, keys: list[str]) -> np.ndarray:
        """int8 labels `(batch, tokens, concepts)`: 1 where a token overlaps a mention, -100 for its near-duplicates."""
        index = {key: i for i, key in enumerate(keys)}
        labels = np.zeros((*offsets.shape[:2], max(len(keys), 1)), dtype=np.int8)
        near = self.near_duplicates.pairs(keys) if self.near_duplicates else None
        for row, passage, where in zip(rows, labels, offsets, strict=True):
            positive = np.zeros(passage.shape, dtype=bool)
            for entity in row["entities"]:
                positive[covered_tokens(where, entity), index[concept_key(entity["concept"])]] = True
            if near is not None:
                for column in np.flatnonzero(positive.any(0)):
                    passage[np.ix_(positive[:, column], near[column])] = IGNORED
            passage[positive] = 1
        return labels


class NearDuplicates:
    """Which concepts mean nearly the same: those whose names' vectors have at least a given cosine.

    Args:
        keys (`Sequence[str]`): `concept_key` of every concept.
        vectors (`torch.Tensor` of shape `(concepts, dim)`): vectors of their names.
        cosine (`float`): the cut.
    """

    def __init__(self, keys: Sequence[str], vectors: Tensor, cosine: float) -> None:
        self.rows = {key: row for row, key in enumerate(keys)}
        self.vectors = torch.nn.functional.normalize(vectors.float(), dim=-1).numpy().astype(np.float32)
        self.cosine = cosine

    def pairs(self, keys: Sequence[str]) -> np.ndarray:
        """Boolean `(len(keys), len(keys))`: near-duplicates of each other; nothing is a near-duplicate of itself."""
        rows = [self.rows.get(key, -1) for key in keys]
        vectors = self.vectors[rows]
        near = vectors @ vectors.T >= self.cosine
        unknown = np.array(rows) < 0
        near[unknown] = near[:, unknown] = False
        np.fill_diagonal(near, False)
        return near
