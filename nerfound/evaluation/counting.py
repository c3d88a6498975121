"""Entity and word counts of flat predictions as array operations: for scoring one test set many times.

The figures are those of [`entity_metrics`] (nervaluate's) and [`token_metrics`], which take any spans, overlapping ones
too, and ten times as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .metrics import ratios

_LEAST_OVERLAP = 0.01
"""Share of a gold span that a prediction must cover to be partly right; as in nervaluate."""


def entity_rows(gold: np.ndarray, predicted: np.ndarray, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Strict, exact and partial scores: a row per class, and one each for the micro and the macro average.

    Args:
        gold, predicted (`np.ndarray` of shape `(spans, 3)`): start, end (exclusive) and label id; sorted, without
            overlap. All texts lie on one axis, one behind the other, with a gap between them.
        labels (`Sequence[str]`): name of each label id.

    Returns:
        `list[dict[str, Any]]`: `average` (`"class"`, `"micro"`, `"macro"`), `concept`, `support` and
        `{strict,exact,partial}_{precision,recall,f1}`.
    """
    same_bounds, same_span = _equal(gold[:, :2], predicted[:, :2]), _equal(gold, predicted)
    per_class = []
    for label, concept in enumerate(labels):
        of_gold, of_predicted = gold[:, 2] == label, predicted[:, 2] == label
        strict = int((of_predicted & same_span).sum())
        partial = _partly_right(gold, predicted, of_gold, of_predicted, match_labels=True)
        counts = {"strict": strict, "exact": strict, "partial": strict + partial / 2}
        per_class.append(_row("class", concept, counts, int(of_predicted.sum()), int(of_gold.sum())))
    everything = np.ones(len(gold), dtype=bool), np.ones(len(predicted), dtype=bool)
    exact = int(same_bounds.sum())
    partial = _partly_right(gold, predicted, *everything, match_labels=False)
    counts = {"strict": int(same_span.sum()), "exact": exact, "partial": exact + partial / 2}
    return [*per_class, _row("micro", "", counts, len(predicted), len(gold)), macro_row(per_class)]


def word_rows(gold: np.ndarray, predicted: np.ndarray, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Token scores: a row per class, and one each for the micro and the macro average.

    Args:
        gold, predicted (`np.ndarray` of shape `(words,)`): label id of each word, -1 outside.
        labels (`Sequence[str]`): name of each label id.

    Returns:
        `list[dict[str, Any]]`: `average`, `concept`, `support` (gold words) and `token_{precision,recall,f1}`.
    """
    size = len(labels) + 1
    claimed = np.bincount(predicted + 1, minlength=size)[1:]
    support = np.bincount(gold + 1, minlength=size)[1:]
    correct = np.bincount(gold[gold == predicted] + 1, minlength=size)[1:]
    per_class = [
        _row("class", concept, {"token": int(correct[i])}, int(claimed[i]), int(support[i]))
        for i, concept in enumerate(labels)
    ]
    micro = _row("micro", "", {"token": int(correct.sum())}, int(claimed.sum()), int(support.sum()))
    return [*per_class, micro, macro_row(per_class)]


def macro_row(per_class: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The mean over the classes that occur in the gold data."""
    present = [row for row in per_class if row["support"]]
    measures = [name for name in per_class[0] if name not in {"average", "concept", "support"}]
    means = {name: sum(row[name] for row in present) / max(len(present), 1) for name in measures}
    return {"average": "macro", "concept": "", "support": sum(row["support"] for row in per_class)} | means


def _row(average: str, concept: str, correct: dict[str, float], claimed: int, support: int) -> dict[str, Any]:
    row: dict[str, Any] = {"average": average, "concept": concept, "support": support}
    for view, count in correct.items():
        row |= {f"{view}_{measure}": value for measure, value in ratios(count, claimed, support).items()}
    return row


def _equal(gold: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Which predictions have an equal gold row; both sorted by start, which is unique."""
    if not len(gold):
        return np.zeros(len(predicted), dtype=bool)
    nearest = np.searchsorted(gold[:, 0], predicted[:, 0]).clip(max=len(gold) - 1)
    return (gold[nearest] == predicted).all(1)


def _partly_right(
    gold: np.ndarray, predicted: np.ndarray, of_gold: np.ndarray, of_predicted: np.ndarray, *, match_labels: bool
) -> int:
    """Predictions that overlap a gold span without being equal; each gold span answers for one, in order."""
    columns = 3 if match_labels else 2
    gold_left = gold[of_gold & ~_equal(predicted[:, :columns], gold[:, :columns])]
    predicted_left = predicted[of_predicted & ~_equal(gold[:, :columns], predicted[:, :columns])]
    firsts = np.searchsorted(gold_left[:, 1], predicted_left[:, 0], side="right")
    behind = np.searchsorted(gold_left[:, 0], predicted_left[:, 1], side="left")
    candidates = firsts < behind
    taken: set[int] = set()
    for first, end, (start, stop, _) in zip(
        firsts[candidates].tolist(), behind[candidates].tolist(), predicted_left[candidates].tolist(), strict=True
    ):
        for index in range(first, end):
            left, right = gold_left[index, :2].tolist()
            enough = min(stop, right) - max(start, left) >= _LEAST_OVERLAP * (right - left)
            if index not in taken and enough:
                taken.add(index)
                break
    return len(taken)
