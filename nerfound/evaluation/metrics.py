"""Entity metrics (strict, exact, partial; by nervaluate) and the token macro-F1 of the NuNER blog.

Every figure is named `{view}_{average}_{measure}`:

- *view*: `strict` counts a prediction as correct if boundaries and type equal those of a gold span; `exact` if the
  boundaries do, whatever the type; `partial` gives 1 for equal boundaries and 0.5 for overlapping ones, whatever the
  type; `token` compares words one by one, as inside or outside a class (the IO view).
- *average*: `micro` pools the counts of all classes; `macro` is the unweighted mean over the classes that occur in
  the gold data, each scored on its own spans alone.
- *measure*: `precision`, `recall`, `f1`, from 0 to 1; 0 where there is nothing to divide by.

Token F1 runs several points above strict entity F1 for the same model: always name the metric.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ..fewshot.tags import split_tag
from ..spans import Span

try:
    from nervaluate import Evaluator
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("the entity metrics need nervaluate: pip install 'nerfound[train]'") from error

ENTITY_VIEWS = ("strict", "exact", "partial")
_MEASURES = ("precision", "recall", "f1")


def entity_metrics(
    gold: Sequence[Sequence[Span]], predicted: Sequence[Sequence[Span]], labels: Sequence[str]
) -> dict[str, Any]:
    """Score predicted spans against gold spans.

    Spans of a document count as a set: their order does not matter, and giving one twice changes nothing. Each gold
    span answers for one prediction at most. Within one class `exact` equals `strict`. nervaluate disregards overlaps
    of less than 1 % of a gold span. Its time grows with documents times labels, and with the square of the spans in
    one document.

    Args:
        gold (`Sequence[Sequence[Span]]`): per document the gold spans; offsets in any one unit, `end` exclusive.
        predicted (`Sequence[Sequence[Span]]`): per document the predicted spans, in the same unit.
        labels (`Sequence[str]`): every class; no other label may occur.

    Returns:
        `dict[str, Any]`: `{strict,exact,partial}_{micro,macro}_{precision,recall,f1}` (`float`), and `per_class`: label
        to `{strict,exact,partial}_{precision,recall,f1}` (`float`) and `support`, the number of gold spans (`int`).

    Raises:
        ValueError: if there is no document, the two sides differ in number of documents, a label is not among
            `labels`, or a span is empty; names the document by its index.
    """
    _check_labels(labels)
    _check_parallel(gold, predicted, "documents")
    gold_documents, predicted_documents = [], []
    for index, (gold_spans, predicted_spans) in enumerate(zip(gold, predicted, strict=True)):
        for side, spans in (("gold", gold_spans), ("predicted", predicted_spans)):
            _check_spans(spans, labels, f"document {index}, {side}")
        gold_documents.append(_nervaluate_form(sorted(set(gold_spans))))
        predicted_documents.append(_nervaluate_form(_matches_first(set(gold_spans), set(predicted_spans))))
    results = Evaluator(gold_documents, predicted_documents, tags=list(labels), loader="dict").evaluate()

    support = Counter(span.label for spans in gold for span in set(spans))
    scores: dict[str, Any] = {}
    per_class: dict[str, dict[str, float]] = {label: {"support": support[label]} for label in labels}
    for view in ENTITY_VIEWS:
        for measure in _MEASURES:
            scores[f"{view}_micro_{measure}"] = float(getattr(results["overall"][view], measure))
            for label in labels:
                # nervaluate leaves out classes that occur on neither side.
                result = results["entities"].get(label, {}).get(view)
                per_class[label][f"{view}_{measure}"] = float(getattr(result, measure, 0.0))
        scores |= _macro(view, per_class, support)
    return {**scores, "per_class": per_class}


def token_metrics(
    gold_tags: Sequence[Sequence[str]], predicted_tags: Sequence[Sequence[str]], labels: Sequence[str]
) -> dict[str, Any]:
    """Score predicted tags word by word, as the NuNER blog does: F1 per class, "outside" left out, averaged.

    Args:
        gold_tags (`Sequence[Sequence[str]]`): per document the gold tags: BIO, BIOES or IO, of which only the label
            counts.
        predicted_tags (`Sequence[Sequence[str]]`): per document as many predicted tags.
        labels (`Sequence[str]`): every class; no other label may occur.

    Returns:
        `dict[str, Any]`: `token_{micro,macro}_{precision,recall,f1}` (`float`), and `per_class`: label to
        `token_{precision,recall,f1}` (`float`) and `token_support`, the number of gold words (`int`).

    Raises:
        ValueError: if there is no document, the two sides differ in number of documents or of tags, or a tag or its
            label is unknown; names the document by its index.
    """
    _check_labels(labels)
    _check_parallel(gold_tags, predicted_tags, "documents")
    gold_words: list[set[str]] = []
    predicted_words: list[set[str]] = []
    for index, (gold_document, predicted_document) in enumerate(zip(gold_tags, predicted_tags, strict=True)):
        if len(gold_document) != len(predicted_document):
            raise ValueError(
                f"document {index} has {len(gold_document)} gold tags, but {len(predicted_document)} predicted ones"
            )
        gold_words += _tagged_words(gold_document, labels, f"document {index}, gold")
        predicted_words += _tagged_words(predicted_document, labels, f"document {index}, predicted")
    return _token_scores(gold_words, predicted_words, labels)


def evaluate_spans(
    gold: Sequence[Sequence[Span]],
    predicted: Sequence[Sequence[Span]],
    labels: Sequence[str],
    words: Sequence[Sequence[tuple[int, int]]],
) -> dict[str, Any]:
    """Score predicted character spans by all metrics: [`entity_metrics`], and [`token_metrics`] over the given words.

    A word belongs to a class if a span of that class covers any of its characters; under nested spans it may belong to
    several.

    Args:
        gold (`Sequence[Sequence[Span]]`): per document the gold spans in character offsets, `end` exclusive.
        predicted (`Sequence[Sequence[Span]]`): per document the predicted spans.
        labels (`Sequence[str]`): every class; no other label may occur.
        words (`Sequence[Sequence[tuple[int, int]]]`): per document the words' character offsets, ascending, without
            overlap.

    Returns:
        `dict[str, Any]`: the entries of both, `per_class` merged by label.

    Raises:
        ValueError: as [`entity_metrics`] does.
    """
    entity = entity_metrics(gold, predicted, labels)
    _check_parallel(gold, words, "documents")
    gold_words, predicted_words = (
        [word for spans, offsets in zip(side, words, strict=True) for word in _covered(spans, offsets)]
        for side in (gold, predicted)
    )
    token = _token_scores(gold_words, predicted_words, labels)
    per_class = {label: {**entity["per_class"][label], **token["per_class"][label]} for label in labels}
    return {**entity, **token, "per_class": per_class}


def _matches_first(gold: Collection[Span], predicted: Collection[Span]) -> list[Span]:
    """Order predictions so that nervaluate's greedy matching finds every strict and every exact match.

    It takes predictions in turn, and a prediction that merely overlaps a gold span uses that span up; where spans
    overlap or nest, a later, perfect prediction would then count as wrong.
    """
    free = Counter((span.start, span.end) for span in gold)
    strict = sorted(span for span in predicted if span in gold)
    free.subtract((span.start, span.end) for span in strict)
    exact, others = [], []
    for span in sorted(span for span in predicted if span not in gold):
        boundaries = (span.start, span.end)
        if free[boundaries] > 0:
            free[boundaries] -= 1
            exact.append(span)
        else:
            others.append(span)
    return strict + exact + others


def _nervaluate_form(spans: Iterable[Span]) -> list[dict[str, Any]]:
    """In nervaluate `end` is inclusive: with ours, adjacent spans would count as overlapping."""
    return [{"start": int(start), "end": int(end) - 1, "label": label} for start, end, label in spans]


def _tagged_words(tags: Sequence[str], labels: Collection[str], place: str) -> list[set[str]]:
    """The label of each word, as a set of none or one."""
    words = []
    for index, tag in enumerate(tags):
        try:
            label = split_tag(tag)[1]
        except ValueError as error:
            raise ValueError(f"{place}, word {index}: {error}") from None
        if label and label not in labels:
            raise ValueError(f"{place}, word {index}: label {label!r} is not among {list(labels)}")
        words.append({label} if label else set())
    return words


def _covered(spans: Iterable[Span], words: Sequence[tuple[int, int]]) -> list[set[str]]:
    """The labels of the spans that cover each word, at least in part."""
    starts = [start for start, _ in words]
    ends = [end for _, end in words]
    covering: list[set[str]] = [set() for _ in words]
    for start, end, label in spans:
        for index in range(bisect_right(ends, start), bisect_left(starts, end)):
            covering[index].add(label)
    return covering


def _token_scores(
    gold: Sequence[Collection[str]], predicted: Sequence[Collection[str]], labels: Sequence[str]
) -> dict[str, Any]:
    """Scores from the labels of each word on both sides."""
    support = Counter(label for word in gold for label in word)
    claimed = Counter(label for word in predicted for label in word)
    correct: Counter[str] = Counter()
    for gold_word, predicted_word in zip(gold, predicted, strict=True):
        correct.update(label for label in gold_word if label in predicted_word)
    per_class: dict[str, dict[str, float]] = {}
    for label in labels:
        measures = ratios(correct[label], claimed[label], support[label])
        per_class[label] = {f"token_{measure}": value for measure, value in measures.items()}
        per_class[label]["token_support"] = support[label]
    pooled = ratios(correct.total(), claimed.total(), support.total())
    micro = {f"token_micro_{measure}": value for measure, value in pooled.items()}
    return {**micro, **_macro("token", per_class, support), "per_class": per_class}


def ratios(correct: float, claimed: int, support: int) -> dict[str, float]:
    """Precision, recall and F1; 0 where there is nothing to divide by."""
    return {
        "precision": correct / claimed if claimed else 0.0,
        "recall": correct / support if support else 0.0,
        "f1": 2 * correct / (claimed + support) if claimed + support else 0.0,
    }


def _macro(view: str, per_class: Mapping[str, Mapping[str, float]], support: Mapping[str, int]) -> dict[str, float]:
    """Means over the classes that occur in the gold data."""
    present = [scores for label, scores in per_class.items() if support[label]]
    return {
        f"{view}_macro_{measure}": sum(scores[f"{view}_{measure}"] for scores in present) / max(len(present), 1)
        for measure in _MEASURES
    }


def _check_labels(labels: Sequence[str]) -> None:
    if isinstance(labels, str) or not labels or len(set(labels)) != len(labels):
        raise ValueError(f"labels are {labels!r}: give every class once, at least one, as a list")


def _check_parallel(gold: Sequence[Any], other: Sequence[Any], unit: str) -> None:
    if not len(gold):
        raise ValueError(f"there is nothing to evaluate: no {unit}")
    if len(gold) != len(other):
        raise ValueError(f"{len(gold)} gold {unit}, but {len(other)} on the other side: give one for each")


def _check_spans(spans: Iterable[Span], labels: Collection[str], place: str) -> None:
    for start, end, label in spans:
        if label not in labels:
            raise ValueError(f"{place}: label {label!r} of the span {start}..{end} is not among {list(labels)}")
        if start >= end:
            raise ValueError(f"{place}: the span {start}..{end} ({label!r}) is empty: `end` is exclusive")
