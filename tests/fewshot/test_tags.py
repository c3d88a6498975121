import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerfound.fewshot.tags import spans_to_tags, split_tag, tags_to_spans
from nerfound.spans import Span

LABELS = ["PER", "B-cell", "restaurant name", "O"]


@st.composite
def flat_spans(draw, labels=tuple(LABELS)):
    """A sentence length and flat spans in it, some of them adjacent."""
    spans, position = [], 0
    for gap, length, label in draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), st.sampled_from(labels)), max_size=6)
    ):
        spans.append(Span(position + gap, position + gap + length, label))
        position += gap + length
    return position + draw(st.integers(0, 3)), spans


@given(flat_spans(), st.sampled_from(["BIO", "BIOES"]))
def test_round_trip_without_loss(sentence, scheme):
    num_words, spans = sentence
    tags = spans_to_tags(spans, num_words, scheme)
    assert len(tags) == num_words
    assert tags_to_spans(tags) == spans


@given(flat_spans())
def test_io_merges_adjacent_spans_of_one_label_and_nothing_else(sentence):
    num_words, spans = sentence
    merged: list[Span] = []
    for span in spans:
        if merged and merged[-1].end == span.start and merged[-1].label == span.label:
            merged[-1] = Span(merged[-1].start, span.end, span.label)
        else:
            merged.append(span)
    tags = spans_to_tags(spans, num_words, "IO")
    assert {tag[:2] for tag in tags} <= {"O", "I-"}
    assert tags_to_spans(tags) == merged


@given(st.lists(st.sampled_from(["O", "B-X", "I-X", "E-X", "S-X", "B-Y", "I-Y", "E-Y", "L-Y", "U-Y"]), max_size=12))
def test_any_tags_give_flat_spans_that_cover_exactly_the_inside_words(tags):
    spans = tags_to_spans(tags)
    covered = [index for span in spans for index in range(span.start, span.end)]
    assert covered == [index for index, tag in enumerate(tags) if tag != "O"]
    assert all(tags[index][2:] == span.label for span in spans for index in range(span.start, span.end))
    assert tags_to_spans(spans_to_tags(spans, len(tags))) == spans


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ("", []),
        ("O O", []),
        ("B-X I-X O", [(0, 2, "X")]),
        ("B-X B-X", [(0, 1, "X"), (1, 2, "X")]),
        ("I-X I-X O I-X", [(0, 2, "X"), (3, 4, "X")]),  # IO and IOB1
        ("I-X B-X", [(0, 1, "X"), (1, 2, "X")]),  # IOB1
        ("B-X I-Y", [(0, 1, "X"), (1, 2, "Y")]),
        ("S-X S-X B-X E-X I-X", [(0, 1, "X"), (1, 2, "X"), (2, 4, "X"), (4, 5, "X")]),
        ("U-X B-X I-X L-X", [(0, 1, "X"), (1, 4, "X")]),  # BILOU
        ("E-X", [(0, 1, "X")]),
    ],
)
def test_reading(tags, spans):
    assert tags_to_spans(tags.split()) == spans


def test_writing():
    spans = [Span(4, 5, "Y"), Span(0, 3, "X")]
    assert spans_to_tags(spans, 6) == ["B-X", "I-X", "I-X", "O", "B-Y", "O"]
    assert spans_to_tags(spans, 6, "BIOES") == ["B-X", "I-X", "E-X", "O", "S-Y", "O"]
    assert spans_to_tags(spans, 6, "IO") == ["I-X", "I-X", "I-X", "O", "I-Y", "O"]
    assert spans_to_tags([Span(0, 2, "X")], 2, "BIOES") == ["B-X", "E-X"]
    assert spans_to_tags([], 0) == []


def test_a_label_may_hold_hyphens_and_begin_like_a_tag():
    assert split_tag("B-B-cell") == ("B", "B-cell")
    assert split_tag("I-O") == ("I", "O")
    assert split_tag("O") == ("O", "")


@pytest.mark.parametrize("tag", ["B_PER", "PER", "X-PER", "B-", "B- ", "", "o", "b-PER", "-PER", None, 3, ["B-X"]])
def test_unknown_tag(tag):
    with pytest.raises(ValueError, match=r"^word 1: unknown tag .*: write 'O' outside entities.*'B-PER'$") as caught:
        tags_to_spans(["O", tag])
    assert repr(tag) in str(caught.value)


@pytest.mark.parametrize(
    ("spans", "scheme", "message"),
    [
        ([], "IOB", "unknown tag scheme 'IOB': choose 'BIO', 'BIOES' or 'IO'"),
        ([Span(2, 4, "X")], "BIO", r"the span 2\.\.4 \('X'\) does not fit a sentence of 3 words"),
        ([Span(-1, 1, "X")], "BIO", "does not fit"),
        ([Span(1, 1, "X")], "BIO", "does not fit"),
        ([Span(0, 2, "X"), Span(1, 3, "Y")], "BIO", r"the span 1\.\.3 \('Y'\) overlaps another: .* without overlap"),
    ],
)
def test_spans_that_cannot_be_tagged(spans, scheme, message):
    with pytest.raises(ValueError, match=message):
        spans_to_tags(spans, 3, scheme)
