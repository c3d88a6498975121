"""The ranking of concepts, against a brute-force reading of its definition."""

from statistics import fmean

import pytest
import torch
from datasets import Dataset

from nerfound.concepts import Concept, concept_key
from nerfound.modeling_nuner import NuNerForConceptContrast
from nerfound.pretraining.ranking import _average_precision, concept_ranking, encode_concept_texts
from tests.factories import tokenizer_of
from tests.pretraining.helpers import passages

TOKENIZERS = tokenizer_of("roberta"), tokenizer_of("bert")


@pytest.fixture(scope="module")
def model(contrast_folder):
    return NuNerForConceptContrast.from_pretrained(contrast_folder)


def slow_average_precision(scores, true):
    """Precision at the rank of each true item, averaged; from the definition."""
    ranked = sorted(range(len(scores)), key=lambda i: -scores[i])
    precisions = []
    for rank, item in enumerate(ranked, start=1):
        if item in true:
            precisions.append(sum(other in true for other in ranked[:rank]) / rank)
    return fmean(precisions)


@torch.no_grad()
def slow_ranking(model, rows, seen):
    """One passage, one span, one concept at a time."""
    tokenizer, concept_tokenizer = TOKENIZERS
    concepts = {}
    for row in rows:
        for entity in row["entities"]:
            concepts.setdefault(concept_key(entity["concept"]), Concept(entity["concept"], entity["description"]).text)
    encoded = [concept_tokenizer(text, return_tensors="pt", truncation=True) for text in concepts.values()]
    vectors = [model.encode_concepts(one["input_ids"], one["attention_mask"])[0] for one in encoded]
    precisions, unseen_precisions = [], []
    for row in rows:
        encoded = tokenizer(row["text"], return_tensors="pt", return_offsets_mapping=True, truncation=True)
        offsets = encoded.pop("offset_mapping")[0].tolist()
        tokens = model.encode_tokens(**encoded)[0]
        for start, end in {(entity["start"], entity["end"]) for entity in row["entities"]}:
            inside = [i for i, (first, last) in enumerate(offsets) if first < end and last > start]
            if not inside:
                continue
            mention = torch.stack([tokens[i] for i in inside]).mean(0)
            scores = [float(mention @ vector) for vector in vectors]
            annotated = [concept_key(e["concept"]) for e in row["entities"] if (e["start"], e["end"]) == (start, end)]
            true = {list(concepts).index(key) for key in annotated}
            precisions.append(slow_average_precision(scores, true))
            new = {list(concepts).index(key) for key in annotated if key not in seen}
            if new:
                unseen_precisions.append(slow_average_precision(scores, new))
    return {"map": fmean(precisions), "map_unseen": fmean(unseen_precisions) if unseen_precisions else 0.0}


def test_average_precision_equals_its_definition():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(50, 17, generator=generator)
    truth = torch.rand(50, 17, generator=generator) < 0.2
    truth[:, 3] |= ~truth.any(1)
    fast = _average_precision(scores, truth)
    for row in range(50):
        expected = slow_average_precision(scores[row].tolist(), set(truth[row].nonzero().flatten().tolist()))
        assert fast[row].item() == pytest.approx(expected, abs=1e-6)


def test_average_precision_at_the_ends():
    scores = torch.tensor([[3.0, 2.0, 1.0]]).expand(3, -1)
    truth = torch.tensor([[True, False, False], [False, False, True], [True, True, True]])
    assert _average_precision(scores, truth).tolist() == pytest.approx([1, 1 / 3, 1])


def multi_concept(rows):
    """Each passage's first mention annotated with a second concept too, that of the passage before."""
    result = []
    for before, row in zip([rows[-1], *rows], rows, strict=False):
        second = row["entities"][0] | {key: before["entities"][-1][key] for key in ("concept", "description")}
        result.append(row | {"entities": [*row["entities"], second]})
    return result


@pytest.mark.parametrize("several", [False, True], ids=["one-concept", "several-concepts"])
@pytest.mark.parametrize("batch_size", [5, 64])
def test_ranking_equals_its_definition(model, several, batch_size):
    rows = multi_concept(passages(16)) if several else passages(16)
    seen = frozenset(concept_key(entity["concept"]) for row in rows[:9] for entity in row["entities"])
    expected = slow_ranking(model, rows, seen)
    assert 0 < expected["map_unseen"] != expected["map"] > 0
    got = concept_ranking(model, *TOKENIZERS, rows, seen, batch_size=batch_size)
    assert got == pytest.approx(expected, abs=1e-5)


def test_a_dataset_is_ranked_as_its_rows_are(model):
    rows = passages(8)
    dataset = Dataset.from_list(rows)
    expected = concept_ranking(model, *TOKENIZERS, rows, frozenset())
    assert concept_ranking(model, *TOKENIZERS, dataset, frozenset(), batch_size=3) == pytest.approx(expected)


def test_where_nothing_is_unseen(model):
    rows = passages(4)
    everything = {concept_key(entity["concept"]) for row in rows for entity in row["entities"]}
    ranking = concept_ranking(model, *TOKENIZERS, rows, everything)
    assert ranking["map"] > 0
    assert ranking["map_unseen"] == 0
    nothing_seen = concept_ranking(model, *TOKENIZERS, rows, set())
    assert nothing_seen["map_unseen"] == pytest.approx(nothing_seen["map"])


def test_spelling_does_not_make_a_concept_unseen(model):
    rows = [passages(1)[0] | {"entities": [passages(1)[0]["entities"][0] | {"concept": "  A  Thing"}]}]
    assert concept_ranking(model, *TOKENIZERS, rows, {"a thing"})["map_unseen"] == 0


def test_passages_without_entities(model):
    rows = [row | {"entities": []} for row in passages(3)]
    assert concept_ranking(model, *TOKENIZERS, rows, set()) == {"map": 0.0, "map_unseen": 0.0}


def test_mentions_behind_what_the_encoder_reads_are_left_out(model):
    row = passages(1)[0]
    far = row["text"] + " and so on" * 60
    hidden = {"start": len(far) - 2, "end": len(far), "text": "on", "concept": "preposition", "description": ""}
    shown = [e for e in row["entities"] if e["start"] < 30]
    with_hidden = concept_ranking(model, *TOKENIZERS, [row | {"text": far, "entities": [hidden]}], set())
    assert with_hidden == {"map": 0.0, "map_unseen": 0.0}
    both = [row | {"text": far, "entities": [*shown, hidden]}]
    assert concept_ranking(model, *TOKENIZERS, both, set())["map"] > 0


def test_concepts_are_encoded_the_same_in_batches(model):
    texts = ["city", "a restaurant: where one eats", "x", "river", "date of birth"]
    at_once = encode_concept_texts(model, TOKENIZERS[1], texts)
    torch.testing.assert_close(encode_concept_texts(model, TOKENIZERS[1], texts, batch_size=2), at_once)
    assert at_once.shape == (5, 32)
