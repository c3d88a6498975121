import zipfile

import numpy as np
import pytest
from transformers import pipeline

from nerfound.concepts import Concept
from nerfound.fewshot import Example, SupportSet, parse_examples
from nerfound.pretraining.ranking import CONCEPT_TOKENIZER_FOLDER
from nerfound.space import archives
from nerfound.space.archives import write_archive
from nerfound.space.compare import judge
from nerfound.space.concepts import read_concept_lines
from nerfound.space.documents import ready_to_fit, with_marked_concepts
from nerfound.space.engine import Engine
from nerfound.space.limits import MAX_CONCEPTS, RefusedError
from nerfound.space.see import packaged_map
from nerfound.space.worked import known_answers, worked_examples
from nerfound.spans import Span, segment_words
from tests.factories import make_contrast, tokenizer_of

EXAMPLES = [
    "book a table at [Nobu](restaurant) in [Paris](city) for four people tonight",
    "is there a free table at [Noma](restaurant), near the river?",
    "fly from [Berlin](city) to [New York](city) at 10:30",
]


@pytest.fixture(scope="module")
def taught(engine):
    return engine.teach(parse_examples(EXAMPLES))


def test_recognizers_share_the_encoder_and_differ_in_their_heads(engine, taught):
    other = engine.teach(parse_examples(["fly to [Oslo](airport)", "[Rome](airport) is closed"]))
    assert other.recognizer.token_encoder is taught.recognizer.token_encoder
    assert other.recognizer.token_encoder is engine.contrast.token_encoder
    assert (taught.recognizer.labels, other.recognizer.labels) == (["restaurant", "city"], ["airport"])
    text = "a table at Nobu in Paris"
    before = taught.extract(text)
    other.extract(text)
    assert taught.extract(text) == before
    assert all(text[entity["start"] : entity["end"]] == entity["text"] for entity in before)


def test_the_plain_encoder_is_another_one(engine):
    base = engine.teach(parse_examples(EXAMPLES), "base")
    assert base.recognizer.token_encoder is engine.encoders["base"].token_encoder
    assert base.recognizer.token_encoder is not engine.contrast.token_encoder


def test_without_a_prior_a_concept_without_mention_is_left_out(engine):
    assert not engine.starts_from_names
    support = parse_examples(EXAMPLES, concepts=["restaurant", "dish", "city"])
    taught = engine.teach(support)
    assert taught.recognizer.labels == ["restaurant", "city"]
    assert list(taught.support.concepts) == ["restaurant", "dish", "city"]


def test_with_a_prior_names_suffice(encoders, tmp_path):
    folder = make_contrast(tmp_path / "f", encoders["bert"], encoders["bert"], score="cosine", boundary_weight=0.1)
    tokenizer_of("bert").save_pretrained(folder / CONCEPT_TOKENIZER_FOLDER)
    engine = Engine(str(folder), str(encoders["roberta"]))
    assert engine.starts_from_names
    untaught = engine.teach(SupportSet((), {"city": "a large town", "dish": ""}))
    assert untaught.recognizer.labels == ["city", "dish"]
    taught = engine.teach(parse_examples(EXAMPLES, concepts=["restaurant", "dish", "city"]))
    assert taught.recognizer.labels == ["restaurant", "dish", "city"]
    assert taught.recognizer.token_encoder is engine.contrast.token_encoder


def test_the_archive_loads_with_the_pipeline_and_finds_the_same(taught, tmp_path):
    path = write_archive(taught.recognizer, tmp_path / "archives")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path)
    pipe = pipeline("few-shot-ner", model=str(tmp_path / "recognizer"))
    text = "is there a table at Nobu in Berlin?"
    found = [(e["start"], e["end"], e["entity_group"], round(e["score"], 4)) for e in pipe(text)]
    assert found == [(e["start"], e["end"], e["label"], e["score"]) for e in taught.extract(text)]
    written = b"".join(file.read_bytes() for file in (tmp_path / "recognizer").glob("*.json"))
    assert str(tmp_path.parent).encode() not in written
    readme = (tmp_path / "recognizer" / "README.md").read_text()
    assert "few-shot-ner" in readme
    assert 'aggregation_strategy="average"' in readme


def test_archives_make_room_for_each_other(taught, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_ARCHIVES", 2)
    paths = [write_archive(taught.recognizer, tmp_path) for _ in range(3)]
    assert [path.exists() for path in paths] == [False, True, True]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_recognizer_too_large_is_not_handed_out(taught, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_ARCHIVE_BYTES", 1_000)
    with pytest.raises(RefusedError, match="nerfound fit"):
        write_archive(taught.recognizer, tmp_path)


def test_concepts_are_scored_by_the_dual_encoder(engine):
    text = "Marie Curie was born in Warsaw in 1867; " * 8  # more than one window
    concepts = [Concept("person", "a human being"), Concept("city")]
    words, scores = engine.score_concepts(text, concepts)
    assert words == segment_words(text)
    assert scores.shape == (len(words), 2)
    assert ((scores > 0) & (scores < 1)).all()
    alone = engine.score_concepts(text, concepts[1:])[1]
    np.testing.assert_allclose(scores[:, 1:], alone, rtol=1e-4)
    tokens = engine.encoders["foundation"].tokenizer("Warsaw", return_tensors="pt")
    names = engine.concept_tokenizer(["city"], return_tensors="pt")
    logits = engine.contrast(**tokens, concept_input_ids=names["input_ids"]).logits[0, 1:-1, 0]
    expected = 1 / (1 + np.exp(-logits.mean().item()))
    np.testing.assert_allclose(engine.score_concepts("Warsaw", concepts[1:])[1], [[expected]], rtol=1e-3)


def test_concept_lines():
    assert read_concept_lines("city: a town: large\n\n person ") == [
        Concept("city", "a town: large"),
        Concept("person"),
    ]
    for lines, message in [("", "empty"), (": x", "no name"), ("a\n" * 9, "at most 8"), ("x" * 61, "is long")]:
        with pytest.raises(RefusedError, match=message):
            read_concept_lines(lines)


def test_the_worked_examples_hold_what_a_visitor_needs():
    worked = worked_examples()
    assert len(worked) == 3
    for each in worked:
        support = ready_to_fit(each.document, names_suffice=False)
        assert 3 <= len(support.concepts) <= MAX_CONCEPTS
        assert with_marked_concepts(support) == support
        taught = {example.text for example in support.examples}
        for held_out in (*each.new, each.compare):
            assert held_out.text not in taught
            assert known_answers()[held_out.text] == held_out
            assert {entity.label for entity in held_out.entities} <= set(support.concepts)


def test_verdicts():
    answer = Example("Nobu Leeds in Oslo today", (Span(0, 10, "a"), Span(14, 18, "b"), Span(19, 24, "c")))
    found = [
        {"start": 5, "end": 10, "label": "a", "text": "Leeds", "score": 0.9},
        {"start": 11, "end": 13, "label": "a", "text": "in", "score": 0.9},
        {"start": 14, "end": 18, "label": "b", "text": "Oslo", "score": 0.9},
    ]
    assert [entity["verdict"] for entity in judge(found, answer)] == ["partly", "wrong", "right", "missed"]
    assert [entity["verdict"] for entity in judge([{**found[2], "label": "a"}], answer)] == [
        "missed",
        "wrong",
        "missed",
    ]


def test_the_packaged_map_loads_nothing():
    page = packaged_map()
    assert "default-src 'none'" in page
    assert "http://" not in page
    assert "https://" not in page
    assert '"city"' in page
