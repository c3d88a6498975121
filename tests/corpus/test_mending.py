"""The rules that mended the packaged corpus, each on a passage of its own."""

import copy

import pytest

from nerfound.corpus import validate_row
from tests.benchmarks.corpus_mending import TABLES, mend
from tests.pretraining.helpers import passages, row


def added(text, *entities):
    """What mending adds to a passage: mention, concept and start."""
    given = row(text, *entities)
    (mended,), _ = mend([given])
    validate_row(mended, "mended")
    known = {(entity["start"], entity["end"]) for entity in given["entities"]}
    return [(e["text"], e["concept"], e["start"]) for e in mended["entities"] if (e["start"], e["end"]) not in known]


@pytest.mark.parametrize(
    ("text", "entity", "expected"),
    [
        ("Nettle tea. Add nettle, then NETTLES.", ("Nettle", "plant"), [("nettle", 16), ("NETTLES", 29)]),
        ("Two poles; each pole turns, a flagpole does not.", ("poles", "part"), [("pole", 16)]),
        ("No exits? IT said it was it.", ("IT", "department"), []),
        ("A sister, and a sister ship.", ("A sister", "relative"), []),
        ("Mavis Lever sat. Lever had won.", ("Mavis Lever", "codebreaker"), [("Lever", 17)]),
        ("Mavis Pole sat on a pole. Pole won.", ("Mavis Pole", "codebreaker"), []),
        ("Opens 14:00; talk 19:30, or 9.", ("14:00", "time"), [("19:30", 18)]),
        ("Takes 5 g, then 7 g.", ("5 g", "serving"), []),
    ],
)
def test_mentions_of_an_annotated_concept_are_added(text, entity, expected):
    description = "What it is, in some words."
    assert added(text, (*entity, description)) == [(mention, entity[1], start) for mention, start in expected]


def test_two_figures_make_a_series():
    entities = [(f"{grams} g", "serving", "Amount that one person eats.") for grams in (5, 7)]
    assert added("Takes 5 g, then 7 g, then 9 g, and 5 to 19 g.", *entities)[0] == ("9 g", "serving", 26)


def test_an_added_mention_is_described_as_in_its_passage():
    given = row("Monday, then Tuesday.", ("Monday", "weekday", "Day as the passage has it."))
    other = row("Friday.", ("Friday", "day of the week", "Named day, most often so."), name="other")
    (mended, _), counts = mend([given, other, other])[0][:2], mend([given])[1]
    assert [entity["concept"] for entity in mended["entities"]] == ["day of the week"] * 2
    assert {entity["description"] for entity in mended["entities"]} == {"Day as the passage has it."}
    assert counts["annotations got their concept's name"] == 1


def test_short_descriptions_give_way_to_the_usual_one():
    rows = [
        row("A hat.", ("hat", "garment", "Item of clothing."), name="a"),
        row("A cap.", ("cap", "garment", "Item of clothing worn on the body."), name="b"),
        row("A kite.", ("kite", "toy", "Plaything."), name="c"),
    ]
    mended, _ = mend(rows)
    assert [one["entities"][0]["description"] for one in mended] == [
        "Item of clothing worn on the body.",
        "Item of clothing worn on the body.",
        "Plaything.",  # there is no better one
    ]


def test_articles_of_dates_go_and_names_keep_theirs():
    (mended,), _ = mend([row("The Hague, on the 9th.", ("The Hague", "city"), ("the 9th", "date"))])
    assert [entity["text"] for entity in mended["entities"]] == ["The Hague", "9th"]


def test_names_that_become_one_on_the_same_words_stand_there_once():
    entities = [("€5", name, "Sum of money that is meant.") for name in ("money amount", "sum of money")]
    (mended,), _ = mend([row("It was €5.", *entities)])
    assert [entity["concept"] for entity in mended["entities"]] == ["amount of money"]


def test_mending_changes_nothing_twice_and_nothing_given():
    rows = passages(200)
    before = copy.deepcopy(rows)
    mended, _ = mend(rows)
    assert rows == before
    again, counts = mend(mended)
    assert again == mended
    assert not counts.total()
    assert [(one["id"], one["text"]) for one in mended] == [(one["id"], one["text"]) for one in rows]


def test_the_tables_have_no_chains():
    olds = [old for olds in TABLES["names"].values() for old in olds]
    assert len(olds) == len(set(olds))
    assert not set(olds) & set(TABLES["names"])
    assert not {new for *_, new in TABLES["senses"]} & set(olds)
