"""How well a recognizer does on labelled texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..decoding import decode_texts
from ..fewshot.embedding import windows_of
from ..fewshot.formats import Example, SupportSet
from ..modeling_nuner import NuNerForTokenClassification
from ..spans import Entity, Span, segment_words
from ..windows import pad_windows
from .metrics import evaluate_spans


@torch.no_grad()
def predict_examples(
    recognizer: NuNerForTokenClassification, examples: Sequence[Example], *, batch_size: int = 32
) -> list[list[Entity]]:
    """Entities of examples, decoded over the examples' own words where they have some."""
    texts = [example.text for example in examples]
    windows = windows_of(recognizer, examples)

    def logits_of(batch: list[int]) -> Tensor:
        inputs = pad_windows([windows[i] for i in batch], recognizer.tokenizer, recognizer.device)
        return recognizer(**inputs).logits

    return decode_texts(
        texts, windows, logits_of, recognizer.labels, nested=recognizer.config.nested, batch_size=batch_size
    )


def score_entities(
    examples: Sequence[Example], predicted: Sequence[Sequence[Entity]], labels: Sequence[str]
) -> dict[str, Any]:
    """All metrics of predicted entities against examples; see `evaluate_spans`."""
    spans = [[Span(entity["start"], entity["end"], entity["label"]) for entity in entities] for entities in predicted]
    words = [segment_words(example.text) if example.words is None else example.words for example in examples]
    return evaluate_spans([example.entities for example in examples], spans, labels, words)


def evaluate_recognizer(
    recognizer: NuNerForTokenClassification, data: SupportSet, *, batch_size: int = 32
) -> dict[str, Any]:
    """Score a recognizer on labelled data: strict, exact and partial entity F1, and token macro-F1.

    Args:
        recognizer (`NuNerForTokenClassification`): with a head.
        data (`SupportSet`): from `read_examples` or `parse_examples`.
        batch_size (`int`): windows at a time.

    Returns:
        `dict[str, Any]`: the entries of `evaluate_spans`. A concept of the data that the recognizer does not know
        counts as never found.
    """
    labels = list(dict.fromkeys([*recognizer.labels, *data.concepts]))
    predicted = predict_examples(recognizer, data.examples, batch_size=batch_size)
    return score_entities(data.examples, predicted, labels)
