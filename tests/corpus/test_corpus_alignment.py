"""The alignment rule, clause by clause, and its invariants on arbitrary text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerfound.concepts import concept_key
from nerfound.corpus import Annotation, DropReason, align_annotations
from nerfound.spans import segment_words


def spans(text, lines, **options):
    """The aligned entities as `(start, end, concept)`, and the report."""
    entities, report = align_annotations(text, [Annotation(*line) for line in lines], **options)
    assert all(text[entity["start"] : entity["end"]] == entity["text"] for entity in entities)
    assert report.aligned + report.dropped.total() == report.given == len(lines)
    assert report.aligned + report.propagated == len(entities)
    return [(entity["start"], entity["end"], entity["concept"]) for entity in entities], report


def test_the_example_of_the_writing_guide():
    text = "World War II started on September 1 1939 when Germany invaded Poland."
    entities, report = align_annotations(
        text,
        [
            Annotation("World War II", "historical event", "Significant event."),
            Annotation("September 1", "date", "Specific day."),
            Annotation("September", "month", "Named month."),
            Annotation("1939", "year"),
        ],
    )
    assert [(entity["text"], entity["concept"], entity["description"]) for entity in entities] == [
        ("World War II", "historical event", "Significant event."),
        ("September 1", "date", "Specific day."),
        ("September", "month", "Named month."),
        ("1939", "year", ""),
    ]
    assert (report.passages, report.given, report.aligned, report.propagated) == (1, 4, 4, 0)


def test_a_repeated_line_takes_the_next_occurrence():
    found, report = spans("Rome, then Rome.", [("Rome", "city"), ("Rome", "City")], propagate=False)
    assert found == [(0, 4, "city"), (11, 15, "City")]
    assert not report.dropped


def test_a_nested_mention_is_found_inside():
    found, _ = spans(
        "In September 1 or September 2", [("September 1", "date"), ("September", "month")], propagate=False
    )
    assert found == [(3, 14, "date"), (3, 12, "month")]


def test_one_mention_under_two_concepts_gets_one_span_twice():
    found, _ = spans("Rome and Rome", [("Rome", "city"), ("Rome", "capital")], propagate=False)
    assert found == [(0, 4, "capital"), (0, 4, "city")]


def test_the_cursor_moves_on():
    found, _ = spans("gas, oil, gas", [("oil", "fuel"), ("gas", "fuel")], propagate=False)
    assert found == [(5, 8, "fuel"), (10, 13, "fuel")]


def test_lines_out_of_order_are_searched_from_the_start():
    found, report = spans("Rome and Paris", [("Paris", "city"), ("Rome", "city")])
    assert found == [(0, 4, "city"), (9, 14, "city")]
    assert not report.dropped


def test_from_the_start_a_line_takes_only_what_its_like_left_free():
    found, _ = spans("A, B, A", [("B", "letter"), ("A", "letter"), ("A", "letter")], propagate=False)
    assert found == [(0, 1, "letter"), (3, 4, "letter"), (6, 7, "letter")]


def test_a_line_goes_on_after_the_last_match_of_its_like_even_if_the_cursor_went_back():
    lines = [("B", "letter"), ("A", "letter"), ("x", "letter"), ("A", "letter")]
    found, _ = spans("x A B A A", lines, propagate=False)
    assert found == [(0, 1, "letter"), (4, 5, "letter"), (6, 7, "letter"), (8, 9, "letter")]


def test_occurrences_that_touch_are_two():
    assert spans("东东", [("东", "direction")] * 2, propagate=False)[0] == [(0, 1, "direction"), (1, 2, "direction")]
    assert len(spans("东东东", [("东", "direction")])[0]) == 3


def test_occurrences_that_overlap_each_other_count_once():
    found, report = spans("la la la", [("la la", "refrain"), ("la la", "refrain")])
    assert found == [(0, 5, "refrain")]
    assert report.dropped == {"exhausted": 1}


@pytest.mark.parametrize(
    ("mention", "concept", "reason"),
    [
        ("  ", "city", DropReason.EMPTY_MENTION),
        ("Rome", " \t", DropReason.EMPTY_CONCEPT),
        ("Athens", "city", DropReason.NOT_IN_TEXT),
        ("rome", "city", DropReason.NOT_IN_TEXT),
        ("Ro", "city", DropReason.INSIDE_A_WORD),
        ("502", "status code", DropReason.INSIDE_A_WORD),
        ("1,900", "amount", DropReason.INSIDE_A_WORD),
    ],
)
def test_every_dropped_line_has_a_reason(mention, concept, reason):
    found, report = spans("Rome paid 1,900.50 after five 502s.", [(mention, concept)], where="here:1")
    assert found == []
    assert report.dropped == {reason.value: 1}
    assert report.examples == [(reason.value, "here:1", mention.strip(), concept.strip())]


def test_a_line_repeated_more_often_than_its_mention_occurs_is_exhausted():
    found, report = spans("Rome and Rome", [("Rome", "city")] * 3)
    assert len(found) == 2
    assert report.dropped == {"exhausted": 1}


def test_white_space_around_fields_is_no_part_of_them():
    entities, _ = align_annotations("Rome", [Annotation(" Rome\t", "\u00a0city ", " Large town. ")])
    assert entities == [{"start": 0, "end": 4, "text": "Rome", "concept": "city", "description": "Large town."}]


def test_further_occurrences_get_the_concepts_of_their_mention():
    lines = [("Rome", "city", "Town."), ("Rome", "capital", "Seat.")]
    found, report = spans("Rome, Rome, Romeo.", lines)
    assert found == [(0, 4, "capital"), (0, 4, "city"), (6, 10, "capital"), (6, 10, "city")]
    assert report.propagated == 2
    assert spans("Rome, Rome, Romeo.", lines, propagate=False)[1].propagated == 0


def test_an_occurrence_that_a_line_took_keeps_its_own_concepts():
    lines = [("Rome", "city"), ("beat", "win"), ("Rome", "club")]
    found, report = spans("In Rome they beat Rome; poor Rome.", lines)
    assert found == [
        (3, 7, "city"),
        (13, 17, "win"),
        (18, 22, "club"),
        (29, 33, "city"),
        (29, 33, "club"),
    ]
    assert report.propagated == 2


def test_an_occurrence_inside_another_annotated_mention_is_left_alone():
    text = "gas stoves; natural gas heats; natural gas again; gas"
    found, report = spans(text, [("gas", "fuel"), ("natural gas", "energy source")])
    assert found == [(0, 3, "fuel"), (12, 23, "energy source"), (31, 42, "energy source"), (50, 53, "fuel")]
    assert report.propagated == 2


def test_a_long_mention_shields_what_lies_behind_its_nested_mentions():
    found, report = spans("c; a b b b c d", [("c", "z"), ("a b b b c d", "y"), ("b", "x"), ("b", "x"), ("b", "x")])
    assert report.propagated == 0
    assert len(found) == 5


def test_an_occurrence_that_crosses_another_annotated_mention_is_left_alone():
    found, _ = spans("New York. New York Times", [("New York", "city"), ("York Times", "newspaper")])
    assert found == [(0, 8, "city"), (14, 24, "newspaper")]


def test_entities_are_sorted_by_start_then_longest_then_concept():
    found, _ = spans("a b c", [("b c", "z"), ("a", "y"), ("a b", "x"), ("a", "w")])
    assert found == [(0, 3, "x"), (0, 1, "w"), (0, 1, "y"), (2, 5, "z")]


@pytest.mark.parametrize(
    ("text", "mention"),
    [
        ("İİİ İstanbul'da", "İstanbul"),  # lower-casing "İ" grows it
        ("e\u0301te\u0301 a\u0300 Nice", "Nice"),
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467 Rome \U0001f1ee\U0001f1f9", "Rome"),
        ("first line\nRome\u2028next", "Rome"),
        ("東京都に住む", "東京"),
        ("x -|- y <> z", "y <> z"),
    ],
)
def test_offsets_count_characters_in_every_script(text, mention):
    found, _ = spans(text, [(mention, "thing")])
    start = text.index(mention)
    assert found == [(start, start + len(mention), "thing")]


def test_a_mention_may_not_part_a_letter_from_its_marks():
    found, report = spans("cafe\u0301", [("cafe", "drink")])
    assert found == []
    assert report.dropped == {"inside a word": 1}


pieces = st.sampled_from(
    ["la", "Rome", "New York", "York", "natural gas", "gas", "İ", "e\u0301", "e", "東京", "1,900", "-|-", "👍🏽"]
)
texts = st.lists(st.one_of(pieces, st.sampled_from([" ", "", "\n", ", ", "\u200d"])), max_size=24).map("".join)
anything = st.text(max_size=12)


@st.composite
def passages(draw):
    text = draw(st.one_of(texts, st.text(max_size=60)))
    cuts = st.integers(0, len(text))
    slices = st.tuples(cuts, cuts).map(lambda cut: text[min(cut) : max(cut)])
    concepts = st.one_of(st.sampled_from(["city", "City ", "capital"]), anything)
    return text, draw(st.lists(st.tuples(st.one_of(slices, pieces, anything), concepts, anything), max_size=10))


@given(passages(), st.booleans())
def test_invariants(passage, propagate):
    text, lines = passage
    entities, report = align_annotations(text, [Annotation(*line) for line in lines], propagate=propagate)
    starts, ends = ({word[side] for word in segment_words(text)} for side in (0, 1))
    mentions = {line[0].strip() for line in lines}
    keys = {(line[0].strip(), concept_key(line[1].strip())) for line in lines}
    for entity in entities:
        assert text[entity["start"] : entity["end"]] == entity["text"]
        assert entity["text"] in mentions
        assert (entity["text"], concept_key(entity["concept"])) in keys
        assert entity["start"] in starts
        assert entity["end"] in ends
    distinct = {(entity["start"], entity["end"], concept_key(entity["concept"])) for entity in entities}
    assert len(distinct) == len(entities)
    assert report.given == len(lines) == report.aligned + report.dropped.total()
    assert len(entities) == report.aligned + report.propagated
    assert entities == sorted(entities, key=lambda e: (e["start"], -e["end"], e["concept"]))
    assert propagate or report.propagated == 0


@given(passages())
def test_propagation_adds_wherever_no_entity_is_and_nowhere_else(passage):
    text, lines = passage
    annotations = [Annotation(*line) for line in lines]
    plain, _ = align_annotations(text, annotations, propagate=False)
    full, _ = align_annotations(text, annotations)
    added = [entity for entity in full if entity not in plain]
    assert [entity for entity in full if entity in plain] == plain
    for entity in added:
        others = [other for other in full if other["text"] != entity["text"]]
        assert not any(entity["start"] < other["end"] and other["start"] < entity["end"] for other in others)
    words = segment_words(text)
    for mention in {entity["text"] for entity in plain}:
        for start, _ in words:
            end = start + len(mention)
            if text.startswith(mention, start) and end in {word_end for _, word_end in words}:
                assert any(start < entity["end"] and entity["start"] < end for entity in full)
