import subprocess
import sys
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerfound.fewshot.formats import Example
from nerfound.fewshot.sampler import sample_k_shot
from nerfound.spans import Span

CONCEPTS = ["actor", "genre", "year", "título"]


def example(labels):
    """A text of one-letter mentions, one for each label."""
    return Example("x " * len(labels) + ".", tuple(Span(2 * i, 2 * i + 1, label) for i, label in enumerate(labels)))


corpora = st.lists(st.lists(st.sampled_from([*CONCEPTS, "ignored"]), max_size=4).map(example), max_size=25)


def sample(*args):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sample_k_shot(*args)


def containing(corpus, concept):
    return {i for i, one in enumerate(corpus) if any(entity.label == concept for entity in one.entities)}


@given(corpora, st.integers(0, 6), st.integers(0, 10**6))
def test_protocol(corpus, k, seed):
    selected = sample(corpus, k, seed, CONCEPTS)
    assert selected == sorted(set(selected))
    assert selected == sample(corpus, k, seed, CONCEPTS)
    assert set(selected) <= set(sample(corpus, k + 3, seed, CONCEPTS))  # nested
    own = {concept: set(sample(corpus, k, seed, [concept])) for concept in CONCEPTS}
    assert set(selected) == set().union(*own.values())  # for each concept as if it were the only one
    assert set(selected) == set(sample(corpus, k, seed, CONCEPTS[::-1]))
    for concept, indices in own.items():
        available = containing(corpus, concept)
        assert indices <= available
        assert len(indices) == min(k, len(available))


@given(corpora, st.integers(1, 3))
def test_what_is_drawn_for_a_concept_does_not_depend_on_the_others(corpus, k):
    stripped = [
        Example(one.text, tuple(entity for entity in one.entities if entity.label == "actor")) for one in corpus
    ]
    assert sample(corpus, k, 7, ["actor"]) == sample(stripped, k, 7, ["actor"])


def test_seeds_differ_and_the_draw_is_even():
    corpus = [example(["actor"]) for _ in range(10)]
    draws = [sample_k_shot(corpus, 1, seed, ["actor"])[0] for seed in range(500)]
    assert set(draws) == set(range(10))
    assert max(draws.count(index) for index in range(10)) < 90


def test_concepts_have_shuffles_of_their_own():
    corpus = [example(["actor", "genre"]) for _ in range(50)]
    assert sample_k_shot(corpus, 5, 0, ["actor"]) != sample_k_shot(corpus, 5, 0, ["genre"])


def test_a_draw_is_the_same_in_every_process():
    corpus = [example(["actor", "título"]) for _ in range(40)]
    code = (
        "from nerfound.fewshot.formats import Example; from nerfound.spans import Span;"
        "from nerfound.fewshot.sampler import sample_k_shot;"
        "one = Example('x x .', (Span(0, 1, 'actor'), Span(2, 3, 't\\u00edtulo')));"
        "print(sample_k_shot([one] * 40, 4, 13, ['actor', 't\\u00edtulo']))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert printed.stdout.strip() == str(sample_k_shot(corpus, 4, 13, CONCEPTS[::3]))


def test_scarce_concepts_give_all_they_have_and_are_reported():
    corpus = [example(["actor"]), example(["genre", "actor"]), example([]), example(["actor"])]
    with pytest.warns(UserWarning, match=r"fewer than k=2 sentences, .* for: 'genre' \(1\), 'year' \(0\)$") as caught:
        selected = sample_k_shot(corpus, 2, 0, ["actor", "genre", "year"])
    assert 1 in selected
    assert caught[0].filename == __file__


def test_enough_sentences_give_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sample_k_shot([example(["actor"])], 1, 0, ["actor"]) == [0]
        assert sample_k_shot([example(["actor"])], 0, 0, ["actor", "year"]) == []


def test_negative_k():
    with pytest.raises(ValueError, match="k is -1"):
        sample_k_shot([], -1, 0, ["actor"])
