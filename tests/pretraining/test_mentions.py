"""The boundary loss, what is measured of mentions, and the recipe of the blog."""

import numpy as np
import pytest
import torch

from nerfound.modeling_nuner import NuNerForConceptContrast
from nerfound.pretraining import ConceptContrastCollator, PretrainingArguments
from nerfound.pretraining.arguments import BLOG_RECIPE
from nerfound.pretraining.collator import boundary_labels
from nerfound.pretraining.mentions import measure_mention_prior
from tests.factories import tokenizer_of
from tests.pretraining.helpers import passages, row

TEXT = "the old mayor of New York spoke"
OFFSETS = np.array([[0, 0], [0, 3], [4, 7], [8, 13], [14, 16], [17, 20], [21, 25], [26, 31], [0, 0]])


@pytest.fixture
def model(encoders):
    torch.manual_seed(0)
    return NuNerForConceptContrast.from_encoders(encoders["bert"], encoders["bert"], boundary_weight=0.5)


def collator():
    return ConceptContrastCollator(tokenizer_of("bert"), tokenizer_of("bert"), max_tokens=64)


def test_boundaries_of_the_shortest_mention():
    entities = row(TEXT, ("mayor of New York", "person"), ("New York", "city"))["entities"]
    assert boundary_labels(OFFSETS, entities).tolist() == [0, 0, 0, 1, 2, 1, 2, 0, 0]
    assert boundary_labels(OFFSETS, entities[::-1]).tolist() == [0, 0, 0, 1, 2, 1, 2, 0, 0]
    assert boundary_labels(OFFSETS, []).tolist() == [0] * 9


def test_a_mention_that_was_cut_off_has_no_boundary():
    entities = [{"start": 100, "end": 110}]
    assert boundary_labels(OFFSETS, entities).tolist() == [0] * 9


def test_the_boundary_loss_adds_to_the_contrast(model):
    batch = collator()(passages()[:4])
    boundaries = batch.pop("boundary_labels")
    with torch.no_grad():
        model.mention_prior.boundary.weight.normal_()
        contrast = model(**batch).loss
        both = model(**batch, boundary_labels=boundaries).loss
        scored = batch["attention_mask"].bool() & ~batch["special_tokens_mask"].bool()
        states = model.token_states(batch["input_ids"], batch["attention_mask"])[scored]
    logits = states @ model.mention_prior.boundary.weight.T
    expected = torch.nn.functional.cross_entropy(logits, boundaries[scored])
    torch.testing.assert_close(both - contrast, 0.5 * expected)


def test_a_model_without_boundary_weight_has_no_prior_and_ignores_the_labels(encoders):
    model = NuNerForConceptContrast.from_encoders(encoders["bert"], encoders["bert"])
    batch = collator()(passages()[:2])
    assert model.mention_prior is None
    with torch.no_grad():
        with_labels = model(**batch).loss
        batch.pop("boundary_labels")
        assert model(**batch).loss == with_labels


def test_covariance_within_concepts(model):
    rows = passages()[:12]
    measure_mention_prior(model, collator(), rows, batch_size=5)

    vectors, owners, lengths = [], [], []
    for passage in rows:
        inputs, offsets = collator().tokenize([passage])
        special = inputs.pop("special_tokens_mask").bool()
        with torch.no_grad():
            states = model.token_states(**inputs)[0].double()
        lengths += states[~special[0]].norm(dim=-1).square().tolist()
        for state, (start, end) in zip(states, offsets[0].tolist(), strict=True):
            over = [e for e in passage["entities"] if e["start"] < end and e["end"] > start]
            if over:
                vectors.append(state.numpy())
                owners.append(min(over, key=lambda e: e["end"] - e["start"])["concept"].lower())
    vectors, owners = np.stack(vectors), np.array(owners)
    centred = np.concatenate([vectors[owners == o] - vectors[owners == o].mean(0) for o in sorted(set(owners))])
    expected = centred.T @ centred / (len(centred) - len(set(owners)))
    np.testing.assert_allclose(model.mention_prior.covariance, expected, rtol=1e-4, atol=1e-6)
    assert model.mention_prior.norm.item() == pytest.approx(np.mean(lengths) ** 0.5, rel=1e-5)


def test_nothing_to_measure_leaves_the_identity(model):
    measure_mention_prior(model, collator(), [row("no entity here")])
    assert torch.equal(model.mention_prior.covariance, torch.eye(model.config.hidden_size))


def test_the_prior_is_saved_with_the_model(model, tmp_path):
    measure_mention_prior(model, collator(), passages()[:4])
    model.save_pretrained(tmp_path)
    loaded = NuNerForConceptContrast.from_pretrained(tmp_path)
    for name, value in model.mention_prior.state_dict().items():
        assert torch.equal(loaded.mention_prior.state_dict()[name], value)


def test_recipe_of_the_blog(tmp_path):
    args = PretrainingArguments(output_dir=str(tmp_path), recipe="blog", crop_share=0.2, use_cpu=True)
    assert {name: getattr(args, name) for name in BLOG_RECIPE} == BLOG_RECIPE | {"crop_share": 0.2}
    own = PretrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    assert (own.score, own.boundary_weight, own.retention_weight) == ("cosine", 0.5, 0.5)


@pytest.mark.parametrize("given", [{"recipe": "mine"}, {"boundary_weight": -1.0}, {"retention_weight": -0.5}])
def test_refused(tmp_path, given):
    with pytest.raises(ValueError, match=f"--{next(iter(given))}"):
        PretrainingArguments(output_dir=str(tmp_path), use_cpu=True, **given)
