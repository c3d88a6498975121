"""Token labels, and frozen vectors of examples."""

import numpy as np
import pytest
import torch

from nerfound.fewshot import parse_examples
from nerfound.fewshot.embedding import embed_examples, token_labels
from nerfound.spans import Span
from nerfound.windows import make_windows
from tests.factories import SENTENCES, byte_level_tokenizer, make_recognizer

TEXT = "from New York to Xyzzy"
ENTITIES = [Span(5, 13, "city"), Span(17, 22, "ruin")]


def labels_by_word(window, labels):
    return [labels[first:end].tolist() for first, end in window.tokens]


def test_flat_labels():
    (window,) = make_windows(byte_level_tokenizer(), [TEXT])
    labels = token_labels(window, ENTITIES, ["ruin", "city"])
    assert labels[0] == labels[-1] == -100  # special tokens
    words = labels_by_word(window, labels)
    assert [word[0] for word in words] == [0, 3, 4, 0, 1]
    assert all(len(set(word)) == 1 for word in words[:-1] if word[0] != 3)
    assert len(words[-1]) > 1
    assert set(words[-1][1:]) == {2}  # the first token alone is B


def test_nested_labels():
    (window,) = make_windows(byte_level_tokenizer(), [TEXT])
    labels = token_labels(window, [Span(5, 13, "city"), Span(5, 8, "word")], ["word", "city"], nested=True)
    assert labels.shape == (len(window), 2)
    assert (labels[[0, -1]] == -100).all()
    assert [word[0] for word in labels_by_word(window, labels)] == [[0, 0], [1, 1], [0, 2], [0, 0], [0, 0]]


def test_an_entity_that_covers_part_of_a_word_takes_all_of_it():
    (window,) = make_windows(byte_level_tokenizer(), ["Yorkshire"])
    assert set(token_labels(window, [Span(0, 4, "x")], ["x"])[1:-1]) == {1, 2}


@pytest.mark.parametrize("nested", [False, True])
def test_every_token_of_a_long_text_is_labelled_in_one_window(nested):
    """Windows put together give the labels of the text as a whole."""
    text = " ".join(SENTENCES)
    entities = [
        Span(text.index(word), text.index(word) + len(word), "x") for word in ("Nobu in Paris", "Warsaw", "東京")
    ]
    (whole,) = make_windows(byte_level_tokenizer(), [text], max_tokens=5000)
    expected = labels_by_word(whole, token_labels(whole, entities, ["x"], nested=nested))
    found = {}
    for window in make_windows(byte_level_tokenizer(), [text], max_tokens=50):
        labels = token_labels(window, entities, ["x"], nested=nested)
        words = labels_by_word(window, labels)
        for word, mine, label in zip(window.words.tolist(), window.owned, words, strict=True):
            if mine:
                found[tuple(word)] = label
        labelled = {token for first, end in window.tokens[window.owned] for token in range(first, end)}
        assert set(np.flatnonzero((labels != -100).reshape(len(window), -1).all(1))) == labelled
    assert [found[tuple(word)] for word in whole.words.tolist()] == expected


@pytest.fixture
def examples():
    return parse_examples([
        "at [Nobu](restaurant) in [Paris](city)", "nothing here", "near " * 100 + "[Noma](restaurant)"
    ]).examples  # fmt: skip


def test_vectors_do_not_depend_on_the_batch(recognizer, examples):
    alone = embed_examples(recognizer, examples, batch_size=1)
    together = embed_examples(recognizer, examples, batch_size=32)
    assert len(alone.windows) > 3
    torch.testing.assert_close(together.vectors, alone.vectors)
    tokens = recognizer.tokenizer(examples[0].text, return_tensors="pt")
    torch.testing.assert_close(alone.vectors[0], recognizer.token_states(**tokens)[0])
    assert all(
        not v.requires_grad and v.shape == (len(w), 32) for v, w in zip(alone.vectors, alone.windows, strict=True)
    )


def test_training_data(recognizer, examples):
    vectors, labels, groups = embed_examples(recognizer, examples).training_data(["city", "restaurant"])
    assert len(vectors) == len(labels) == len(groups)
    assert groups.unique().tolist() == [0, 1, 2]
    assert (labels != -100).all()
    begins = [(int(group), int(label)) for group, label in zip(groups, labels, strict=True) if label % 2]
    assert begins == [(0, 3), (0, 1), (2, 3)]
    plain = recognizer.tokenizer(examples[2].text, add_special_tokens=False)["input_ids"]
    assert (groups == 2).sum() == len(plain)  # each token once, whatever the windows


def test_a_selection_of_examples(recognizer, examples):
    embedded = embed_examples(recognizer, examples)
    _, labels, groups = embedded.select([2, 0]).training_data(["city", "restaurant"])
    assert set(groups.tolist()) == {0, 2}
    assert (labels % 2).sum() == 3


def test_half_precision_vectors_are_float32(encoders, examples):
    model = make_recognizer(encoders["bert"], dtype=torch.bfloat16)
    assert {vectors.dtype for vectors in embed_examples(model, examples).vectors} == {torch.float32}
