import json

import pytest

from nerfound.fewshot import SupportSet
from nerfound.space import documents, limits
from nerfound.space.documents import (
    add_examples,
    from_markup,
    import_file,
    read_document,
    ready_to_fit,
    to_markup,
    with_marked_concepts,
    write_document,
)
from nerfound.space.limits import RefusedError

DOCUMENT = {
    "concepts": [{"name": "restaurant", "description": "serves meals"}, {"name": "city", "description": ""}],
    "examples": [
        {
            "text": "a table at Nobu in Leeds",
            "entities": [{"start": 11, "end": 15, "label": "restaurant"}, {"start": 19, "end": 24, "label": "city"}],
        },
        {"text": "no mention here", "entities": []},
    ],
}
MARKUP = "a table at [Nobu](restaurant) in [Leeds](city)\nno mention here"


def marked(document):
    return [
        [(example["text"][e["start"] : e["end"]], e["label"]) for e in example["entities"]]
        for example in document["examples"]
    ]


def test_marks_and_markup_are_two_views_of_one_document():
    assert to_markup(DOCUMENT) == MARKUP
    assert from_markup(MARKUP, DOCUMENT) == DOCUMENT
    assert write_document(read_document(DOCUMENT)) == DOCUMENT


def test_a_label_of_the_markup_becomes_a_concept():
    document = from_markup(MARKUP + "\n\nfly to [Oslo](airport)", DOCUMENT)
    assert [concept["name"] for concept in document["concepts"]] == ["restaurant", "city", "airport"]
    assert document["concepts"][0]["description"] == "serves meals"
    assert marked(document)[2] == [("Oslo", "airport")]


def test_texts_may_be_there_before_any_concept():
    document = from_markup("just a text\nanother", {"concepts": [], "examples": []})
    assert document == {
        "concepts": [],
        "examples": [{"text": "just a text", "entities": []}, {"text": "another", "entities": []}],
    }


def test_wrong_markup_is_told_with_its_line():
    with pytest.raises(RefusedError, match=r"^Line 3: a label is not closed"):
        from_markup("fine\n\n[Nobu](restaurant", DOCUMENT)
    with pytest.raises(RefusedError, match=r"^Example 2: .* overlap"):
        from_markup("fine\n[[New](city) York](city)", DOCUMENT)


def test_examples_of_an_api_client_may_be_markup_without_concepts():
    support = ready_to_fit({"examples": ["a table at [Nobu](restaurant)", "nothing"]}, names_suffice=False)
    assert support.concepts == {"restaurant": ""}
    assert len(support.examples) == 2


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (None, "Give {"),
        ({"concepts": {}, "examples": "x"}, "examples must be a list"),
        ({"concepts": "x"}, "concepts must be a list"),
        ({"concepts": [{"name": " "}]}, "needs a name"),
        ({"concepts": [{"name": 3}]}, "needs a name"),
        ({"concepts": [{"name": "City"}, {"name": "city"}], "examples": []}, "is there twice"),
        ({"concepts": [{"name": "x" * 61}]}, "at most 60"),
        ({"concepts": [{"name": "x", "description": "y" * 301}]}, "at most 300"),
        ({"concepts": [{"name": str(i)} for i in range(13)]}, "at most 12"),
        ({"concepts": [{"name": "x"}], "examples": ["t"] * 101}, "at most 100"),
        ({"concepts": [{"name": "x"}], "examples": ["t" * 2001]}, "at most 2,000"),
        ({"concepts": [{"name": "x"}], "examples": ["t" * 2000] * 11}, "takes 20,000"),
        ({"concepts": [{"name": "x"}], "examples": [{"text": "a", "entities": [[0, 1, "x"]]}]}, "Example 1: "),
        ({"concepts": ["x"], "examples": [{"text": "a", "entities": [{"start": 0, "end": 9, "label": "x"}]}]},
         "Example 1: .*off the text"),
        ({"concepts": ["x"], "examples": [{"text": "a", "entities": [{"start": 0, "end": 1, "label": "y"}]}]},
         "Example 1: .*not among"),
        ({"concepts": [{"name": "x"}], "examples": [7]}, "Example 1: "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(document, message):
    with pytest.raises(RefusedError, match=message):
        read_document(document)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"concepts": [], "examples": []}, "name a concept"),
        ({"concepts": [{"name": "x"}], "examples": []}, "add a text"),
        ({"concepts": [{"name": "x"}], "examples": ["a text"]}, "Nothing is marked"),
    ],
)
def test_what_is_missing_for_a_fit_is_told(document, message):
    with pytest.raises(RefusedError, match=message):
        ready_to_fit(document, names_suffice=False)


def test_where_names_suffice_unmarked_texts_say_nothing():
    document = {"concepts": [{"name": "x", "description": "y"}], "examples": ["a text"]}
    assert ready_to_fit(document, names_suffice=True) == SupportSet((), {"x": "y"})
    assert len(ready_to_fit(DOCUMENT, names_suffice=True).examples) == 2
    with pytest.raises(RefusedError, match="name a concept"):
        ready_to_fit({}, names_suffice=True)


def test_concepts_with_a_mention():
    document = {**DOCUMENT, "concepts": [*DOCUMENT["concepts"], {"name": "dish"}]}
    support = ready_to_fit(document, names_suffice=False)
    assert list(support.concepts) == ["restaurant", "city", "dish"]
    assert list(with_marked_concepts(support).concepts) == ["restaurant", "city"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", json.dumps({"text": "fly\nto Oslo", "entities": [{"start": 7, "end": 11, "label": "city"}]})),
        ("a.conll", "fly O\nto O\nOslo B-city\n"),
        ("a.txt", "fly to [Oslo](city)"),
    ],
)
def test_files_are_added_to_what_is_there(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    document = import_file(str(tmp_path / name), DOCUMENT)
    assert document["examples"][:2] == DOCUMENT["examples"]
    assert document["examples"][2]["text"] == "fly to Oslo"  # a line break has no place in markup
    assert marked(document)[2] == [("Oslo", "city")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"text": ', "^Could not read a.jsonl, line 1: not valid JSON"),
        ("a.jsonl", "[" * 100_000, "Could not read"),
        ("a.conll", "word\n", "^Could not read a.conll, line 1"),
        ("a.pkl", "x", "another kind"),
        ("a.parquet", "x", "another kind"),
        ("a.jsonl", "x" * 1_000_001, "at most 1,000,000"),
        ("a.txt", "\xff", "not UTF-8"),
    ],
)
def test_files_that_cannot_be_read_are_told_without_their_folder(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(RefusedError, match=message) as told:
        import_file(str(tmp_path / name), DOCUMENT)
    assert str(tmp_path) not in str(told.value)


def test_a_corrected_text_becomes_an_example_per_line():
    text = "Nobu is full.\n\nTry Leeds\nor New\nYork, 😀 Oslo"
    entities = [
        {"start": 0, "end": 4, "label": "restaurant", "score": 0.5},
        {"start": 19, "end": 24, "label": "city"},
        {"start": 28, "end": 36, "label": "city"},  # over a line break: its lines stay together
        {"start": 40, "end": 44, "label": "city"},
    ]
    document = add_examples(DOCUMENT, text, entities)
    assert [example["text"] for example in document["examples"][2:]] == [
        "Nobu is full.",
        "Try Leeds",
        "or New York, 😀 Oslo",
    ]
    assert marked(document)[2:] == [
        [("Nobu", "restaurant")],
        [("Leeds", "city")],
        [("New York", "city"), ("Oslo", "city")],
    ]


def test_a_text_that_is_corrected_again_takes_the_place_of_its_example():
    once = add_examples(DOCUMENT, "fly to Oslo", [])
    twice = add_examples(once, "fly to Oslo", [{"start": 7, "end": 11, "label": "city"}])
    assert len(twice["examples"]) == 3
    assert marked(twice)[2] == [("Oslo", "city")]


def test_messages_hold_no_markup_of_visitors():
    hostile = "<img src=x onerror=alert(1)>"

    @limits.told
    def handler():
        read_document({"concepts": [{"name": hostile}, {"name": hostile}], "examples": []})

    with pytest.raises(Exception, match="there twice") as shown:
        handler()
    assert type(shown.value).__name__ == "Error"
    assert "<" not in shown.value.message
    assert "&lt;img" in shown.value.message


def test_file_types_are_those_of_the_package_without_parquet():
    from nerfound.fewshot.files import READERS

    assert set(documents.FILE_TYPES) == set(READERS) - {".parquet"}
