"""Entities as a person reads them: the list that notebooks show, its colours, and markup that no text can break."""

import copy
import html.parser
import json
import pickle
import re
from itertools import combinations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import pipeline

from nerfound.rendering_nuner import STYLE, Entities, concept_colors, render_entities
from nerfound.spans import segment_words
from tests.factories import SENTENCES, make_recognizer

HOSTILE = [
    "</mark></div><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<!--", "<style>*{display:none}</style>", "&lt;b&gt;", "\0\ud800'\"`", "--pale: red; --deep: url(//x)",
]  # fmt: skip
NAMES = [
    "city",
    "restaurant",
    "person",
    "organisation",
    "date",
    "drug",
    "dose",
    "skill",
    "pay",
    "species",
    "gene",
    "law",
]


class Page(html.parser.HTMLParser):
    """What a browser would make of the markup: the text, the marks with what lies in them, and any other element."""

    def __init__(self, markup):
        super().__init__()
        self.text, self.marks, self.open, self.elements = "", [], [], []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "mark":
            mark = {**dict(attributes), "start": len(self.text), "depth": self.open.count("mark"), "label": ""}
            self.marks.append(mark)
            self.current = [*getattr(self, "current", []), mark]
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "mark":
            self.current.pop()["end"] = len(self.text)

    def handle_data(self, data):
        if self.open[-1] == "span":
            self.current[-1]["label"] += data
        elif self.open[-1] != "style":
            self.text += data


def page(text, entities, *concepts):
    return Page(render_entities(text, entities, concepts, style=False))


def entity(text, mention, label, **fields):
    start = text.index(mention)
    return {"start": start, "end": start + len(mention), "entity_group": label, "word": mention, **fields}


def luminance(color):
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """Of WCAG 2."""
    darker, lighter = sorted([luminance(one), luminance(other)])
    return (lighter + 0.05) / (darker + 0.05)


# --- the markup


def test_marks_hold_their_mentions():
    text = "book a table at Nobu in Paris"
    shown = page(text, [entity(text, "Nobu", "restaurant", score=0.934), entity(text, "Paris", "city")])
    assert shown.text == text
    assert [(mark["label"], text[mark["start"] : mark["end"]]) for mark in shown.marks] == [
        ("restaurant", "Nobu"),
        ("city", "Paris"),
    ]
    assert [mark["title"] for mark in shown.marks] == [
        "restaurant · score 0.93 · characters 16 to 20",
        "city · characters 24 to 29",
    ]


@pytest.mark.parametrize("text", SENTENCES)
def test_offsets_in_every_script(text):
    words = segment_words(text)
    entities = [{"start": start, "end": end, "label": "word", "score": 1.0} for start, end in words]
    shown = page(text, entities[::-1])
    assert shown.text == text
    assert [(mark["start"], mark["end"]) for mark in shown.marks] == words


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_and_names_are_text(hostile):
    seen = re.sub("[\0\ud800]", "\ufffd", hostile)
    text = f"{hostile} in Paris {hostile}"
    shown = page(text, [entity(text, hostile, hostile), entity(text, "Paris", hostile)], hostile)
    assert shown.text == text.replace(hostile, seen)
    assert {tag for tag, _ in shown.elements} == {"div", "mark", "span"}
    for tag, attributes in shown.elements:
        assert attributes.keys() <= {"div": {"class", "dir"}, "mark": {"style", "title"}, "span": set()}[tag]
    assert [mark["label"] for mark in shown.marks] == [seen, seen]
    assert all(re.fullmatch("--pale: #[0-9a-f]{6}; --deep: #[0-9a-f]{6}", mark["style"]) for mark in shown.marks)
    assert shown.marks[0]["title"].startswith(seen)
    render_entities(text, []).encode()  # what cannot be written is replaced


def test_entities_within_one_another():
    text = "the University of Paris Hospital"
    entities = [
        entity(text, "Paris", "city"),
        entity(text, "University of Paris Hospital", "hospital"),
        entity(text, "University of Paris", "university"),
        entity(text, "Paris", "word"),
    ]
    shown = page(text, entities)
    assert shown.text == text
    assert [(mark["label"], mark["depth"]) for mark in shown.marks] == [
        ("hospital", 0),
        ("university", 1),
        ("city", 2),
        ("word", 3),
    ]
    assert not any("class" in mark for mark in shown.marks)


def test_entities_that_cross_are_marked_in_parts():
    text = "New York City Hall"
    shown = page(text, [entity(text, "New York City", "city"), entity(text, "City Hall", "building")])
    assert shown.text == text
    assert [(mark["label"], text[mark["start"] : mark["end"]], mark.get("class")) for mark in shown.marks] == [
        ("city", "New York City", None),
        ("", "City", "goes-on"),
        ("building", " Hall", "went-on"),
    ]
    assert shown.marks[1]["style"] == shown.marks[2]["style"]


spans = st.tuples(st.integers(0, 30), st.integers(1, 12), st.sampled_from(NAMES))


@given(st.lists(spans, max_size=12))
def test_any_entities(found):
    text = "".join(chr(0x3B1 + i % 20) for i in range(42))
    entities = [{"start": start, "end": start + size, "label": label} for start, size, label in found]
    shown = page(text, entities)
    assert shown.text == text
    assert sorted(mark["label"] for mark in shown.marks if mark["label"]) == sorted(label for *_, label in found)
    for one in entities:
        covered = {
            place
            for mark in shown.marks
            if mark["title"] == f"{one['label']} · characters {one['start']} to {one['end']}"
            for place in range(mark["start"], mark["end"])
        }
        assert covered == set(range(one["start"], one["end"]))


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        ({"start": 0, "end": 5, "label": "x"}, "entity 1 reaches from 0 to 5, but its text has 4 characters"),
        ({"start": 2, "end": 2, "label": "x"}, "entity 1 reaches from 2 to 2"),
        ({"start": -1, "end": 2, "label": "x"}, "entity 1 reaches from -1 to 2"),
        ({"start": "0", "end": 2, "label": "x"}, "entity 1 reaches from '0' to 2"),
        ({"start": 0, "end": 2}, "entity 1 is .*give its concept as entity_group or label"),
    ],
)
def test_an_entity_that_is_none_is_named(wrong, fault):
    with pytest.raises(ValueError, match=fault):
        render_entities("Nobu", [{"start": 0, "end": 4, "label": "x"}, wrong])


# --- colours


def test_every_shade_can_be_read():
    colors = concept_colors(NAMES).values()
    text, on_dark = re.findall(r"color: light-dark\((#\w+), (#\w+)\)", STYLE)[0]
    assert len(set(colors)) == 12
    for color in colors:
        assert contrast(text, color.pale) >= 7
        assert contrast(on_dark, color.deep) >= 7
        assert contrast(color.deep, color.pale) >= 4.5  # the concept's name, on light and on dark


def test_colours_stay_with_names():
    alone = {name: concept_colors([name])[name] for name in NAMES}
    assert len(set(alone.values())) > 6
    assert concept_colors(["city"]) == {"city": alone["city"]}
    for count in range(1, len(NAMES)):  # further concepts change no colour
        first = concept_colors(NAMES[:count])
        assert first.items() <= concept_colors(NAMES).items()
    assert concept_colors(NAMES * 2) == concept_colors(NAMES)
    assert set(concept_colors([*NAMES, "a thirteenth"])) == {*NAMES, "a thirteenth"}


def test_concepts_of_one_recognizer_have_different_colours():
    clashing = [name for name in map(str, range(200)) if concept_colors([name]) == {name: concept_colors(["0"])["0"]}]
    assert len(clashing) > 5
    for size in (2, 3, 4, 12):
        assert len(set(concept_colors(clashing[:size]).values())) == size
    text = "0 in 1"
    marks = page(text, [entity(text, "0", clashing[0]), entity(text, "1", clashing[1])], *clashing[:2]).marks
    assert marks[0]["style"] != marks[1]["style"]


# --- the list


@pytest.fixture(scope="module")
def pipe(encoders):
    return pipeline("few-shot-ner", model=make_recognizer(encoders["roberta"]))


def test_results_are_lists_with_a_view(pipe):
    found = pipe(SENTENCES[0])
    plain = [dict(one) for one in found]
    assert len(plain) > 1
    assert isinstance(found, list)
    assert found == plain
    assert repr(found) == repr(plain)
    assert json.dumps(found) == json.dumps(plain)
    assert pa.array([found]).to_pylist() == [plain]
    shown = Page(found._repr_html_())
    assert shown.text == SENTENCES[0]
    assert [mark["label"] for mark in shown.marks] == [one["entity_group"] for one in found]
    assert shown.elements[0][0] == "style"


def test_results_become_plain_lists(pipe):
    found = pipe(SENTENCES[0])
    for other in (pickle.loads(pickle.dumps(found)), copy.copy(found), copy.deepcopy(found), found[:], [*found]):
        assert type(other) is list
        assert other == found
    assert b"nerfound" not in pickle.dumps(found)  # so it is read where there is no nerfound, and without the text
    assert copy.deepcopy(found)[0] is not found[0]


def test_every_text_of_a_list_has_its_own_view(pipe):
    answers = pipe([*SENTENCES, ""])
    assert type(answers) is list
    assert [Page(found._repr_html_()).text for found in answers[:-1]] == SENTENCES
    assert answers[-1]._repr_html_() is None  # so that a notebook shows []
    for text, found in zip(SENTENCES, pipe(iter(SENTENCES)), strict=True):
        assert found.text == text
        assert found.concepts == ("restaurant", "city")


def test_one_recognizer_colours_a_concept_alike_in_every_text(pipe):
    styles = {}
    for found in pipe(SENTENCES):
        for mark in Page(found._repr_html_()).marks:
            styles.setdefault(mark["label"], set()).add(mark["style"])
    assert {label: len(seen) for label, seen in styles.items()} == {"restaurant": 1, "city": 1}
    assert all(one != other for one, other in combinations(styles.values(), 2))


def test_the_view_of_a_long_text_says_what_it_leaves_out():
    text = "a city " * 10_000
    found = Entities(
        ({"start": i, "end": i + 4, "entity_group": "city", "score": 1.0} for i in range(2, len(text), 7)), text
    )
    view = found._repr_html_()
    assert len(Page(view).marks) == 7_143
    assert "… and 20,000 more characters, with 2,857 more entities" in view
