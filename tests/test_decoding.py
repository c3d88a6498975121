"""From logits to entities: the scores of words, flat and nested decoding, windows put together again."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nerfound.decoding import decode_texts, decode_windows, merge_entities, word_log_probabilities
from nerfound.spans import decode_bio, decode_spans
from nerfound.windows import Window, make_windows
from tests.factories import SENTENCES, byte_level_tokenizer

LABELS = ["city", "person", "river"]


def windows_of(texts, **kwargs):
    return make_windows(byte_level_tokenizer(), texts, **kwargs)


def random_logits(windows, concepts=2, seed=0, scale=3.0):
    torch.manual_seed(seed)
    return scale * torch.randn(len(windows), max(map(len, windows)), 1 + 2 * concepts)


def softmax(values):
    exponentials = [math.exp(value) for value in values]
    return [value / sum(exponentials) for value in exponentials]


def slow_word_scores(logits, window, nested):
    """By word: log-probabilities of O, B-first, I-first, B-second, …; of each concept's O, B, I if nested."""
    scores = []
    for first, end in window.tokens:
        rows = []
        for token in range(first, end):
            values = logits[token].tolist()
            if nested:
                row = [p for c in range(len(values) // 2) for p in softmax([0.0, values[1 + 2 * c], values[2 + 2 * c]])]
                kinds = "OBI" * (len(values) // 2)
            else:
                row, kinds = softmax(values), "O" + "BI" * (len(values) // 2)
            # behind its first token, a word that begins an entity is inside
            rows.append([
                math.log(row[i + 1] if kind == "B" and token > first else row[i]) for i, kind in enumerate(kinds)
            ])  # fmt: skip
        scores.append([sum(column) / len(rows) for column in zip(*rows, strict=True)])
    return scores


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("concepts", [1, 3])
def test_word_scores_equal_a_slow_reference(nested, concepts):
    windows = windows_of(SENTENCES)
    logits = random_logits(windows, concepts)
    scores = word_log_probabilities(logits, windows, nested=nested)
    labels = (concepts, 3) if nested else (1 + 2 * concepts,)
    assert scores.shape == (len(windows), max(len(window.words) for window in windows), *labels)
    assert scores.dtype == np.float32
    for row, window, found in zip(logits, windows, scores, strict=True):
        expected = np.array(slow_word_scores(row, window, nested))
        np.testing.assert_allclose(found[: len(window.words)].reshape(expected.shape), expected, atol=2e-6)


def test_word_scores_stay_exact_far_into_a_long_window():
    """Running sums over thousands of very unlikely tokens must not blur the last words."""
    windows = windows_of([" ".join(SENTENCES) * 5], max_tokens=5000)
    assert len(windows) == 1
    logits = random_logits(windows, scale=20.0)
    found = word_log_probabilities(logits, windows)[0, -5:]
    expected = slow_word_scores(logits[0], windows[0], nested=False)[-5:]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits(dtype):
    windows = windows_of(SENTENCES[:2])
    logits = random_logits(windows).to(dtype)
    np.testing.assert_array_equal(
        word_log_probabilities(logits, windows), word_log_probabilities(logits.float(), windows)
    )


@given(
    st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=4), st.booleans(), st.integers(0, 9), st.integers(0, 7)
)
@settings(max_examples=40)
def test_decoding_depends_on_neither_batch_nor_padding(texts, nested, seed, padding):
    windows = windows_of(texts)
    logits = random_logits(windows, seed=seed)
    padded = torch.nn.functional.pad(logits, (0, 0, 0, padding), value=30.0)
    together = decode_windows(padded, windows, LABELS, nested=nested)
    for row, window, entities in zip(logits, windows, together, strict=True):
        assert decode_windows(row[None, : len(window)], [window], LABELS, nested=nested) == [entities]


@given(st.sampled_from(SENTENCES), st.integers(0, 99))
@settings(max_examples=40)
def test_flat_decoding(text, seed):
    """The best legal path over words; scores are mean probabilities; order, offsets and labels are right."""
    windows = windows_of([text])
    logits = random_logits(windows, concepts=3, seed=seed)
    (entities,) = decode_windows(logits, windows, LABELS)
    scores = np.array(slow_word_scores(logits[0], windows[0], nested=False))
    spans = decode_spans(decode_bio(scores[None], np.array([len(scores)])))[:, 1:]
    assert [(e["start"], e["end"], e["label"]) for e in entities] == [
        (windows[0].words[first][0], windows[0].words[end - 1][1], LABELS[concept]) for first, end, concept in spans
    ]
    for entity, (first, end, concept) in zip(entities, spans, strict=True):
        expected = np.exp(scores[first:end, 1 + 2 * concept : 3 + 2 * concept]).sum(1).mean()
        assert entity["score"] == pytest.approx(min(expected, 1.0), abs=1e-5)
        assert 0 < entity["score"] <= 1
    assert all(a["end"] <= b["start"] for a, b in pairwise(entities))


@given(st.sampled_from(SENTENCES), st.integers(0, 99))
@settings(max_examples=40)
def test_nested_decoding_is_flat_decoding_of_every_concept_on_its_own(text, seed):
    windows = windows_of([text])
    logits = random_logits(windows, concepts=3, seed=seed)
    (entities,) = decode_windows(logits, windows, LABELS, nested=True)
    expected = []
    for concept, label in enumerate(LABELS):
        alone = torch.cat([torch.zeros_like(logits[..., :1]), logits[..., 1 + 2 * concept : 3 + 2 * concept]], dim=-1)
        expected += decode_windows(alone, windows, [label])[0]
    expected.sort(key=lambda entity: (entity["start"], -entity["end"], entity["label"]))
    assert [dict(entity, score=0) for entity in entities] == [dict(entity, score=0) for entity in expected]
    np.testing.assert_allclose([e["score"] for e in entities], [e["score"] for e in expected], atol=1e-6)


def test_nested_entities_overlap():
    text = "Bank of England"
    (window,) = windows_of([text])
    logits = torch.full((1, len(window), 5), -9.0)
    for label, words in {1: [0], 2: [1, 2], 3: [2]}.items():  # organisation: all three words; country: the last
        for word in words:
            first, end = window.tokens[word]
            logits[0, first:end, label] = 9.0
            logits[0, first + 1 : end, label] = -9.0 if label % 2 else 9.0
            logits[0, first + 1 : end, label + label % 2] = 9.0
    (entities,) = decode_windows(logits, [window], ["organisation", "country"], nested=True)
    assert [(e["start"], e["end"], e["label"]) for e in entities] == [(0, 15, "organisation"), (8, 15, "country")]


def test_only_entities_that_begin_in_a_word_of_its_own_are_a_window_s():
    (window,) = windows_of(["a b c"])
    window = Window(0, window.inputs, window.words, window.tokens, np.array([False, True, False]))
    logits = torch.full((1, len(window), 3), 0.0)
    logits[..., 1] = 5.0  # every word an entity
    assert [(e["start"], e["end"]) for e in decode_windows(logits, [window], ["x"])[0]] == [(2, 3)]


def entity(start, end, label="x"):
    return {"start": start, "end": end, "label": label, "score": 0.5}


def test_windows_that_disagree():
    parts = [[entity(0, 5), entity(6, 12)], [entity(10, 14), entity(12, 13)]]
    assert [e["text"] for e in merge_entities(parts, "abcdefghijklmno")] == ["abcde", "ghijkl", "m"]
    nested = merge_entities(parts, "abcdefghijklmno", nested=True)
    assert [e["text"] for e in nested] == ["abcde", "ghijkl", "klmn", "m"]


@given(
    st.lists(st.sampled_from(["", " ", *SENTENCES, " ".join(SENTENCES)]), max_size=6),
    st.integers(1, 5),
    st.integers(8, 40),
    st.booleans(),
)
@example([], 1, 10, False)
@settings(max_examples=40)
def test_texts_keep_their_order_and_their_entities(texts, batch_size, max_tokens, nested):
    """Logits are a function of the token alone, so that every batch, and (almost) every window, must agree."""
    generator = torch.Generator().manual_seed(0)
    table = 3 * torch.randn(len(byte_level_tokenizer()), 7, generator=generator)
    windows = windows_of(texts, max_tokens=max_tokens)
    seen = []

    def logits_of(batch):
        seen.extend(batch)
        assert 1 <= len(batch) <= batch_size
        return torch.nn.utils.rnn.pad_sequence([table[windows[i].inputs["input_ids"]] for i in batch], batch_first=True)

    found = decode_texts(texts, windows, logits_of, LABELS, nested=nested, batch_size=batch_size)
    assert sorted(seen) == list(range(len(windows)))
    assert len(found) == len(texts)
    for text, entities in zip(texts, found, strict=True):
        starts = [entity["start"] for entity in entities]
        assert starts == sorted(starts)
        assert all(entity["text"] == text[entity["start"] : entity["end"]] for entity in entities)
        assert {entity["label"] for entity in entities} <= set(LABELS)
        if not nested:
            assert all(a["end"] <= b["start"] for a, b in pairwise(entities))
        whole = windows_of([text], max_tokens=10_000)
        if len(whole) and sum(window.text == texts.index(text) for window in windows) == 1:
            logits = table[whole[0].inputs["input_ids"]][None]
            (expected,) = decode_windows(logits, whole, LABELS, nested=nested)
            assert entities == [dict(entity, text=text[entity["start"] : entity["end"]]) for entity in expected]
