"""Labelled texts of every shape: short and of several windows, with and without words of their own, and empty."""

from nerfound.fewshot.formats import Example, parse_examples
from nerfound.spans import Span
from tests.factories import SENTENCES

CONCEPTS = ["restaurant", "city", "person"]
LONG = " ".join(SENTENCES * 2)  # of several windows: a tiny encoder reads 64 tokens
EXAMPLES = [
    *parse_examples(
        [
            "book a table at [Nobu](restaurant) in [Paris](city) for four people tonight",
            "is there a free table at [Noma](restaurant), near the river?",
            {"tokens": ["fly", "Ber", "lin", "to", "New York"], "tags": ["O", "B-city", "I-city", "O", "B-city"]},
            "[Marie Curie](person) was born in [Warsaw](city) in 1867; she died in 1934.",
        ]
    ).examples,
    Example(
        LONG,
        tuple(
            Span(start, start + len(mention), label)
            for start, mention, label in sorted(
                (LONG.index(mention, LONG.index(mention) + times), mention, label)
                for mention, label in (("Nobu", "restaurant"), ("New York", "city"), ("Marie Curie", "person"))
                for times in (0, 1)
            )
        ),
    ),
    Example("nothing to find", ()),
    Example("\u2003\n", ()),  # no word, hence no window
]  # fmt: skip
