"""The corpus in the package: complete, with every offset right."""

from collections import Counter

import pytest

from nerfound.corpus import CORPUS_FEATURES, AlignmentReport, load_packaged_corpus, read_corpus, validate_row
from nerfound.spans import segment_words

OTHER_LANGUAGES = [
    "Chinese (simplified)",
    "Dutch",
    "French",
    "German",
    "Italian",
    "Polish",
    "Portuguese",
    "Russian",
    "Spanish",
    "Turkish",
]


@pytest.fixture(scope="module")
def corpus():
    return load_packaged_corpus("all")


def test_counts(corpus):
    assert corpus.features == CORPUS_FEATURES
    assert len(corpus) == 13717
    assert Counter(corpus["language"]) == {"English": 13117} | dict.fromkeys(OTHER_LANGUAGES, 60)
    assert len(set(corpus["id"])) == 13717


def test_every_entity_lies_on_its_words(corpus):
    entities = 0
    for row in corpus:
        validate_row(row, row["id"])
        words = segment_words(row["text"])
        starts, ends = {start for start, _ in words}, {end for _, end in words}
        assert all(entity["start"] in starts and entity["end"] in ends for entity in row["entities"]), row["id"]
        entities += len(row["entities"])
    assert entities == 101_337


def test_languages(corpus):
    english = load_packaged_corpus()
    assert set(english["language"]) == {"English"}
    assert len(english) == 13117
    assert len(load_packaged_corpus(["German", "Polish"])) == 120
    report = AlignmentReport()
    assert read_corpus("default", report=report).to_list() == english.to_list()
    assert report.passages == 13117
    assert report.given == report.aligned == sum(map(len, english["entities"]))


@pytest.mark.parametrize("languages", ["German", ["Klingon"], ["English", "german"], []])
def test_unknown_languages_are_refused(languages):
    with pytest.raises(ValueError, match='give "all" or some of'):
        load_packaged_corpus(languages)
