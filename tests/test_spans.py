"""Words of any text, and the best legal BIO labelling."""

import itertools

import numpy as np
import pytest
import regex
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nerfound.spans import ADJOINS, CONTINUES, decode_bio, decode_spans, segment_words

# Whatever splits wrongly somewhere: marks, joiners, flags, keycaps, numbers, scripts without spaces, odd white space
PIECES = [
    *["word", "İ", "ß", "e\u0301", "a\u0308\u0323", "\u0301", "👍🏽", "👩\u200d👩\u200d👧", "🇩🇪🇫🇷", "1️⃣"],
    *["1.900,5", "10:30", "10.30am", "3.5億", "東京", "で\u3099", "กำลัง", "ສະບາຍດີ", "မြန်မာ", "ខ្មែរ", "བོད་"],
    *["क्षत्रिय", "مَرْحَبًا", "می\u200cخواهم", "שלום", "한국", "\u1112\u1161\u11ab", "\u0600", "\u0d4e", "ﾞ"],
    *[" ", "\n", "\r\n", "\t", "\u00a0", "\u2028", "\u3000", "\u200b", "\u200d", "\ufeff", "\u00ad", "\x00"],
    *["\ufffd", "_", "-", "'", "(", "\ud800", "\U000e0061"],
]
texts = st.one_of(
    st.text(),
    st.lists(st.sampled_from(PIECES)).map("".join),
    st.text(alphabet="ab1.,:\u0301\u200d 🏽東\u0600\u0d4e"),
)


@given(texts)
@example("1\u0301")
@example("1️⃣ 2️⃣")
@example("a🏽")
@example("กำ")
@example(" \u0301")
@example("\u0600\u0d4e \u0600")
def test_words_cover_every_grapheme_and_nothing_twice(text):
    words = segment_words(text)
    covered = [position for start, end in words for position in range(start, end)]
    assert covered == sorted(set(covered))
    visible = {i for i, character in enumerate(text) if not regex.match(r"\s", character)}
    assert set(covered) == visible  # exactly what is no white space
    bounds = {bound for word in words for bound in word}
    for match in regex.finditer(r"\X", text):
        inside = set(range(match.start() + 1, match.end()))
        if not any(regex.match(r"\s", text[i]) for i in range(*match.span())):
            assert not bounds & inside, f"the grapheme {match.group()!r} is split"


def words_of(text):
    return [text[start:end] for start, end in segment_words(text)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" \n\t\u00a0\u3000", []),
        ("Nobu's café-bar", ["Nobu", "'", "s", "café", "-", "bar"]),
        ("snake_case x2", ["snake_case", "x2"]),
        ("at 10:30, 1.900,50 €", ["at", "10:30", ",", "1.900,50", "€"]),
        ("10.30am 5km", ["10", ".", "30am", "5km"]),
        ("3.5億円", ["3.5", "億", "円"]),
        ("2024年", ["2024", "年"]),
        ("東京タワー", ["東", "京", "タ", "ワ", "ー"]),
        ("İstanbul'da", ["İstanbul", "'", "da"]),
        ("e\u0301te\u0301", ["e\u0301te\u0301"]),
        ("می‌خواهم", ["می‌خواهم"]),
        ("👍🏽👩‍👩‍👧", ["👍🏽", "👩‍👩‍👧"]),
        ("1️⃣.", ["1️⃣", "."]),
        ("שלום עולם", ["שלום", "עולם"]),
        ("...", [".", ".", "."]),
    ],
)
def test_words_of_known_texts(text, words):
    assert words_of(text) == words


def test_long_texts_take_linear_time():
    for piece in ("a", "1", "1.", "a\u0301", "東", " ", "👍🏽", "\u0301"):
        assert segment_words(piece * 100_000)[-1:] != [] or piece == " "


# --- decoding


def legal_paths(words, labels):
    for path in itertools.product(range(labels), repeat=words):
        previous = (0, *path)
        if all(
            label == 0 or label % 2 == 1 or before in {label, label - 1}
            for before, label in zip(previous, path, strict=False)
        ):
            yield path


def path_score(emissions, path):
    begun = sum(label % 2 == 1 and before > 0 for before, label in itertools.pairwise(path))
    inside = sum(label > 0 and label % 2 == 0 for label in path)
    own = sum(float(emissions[t, label]) for t, label in enumerate(path))
    return own + CONTINUES * inside + ADJOINS * begun


@st.composite
def emissions(draw, max_batch=3, max_words=5, max_concepts=2):
    """Scores with distinct sums, so that the best path is unique, and the lengths of the sequences."""
    shape = (
        draw(st.integers(1, max_batch)),
        draw(st.integers(1, max_words)),
        1 + 2 * draw(st.integers(1, max_concepts)),
    )
    values = draw(arrays(np.float32, shape, elements=st.floats(-8, 0, width=32)))
    noise = np.random.default_rng(0).uniform(0, 1e-3, shape).astype(np.float32)
    lengths = draw(st.lists(st.integers(0, shape[1]), min_size=shape[0], max_size=shape[0]))
    return values + noise, np.array(lengths)


@given(emissions())
@settings(max_examples=60)
def test_decoding_equals_brute_force(case):
    scores, lengths = case
    paths = decode_bio(scores, lengths)
    assert paths.shape == scores.shape[:2]
    for row, length, path in zip(scores, lengths, paths, strict=True):
        best = max(legal_paths(length, scores.shape[2]), key=lambda candidate: path_score(row, candidate))
        assert tuple(path[:length]) == best
        assert not path[length:].any()


@given(emissions(max_words=8, max_concepts=4), st.integers(1, 5))
@settings(max_examples=60)
def test_decoding_depends_on_neither_padding_nor_batch(case, padding):
    scores, lengths = case
    together = decode_bio(np.pad(scores, ((0, 0), (0, padding), (0, 0)), constant_values=9.0), lengths)
    for i, length in enumerate(lengths):
        if length:
            alone = decode_bio(scores[i : i + 1, :length], np.array([length]))
            assert (together[i, :length] == alone[0]).all()


def test_decoding_nothing():
    assert decode_bio(np.zeros((2, 0, 5)), np.zeros(2, dtype=int)).shape == (2, 0)
    assert decode_bio(np.zeros((0, 3, 5)), np.zeros(0, dtype=int)).shape == (0, 3)
    assert not decode_bio(np.zeros((1, 3, 1)), np.array([3])).any()


@given(st.lists(st.integers(0, 6), max_size=8))
def test_spans_of_a_path(path):
    legal = [
        0 if label and label % 2 == 0 and (i == 0 or path[i - 1] not in {label, label - 1}) else label
        for i, label in enumerate(path)
    ]
    while legal != (repaired := [
        0 if label and label % 2 == 0 and (i == 0 or legal[i - 1] not in {label, label - 1}) else label
        for i, label in enumerate(legal)
    ]):  # fmt: skip
        legal = repaired
    rebuilt = [0] * len(legal)
    for row, start, end, concept in decode_spans(np.array([[0] * len(legal), legal], dtype=np.int64)):
        assert row == 1
        assert not any(rebuilt[start:end])
        rebuilt[start:end] = [1 + 2 * concept] + [2 + 2 * concept] * (end - start - 1)
    assert rebuilt == legal
