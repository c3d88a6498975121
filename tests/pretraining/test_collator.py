"""The batch of the concept contrast, against a slow reading of what it should be."""

import numpy as np
import pytest
import torch

from nerfound.concepts import concept_key
from nerfound.pretraining.collator import ConceptContrastCollator, NearDuplicates
from tests.factories import tokenizer_of
from tests.pretraining.helpers import passages, row

IGNORED = -100


def collator(kind="bert", **fields):
    return ConceptContrastCollator(tokenizer_of(kind), tokenizer_of("bert"), **({"max_tokens": 64} | fields))


def concept_texts(batch):
    """The concepts of a batch as they are encoded: token ids without padding."""
    ids, mask = batch["concept_input_ids"], batch["concept_attention_mask"].bool()
    return [ids[i, mask[i]].tolist() for i in range(len(ids))]


def encode_concepts(*texts):
    return [tokenizer_of("bert")(text).input_ids for text in texts]


def columns(rows):
    """The distinct concepts of rows, in order of appearance."""
    return list(dict.fromkeys(concept_key(entity["concept"]) for row in rows for entity in row["entities"]))


def overlaps(token, entity):
    """Whether they share a character; a token of no character (a lone space, trimmed) is where it stands."""
    start, end = token
    if start == end:
        return entity["start"] < start < entity["end"]
    return bool(set(range(start, end)) & set(range(entity["start"], entity["end"])))


def slow_labels(rows, tokenizer, max_tokens, near=lambda one, other: False):
    """Labels, token by token, concept by concept, character by character."""
    keys = columns(rows)
    encoded = [
        tokenizer(row["text"], truncation=True, max_length=max_tokens, return_offsets_mapping=True) for row in rows
    ]
    longest = max(len(one["input_ids"]) for one in encoded)
    labels = np.zeros((len(rows), longest, max(len(keys), 1)), dtype=int)
    for i, (passage, one) in enumerate(zip(rows, encoded, strict=True)):
        for j, token in enumerate(one["offset_mapping"][1:-1], start=1):  # between the two special tokens
            of_token = {concept_key(entity["concept"]) for entity in passage["entities"] if overlaps(token, entity)}
            for k, key in enumerate(keys):
                if key in of_token:
                    labels[i, j, k] = 1
                elif any(near(key, positive) for positive in of_token):
                    labels[i, j, k] = IGNORED
    return labels


class NearByInitial:
    """Concepts whose names begin with the same letter count as near-duplicates."""

    @staticmethod
    def near(one, other):
        return one != other and one[0] == other[0]

    def pairs(self, keys):
        return np.array([[self.near(one, other) for other in keys] for one in keys])


@pytest.mark.parametrize("near", [None, NearByInitial()], ids=["plain", "near-duplicates"])
def test_labels_are_exact(kind, near):
    rows = passages(12)
    tokenizer = tokenizer_of(kind)
    batch = collator(kind, near_duplicates=near)(rows)
    expected = slow_labels(rows, tokenizer, 64, near.near if near else lambda one, other: False)
    assert batch["labels"].dtype == torch.int8
    np.testing.assert_array_equal(batch["labels"].numpy(), expected)
    assert (expected == 1).any()
    assert (expected == IGNORED).any() == (near is not None)


def test_special_tokens_and_padding_are_never_positive():
    text = "Nobu opens"
    rows = [row(text, (text, "everything")), row("a much longer text, for padding", ("a", "article"))]
    batch = collator(near_duplicates=NearByInitial())(rows)
    outside = batch["special_tokens_mask"].bool() | ~batch["attention_mask"].bool()
    assert (batch["labels"][outside] == 0).all()
    assert (batch["labels"][0, ~outside[0], 0] == 1).all()


def test_each_distinct_concept_is_encoded_once():
    rows = [
        row("Nobu and Noma", ("Nobu", "Restaurant  name"), ("Noma", "restaurant name")),
        row("Nobu in Paris", ("Nobu", "RESTAURANT NAME"), ("Paris", "city"), ("Paris", "capital")),
    ]
    batch = collator(description_share=0)(rows)
    assert concept_texts(batch) == encode_concepts("restaurant name", "city", "capital")
    assert batch["labels"].shape[-1] == 3
    restaurant, city, capital = batch["labels"].unbind(-1)
    assert torch.equal(city, capital)
    assert city[1].any()
    assert not (city & restaurant).any()
    assert restaurant.any(1).all()


DESCRIBED = [row("Nobu", *(("Nobu", f"c{i}", f"which is {i}") for i in range(200)))]
NAMES = [f"c{i}" for i in range(200)]
WHOLE = [f"c{i}: which is {i}" for i in range(200)]


@pytest.mark.parametrize(("share", "texts"), [(0.0, NAMES), (1.0, WHOLE)])
def test_all_concepts_or_none_with_description(share, texts):
    assert concept_texts(collator(description_share=share)(DESCRIBED)) == encode_concepts(*texts)


def test_the_share_of_descriptions_is_kept_and_fixed_by_ids_and_seed():
    def choice(seed=0, name="r"):
        rows = [DESCRIBED[0] | {"id": name}]
        got = concept_texts(collator(description_share=0.7, seed=seed)(rows))
        named, whole = encode_concepts(*NAMES), encode_concepts(*WHOLE)
        assert all(one in (a, b) for one, a, b in zip(got, named, whole, strict=True))
        return [one == b for one, b in zip(got, whole, strict=True)]

    assert 0.6 < np.mean(choice()) < 0.8
    assert choice() == choice()
    assert choice() != choice(seed=1)
    assert choice() != choice(name="another")


def test_the_choice_does_not_depend_on_what_was_collated_before():
    used = collator(description_share=0.5)
    for start in range(0, 40, 8):
        used(passages()[start : start + 8])
    rows = passages()[40:48]
    fresh = collator(description_share=0.5)(rows)
    assert concept_texts(used(rows)) == concept_texts(fresh)


def test_the_first_description_in_a_batch_counts():
    rows = [row("Nobu", ("Nobu", "place", "first")), row("Noma", ("Noma", "Place", "second"), ("Noma", "x"))]
    assert concept_texts(collator(description_share=1)(rows)) == encode_concepts("place: first", "x")


def test_a_description_that_is_missing_leaves_the_name():
    assert concept_texts(collator(description_share=1)([row("Nobu", ("Nobu", "place"))])) == encode_concepts("place")


def test_near_duplicates_are_ignored_only_where_their_twin_is_positive():
    rows = [row("Nobu in Paris", ("Nobu", "restaurant"), ("Paris", "city")), row("Noma", ("Noma", "eating place"))]
    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1]])
    near = NearDuplicates(["restaurant", "city", "eating place"], vectors, 0.8)
    labels = collator(near_duplicates=near)(rows)["labels"]
    restaurant, city, eating_place = 0, 1, 2
    nobu = labels[0, :, restaurant] == 1
    assert (labels[0, nobu, eating_place] == IGNORED).all()
    assert (labels[0, nobu, city] == 0).all()
    assert (labels[0, ~nobu, eating_place] == 0).all()
    noma = labels[1, :, eating_place] == 1
    assert (labels[1, noma, restaurant] == IGNORED).all()
    assert (labels[1, ~noma, restaurant] == 0).all()


def test_a_near_duplicate_never_overrides_a_positive():
    rows = [row("Nobu", ("Nobu", "restaurant"), ("Nobu", "eating place"))]
    near = NearDuplicates(["restaurant", "eating place"], torch.ones(2, 4), 0.9)
    labels = collator(near_duplicates=near)(rows)["labels"]
    assert set(labels.flatten().tolist()) == {0, 1}


def test_near_duplicates_by_cosine():
    vectors = torch.tensor([[2.0, 0.0], [0.0, 0.0], [1.0, 0.02], [0.0, 5.0]])
    near = NearDuplicates(["a", "zero", "b", "c"], vectors, 0.85)
    pairs = near.pairs(["c", "a", "never seen", "b", "never seen either"])
    assert pairs.dtype == bool
    assert np.argwhere(pairs).tolist() == [[1, 3], [3, 1]]


def test_a_batch_without_entities_is_all_negatives():
    batch = collator(near_duplicates=NearByInitial())([row("nothing"), row("here, either")])
    assert batch["labels"].shape == (*batch["input_ids"].shape, 1)
    assert not batch["labels"].any()
    assert batch["concept_input_ids"].shape == (1, 2)  # [CLS] [SEP]


def test_cut_passages_are_counted():
    one = collator(max_tokens=12)
    short = row("Nobu  ")
    long = row("book a table at Nobu in Paris for four people tonight", ("tonight", "time"))
    batch = one([short, long])
    assert one.cut_passages == 1
    assert batch["input_ids"].shape[1] == 12
    assert not batch["labels"].any()  # the mention was cut off
    one([short, short])
    assert one.cut_passages == 1
    one([long, long])
    assert one.cut_passages == 3


def test_a_passage_that_just_fits_is_not_cut():
    text = "book a table at Nobu  "
    tokens = len(tokenizer_of("bert")(text).input_ids)
    one = collator(max_tokens=tokens)
    one([row(text)])
    assert one.cut_passages == 0
    one = collator(max_tokens=tokens - 1)
    one([row(text)])
    assert one.cut_passages == 1
