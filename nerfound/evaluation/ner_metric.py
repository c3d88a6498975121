"""The metrics as an `evaluate.Metric`, for code that speaks `evaluate`; it needs neither the Hub nor a script."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from datasets import Features, List, Value

from ..spans import Entity, Span
from .metrics import entity_metrics, evaluate_spans

try:
    import evaluate
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("NerMetric needs evaluate: pip install 'nerfound[train]'") from error

_DESCRIPTION = """\
Strict, exact and partial entity precision, recall and F1 (micro, macro and per class; matching by nervaluate), and the
token F1 of the NuNER blog. Nothing is lenient: a strict match has the same boundaries and the same type.
"""

_INPUTS = """
Args:
    predictions: per document, the predicted entities: dicts with `start`, `end` (exclusive) and `label`, or `Span`s.
    references: per document, the gold entities, likewise.
    labels: every class; no other label may occur.
    words: per document, the words' character offsets `(start, end)`; if given, the token metrics are added.

Returns:
    What `nerfound.evaluation.metrics.evaluate_spans` returns; without `words`, what `entity_metrics` returns.
"""

_CITATION = """\
@inproceedings{bogdanov2024nuner,
    title = {{NuNER}: Entity Recognition Encoder Pre-training via {LLM}-Annotated Data},
    author = {Bogdanov, Sergei and Constantin, Alexandre and Bernard, Timoth{\\'e}e and Crabb{\\'e}, Benoit
              and Bernard, Etienne},
    booktitle = {Proceedings of EMNLP},
    year = {2024}
}
"""

AnySpan = Span | Entity | Mapping[str, Any]


class NerMetric(evaluate.Metric):
    """Entity and token metrics of entity recognition.

    ```py
    >>> metric = load_metric()
    >>> metric.add_batch(predictions=[[{"start": 0, "end": 4, "label": "city"}]], references=[[Span(0, 4, "city")]])
    >>> metric.compute(labels=["city"])["strict_micro_f1"]
    1.0
    ```
    """

    def _info(self) -> evaluate.MetricInfo:
        span = {"start": Value("int64"), "end": Value("int64"), "label": Value("string")}
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=Features({"predictions": List(span), "references": List(span)}),
            codebase_urls=["https://github.com/MantisAI/nervaluate"],
            reference_urls=["https://arxiv.org/abs/2402.15343"],
        )

    def add(self, *, prediction: Iterable[AnySpan], reference: Iterable[AnySpan]) -> None:
        """Add one document."""
        super().add(prediction=_records(prediction), reference=_records(reference))

    def add_batch(self, *, predictions: Iterable[Iterable[AnySpan]], references: Iterable[Iterable[AnySpan]]) -> None:
        """Add several documents."""
        super().add_batch(
            predictions=[_records(spans) for spans in predictions],
            references=[_records(spans) for spans in references],
        )

    def _compute(
        self,
        predictions: Sequence[Sequence[Mapping[str, Any]]],
        references: Sequence[Sequence[Mapping[str, Any]]],
        labels: Sequence[str],
        words: Sequence[Sequence[tuple[int, int]]] | None = None,
    ) -> dict[str, Any]:
        gold, predicted = (
            [[_span(record) for record in spans] for spans in side] for side in (references, predictions)
        )
        if words is None:
            return entity_metrics(gold, predicted, labels)
        return evaluate_spans(gold, predicted, labels, words)


def _records(spans: Iterable[AnySpan]) -> list[dict[str, Any]]:
    """Spans as the features want them: entities may carry a text and a score besides."""
    return [_span(span)._asdict() for span in spans]


def _span(span: AnySpan) -> Span:
    return span if isinstance(span, Span) else Span(span["start"], span["end"], span["label"])
