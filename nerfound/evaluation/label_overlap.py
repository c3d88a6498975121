"""How many types of a test set occur among the concepts of pre-training: exactly, and nearly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pandas as pd
import torch.nn.functional as F
from torch import Tensor

from ..concepts import concept_key
from ..markdown import markdown_table

NEAR_COSINE = 0.75
"""Names whose vectors have at least this cosine count as near: the cut of pre-training's near-duplicates."""

_COLUMNS = ["task", "type", "exact", "nearest", "cosine"]


def label_overlap(
    labels: Mapping[str, Sequence[str]], concepts: Sequence[str], encode: Callable[[Sequence[str]], Tensor]
) -> pd.DataFrame:
    """Look up the types of test sets among concepts.

    Args:
        labels (`Mapping[str, Sequence[str]]`): the types of each task. Underscores and hyphens count as spaces.
        concepts (`Sequence[str]`): names of the concepts of pre-training.
        encode (`Callable`): vectors `(names, dim)` of names, such as those of the default sentence encoder.

    Returns:
        `pandas.DataFrame`: a row per task and type: `task`, `type`, `exact` (whether a concept has this name),
        `nearest` (the concept whose vector is closest) and `cosine` (to it).
    """
    keys = {_as_name(name) for name in concepts}
    of_concepts = F.normalize(encode(concepts), dim=-1)
    rows = []
    for task, types in labels.items():
        names = [_as_name(label) for label in types]
        cosines, nearest = (F.normalize(encode(names), dim=-1) @ of_concepts.T).max(-1)
        found = zip(types, names, nearest.tolist(), cosines.tolist(), strict=True)
        rows += [(task, label, name in keys, concepts[index], cosine) for label, name, index, cosine in found]
    return pd.DataFrame(rows, columns=_COLUMNS)


def overlap_markdown(overlap: pd.DataFrame, corpus: str) -> str:
    """The overlap of each task in a line, and of each of its types in a table."""
    parts = [
        "# Label overlap\n",
        f"How many types of each task occur among the pre-training concepts of {corpus}: with the same name "
        f"(case-folded, underscores as spaces), or nearly: the name's sentence vector has a cosine of at least "
        f"{NEAR_COSINE} with a concept's name. What occurs there was seen in training, under the "
        "same or nearly the same meaning.\n",
        markdown_table(
            ["task", "types", "exactly", "exactly or nearly"],
            [
                [str(task), str(len(rows)), str(rows["exact"].sum()), str(_near(rows).sum())]
                for task, rows in overlap.groupby("task", sort=False)
            ],
        ),
        markdown_table(
            ["task", "type", "exactly", "nearest concept", "cosine"],
            [
                [row.task, row.type, "yes" if row.exact else "", row.nearest, f"{row.cosine:.2f}"]
                for row in overlap.itertuples()
            ],
        ),
    ]
    return "\n".join(parts)


def overlap_lines(overlap: pd.DataFrame) -> list[str]:
    """A sentence per task, to print beside its result."""
    return [
        f"{task}: of {len(rows)} types, {rows['exact'].sum()} are pre-training concepts by name, "
        f"{_near(rows).sum()} by name or nearly"
        for task, rows in overlap.groupby("task", sort=False)
    ]


def _near(rows: pd.DataFrame) -> pd.Series:
    return rows["exact"] | (rows["cosine"] >= NEAR_COSINE)


def _as_name(name: str) -> str:
    return concept_key(name.replace("_", " ").replace("-", " "))
