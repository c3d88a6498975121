"""Hold-out by hash: fixed per passage, whatever the rows around it."""

import pytest

from nerfound.corpus import load_packaged_corpus, split_held_out
from nerfound.corpus.writers import dataset_from_rows


def corpus(ids):
    return dataset_from_rows({"id": i, "language": "", "domain": "", "text": i, "entities": []} for i in ids)


IDS = [f"p{number}" for number in range(500)]


def test_a_split_parts_the_passages():
    train, held_out = split_held_out(corpus(IDS), 0.2, seed=0)
    assert sorted([*train["id"], *held_out["id"]]) == sorted(IDS)
    assert 60 < len(held_out) < 140


def test_a_passage_keeps_its_side_in_any_order_and_company():
    _, held_out = split_held_out(corpus(IDS), 0.2, seed=0)
    _, reversed_out = split_held_out(corpus(IDS[::-1]), 0.2, seed=0)
    _, half_out = split_held_out(corpus(IDS[::2]), 0.2, seed=0)
    assert list(reversed_out["id"]) == list(held_out["id"])[::-1]
    assert list(half_out["id"]) == [i for i in held_out["id"] if i in IDS[::2]]


def test_a_larger_fraction_holds_out_more_of_the_same():
    smaller, larger = (set(split_held_out(corpus(IDS), fraction, seed=0)[1]["id"]) for fraction in (0.1, 0.3))
    assert smaller < larger


def test_another_seed_holds_out_others():
    sides = [set(split_held_out(corpus(IDS), 0.2, seed=seed)[1]["id"]) for seed in (0, 1)]
    assert sides[0] != sides[1]


def test_the_split_is_fixed_for_good():
    _, held_out = split_held_out(corpus(IDS[:20]), 0.2, seed=0)
    assert list(held_out["id"]) == ["p2", "p10", "p14"]


def test_the_packaged_corpus():
    train, held_out = split_held_out(load_packaged_corpus(), 0.05, seed=1)
    assert len(train) + len(held_out) == 13117
    assert 540 < len(held_out) < 780


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_a_fraction_that_is_none_is_refused(fraction):
    with pytest.raises(ValueError, match="must lie strictly between 0 and 1"):
        split_held_out(corpus(IDS), fraction, seed=0)


def test_an_empty_side_is_refused():
    with pytest.raises(ValueError, match="use a larger corpus"):
        split_held_out(corpus(IDS[:1]), 0.1, seed=0)
