import math
import random
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerfound.evaluation import load_metric
from nerfound.evaluation.metrics import entity_metrics, evaluate_spans, token_metrics
from nerfound.fewshot.tags import spans_to_tags
from nerfound.spans import Span

LABELS = ["PER", "LOC", "ORG"]
MEASURES = ("precision", "recall", "f1")
spans = st.builds(
    lambda start, length, label: Span(start, start + length, label),
    st.integers(0, 12),
    st.integers(1, 5),
    st.sampled_from(LABELS),
)
overlapping_document = st.lists(spans, max_size=7)


def flatten(document):
    """The longest prefix-greedy flat subset."""
    kept = []
    for span in document:
        if all(span.end <= other.start or other.end <= span.start for other in kept):
            kept.append(span)
    return kept


flat_document = overlapping_document.map(flatten)


def pairs_of(document):
    return st.lists(st.tuples(document, document), min_size=1, max_size=5).map(
        lambda pairs: tuple(zip(*pairs, strict=True))
    )


def ratios(correct, claimed, support):
    precision = correct / claimed if claimed else 0.0
    recall = correct / support if support else 0.0
    return precision, recall, 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def brute_strict(gold, predicted, label=None):
    """Set intersection of (document, start, end, label)."""
    sides = [
        {(i, *span) for i, document in enumerate(side) for span in document if label in (None, span.label)}
        for side in (gold, predicted)
    ]
    return ratios(len(sides[0] & sides[1]), len(sides[1]), len(sides[0]))


def brute_exact(gold, predicted):
    """Multiset intersection of (document, start, end)."""
    counts = [
        Counter((i, span.start, span.end) for i, document in enumerate(side) for span in set(document))
        for side in (gold, predicted)
    ]
    return ratios((counts[0] & counts[1]).total(), counts[1].total(), counts[0].total())


def brute_partial_flat(gold, predicted):
    """For flat spans: equal boundaries first, then left to right the first free gold span that overlaps."""
    credit = 0.0
    for gold_document, predicted_document in zip(gold, predicted, strict=True):
        free = sorted({span[:2] for span in gold_document})
        rest = []
        for boundaries in sorted({span[:2] for span in predicted_document}):
            if boundaries in free:
                free.remove(boundaries)
                credit += 1
            else:
                rest.append(boundaries)
        for start, end in rest:
            for other in free:
                if start < other[1] and other[0] < end:
                    free.remove(other)
                    credit += 0.5
                    break
    return ratios(credit, sum(map(len, predicted)), sum(map(len, gold)))


def figures(scores, prefix):
    return tuple(scores[f"{prefix}_{measure}"] for measure in MEASURES)


def check_macro(scores, view):
    support = "token_support" if view == "token" else "support"
    present = [one for one in scores["per_class"].values() if one[support]]
    for measure in MEASURES:
        mean = sum(one[f"{view}_{measure}"] for one in present) / len(present) if present else 0.0
        assert scores[f"{view}_macro_{measure}"] == pytest.approx(mean)


@given(pairs_of(flat_document))
def test_flat_spans_against_brute_force(sides):
    gold, predicted = sides
    scores = entity_metrics(gold, predicted, LABELS)
    assert figures(scores, "strict_micro") == pytest.approx(brute_strict(gold, predicted))
    assert figures(scores, "exact_micro") == pytest.approx(brute_exact(gold, predicted))
    assert figures(scores, "partial_micro") == pytest.approx(brute_partial_flat(gold, predicted))
    for view in ("strict", "exact", "partial"):
        check_macro(scores, view)


@given(pairs_of(overlapping_document))
def test_nested_overlapping_and_repeated_spans_against_brute_force(sides):
    gold, predicted = sides
    scores = entity_metrics(gold, predicted, LABELS)
    assert figures(scores, "strict_micro") == pytest.approx(brute_strict(gold, predicted))
    assert figures(scores, "exact_micro") == pytest.approx(brute_exact(gold, predicted))
    assert scores["strict_micro_f1"] <= scores["exact_micro_f1"] + 1e-12 <= scores["partial_micro_f1"] + 2e-12
    for label in LABELS:
        one = scores["per_class"][label]
        assert figures(one, "strict") == pytest.approx(brute_strict(gold, predicted, label))
        assert figures(one, "exact") == figures(one, "strict")
        assert one["support"] == len({(i, s) for i, document in enumerate(gold) for s in document if s.label == label})


@given(pairs_of(overlapping_document), st.randoms(use_true_random=False))
def test_the_order_of_spans_and_labels_does_not_matter(sides, shuffler):
    gold, predicted = sides
    shuffled = [[shuffler.sample(document, len(document)) for document in side] for side in sides]
    scores = entity_metrics(gold, predicted, LABELS)
    again = entity_metrics(*shuffled, LABELS[::-1])
    assert again.pop("per_class") == scores.pop("per_class")
    assert again == pytest.approx(scores)


def test_a_perfect_prediction_counts_although_an_overlapping_one_comes_first():
    scores = entity_metrics([[Span(0, 5, "PER")]], [[Span(0, 3, "PER"), Span(0, 5, "PER")]], LABELS)
    assert figures(scores, "strict_micro") == (0.5, 1.0, pytest.approx(2 / 3))
    # also by boundaries, where two types claim one gold span and would take the next one's place
    gold = [[Span(0, 5, "PER"), Span(0, 3, "ORG")]]
    predicted = [[Span(0, 5, "PER"), Span(0, 5, "LOC"), Span(0, 3, "LOC")]]
    assert entity_metrics(gold, predicted, LABELS)["exact_micro_recall"] == 1.0


def test_nothing_is_lenient():
    gold = [[Span(0, 8, "PER")], [Span(4, 9, "LOC")]]
    shifted = entity_metrics(gold, [[Span(0, 7, "PER")], [Span(3, 9, "LOC")]], LABELS)
    assert shifted["strict_micro_f1"] == shifted["exact_micro_f1"] == 0.0
    assert shifted["partial_micro_f1"] == shifted["partial_macro_f1"] == 0.5
    retyped = entity_metrics(gold, [[Span(0, 8, "ORG")], [Span(4, 9, "ORG")]], LABELS)
    assert retyped["strict_micro_f1"] == 0.0
    assert retyped["exact_micro_f1"] == retyped["partial_micro_f1"] == 1.0
    assert retyped["per_class"]["PER"]["exact_f1"] == retyped["exact_macro_f1"] == 0.0


def test_adjacent_spans_do_not_overlap():
    scores = entity_metrics([[Span(0, 3, "PER")]], [[Span(3, 6, "PER")]], LABELS)
    assert scores["partial_micro_f1"] == 0.0


def test_macro_averages_over_the_classes_of_the_gold_data():
    scores = entity_metrics(
        [[Span(0, 1, "PER"), Span(2, 3, "LOC")]], [[Span(0, 1, "PER"), Span(4, 5, "ORG")]], [*LABELS, "unused"]
    )
    assert scores["strict_macro_f1"] == 0.5
    assert scores["strict_micro_f1"] == 0.5
    assert scores["per_class"]["unused"] == {"support": 0} | {
        f"{view}_{measure}": 0.0 for view in ("strict", "exact", "partial") for measure in MEASURES
    }


def test_names_and_types_of_the_figures():
    scores = evaluate_spans([[Span(0, 1, "PER")]], [[]], LABELS, [[(0, 1)]])
    per_class = scores.pop("per_class")
    views = ("strict", "exact", "partial", "token")
    averages = ("micro", "macro")
    assert set(scores) == {f"{view}_{average}_{m}" for view in views for average in averages for m in MEASURES}
    assert all(type(value) is float for value in scores.values())
    assert list(per_class) == LABELS
    for one in per_class.values():
        assert set(one) == {"support", "token_support"} | {f"{view}_{m}" for view in views for m in MEASURES}


def test_empty_documents():
    scores = entity_metrics([[], []], [[], []], LABELS)
    assert scores["strict_micro_f1"] == scores["strict_macro_f1"] == 0.0
    assert token_metrics([[]], [[]], LABELS)["token_macro_f1"] == 0.0


tags = st.sampled_from(["O", *(f"{letter}-{label}" for letter in "BIES" for label in LABELS)])


@given(st.lists(st.lists(st.tuples(tags, tags), max_size=8), min_size=1, max_size=4))
def test_token_metrics_against_brute_force(documents):
    gold = [[pair[0] for pair in document] for document in documents]
    predicted = [[pair[1] for pair in document] for document in documents]
    scores = token_metrics(gold, predicted, LABELS)
    pairs = [tuple(tag[2:] for tag in pair) for document in documents for pair in document]
    for label in LABELS:
        counts = (
            sum(pair == (label, label) for pair in pairs),
            sum(pair[1] == label for pair in pairs),
            sum(pair[0] == label for pair in pairs),
        )
        assert figures(scores["per_class"][label], "token") == pytest.approx(ratios(*counts))
        assert scores["per_class"][label]["token_support"] == counts[2]
    inside = [pair for pair in pairs if any(pair)]
    counts = (
        sum(pair[0] == pair[1] for pair in inside),
        sum(bool(pair[1]) for pair in pairs),
        sum(bool(pair[0]) for pair in pairs),
    )
    assert figures(scores, "token_micro") == pytest.approx(ratios(*counts))
    check_macro(scores, "token")


@given(pairs_of(flat_document))
def test_spans_over_words_equal_tags_over_words(sides):
    # every character a word: then character spans are word spans
    words = [[(i, i + 1) for i in range(20)] for _ in sides[0]]
    scores = evaluate_spans(*sides, LABELS, words)
    gold_tags, predicted_tags = ([spans_to_tags(document, 20) for document in side] for side in sides)
    token = token_metrics(gold_tags, predicted_tags, LABELS)
    entity = entity_metrics(*sides, LABELS)
    for label in LABELS:
        assert scores["per_class"][label] == {**entity["per_class"][label], **token["per_class"][label]}
    assert scores.pop("per_class")
    assert scores == {key: value for key, value in {**entity, **token}.items() if key != "per_class"}


def test_words_are_covered_in_part_and_under_nested_spans_by_several():
    words = [[(0, 3), (4, 8), (9, 14)]]  # "New York Times"
    gold = [[Span(0, 14, "ORG"), Span(0, 8, "LOC")]]
    scores = evaluate_spans(gold, [[Span(0, 14, "ORG"), Span(0, 6, "LOC")]], LABELS, words)
    assert scores["token_micro_f1"] == 1.0
    assert scores["strict_micro_f1"] == 0.5
    assert scores["per_class"]["LOC"]["token_support"] == 2
    # a span that ends where a word begins does not cover it
    scores = evaluate_spans([[Span(0, 3, "LOC")]], [[Span(0, 4, "LOC")]], LABELS, words)
    assert scores["token_micro_f1"] == 1.0


@pytest.mark.parametrize(
    ("gold", "predicted", "labels", "message"),
    [
        ([], [], LABELS, "there is nothing to evaluate: no documents"),
        ([[]], [[], []], LABELS, "1 gold documents, but 2 on the other side"),
        ([[]], [[]], [], r"labels are \[\]: give every class once"),
        ([[]], [[]], ["PER", "PER"], "give every class once"),
        ([[]], [[]], "PER", "labels are 'PER': .* as a list"),
        (
            [[], [Span(1, 2, "per")]],
            [[], []],
            LABELS,
            r"document 1, gold: label 'per' of the span 1\.\.2 is not among \['PER', 'LOC', 'ORG'\]",
        ),
        ([[]], [[Span(1, 2, "per")]], LABELS, "document 0, predicted: label 'per'"),
        ([[]], [[Span(2, 2, "PER")]], LABELS, r"document 0, predicted: the span 2\.\.2 \('PER'\) is empty"),
    ],
)
def test_entity_errors(gold, predicted, labels, message):
    with pytest.raises(ValueError, match=message):
        entity_metrics(gold, predicted, labels)


@pytest.mark.parametrize(
    ("gold", "predicted", "message"),
    [
        ([], [], "nothing to evaluate"),
        ([["O"]], [], "1 gold documents, but 0"),
        ([["O"], ["O"]], [["O"], []], "document 1 has 1 gold tags, but 0 predicted ones"),
        ([["O", "PER"]], [["O", "O"]], "document 0, gold, word 1: unknown tag 'PER'"),
        ([["O", "O"]], [["O", "B-per"]], "document 0, predicted, word 1: label 'per' is not among"),
    ],
)
def test_token_errors(gold, predicted, message):
    with pytest.raises(ValueError, match=message):
        token_metrics(gold, predicted, LABELS)


def test_words_must_be_given_for_every_document():
    with pytest.raises(ValueError, match="2 gold documents, but 1 on the other side"):
        evaluate_spans([[], []], [[], []], LABELS, [[]])


def test_four_thousand_sentences_take_seconds():
    generator = random.Random(0)
    labels = [f"type {index}" for index in range(20)]
    gold = [
        [Span(20 * i, 20 * i + generator.randint(1, 18), generator.choice(labels)) for i in range(5)]
        for _ in range(4000)
    ]
    predicted = [[span._replace(label=generator.choice(labels)) for span in document] for document in gold]
    words = [[(5 * i, 5 * i + 4) for i in range(20)]] * 4000
    begin = time.perf_counter()
    scores = evaluate_spans(gold, predicted, labels, words)
    assert time.perf_counter() - begin < 30  # 1.8 s by `pytest --durations=5` on two cores
    assert math.isclose(scores["exact_micro_f1"], 1.0)


class TestMetric:
    gold = [[Span(0, 4, "PER")], [], [Span(3, 9, "LOC"), Span(10, 12, "ORG")]]
    predicted = [[Span(0, 4, "PER")], [Span(1, 2, "LOC")], [Span(3, 8, "LOC")]]
    words = [[(0, 4)], [(0, 2)], [(0, 2), (3, 9), (10, 12)]]

    @pytest.fixture(params=[False, True], ids=["on disk", "in memory"])
    def metric(self, request, tmp_path):
        return load_metric(keep_in_memory=request.param, cache_dir=str(tmp_path))

    def test_compute(self, metric):
        result = metric.compute(predictions=self.predicted, references=self.gold, labels=LABELS)
        assert result == entity_metrics(self.gold, self.predicted, LABELS)

    def test_compute_with_words(self, metric):
        result = metric.compute(predictions=self.predicted, references=self.gold, labels=LABELS, words=self.words)
        assert result == evaluate_spans(self.gold, self.predicted, LABELS, self.words)

    def test_batches_single_documents_and_entities_that_carry_more(self, metric):
        def entities(document):
            return [{**span._asdict(), "text": "a", "score": 0.5} for span in document]

        metric.add_batch(
            predictions=[entities(document) for document in self.predicted[:2]],
            references=[entities(document) for document in self.gold[:2]],
        )
        metric.add(prediction=self.predicted[2], reference=entities(self.gold[2]))
        assert metric.compute(labels=LABELS) == entity_metrics(self.gold, self.predicted, LABELS)
        again = metric.compute(predictions=[[]], references=[[]], labels=LABELS)  # nothing is carried over
        assert again == entity_metrics([[]], [[]], LABELS)

    def test_errors_reach_the_caller(self, metric):
        with pytest.raises(ValueError, match="document 0, gold: label 'PER' of the span"):
            metric.compute(predictions=self.predicted, references=self.gold, labels=["LOC", "ORG"])

    def test_it_says_what_it_takes(self, metric):
        assert metric.name == "ner_metric"
        assert "labels: every class" in metric.inputs_description
        assert set(metric.features) == {"predictions", "references"}
