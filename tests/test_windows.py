"""Texts as windows: nothing is lost, nothing counts twice, whatever the text, the tokenizer and the sizes."""

import copy
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from nerfound.spans import segment_words
from nerfound.windows import batch_windows, make_windows, pad_windows
from tests.factories import (
    SENTENCES,
    byte_level_tokenizer,
    tokenizer_of,
    unigram_tokenizer,
    wordpiece_tokenizer,
)
from tests.test_spans import PIECES


def cut_on_the_left(tokenizer):
    """A tokenizer whose overflowing parts come in the opposite order."""
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.truncation_side = "left"
    return tokenizer


TOKENIZERS = {
    "wordpiece": wordpiece_tokenizer,
    "cased": lambda: wordpiece_tokenizer(lower_case=False),
    "byte-level": byte_level_tokenizer,
    "unigram": unigram_tokenizer,
    "cut on the left": lambda: cut_on_the_left(wordpiece_tokenizer()),
}
texts = st.one_of(st.text(), st.lists(st.sampled_from([*PIECES, *SENTENCES])).map("".join))
tokenizers = st.sampled_from(list(TOKENIZERS))


@cache
def tokenizer_named(name):
    return TOKENIZERS[name]()


@st.composite
def sizes(draw):
    max_tokens = draw(st.integers(3, 40))
    return max_tokens, draw(st.integers(0, max_tokens - 3))


def without_surrogates(text):
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def tokens_of_words(tokenizer, text):
    """By word: the ids of the tokens that overlap it, in an encoding of the whole text."""
    encoded = tokenizer(text, return_offsets_mapping=True)
    return {
        word: [
            token
            for token, (start, end) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
            if end > start and start < word[1] and end > word[0]
        ]
        for word in segment_words(text)
    }


@given(texts.map(without_surrogates), tokenizers, sizes())
@example("x" * 200, "byte-level", (5, 0))
@example("👍🏽" * 20, "byte-level", (3, 0))
@example("a b \ufffd" + "\u0301" * 6 + "\u093e c", "wordpiece", (4, 0))  # only the word's last character has a token
@example("[SEP] a [PAD] <s> b </s>", "wordpiece", (4, 1))
def test_every_word_with_a_token_is_owned_once(text, name, size):
    tokenizer = tokenizer_named(name)
    max_tokens, overlap = size
    expected = tokens_of_words(tokenizer, text)
    owned = []
    for window in make_windows(tokenizer, [text], max_tokens=max_tokens, overlap=overlap):
        assert 0 < len(window) <= max_tokens
        assert {len(value) for value in window.inputs.values()} == {len(window)}
        assert len(window.words) == len(window.tokens) == len(window.owned)
        for (start, end), (first, behind), mine in zip(window.words, window.tokens, window.owned, strict=True):
            ids = window.inputs["input_ids"][first:behind]
            assert ids
            whole = expected[start, end]
            assert any(ids == whole[i : i + len(ids)] for i in range(len(whole)))
            if mine:
                owned.append((int(start), int(end)))
    assert owned == [word for word, ids in expected.items() if ids]


@given(texts.map(without_surrogates), tokenizers)
def test_one_window_is_the_plain_encoding(text, name):
    tokenizer = tokenizer_named(name)
    plain = tokenizer(text)
    words = {word: ids for word, ids in tokens_of_words(tokenizer, text).items() if ids}
    windows = make_windows(tokenizer, [text], max_tokens=100_000)
    if not segment_words(text):
        assert windows == []
    for window in windows:
        assert window.inputs == dict(plain)
        assert [tuple(word) for word in window.words.tolist()] == list(words)
        assert window.owned.all()
        ids = [window.inputs["input_ids"][first:end] for first, end in window.tokens]
        assert ids == list(words.values())


@given(st.lists(texts, max_size=4), tokenizers, sizes())
@settings(max_examples=50)
def test_texts_do_not_influence_each_other(several, name, size):
    tokenizer = tokenizer_named(name)
    together = make_windows(tokenizer, several, max_tokens=size[0], overlap=size[1])
    alone = [
        (number, window)
        for number, text in enumerate(several)
        for window in make_windows(tokenizer, [text], max_tokens=size[0], overlap=size[1])
    ]
    assert [window.text for window in together] == [number for number, _ in alone]
    for window, (_, other) in zip(together, alone, strict=True):
        assert window.inputs == other.inputs
        for name in ("words", "tokens", "owned"):
            assert np.array_equal(getattr(window, name), getattr(other, name))


def test_lone_surrogates_are_read_as_unknown_characters():
    for name in TOKENIZERS:
        (window,) = make_windows(tokenizer_named(name), ["a \ud83d b\udc4d"])
        (other,) = make_windows(tokenizer_named(name), ["a \ufffd b\ufffd"])
        assert window.inputs == other.inputs
        assert np.array_equal(window.words, other.words)


def test_words_at_a_border_belong_to_the_window_that_sees_more_of_their_context():
    text = " ".join(["at"] * 100)
    tokenizer = tokenizer_named("wordpiece")
    windows = make_windows(tokenizer, [text], max_tokens=22, overlap=8)
    assert len(windows) > 5
    for i, window in enumerate(windows):
        before = np.flatnonzero(window.owned)[0]
        after = len(window.words) - 1 - np.flatnonzero(window.owned)[-1]
        assert before == (0 if i == 0 else pytest.approx(4, abs=1))
        assert after == (0 if i == len(windows) - 1 else pytest.approx(4, abs=1))


def test_words_given_by_the_caller():
    text = "New York-based"
    words = [(0, 8), (8, 14)]
    (window,) = make_windows(tokenizer_named("byte-level"), [text], [words])
    assert window.words.tolist() == [[0, 8], [8, 14]]
    (default,) = make_windows(tokenizer_named("byte-level"), [text], [None])
    assert default.words.tolist() == [list(word) for word in segment_words(text)]


def test_no_text_and_no_word():
    tokenizer = tokenizer_named("wordpiece")
    assert make_windows(tokenizer, []) == []
    assert make_windows(tokenizer, ["", " \n\t"]) == []
    windows = make_windows(tokenizer, ["", "a", " ", "b"])
    assert [window.text for window in windows] == [1, 3]


def test_sizes_that_make_no_progress():
    tokenizer = tokenizer_named("wordpiece")
    for max_tokens, overlap in [(10, 8), (10, 20), (10, -1), (2, 0)]:
        with pytest.raises(ValueError, match=f"overlap={overlap} leaves no room for new tokens in a window of"):
            make_windows(tokenizer, ["a"], max_tokens=max_tokens, overlap=overlap)


def test_slow_tokenizers_are_refused():
    class Slow(PreTrainedTokenizerBase):
        is_fast = False

    with pytest.raises(ValueError, match="Slow tells no character offsets"):
        make_windows(Slow(), ["a"])


def test_padding(kind):
    tokenizer = tokenizer_of(kind)
    several = ["a", SENTENCES[0], "b c"]
    windows = make_windows(tokenizer, several)
    padded = pad_windows(windows, tokenizer)
    expected = tokenizer(several, padding=True, return_tensors="pt")
    assert padded.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(padded[name], value), name


def test_batches_are_of_similar_length():
    windows = make_windows(tokenizer_named("wordpiece"), ["at " * n for n in (3, 30, 1, 20, 2, 25, 1)])
    batches = list(batch_windows(windows, 3))
    assert sorted(i for batch in batches for i in batch) == list(range(7))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    lengths = [len(windows[i]) for batch in batches for i in batch]
    assert lengths == sorted(lengths, reverse=True)
