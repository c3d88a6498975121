"""Heads on cached vectors, all texts at once, against the plain way: one text after another, through a recognizer."""

import numpy as np
import pytest
import torch

from nerfound.evaluation.metrics import token_metrics
from nerfound.evaluation.probes import SupportVectors, TestVectors
from nerfound.evaluation.scoring import predict_examples, score_entities
from nerfound.fewshot.embedding import embed_examples
from nerfound.fewshot.fitting import load_foundation
from nerfound.fewshot.formats import Example
from nerfound.fewshot.heads import LinearHead, fit_linear_head
from nerfound.spans import Span, segment_words
from tests.evaluation.examples import CONCEPTS, EXAMPLES

MEASURES = ("precision", "recall", "f1")


@pytest.fixture(scope="module", params=["bert", "roberta"])
def model(request, encoders):
    return load_foundation(str(encoders[request.param]))


@pytest.fixture(scope="module")
def embedded(model):
    return embed_examples(model, EXAMPLES)


def head_of(embedded, protocol, seed):
    """A random head, which finds many spans, some of them across windows; for seed 0 a fitted one, often right."""
    if not seed:
        return SupportVectors(embedded, CONCEPTS).fit(range(6), protocol, 1e-5)
    labels = 1 + len(CONCEPTS) * (2 if protocol == "entity" else 1)
    generator = torch.Generator().manual_seed(seed)
    mean = torch.cat(embedded.vectors).mean(0)
    weight = torch.randn(labels, len(mean), generator=generator)
    return LinearHead(weight, -weight @ mean, 0.0, weight)  # no label is favoured


def figures(row, views, average=""):
    return [row[f"{view}_{average}{measure}"] for view in views for measure in MEASURES]


def assert_same_scores(rows, expected, views, support):
    assert [(row["average"], row["concept"]) for row in rows] == [
        *(("class", concept) for concept in CONCEPTS), ("micro", ""), ("macro", "")
    ]  # fmt: skip
    for row in rows[:-2]:
        one = expected["per_class"][row["concept"]]
        assert row["support"] == one[support]
        assert figures(row, views) == pytest.approx(figures(one, views)), row["concept"]
    for row in rows[-2:]:
        assert figures(row, views) == pytest.approx(figures(expected, views, f"{row['average']}_")), row["average"]
        assert row["support"] == sum(one["support"] for one in rows[:-2])


def test_the_examples_are_what_these_tests_are_about(embedded):
    windows = [window.text for window in embedded.windows]
    assert windows.count(4) > 2
    assert EXAMPLES[2].words != tuple(segment_words(EXAMPLES[2].text))
    assert set(windows) == set(range(6))


@pytest.mark.parametrize("seed", range(6))
def test_entity_scores_are_those_of_a_recognizer(model, embedded, seed):
    head = head_of(embedded, "entity", seed)
    model.set_head(head.weight, head.bias, dict.fromkeys(CONCEPTS, ""))
    predicted = predict_examples(model, EXAMPLES)
    assert sum(map(len, predicted)) > 2
    expected = score_entities(EXAMPLES, predicted, CONCEPTS)
    rows = TestVectors(embedded, CONCEPTS).score(head, "entity")
    assert_same_scores(rows, expected, ("strict", "exact", "partial", "token"), "support")
    if not seed:
        assert rows[-2]["strict_f1"] > 0


def blog_tags(embedded, head):
    """Word by word: the class of the highest mean log-probability over the word's tokens, in its own window."""
    found = [{} for _ in embedded.examples]
    for window, vectors in zip(embedded.windows, embedded.vectors, strict=True):
        log_p = head(vectors).log_softmax(dim=-1)
        for (start, _), (first, end), owned in zip(window.words, window.tokens, window.owned, strict=True):
            label = int(log_p[first:end].mean(0).argmax())
            if owned:
                assert int(start) not in found[window.text]
                found[window.text][int(start)] = f"I-{CONCEPTS[label - 1]}" if label else "O"
    gold, predicted = [], []
    for example, tags in zip(embedded.examples, found, strict=True):
        words = segment_words(example.text) if example.words is None else example.words
        predicted.append([tags.get(start, "O") for start, _ in words])
        covering = [[e.label for e in example.entities if e.start < end and e.end > start] for start, end in words]
        gold.append([f"I-{labels[0]}" if labels else "O" for labels in covering])
    return gold, predicted


@pytest.mark.parametrize("seed", range(4))
def test_blog_scores_are_those_of_a_plain_loop(embedded, seed):
    head = head_of(embedded, "blog", seed)
    gold, predicted = blog_tags(embedded, head)
    rows = TestVectors(embedded, CONCEPTS).score(head, "blog")
    assert_same_scores(rows, token_metrics(gold, predicted, CONCEPTS), ["token"], "token_support")
    assert set(rows[0]) == {"average", "concept", "support", *(f"token_{measure}" for measure in MEASURES)}
    if not seed:
        assert rows[-1]["token_f1"] > 0.2


def test_a_head_that_finds_nothing(model, embedded):
    for protocol, labels in (("entity", 7), ("blog", 4)):
        bias = torch.tensor([100.0, *[0.0] * (labels - 1)])
        head = LinearHead(torch.zeros(labels, model.config.hidden_size), bias, 0.0, bias)
        rows = TestVectors(embedded, CONCEPTS).score(head, protocol)
        assert all(value == 0 for row in rows for name, value in row.items() if name.endswith(MEASURES))
        assert rows[1]["support"] == (6 if protocol == "entity" else 9)


@pytest.mark.parametrize("chosen", [[0], [4, 1], [3, 2, 1, 0]])
def test_a_head_is_fitted_on_the_chosen_sentences_alone(embedded, chosen):
    l2 = 3e-2
    vectors, labels, _ = embedded.select(chosen).training_data(CONCEPTS)
    support = SupportVectors(embedded, CONCEPTS)
    entity = support.fit(chosen, "entity", l2)
    expected = fit_linear_head(vectors, labels, 1 + 2 * len(CONCEPTS), l2=l2)
    torch.testing.assert_close(entity.weight, expected.weight, rtol=0, atol=0)
    torch.testing.assert_close(entity.bias, expected.bias, rtol=0, atol=0)
    classes = 1 + len(CONCEPTS)
    of_word = torch.tensor([0, 1, 1, 2, 2, 3, 3])[labels]  # B and I are one class
    expected = fit_linear_head(vectors, of_word, classes, l2=l2, factors=torch.eye(classes))
    blog = support.fit(chosen, "blog", l2)
    torch.testing.assert_close(blog.weight, expected.weight, rtol=0, atol=0)
    assert entity.l2 == blog.l2 == l2


def test_a_sentence_without_words_is_nothing_to_fit_on(embedded):
    with pytest.raises(ValueError, match="no token to fit a head on"):
        SupportVectors(embedded, CONCEPTS).fit([6], "entity", 1e-2)


def test_test_sentences_without_any_word_are_refused(model):
    with pytest.raises(ValueError, match="no word to score on"):
        TestVectors(embed_examples(model, EXAMPLES[-1:]), CONCEPTS)


def test_words_of_the_windows_are_found_among_all_words(model):
    """A word that the tokenizer drops has no window: the others keep their places."""
    examples = [Example("at \u200b Nobu", (Span(5, 9, "restaurant"),), ((0, 2), (3, 4), (5, 9)))]
    test = TestVectors(embed_examples(model, examples), CONCEPTS)
    assert np.array_equal(test.words[test.positions], test.bounds)
    assert test.gold_words.tolist() == [-1, -1, 0]
