"""The k-shot protocol of the blog: "For each concept, we select x training examples which include this concept."."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterable, Sequence

from .formats import Example


def sample_k_shot(examples: Sequence[Example], k: int, seed: int, concepts: Iterable[str]) -> list[int]:
    """Select a k-shot support set.

    For each concept, the sentences that contain it are shuffled by a generator seeded with the seed and the concept's
    name, and the first `k` are taken; the support set is the union. So the selection is a function of data, `k` and
    seed alone, a smaller `k` selects a subset of what a larger one does, and what is selected for a concept does not
    depend on which other concepts there are. As sentences mention several concepts, most concepts end up with more
    than `k` sentences, as in the published protocol.

    Args:
        examples (`Sequence[Example]`): the training sentences.
        k (`int`): sentences to select per concept.
        seed (`int`): the draw.
        concepts (`Iterable[str]`): labels to select for; entities with other labels are ignored.

    Returns:
        `list[int]`: indices into `examples`, ascending, without duplicates. A concept with fewer than `k` sentences
        gives all it has, which a `UserWarning` reports.

    Raises:
        ValueError: if `k` is negative.
    """
    if k < 0:
        raise ValueError(f"k is {k}: it is the number of sentences per concept, so at least 0")
    containing: dict[str, list[int]] = {concept: [] for concept in concepts}
    for index, example in enumerate(examples):
        for label in {entity.label for entity in example.entities}:
            if label in containing:
                containing[label].append(index)

    selected: set[int] = set()
    for concept, indices in containing.items():
        generator = random.Random(f"{seed}:{concept}")
        # Sorting by draws instead of calling shuffle(): of the generator's methods, only random() is guaranteed to
        # yield the same sequence in every version of Python.
        draws = {index: generator.random() for index in indices}
        selected.update(sorted(indices, key=draws.__getitem__)[:k])

    scarce = {concept: len(indices) for concept, indices in containing.items() if len(indices) < k}
    if scarce:
        counts = ", ".join(f"{concept!r} ({count})" for concept, count in scarce.items())
        warnings.warn(f"fewer than k={k} sentences, so all were taken, for: {counts}", stacklevel=2)
    return sorted(selected)
