"""Passages cut out of their context, or without punctuation: the mentions stay what they are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerfound.corpus import load_packaged_corpus
from nerfound.pretraining.augmentation import FEWEST_WORDS, Augmentation, crop_passage, without_punctuation


def row_of(text, *mentions):
    entities = []
    for mention in mentions:
        start = text.index(mention)
        entities.append(
            {"start": start, "end": start + len(mention), "text": mention, "concept": "c", "description": ""}
        )
    return {"id": "1", "text": text, "entities": entities}


def mentions_of(row):
    return [row["text"][entity["start"] : entity["end"]] for entity in row["entities"]]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Pay $1,900.50, now!", "Pay $1,900.50 now"),
        ('At 10:30, she (Dr. O\'Neil) said: "no".', "At 10:30 she Dr O'Neil said no"),
        ("R&D's x-ray, 40% of km/h…", "R&D's x-ray 40% of km/h"),
        ("the boys' room; «yes»", "the boys room yes"),
        ("mhra.gov.uk, Dari–English", "mhra gov uk Dari English"),
    ],
)
def test_punctuation_goes_and_what_makes_a_word_stays(text, plain):
    assert without_punctuation(row_of(text))["text"] == plain


def test_mentions_keep_their_words_without_punctuation():
    row = row_of("We met Yahoo! Inc., near St. Ives (Kent).", "Yahoo! Inc.", "St. Ives", "Kent", "(")
    plain = without_punctuation(row)
    assert mentions_of(plain) == ["Yahoo Inc", "St Ives", "Kent"]  # the bracket is no mention any more
    assert [entity["text"] for entity in plain["entities"]] == mentions_of(plain)
    assert row["entities"][0]["text"] == "Yahoo! Inc."  # the row given stays as it is


@given(st.integers(0, 10_000))
def test_a_piece_cuts_no_mention(seed):
    text = "The old town hall of Sankt Gallen was sold to Haus und Grund AG in 1997 by the mayor"
    row = row_of(text, "old town hall of Sankt Gallen", "Sankt Gallen", "Haus und Grund AG", "1997")
    piece = crop_passage(row, np.random.default_rng(seed))
    assert piece["text"] in text
    assert len(piece["text"].split()) >= FEWEST_WORDS
    assert mentions_of(piece) == [entity["text"] for entity in piece["entities"]]
    for name in ("Haus", "1997"):  # whatever of a mention is there is labelled
        assert (name in piece["text"]) == any(name in mention for mention in mentions_of(piece))


def test_a_short_passage_stays_whole():
    row = row_of("no more than five words")
    assert crop_passage(row, np.random.default_rng(0)) is row


def test_shares():
    rows = [dict(row) for row in load_packaged_corpus().select(range(400))]
    random = np.random.default_rng(0)
    changed = [Augmentation(0.5, 0.0)(row, random)["text"] != row["text"] for row in rows]
    assert 0.4 < np.mean(changed) < 0.6
    assert all(Augmentation(0.0, 0.0)(row, random) is row for row in rows)
    assert not any(Augmentation(0.0, 1.0)(row, random)["text"].endswith((".", "?", "!")) for row in rows)
    for row in rows:
        both = Augmentation(1.0, 1.0)(row, random)
        assert all(mention == mention.strip() != "" for mention in mentions_of(both))
