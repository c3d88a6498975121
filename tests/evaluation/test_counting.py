"""Counts over arrays against the libraries that count span by span: nervaluate, seqeval and scikit-learn."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from seqeval.metrics import classification_report
from seqeval.scheme import IOB2
from sklearn.metrics import f1_score

from nerfound.evaluation.counting import entity_rows, macro_row, word_rows
from nerfound.evaluation.metrics import entity_metrics, token_metrics
from nerfound.fewshot.tags import tags_to_spans
from nerfound.spans import Span

LABELS = ["PER", "LOC", "ORG", "never"]
MEASURES = ("precision", "recall", "f1")
VIEWS = ("strict", "exact", "partial")

lengths = st.one_of(st.integers(1, 4), st.integers(95, 350))  # below and above where one character is 1 %


@st.composite
def flat_documents(draw):
    """Flat spans of the two sides of a text; those of one are those of the other with their ends moved."""
    gold, position = [], 0
    for gap, length, label in draw(
        st.lists(st.tuples(st.integers(0, 3), lengths, st.sampled_from(LABELS[:3])), max_size=6)
    ):
        gold.append(Span(position + gap, position + gap + length, label))
        position += gap + length
    predicted, covered = [], 0
    for span in gold:
        shifts = st.one_of(st.just(0), st.integers(-3, 3), st.integers(-340, 340))
        start, end = max(covered, span.start + draw(shifts)), span.end + draw(shifts)
        if start < end:
            predicted.append(Span(start, end, draw(st.one_of(st.just(span.label), st.sampled_from(LABELS[:3])))))
            covered = end
    return (predicted, gold) if draw(st.booleans()) else (gold, predicted)


def on_axis(documents, lengths):
    """Spans of all texts as rows, the texts one behind the other with a gap of 1."""
    rows, offset = [], 0
    for document, length in zip(documents, lengths, strict=True):
        rows += [(start + offset, end + offset, LABELS.index(label)) for start, end, label in document]
        offset += length + 1
    return np.array(rows, dtype=np.int64).reshape(-1, 3)


def rows_of(gold, predicted):
    """`entity_rows` of texts that are as long as their last span."""
    sizes = [max([span.end for span in (*g, *p)], default=0) for g, p in zip(gold, predicted, strict=True)]
    return entity_rows(on_axis(gold, sizes), on_axis(predicted, sizes), LABELS)


def figures(scores, views, average=""):
    return [scores[f"{view}_{average}{measure}"] for view in views for measure in MEASURES]


def assert_same_rows(rows, scores, views, support):
    """Rows hold the figures of a dict of metrics, class by class and average by average."""
    *classes, micro, macro = rows
    assert [row["concept"] for row in classes] == LABELS
    assert {row["average"] for row in classes} == {"class"}
    for row in classes:
        expected = scores["per_class"][row["concept"]]
        assert row["support"] == expected[support]
        assert figures(row, views) == pytest.approx(figures(expected, views)), row["concept"]
    for row, average in ((micro, "micro"), (macro, "macro")):
        assert (row["average"], row["concept"]) == (average, "")
        assert row["support"] == sum(one["support"] for one in classes)
        assert figures(row, views) == pytest.approx(figures(scores, views, f"{average}_")), average


@settings(max_examples=60)
@given(st.lists(flat_documents(), min_size=1, max_size=4))
def test_entity_rows_are_nervaluates(documents):
    gold, predicted = zip(*documents, strict=True)
    assert_same_rows(rows_of(gold, predicted), entity_metrics(gold, predicted, LABELS), VIEWS, "support")


def partial_hits(gold, predicted):
    """How many gold spans of one text are met in part."""
    (*_, micro, _) = rows = rows_of([gold], [predicted])
    assert_same_rows(rows, entity_metrics([gold], [predicted], LABELS), VIEWS, "support")
    return round(2 * micro["partial_recall"] * len(gold))


def test_less_than_one_percent_of_a_gold_span_is_no_overlap():
    assert partial_hits([Span(0, 100, "PER")], [Span(99, 120, "PER")]) == 1
    assert partial_hits([Span(0, 101, "PER")], [Span(100, 120, "PER")]) == 0
    assert partial_hits([Span(10, 20, "PER")], [Span(19, 1000, "PER")]) == 1  # whatever share of the prediction it is


def test_a_gold_span_answers_for_one_prediction_and_a_prediction_for_one_gold_span():
    parts = [Span(0, 4, "PER"), Span(5, 9, "PER"), Span(10, 14, "PER")]
    assert partial_hits([Span(0, 14, "PER")], parts) == 1
    assert partial_hits(parts, [Span(0, 14, "PER")]) == 1
    # the second prediction finds the first gold span taken, but meets another
    assert partial_hits([Span(0, 10, "PER"), Span(11, 20, "PER")], [Span(2, 4, "PER"), Span(6, 13, "PER")]) == 2


def test_texts_that_touch_on_the_axis_do_not_overlap():
    rows = rows_of([[Span(0, 3, "PER")], []], [[], [Span(0, 3, "PER")]])
    assert rows[-2]["partial_f1"] == 0


def test_nothing_predicted_or_nothing_to_find():
    some, none = [[Span(0, 3, "PER")], []], [[], []]
    for gold, predicted in ((some, none), (none, some), (none, none)):
        rows = rows_of(gold, predicted)
        assert_same_rows(rows, entity_metrics(gold, predicted, LABELS), VIEWS, "support")
        assert all(value == 0 for row in rows for value in figures(row, VIEWS))


def bio(parts):
    """Legal BIO tags of parts: labels with their lengths, no label outside."""
    return [f"{'BI'[index > 0]}-{label}" if label else "O" for label, length in parts for index in range(length)]


some_tags = st.lists(st.tuples(st.sampled_from(["", *LABELS[:3]]), st.integers(1, 3)), max_size=3).map(bio)


@st.composite
def tagged_sentences(draw):
    """Legal gold and predicted tags of equal length, from segments in which they are the same or unrelated."""
    gold, predicted = [], []
    for own, other in draw(st.lists(st.tuples(some_tags, st.none() | some_tags), min_size=1, max_size=4)):
        gold += own
        predicted += own if other is None else other
        shorter = min(gold, predicted, key=len)
        shorter += ["O"] * abs(len(gold) - len(predicted))
    return gold, predicted


@settings(max_examples=50)
@given(st.lists(tagged_sentences(), min_size=1, max_size=5))
def test_strict_rows_are_seqevals_in_strict_mode(sentences):
    gold, predicted = (list(side) for side in zip(*sentences, strict=True))
    assume(any(tag != "O" for tags in gold + predicted for tag in tags))  # seqeval cannot average over no class
    report = classification_report(gold, predicted, mode="strict", scheme=IOB2, output_dict=True, zero_division=0)
    spans = [[tags_to_spans(tags) for tags in side] for side in (gold, predicted)]
    sizes = [len(tags) for tags in gold]
    rows = entity_rows(*(on_axis(side, sizes) for side in spans), LABELS)
    by_name = {row["concept"] or f"{row['average']} avg": row for row in rows}
    # seqeval's macro average counts classes that are predicted only; ours, as the blog's, those that can be found
    present = {span.label for document in spans[0] for span in document}
    compared = report.keys() - {"weighted avg"} - (set() if present == report.keys() & set(LABELS) else {"macro avg"})
    assert {"micro avg", *present} <= compared
    for name in compared:
        expected = [report[name][measure] for measure in ("precision", "recall", "f1-score")]
        assert figures(by_name[name], ["strict"]) == pytest.approx(expected), name
        assert by_name[name]["support"] == report[name]["support"]


word_labels = st.integers(-1, len(LABELS) - 2)


@settings(max_examples=40)
@given(st.lists(st.tuples(word_labels, word_labels)))
def test_word_rows_are_token_metrics_and_scikit_learns(pairs):
    gold, predicted = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    rows = word_rows(gold, predicted, LABELS)
    tags = [["O" if label < 0 else f"I-{LABELS[label]}" for label in side.tolist()] for side in (gold, predicted)]
    assert_same_rows(rows, token_metrics(*([side] for side in tags), LABELS), ["token"], "token_support")
    *classes, micro, macro = rows
    if not pairs:
        return
    every, present = list(range(len(LABELS))), sorted({label for label in gold.tolist() if label >= 0})
    given_labels = {"y_true": gold, "y_pred": predicted, "zero_division": 0}
    assert [row["token_f1"] for row in classes] == pytest.approx(f1_score(labels=every, average=None, **given_labels))
    assert micro["token_f1"] == pytest.approx(f1_score(labels=every, average="micro", **given_labels))
    if present:
        assert macro["token_f1"] == pytest.approx(f1_score(labels=present, average="macro", **given_labels))
    else:
        assert macro["token_f1"] == 0


def test_macro_is_over_the_classes_that_can_be_found():
    rows = [{"average": "class", "concept": name, "support": n, "f1": f1} for name, n, f1 in
            (("a", 3, 0.5), ("b", 1, 1.0), ("c", 0, 0.0))]  # fmt: skip
    assert macro_row(rows) == {"average": "macro", "concept": "", "support": 4, "f1": 0.75}
