"""How the token vectors of a trained encoder vary within a concept: what a few-shot head takes as its prior."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

import numpy as np
import torch

from ..concepts import concept_key
from ..modeling_nuner import NuNerForConceptContrast
from .collator import PassageCollator, covered_tokens

PASSAGES = 1500
"""Passages to measure on: about 20,000 tokens of mentions."""


@torch.no_grad()
def measure_mention_prior(
    model: NuNerForConceptContrast,
    collator: PassageCollator,
    rows: Iterable[dict[str, Any]],
    batch_size: int = 32,
) -> None:
    """Measure `model.mention_prior.covariance` and `norm` on passages, and put them in place.

    The covariance is the pooled one within concepts: of token vectors around the mean of all tokens that a concept has
    in these passages. A token in several mentions counts for the shortest.

    Args:
        model (`NuNerForConceptContrast`): trained, with a `mention_prior`.
        collator (`PassageCollator`): tokenizes the passages; not augmented.
        rows: passages of a concept corpus.
        batch_size (`int`): passages at a time.
    """
    prior = model.mention_prior
    assert prior is not None, "the model was built without boundary_weight"
    size = model.config.hidden_size
    sums: dict[str, torch.Tensor] = {}
    counts: dict[str, int] = {}
    products = torch.zeros(size, size, dtype=torch.float64)
    square, tokens = 0.0, 0
    remaining = iter(rows)
    while batch := list(islice(remaining, batch_size)):
        inputs, offsets = collator.tokenize(batch)
        special = inputs.pop("special_tokens_mask").bool() | ~inputs["attention_mask"].bool()
        states = model.token_states(**inputs.to(model.device)).double().cpu()
        square += float(model.token_projection(states[~special].float()).double().square().sum())
        tokens += int((~special).sum())
        for row, vectors, where in zip(batch, states, offsets, strict=True):
            owners = _owners(row["entities"], where)
            for concept in set(owners) - {None}:
                own = vectors[torch.from_numpy(owners == concept)]
                sums[concept] = sums.get(concept, torch.zeros(size, dtype=torch.float64)) + own.sum(0)
                counts[concept] = counts.get(concept, 0) + len(own)
                products += own.T @ own
    for concept, total in sums.items():
        products -= torch.outer(total, total) / counts[concept]
    freedom = sum(counts.values()) - len(counts)
    if freedom > 0:
        prior.covariance.copy_(products / freedom)
    if tokens:
        prior.norm.fill_((square / tokens) ** 0.5)


def _owners(entities: Iterable[dict[str, Any]], offsets: np.ndarray) -> np.ndarray:
    """`concept_key` of the shortest mention that each token overlaps, or `None`."""
    owners = np.full(len(offsets), None, dtype=object)
    for entity in sorted(entities, key=lambda entity: entity["start"] - entity["end"]):
        owners[covered_tokens(offsets, entity)] = concept_key(entity["concept"])
    return owners
