import json
import re

import datasets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerfound.fewshot import formats
from nerfound.fewshot.formats import Example, SupportSet, parse_examples, read_concepts, read_examples, to_inline
from nerfound.fewshot.tags import spans_to_tags
from nerfound.spans import Span

NOBU = "book a table at [Nobu](restaurant name)"
NOBU_EXAMPLE = Example("book a table at Nobu", (Span(16, 20, "restaurant name"),))
TIMES = "The [[New York](city) Times](newspaper)"


def one(raw, **kwargs):
    (example,) = parse_examples([raw], **kwargs).examples
    return example


def fails(raw, *parts, **kwargs):
    """Parsing the fourth example fails with a message that has these parts, in this order."""
    with pytest.raises(ValueError, match=r"(?s)^example 3: .*" + ".*".join(map(re.escape, parts))):
        parse_examples([NOBU] * 3 + [raw], **kwargs)


# --- inline markup -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("marked", "text", "spans"),
    [
        (NOBU, "book a table at Nobu", [(16, 20, "restaurant name")]),
        ("[a](x)[b]( y )", "ab", [(0, 1, "x"), (1, 2, "y")]),
        ("[ Nobu ](x)!", " Nobu !", [(1, 5, "x")]),
        ("see [1] or [2] (there), and [a](x)", "see [1] or [2] (there), and a", [(28, 29, "x")]),
        ("[the [1] of](x)", "the [1] of", [(0, 10, "x")]),
        ("[ and [a](x)", "[ and a", [(6, 7, "x")]),
        ("] and [a](x)", "] and a", [(6, 7, "x")]),
        ("[a](x)(y)", "a(y)", [(0, 1, "x")]),
        (r"\[a\](x) [b](x)", "[a](x) b", [(7, 8, "x")]),
        (r"[a\]](x \(y\) \[z\])", "a]", [(0, 2, "x (y) [z]")]),
        (r"C:\dir \\ \\[a](x)", "C:\\dir \\ \\a", [(10, 11, "x")]),
        ("ends in \\ [a](x) \\", "ends in \\ a \\", [(10, 11, "x")]),
        ("[東京](都市) 👩‍👩‍👧 [İ](x)", "東京 👩‍👩‍👧 İ", [(0, 2, "都市"), (9, 10, "x")]),
        ("a\n[b](x)\nc", "a\nb\nc", [(2, 3, "x")]),
    ],
)
def test_inline(marked, text, spans):
    assert one(marked) == Example(text, tuple(Span(*span) for span in spans))


def test_nested_inline():
    assert one(TIMES, nested=True) == Example("The New York Times", (Span(4, 18, "newspaper"), Span(4, 12, "city")))
    assert one("[[[a](x)](y) b](x)", nested=True).entities == (Span(0, 3, "x"), Span(0, 1, "x"), Span(0, 1, "y"))


def nested_spans(text_length):
    """Any spans, less those that cross an earlier one."""

    def keep(drawn):
        kept = set()
        for start, end, label in drawn:
            crossing = any(a < start < b < end or start < a < end < b for a, b, _ in kept)
            if start < end and not crossing:
                kept.add(Span(start, end, label))
        return kept

    bound = st.integers(0, text_length)
    return st.lists(st.tuples(bound, bound, LABELS), max_size=6).map(keep)


LABELS = st.text(st.sampled_from("ab []()\\ü-"), min_size=1, max_size=5).map(str.strip).filter(bool)
TEXTS = st.text(st.sampled_from("ab []()\\\n東é\u0301 "), min_size=1, max_size=20).filter(str.strip)


@st.composite
def examples(draw):
    text = draw(TEXTS)
    spans = [span for span in draw(nested_spans(len(text))) if text[span.start : span.end].strip() != ""]
    trimmed = {
        Span(s.end - len(text[s.start : s.end].lstrip()), s.start + len(text[s.start : s.end].rstrip()), s.label)
        for s in spans
    }
    # labels that differ in case or white space only may not meet in one support set
    trimmed = {Span(s.start, s.end, " ".join(s.label.split())) for s in trimmed}
    return Example(text, tuple(sorted(trimmed, key=lambda s: (s.start, -s.end, s.label))))


@given(examples())
def test_example_to_inline_and_back(example):
    marked = to_inline(example)
    if not example.entities:
        assert parse_examples([marked], concepts=["x"]).examples == (example,)
    else:
        assert one(marked, nested=True) == example
        assert to_inline(one(marked, nested=True)) == marked


@given(st.text(st.sampled_from("ab []()\\"), max_size=20))
def test_any_string_is_read_or_refused_with_a_reason(marked):
    try:
        example = one(marked, nested=True)
    except ValueError as error:
        reason = str(error)
    else:
        reason = ""
        assert one(to_inline(example), nested=True) == example
    assert re.match("$|example 0: |none of the 1 examples", reason)


def test_to_inline_escapes():
    example = Example("a [1](b) \\ c", (Span(2, 5, "x (y)"),))
    assert to_inline(example) == r"a [\[1\]](x \(y\))(b) \\ c"
    assert one(to_inline(example)) == example
    assert to_inline(NOBU_EXAMPLE) == NOBU


def test_to_inline_refuses_what_markup_cannot_say():
    with pytest.raises(ValueError, match="cross, which inline markup cannot express: write the example as a dict"):
        to_inline(Example("a b c", (Span(0, 3, "x"), Span(2, 5, "y"))))
    with pytest.raises(ValueError, match=r"the span 2\.\.9 \('x'\) does not fit a text of 5 characters"):
        to_inline(Example("a b c", (Span(2, 9, "x"),)))


@pytest.mark.parametrize(
    ("marked", "parts"),
    [
        ("at [Nobu](restaurant name", ["a label is not closed by ')'", "restaurant name", "[mention](label)"]),
        ("at [Nobu](restaurant [Rio](city)", ["a label is not closed by ')'", "restaurant [Rio"]),
        ("at [Nobu](restaurant (name))", ["a label is not closed", r"\( \) for brackets"]),
        ("at Nobu](restaurant)", ["'](' without a '[' before it", "Nobu](restaurant)", r"\]"]),
        ("at [Nobu]()", ["a label is ''", "name"]),
        ("at [Nobu]( )", ["a label is ' '"]),
        ("at [](city)", ["the span 3..3 (label 'city') is empty"]),
        ("at [ \t](city)", ["the span 3..5 (label 'city') covers only white space, ' \\t': correct it"]),
        (" ", ["the text is ' '"]),
        (TIMES, ["'New York Times' (newspaper, 4..18) and 'New York' (city, 4..12) overlap", "nested=True"]),
    ],
)
def test_inline_errors(marked, parts):
    fails(marked, *parts)


# --- dicts of text and entities ----------------------------------------------------------------------------------


def entity(start, end, label="city", **more):
    return {"start": start, "end": end, "label": label, **more}


def test_offsets():
    raw = {"text": "from Rio to Berlin ", "entities": [entity(12, 19, "to"), entity(5, 8, "from")], "id": 7}
    assert one(raw) == Example(raw["text"], (Span(5, 8, "from"), Span(12, 18, "to")))


def test_offsets_with_all_extras():
    support = parse_examples(
        [
            {"text": "Rio", "entities": [{"start": 0, "end": 3, "concept": "city", "description": " a big town "}]},
            {"text": "Rio", "entities": [entity(0, 3, text="Rio", word=" Rio ", concept="city", description="later")]},
            {"text": "Rio", "entities": [entity(0, 3, "island", text=None, concept=None, description=None)]},
        ]
    )
    assert support.concepts == {"city": "a big town", "island": ""}
    assert support.examples[0] == support.examples[1]


def test_white_space_around_a_repeated_text_is_no_mismatch():
    raw = {"text": "from Rio", "entities": [entity(4, 8, text="Rio")]}
    assert one(raw).entities == (Span(5, 8, "city"),)


def test_entities_as_columns_and_arrays():
    columns = {"start": np.array([0, 7]), "end": np.array([3, 13]), "label": ["city", "city"]}
    assert one({"text": "Rio to Berlin", "entities": columns}).entities == (Span(0, 3, "city"), Span(7, 13, "city"))
    (span,) = one({"text": "Rio", "entities": [entity(np.int64(0), np.int64(3))]}).entities
    assert type(span.start) is type(span.end) is int


def test_no_entity_is_an_example_too():
    assert parse_examples([{"text": "nothing", "entities": []}, NOBU]).examples[0] == Example("nothing", ())


def test_overlap_when_allowed():
    raw = {"text": "a b c", "entities": [entity(2, 5, "y"), entity(0, 3, "x"), entity(0, 3, "x")]}
    assert one(raw, nested=True).entities == (Span(0, 3, "x"), Span(2, 5, "y"))


def test_an_entity_given_twice_counts_once():
    assert one({"text": "Rio ", "entities": [entity(0, 3), entity(0, 4)]}).entities == (Span(0, 3, "city"),)


def test_adjacent_spans_do_not_overlap():
    assert len(one({"text": "ab", "entities": [entity(0, 1), entity(1, 2)]}).entities) == 2


@pytest.mark.parametrize(
    ("entities", "parts"),
    [
        (
            [entity(5, 90)],
            ["the span 5..90 (label 'city') is off the text, which has 8 characters", "`end` is exclusive"],
        ),
        ([entity(-1, 3)], ["the span -1..3 (label 'city') is off the text"]),
        ([entity(3, 3)], ["the span 3..3 (label 'city') is empty: `end` is exclusive"]),
        ([entity(4, 3)], ["the span 4..3"]),
        ([entity(4, 5)], ["the span 4..5 (label 'city') covers only white space, ' '"]),
        (
            [entity(0, 3, text="from")],
            ["text is 'from', but its offsets 0..3 cover 'fro': correct `start`", "'text' out"],
        ),
        ([entity(0, 4, word="From")], ["the entity's word is 'From'", "cover 'from'", "leave 'word' out"]),
        ([entity(0, 4, text=5)], ["the entity's text is 5"]),
        ([entity(0, 4), entity(3, 8, "x")], ["'from' (city, 0..4) and 'm Rio' (x, 3..8) overlap", "nested=True"]),
        ([entity(0, 4), entity(0, 4, "x")], ["'from' (city, 0..4) and 'from' (x, 0..4) overlap"]),
        ([entity("0", 4)], ["the start of the span {'start': '0'", "is '0': give a whole number"]),
        ([entity(0, 4.0)], ["the end of the span", "is 4.0: give a whole number"]),
        ([entity(0, True)], ["the end of the span", "is True: give a whole number"]),
        ([{"start": 0, "label": "x"}], ["the end of the span {'start': 0, 'label': 'x'} is None"]),
        ([{"start": 0, "end": 4}], ["a label is None: give the concept's name as a string"]),
        ([entity(0, 4, 3)], ["a label is 3"]),
        ([entity(0, 4, " ")], ["a label is ' '"]),
        ([entity(0, 4, concept="town")], ["has both label 'city' and concept 'town': give one"]),
        ([entity(0, 4, description=["x"])], ["the description of 'city' is ['x']: give a string"]),
        ([[0, 4, "city"]], ["an entity is a dict with 'start', 'end' and 'label', not [0, 4, 'city']"]),
        ("Rio", ["entities must be a list, but is of type str: 'Rio'"]),
        ({"start": [0], "end": [4, 5], "label": ["x"]}, ["entities are columns of different lengths"]),
    ],
)
def test_offset_errors(entities, parts):
    fails({"text": "from Rio", "entities": entities}, *parts)


@pytest.mark.parametrize("text", ["", " \n", 5, ["from"]])
def test_text_errors(text):
    fails({"text": text, "entities": [entity(0, 4)]}, f"the text is {text!r}: it must be a string")


# --- tokens ------------------------------------------------------------------------------------------------------

TOKENS = ["New", "York", "Times", "in", "Rio"]
TEXT = "New York Times in Rio"
WORDS = ((0, 3), (4, 8), (9, 14), (15, 17), (18, 21))


@pytest.mark.parametrize("key", ["tags", "ner_tags"])
@pytest.mark.parametrize("scheme", ["BIO", "BIOES", "IO"])
def test_tagged_tokens(key, scheme):
    tags = spans_to_tags([Span(0, 3, "paper"), Span(4, 5, "city")], 5, scheme)
    assert one({"tokens": TOKENS, key: tags}) == Example(TEXT, (Span(0, 14, "paper"), Span(18, 21, "city")), WORDS)


def test_class_ids():
    names = ["O", "B-paper", "I-paper", "B-city"]
    raw = {"tokens": np.array(TOKENS), "ner_tags": np.array([1, 2, 2, 0, 3])}
    assert one(raw, label_names=names).entities == (Span(0, 14, "paper"), Span(18, 21, "city"))


def test_token_spans():
    expected = Example(TEXT, (Span(0, 14, "paper"), Span(18, 21, "city")), WORDS)
    assert one({"tokens": TOKENS, "spans": [[4, 5, "city"], [0, 3, "paper"]]}) == expected
    assert one({"tokens": tuple(TOKENS), "spans": [entity(0, 3, "paper"), entity(4, 5)]}) == expected
    nested = one({"tokens": TOKENS, "spans": [[0, 2, "city"], [0, 3, "paper"]]}, nested=True)
    assert nested.entities == (Span(0, 14, "paper"), Span(0, 8, "city"))


@given(st.lists(st.text(min_size=1, max_size=4).filter(str.strip), min_size=1, max_size=6), st.data())
def test_tokens_keep_their_offsets(tokens, data):
    start = data.draw(st.integers(0, len(tokens) - 1))
    end = data.draw(st.integers(start + 1, len(tokens)))
    example = one({"tokens": tokens, "spans": [[start, end, "x"]]})
    assert example.text == " ".join(tokens)
    assert [example.text[a:b] for a, b in example.words] == [token.strip() for token in tokens]
    assert example.entities == (Span(example.words[start][0], example.words[end - 1][1], "x"),)


@pytest.mark.parametrize(
    ("raw", "parts"),
    [
        ({"tags": ["O", "O", "B_PER", "O", "O"]}, ["word 2: unknown tag 'B_PER'", "such as 'B-PER'"]),
        ({"tags": ["O", "O"]}, ["5 tokens, but 2 tags: give one tag per token"]),
        ({"ner_tags": ["O"] * 6}, ["5 tokens, but 6 ner_tags"]),
        (
            {"tags": [0, 0, 0, 0, 1]},
            ["word 0 is the class id 0, whose name is not known: pass label_names=", "ClassLabel"],
        ),
        ({"tags": [None, 0, 0, 0, 1]}, ["the tag of word 0 is None: give a string such as 'B-PER', or a class id"]),
        ({"tags": [True, 0, 0, 0, 1]}, ["the tag of word 0 is True"]),
        ({"tags": "OOOOO"}, ["tags must be a list, but is of type str"]),
        (
            {"spans": [[4, 6, "city"]]},
            ["the span 4..6 (label 'city') is off the text, which has 5 tokens", "count tokens"],
        ),
        ({"spans": [[-1, 1, "city"]]}, ["the span -1..1 (label 'city') is off the text"]),
        ({"spans": [[2, 2, "city"]]}, ["the span 2..2 (label 'city') is empty"]),
        ({"spans": [[2, 3]]}, ["a span is [start, end, label], but this has 2 items: [2, 3]"]),
        ({"spans": [7]}, ["a span must be a list, but is of type int: 7"]),
        ({"spans": [["2", 3, "city"]]}, ["the start of the span ['2', 3, 'city'] is '2'"]),
        ({"spans": [[2, 3, 1]]}, ["a label is 1"]),
        ({"spans": [[0, 3, "x"], [2, 4, "y"]]}, ["'New York Times' (x, 0..14) and 'Times in' (y, 9..17) overlap"]),
        ({"tokens": "New York", "tags": []}, ["tokens must be a list, but is of type str"]),
        ({"tokens": ["New", ""], "tags": ["O", "O"]}, ["token 1 is ''", "a visible character"]),
        ({"tokens": ["\u3000"], "tags": ["O"]}, ["token 0 is '\\u3000'"]),
        ({"tokens": [5], "tags": ["O"]}, ["token 0 is 5: every token must be a string"]),
        ({"tokens": [], "tags": []}, ["the text is ''"]),
    ],
)
def test_token_errors(raw, parts):
    fails({"tokens": TOKENS, **raw}, *parts)


@pytest.mark.parametrize("tag", [4, -1, -100])
def test_class_ids_without_a_name(tag):
    fails(
        {"tokens": ["a"], "tags": [tag]},
        f"the tag of word 0 is the class id {tag}, but there are 4 label names",
        label_names=["O", "B-x", "I-x", "B-y"],
    )


# --- forms, concepts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "parts"),
    [
        (["a"], ["an example is a string such as", "of type list: ['a']"]),
        (None, ["of type NoneType: None"]),
        ({"text": "a"}, ["a dict with the keys ['text'] is of no known form: give a string such as", "'entities'"]),
        ({"text": "a", "entities": None}, ["is of no known form"]),
        (
            {"tokens": ["a"], "tags": ["O"], "spans": []},
            ["is of several forms at once, [('tokens', 'tags')", "one of them"],
        ),
        ({}, ["the keys [] is of no known form"]),
    ],
)
def test_unknown_forms(raw, parts):
    fails(raw, *parts)


@pytest.mark.parametrize(
    ("given_examples", "hint"),
    [
        (NOBU, "is one str: put it into a list, or call read_examples"),
        (b"x", "is one bytes: put it into a list"),
        ({"text": "a", "entities": []}, "is one dict: put it into a list"),
        (
            datasets.DatasetDict(train=datasets.Dataset.from_dict({"text": ["a"]})),
            "is one DatasetDict: choose a split, such as dataset",
        ),
    ],
)
def test_not_an_iterable_of_examples(given_examples, hint):
    with pytest.raises(ValueError, match=f"examples must be an iterable of examples, but {hint}"):
        parse_examples(given_examples)


def test_forms_may_be_mixed_and_examples_are_iterated_once():
    tokens = {"tokens": ["Nobu", "!"], "tags": ["B-restaurant name", "O"]}
    support = parse_examples(iter([NOBU, tokens, NOBU_EXAMPLE]))
    assert support.examples[0] == support.examples[2] == NOBU_EXAMPLE
    assert support.concepts == {"restaurant name": ""}


def test_given_examples_are_checked_like_all_others():
    fails(Example("Rio", (Span(0, 9, "city"),)), "the span 0..9 (label 'city') is off the text")
    assert one(Example("Rio ", (Span(0, 4, " city "),), ((0, 3),))) == Example("Rio ", (Span(0, 3, "city"),), ((0, 3),))


def test_concepts_in_order_of_first_appearance():
    support = parse_examples(["[a](z) [b](y)", {"text": "a b", "entities": [entity(2, 3, "w"), entity(0, 1, "x")]}])
    assert list(support.concepts) == ["z", "y", "x", "w"]


@pytest.mark.parametrize(
    ("concepts", "expected"),
    [
        (["unseen", "restaurant name "], {"unseen": "", "restaurant name": ""}),
        (("restaurant name",), {"restaurant name": ""}),
        ({"restaurant name": "where one eats", "unseen": None}, {"restaurant name": "where one eats", "unseen": ""}),
    ],
)
def test_given_concepts(concepts, expected):
    support = parse_examples([NOBU], concepts=concepts)
    assert support == SupportSet((NOBU_EXAMPLE,), expected)
    assert list(support.concepts) == list(expected)


def test_given_descriptions_take_precedence_and_gaps_are_filled():
    raw = {"text": "a b", "entities": [entity(0, 1, "x", description="own"), entity(2, 3, "y", description="own")]}
    assert parse_examples([raw], concepts={"y": "", "x": "given"}).concepts == {"y": "own", "x": "given"}


@pytest.mark.parametrize(
    ("concepts", "message"),
    [
        ("restaurant name", "concepts must map labels to descriptions, or be a sequence of labels, .* type str"),
        (3, "of type int"),
        ([], "the given concepts are empty: name at least one"),
        ({}, "the given concepts are empty"),
        (["a", " a"], "concept 'a' is given twice"),
        (["City", "city"], "label 'city' differs from 'City' in case or white space only: write one of the two"),
        ([""], "a label is ''"),
        ([1], "a label is 1"),
        ({"a": 1}, "the description of 'a' is 1: give a string"),
    ],
)
def test_given_concepts_that_are_none(concepts, message):
    with pytest.raises(ValueError, match=message):
        parse_examples([NOBU], concepts=concepts)


def test_labels_that_are_not_among_the_concepts():
    fails(
        "[a](town)",
        "label 'town' is not among the given concepts ['restaurant name', 'city']: add it to `concepts`",
        concepts=["restaurant name", "city"],
    )


@pytest.mark.parametrize("concepts", [None, ["restaurant name"]])
def test_labels_that_are_spelled_in_two_ways(concepts):
    fails(
        "[a](Restaurant  name)",
        "label 'Restaurant  name' differs from 'restaurant name' in case or white space only: write one of the two",
        concepts=concepts,
    )


def test_empty_support_set():
    for concepts in (None, ["city"]):
        with pytest.raises(ValueError, match="the support set is empty: give at least one example"):
            parse_examples([], concepts=concepts)
    with pytest.raises(ValueError, match="none of the 2 examples has an entity: label some, or give `concepts`"):
        parse_examples(["a", "b"])
    assert parse_examples(["a", "b"], concepts=["city"]).concepts == {"city": ""}


def test_long_values_are_cut_in_messages():
    with pytest.raises(ValueError, match="example 0") as caught:
        parse_examples([list(range(10_000))])
    assert len(str(caught.value)) < 600


# --- datasets ----------------------------------------------------------------------------------------------------

CLASS_LABELS = datasets.Features(
    {
        "tokens": datasets.List(datasets.Value("string")),
        "ner_tags": datasets.List(datasets.ClassLabel(names=["O", "B-paper", "I-paper", "B-city"])),
        "id": datasets.Value("int64"),
    }
)
TAGGED_ROW = {"tokens": TOKENS, "ner_tags": [1, 2, 2, 0, 3], "id": 5}
TAGGED = Example(TEXT, (Span(0, 14, "paper"), Span(18, 21, "city")), WORDS)


def test_dataset_with_class_labels():
    dataset = datasets.Dataset.from_list([TAGGED_ROW], features=CLASS_LABELS)
    expected = SupportSet((TAGGED,), {"paper": "", "city": ""})
    assert parse_examples(dataset) == expected
    assert parse_examples(dataset.with_format("numpy")) == expected
    assert parse_examples(dataset.to_iterable_dataset()) == expected
    renamed = parse_examples(dataset, label_names=["O", "B-p", "I-p", "B-c"])  # what the caller says counts
    assert list(renamed.concepts) == ["p", "c"]


def test_dataset_with_ids_alone():
    dataset = datasets.Dataset.from_list([TAGGED_ROW])
    with pytest.raises(ValueError, match="example 0: the tag of word 0 is the class id 1, whose name is not known"):
        parse_examples(dataset)


def test_dataset_with_entities_and_token_spans():
    rows = [
        {"text": "Rio", "entities": [entity(0, 3)]},
        {"text": "Rio", "entities": [entity(0, 3, description="a big town")]},  # the others' descriptions become None
    ]
    assert parse_examples(datasets.Dataset.from_list(rows)).concepts == {"city": "a big town"}
    rows = [{"tokens": TOKENS, "spans": [entity(0, 3, "paper"), entity(4, 5)]}]
    assert parse_examples(datasets.Dataset.from_list(rows)).examples == (TAGGED,)


def test_errors_name_the_row():
    dataset = datasets.Dataset.from_list([{"text": "Rio", "entities": [entity(0, end)]} for end in (3, 4)])
    with pytest.raises(ValueError, match=r"^example 1: the span 0\.\.4 \(label 'city'\) is off the text"):
        parse_examples(dataset)


# --- files -------------------------------------------------------------------------------------------------------


def write(path, content):
    path.write_bytes(content.encode())
    return path


def test_jsonl(tmp_path):
    rows = [NOBU, {"tokens": TOKENS, "spans": [[0, 3, "paper"], [4, 5, "city"]]}]
    path = write(tmp_path / "a.jsonl", "\ufeff" + "\r\n\n".join(json.dumps(row) for row in rows))
    (tmp_path / "concepts.json").write_text('{"unrelated": ""}')  # never picked up unasked
    expected = SupportSet((NOBU_EXAMPLE, TAGGED), {"restaurant name": "", "paper": "", "city": ""})
    assert read_examples(path) == expected
    assert read_examples(str(path)) == expected


def test_txt_lines_end_at_newlines_alone(tmp_path):
    path = write(tmp_path / "a.txt", f"{NOBU}\r\n\n \nfrom\u2028[Rio](city)\x0b\n")
    assert read_examples(path).examples == (NOBU_EXAMPLE, Example("from\u2028Rio\x0b", (Span(5, 8, "city"),)))


@pytest.mark.parametrize("suffix", ["conll", "bio", "tsv"])
@pytest.mark.parametrize("separator", [" ", "\t", " NNP I-NP ", "\tNNP\tI-NP\t"])
def test_conll(tmp_path, suffix, separator):
    tags = ["B-paper", "I-paper", "I-paper", "O", "B-city"]
    sentence = "\n".join(f"{token}{separator}{tag}" for token, tag in zip(TOKENS, tags, strict=True))
    content = f"-DOCSTART- -X- O O\n\n{sentence}\n\n\n-DOCSTART-\n\n{sentence}\n \n# O\nRio B-city"
    support = read_examples(write(tmp_path / f"a.{suffix}", content))
    assert support.examples == (TAGGED, TAGGED, Example("# Rio", (Span(2, 5, "city"),), ((0, 1), (2, 5))))


def test_conll_tokens_may_hold_spaces_between_tabs(tmp_path):
    path = write(tmp_path / "a.tsv", "New York\tB-paper\nTimes\tI-paper\n")
    assert read_examples(path).examples == (Example("New York Times", (Span(0, 14, "paper"),), ((0, 8), (9, 14))),)


def test_conll_labels_may_hold_spaces_between_tabs(tmp_path):
    path = write(tmp_path / "a.bio", "Nobu\tB-restaurant name\n")
    assert read_examples(path).concepts == {"restaurant name": ""}


def test_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    datasets.Dataset.from_list([TAGGED_ROW], features=CLASS_LABELS).to_parquet(path)
    assert read_examples(path).examples == (TAGGED,)
    datasets.Dataset.from_list([{"text": "Rio", "entities": [entity(0, 3)]}]).to_parquet(path)
    assert read_examples(path).examples == (Example("Rio", (Span(0, 3, "city"),)),)
    datasets.Dataset.from_list([{"text": "Rio", "entities": [entity(0, e)]} for e in (3, 9)]).to_parquet(path)
    with pytest.raises(ValueError, match=r"a\.parquet, row 1: the span 0\.\.9"):
        read_examples(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", f'{json.dumps(NOBU)}\n\n{{"text": 1', r"a\.jsonl, line 3: not valid JSON at column 11 \(.*\)"),
        ("a.jsonl", '{"text": "a"}', r"a\.jsonl, line 1: a dict with the keys \['text'\] is of no known form"),
        ("a.jsonl", "7", r"a\.jsonl, line 1: an example is a string such as .* of type int: 7"),
        ("a.txt", f"{NOBU}\n\n[Rio](city", r"a\.txt, line 3: a label is not closed"),
        ("a.conll", "Rio B-city\nin B_PER", r"a\.conll, line 2: unknown tag 'B_PER'"),
        ("a.conll", "Rio B-city\n\nRio", r"a\.conll, line 3: 'Rio' is not a token and its tag"),
        ("a.tsv", "\tO\n", r"a\.tsv, line 1: '\\tO' is not a token and its tag"),
        ("a.tsv", "Rio\t\n", r"a\.tsv, line 1: unknown tag ''"),
        ("a.conll", "Rio B-city\n\nRio O\nRio B-City\n\n", r"a\.conll, lines 3-4: label 'City' differs from 'city'"),
        ("a.bio", "Rio B-city\n\nRio O\nRio B-City", r"a\.bio, lines 3-4: label 'City' differs from 'city'"),
        ("a.parquet", "no parquet", r"a\.parquet: not a Parquet file"),
        ("a.csv", "text", r"a\.csv: unknown kind of file '\.csv': name it \.jsonl, \.txt, .*\.parquet"),
        ("a.txt", "\n", "the support set is empty"),
    ],
)
def test_file_errors(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=message):
        read_examples(write(tmp_path / name, content))


def test_file_that_is_not_utf8(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"[Rio](city)\n[S\xe3o Paulo](city)\n")
    with pytest.raises(ValueError, match=r"a\.txt, line 2: not UTF-8 \(.*\): save it as UTF-8"):
        read_examples(path)


def test_missing_file(tmp_path):
    for name in ("a.jsonl", "a.parquet"):
        with pytest.raises(FileNotFoundError, match=name.replace(".", r"\.")):
            read_examples(tmp_path / name)


@pytest.mark.parametrize("option", ["config", "split", "revision"])
def test_options_of_data_sets_do_not_apply_to_files(tmp_path, option):
    path = write(tmp_path / "a.txt", NOBU)
    with pytest.raises(ValueError, match=f"{option}='x' applies to data sets, not to a file"):
        read_examples(path, **{option: "x"})


def test_data_set_of_the_hub(monkeypatch):
    calls = []

    def load_dataset(path, name, *, split, revision):
        calls.append((path, name, split, revision))
        return datasets.Dataset.from_list([TAGGED_ROW], features=CLASS_LABELS)

    monkeypatch.setattr(formats.datasets, "load_dataset", load_dataset)
    assert read_examples("user/data.v1").examples == (TAGGED,)
    assert list(read_examples("user/data", config="c", split="test", revision="r").concepts) == ["paper", "city"]
    assert calls == [("user/data.v1", None, "train", None), ("user/data", "c", "test", "r")]


def test_concepts_from_json(tmp_path):
    path = write(tmp_path / "a.txt", NOBU)
    given = write(tmp_path / "concepts.json", '{"restaurant name": "where one eats", "city": ""}')
    expected = {"restaurant name": "where one eats", "city": ""}
    assert read_concepts(given) == expected
    assert read_examples(path, concepts=given).concepts == expected
    assert read_examples(path, concepts=str(given)).concepts == expected
    write(given, '["restaurant name"]')
    assert read_examples(path, concepts=given).concepts == {"restaurant name": ""}
    write(given, '["city"]')
    with pytest.raises(ValueError, match=r"a\.txt, line 1: label 'restaurant name' is not among the given concepts"):
        read_examples(path, concepts=given)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "Expecting property name"),
        ("3", "concepts must map labels to descriptions"),
        ("{}", "the given concepts are empty"),
        ('{"city": {"definition": "a town"}}', "the description of 'city' is {'definition': 'a town'}: give a string"),
    ],
)
def test_concepts_file_errors(tmp_path, content, message):
    with pytest.raises(ValueError, match=rf"concepts\.json: .*{re.escape(message)}"):
        read_concepts(write(tmp_path / "concepts.json", content))
