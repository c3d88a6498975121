"""Holding passages out of training."""

from __future__ import annotations

import hashlib

from datasets import Dataset


def split_held_out(dataset: Dataset, fraction: float, seed: int) -> tuple[Dataset, Dataset]:
    """Split a corpus into passages to train on and passages held out.

    Each passage is decided by a hash of its id and the seed alone: the same passage falls on the same side whatever
    the order of the rows, and whatever rows were added or left out. So the share held out is `fraction` on average.

    Args:
        dataset (`datasets.Dataset`): with a column `id`.
        fraction (`float`): the share to hold out, between 0 and 1.
        seed (`int`): another seed holds out other passages.

    Returns:
        `tuple[Dataset, Dataset]`: the training passages and the held-out ones, each in the order of `dataset`.

    Raises:
        ValueError: if `fraction` is not strictly between 0 and 1, or if either side comes out empty.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction is {fraction!r}; it must lie strictly between 0 and 1")
    sides: tuple[list[int], list[int]] = [], []
    for index, passage in enumerate(dataset["id"]):
        sides[_unit_hash(f"{seed}:{passage}") < fraction].append(index)
    train, held_out = sides
    if not train or not held_out:
        raise ValueError(
            f"holding out {fraction} of {len(dataset)} passages leaves {len(train)} for training and "
            f"{len(held_out)} held out; use a larger corpus, another fraction or another seed"
        )
    return dataset.select(train), dataset.select(held_out)


def _unit_hash(text: str) -> float:
    """A number in [0, 1), fixed by the text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48
