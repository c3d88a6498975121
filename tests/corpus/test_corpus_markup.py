"""Inline markup of nested, repeated and crossing mentions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerfound.corpus import Annotation, CorpusEntity, align_annotations, mark_entities, printable


def marked(text, *lines):
    return mark_entities(text, align_annotations(text, [Annotation(*line) for line in lines])[0])


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], "Paid in September 1 1939."),
        ([("September 1", "date"), ("September", "month")], "Paid in [[September](month) 1](date) 1939."),
        ([("1939", "year"), ("1939", "number")], "Paid in September 1 [1939](number, year)."),
        ([("September 1", "date"), ("1 1939", "odd")], "Paid in [September 1](date) 1939.\n  + [1 1939](odd)"),
        (
            [("September 1 1939", "date"), ("September", "month"), ("1939", "year")],
            "Paid in [[September](month) 1 [1939](year)](date).",
        ),
        ([("Paid", "act"), (".", "stop")], "[Paid](act) in September 1 1939[.](stop)"),
    ],
)
def test_markup(lines, expected):
    assert marked("Paid in September 1 1939.", *lines) == expected


def test_control_characters_cannot_reach_the_terminal():
    assert marked("a \x1b[2J b\x07\x9b", ("b", "\x1b]0;x")) == "a \ufffd[2J [b](\ufffd]0;x)\ufffd\ufffd"
    assert printable("tab\tand\nline") == "tab\tand\nline"


@given(st.data())
def test_without_its_marks_the_text_is_whole(data):
    text = data.draw(st.text("abc ", min_size=1, max_size=20))
    cuts = st.integers(0, len(text))
    spans = data.draw(st.lists(st.tuples(cuts, cuts).filter(lambda span: span[0] < span[1]), max_size=8))
    entities = [
        CorpusEntity(start=start, end=end, text=text[start:end], concept="X", description="") for start, end in spans
    ]
    inline, *crossing = mark_entities(text, entities).split("\n")
    bare = inline.replace("](", "").replace("X)", "").replace(", ", "").replace("X", "").replace("[", "")
    assert bare.replace(")", "") == text
    assert inline.count("[") + len(crossing) == len(set(spans))
