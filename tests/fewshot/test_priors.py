"""The prior of a few-shot head: recognizers from names alone, and how examples move them."""

import json

import pytest
import torch
from transformers import AutoTokenizer, pipeline
from typer.testing import CliRunner

from nerfound import fit
from nerfound.cli import app
from nerfound.fewshot import heads
from nerfound.fewshot.fitting import fit_few_shot_head, load_prior
from nerfound.fewshot.heads import fit_linear_head
from nerfound.fewshot.priors import ENTITY_SHARE, FEWER_CONCEPTS, ConceptPrior
from nerfound.modeling_nuner import NuNerForConceptContrast, NuNerForTokenClassification
from nerfound.pretraining.ranking import encode_concept_texts
from tests.factories import CONCEPTS, make_contrast

EXAMPLES = [
    "book a table at [Nobu](restaurant) in [Paris](city) for four people tonight",
    "is there a free table at [Noma](restaurant), near the river?",
]


@pytest.fixture(
    scope="module", params=[{}, {"projection_dim": 16}, {"score": "dot"}], ids=["plain", "projected", "dot"]
)
def dual(request, encoders, tmp_path_factory):
    """The folder of a dual encoder that knows something of boundaries."""
    folder = tmp_path_factory.mktemp("dual")
    make_contrast(folder, encoders["bert"], encoders["bert"], boundary_weight=0.5, **request.param)
    model = NuNerForConceptContrast.from_pretrained(folder)
    torch.manual_seed(1)
    with torch.no_grad():
        model.mention_prior.boundary.weight.normal_(std=0.3)
        model.mention_prior.boundary.bias.normal_()
        model.mention_prior.norm.fill_(3.0)
        spread = torch.randn(32, 32)
        model.mention_prior.covariance.copy_(spread @ spread.T / 32)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(encoders["bert"]).save_pretrained(folder / "concept_tokenizer")
    return folder


def boundaries(model, vectors):
    outside, begin, inside = model.mention_prior(vectors).unbind(-1)
    return (begin + inside) / 2 - outside, (begin - inside) / 2


def test_the_prior_scores_as_the_contrast_does(dual):
    prior = load_prior(dual)
    model = prior.model
    head = prior(CONCEPTS)
    vectors = torch.randn(5, model.config.hidden_size)
    with torch.no_grad():
        common = model.token_projection(vectors)
        if model.config.score == "cosine":  # for token vectors of the length that was measured
            vectors = vectors * 3.0 / common.norm(dim=-1, keepdim=True)
        texts = ["restaurant: A place that serves meals.", "city"]
        concepts = encode_concept_texts(model, prior.tokenizer, texts)
        scores = model.scorer(model.scorer.prepare(model.token_projection(vectors)), concepts)
        entity, border = boundaries(model, vectors)
        logits = vectors @ head.weight.T + head.bias
    expected = scores + FEWER_CONCEPTS + ENTITY_SHARE * entity[:, None]
    torch.testing.assert_close(logits[:, 0], torch.zeros(5))
    if model.config.score == "dot":
        torch.testing.assert_close(logits[:, 1::2], expected + border[:, None], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        logits[:, 1::2] - logits[:, 2::2], 2 * border[:, None].expand(-1, 2), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close((logits[:, 1::2] + logits[:, 2::2]) / 2, expected, rtol=1e-4, atol=1e-4)


def test_axes_whiten_what_varies_within_a_concept(dual):
    prior = load_prior(dual)
    covariance = prior.model.mention_prior.covariance
    axes = prior.axes
    torch.testing.assert_close(axes, axes.T, rtol=1e-3, atol=1e-5)
    spread = torch.linalg.eigvalsh(axes @ covariance @ axes)
    before = torch.linalg.eigvalsh(covariance)
    assert spread[-1] / spread[len(spread) // 2] < before[-1] / before[len(before) // 2]


def test_without_examples_the_head_is_the_prior(dual):
    recognizer = fit([], concepts=CONCEPTS, foundation=dual)
    prior = load_prior(dual)(CONCEPTS)
    assert recognizer.config.concepts == CONCEPTS
    assert recognizer.config.fitted["examples"] == 0
    torch.testing.assert_close(recognizer.classifier.weight.data, prior.weight)
    torch.testing.assert_close(recognizer.classifier.bias.data, prior.bias)
    assert isinstance(pipeline("few-shot-ner", model=recognizer)("a table at Nobu"), list)


def test_descriptions_and_names_count(dual):
    heads_ = [
        fit([], concepts=concepts, foundation=dual).classifier.weight
        for concepts in ({"city": ""}, {"city": "a large town"}, {"restaurant": ""})
    ]
    assert not torch.allclose(heads_[0], heads_[1])
    assert not torch.allclose(heads_[0], heads_[2])


def test_examples_move_the_head_less_under_a_stronger_penalty(dual):
    prior = load_prior(dual)(CONCEPTS)
    torch.manual_seed(0)
    vectors, labels = torch.randn(40, 32), torch.arange(40) % 5
    moved = [
        (fit_linear_head(vectors, labels, 5, l2=l2, prior=prior).weight - prior.weight).norm() for l2 in (0.01, 1, 1e4)
    ]
    assert moved[0] > moved[1] > moved[2]
    assert moved[2] < 1e-3 * moved[0]


def test_the_optimum_around_a_prior(dual):
    """Its gradient vanishes: no other head has a smaller loss plus penalty, in the prior's own axes."""
    prior = load_prior(dual)(CONCEPTS)
    torch.manual_seed(0)
    vectors, labels = torch.randn(60, 32).double(), torch.arange(60) % 5
    head = fit_linear_head(vectors.float(), labels, 5, l2=0.1, prior=prior, tolerance=1e-7)
    features = (vectors - vectors.mean(0)) @ prior.axes.double()
    features = features / features.square().mean().sqrt()
    values = head.factors.double().requires_grad_()
    factors = heads.label_factors(5).double()
    weights = factors @ values
    logits = vectors @ prior.weight.double().T + prior.bias.double() + features @ weights[:, :-1].T + weights[:, -1]
    loss = torch.nn.functional.cross_entropy(logits, labels) + 0.05 * values[:, :-1].square().sum()
    (gradient,) = torch.autograd.grad(loss, values)
    assert gradient.abs().max() < 1e-4
    torch.testing.assert_close(logits.float(), head(vectors.float()), rtol=1e-3, atol=1e-3)


def test_a_prior_is_trusted_less_the_more_there_is_to_go_by(dual):
    prior = load_prior(dual)(CONCEPTS)
    torch.manual_seed(0)

    def trust(examples):
        labels = torch.tensor([0, 1, 2, 3, 0]).repeat(examples)  # one mention of either concept in each
        groups = torch.arange(examples).repeat_interleave(5)
        trusted, l2 = heads.trust_prior(prior, labels, groups)
        return (trusted.bias / prior.bias)[1].item(), l2

    assert trust(1) == pytest.approx((2.0, heads.PRIOR_L2))
    assert trust(16) == pytest.approx((1.0, heads.PRIOR_L2 / 2))
    nested = torch.tensor([[0, 0], [1, 0], [2, 0], [0, 1]]).repeat(81, 1)
    trusted, _ = heads.trust_prior(prior, nested, torch.arange(81).repeat_interleave(4))
    torch.testing.assert_close(trusted.bias, 2 / 3 * prior.bias)


def test_a_given_penalty_counts(dual):
    prior = load_prior(dual)(CONCEPTS)
    vectors, labels, groups = torch.randn(20, 32), torch.arange(20) % 5, torch.arange(20) // 10
    assert fit_few_shot_head(vectors, labels, groups, 5, prior=prior, l2=7.0).l2 == 7.0
    assert fit_few_shot_head(vectors, labels, groups, 5, prior=prior).l2 == pytest.approx(heads.PRIOR_L2 / 2**0.25)


@pytest.mark.parametrize("with_prior", [True, False])
def test_a_penalty_of_zero_is_refused(dual, with_prior):
    prior = load_prior(dual)(CONCEPTS) if with_prior else None
    vectors, labels, groups = torch.randn(20, 32), torch.arange(20) % 5, torch.arange(20) // 10
    with pytest.raises(ValueError, match="must be positive"):
        fit_few_shot_head(vectors, labels, groups, 5, prior=prior, l2=0.0)


def test_recipe_of_the_blog_has_no_prior(dual):
    ours, blogs = (fit(EXAMPLES, foundation=dual, recipe=recipe) for recipe in ("nerfound", "blog"))
    assert (ours.config.fitted["recipe"], blogs.config.fitted["recipe"]) == ("nerfound", "blog")
    assert not torch.allclose(ours.classifier.weight, blogs.classifier.weight)
    renamed = [example.replace("](city)", "](a town)") for example in EXAMPLES]
    torch.testing.assert_close(fit(renamed, foundation=dual, recipe="blog").classifier.weight, blogs.classifier.weight)


def test_nested_from_names_alone(dual):
    recognizer = fit([], concepts=CONCEPTS, foundation=dual, nested=True)
    assert recognizer.config.nested
    fitted = fit(EXAMPLES, foundation=dual, nested=True, l2=1e-4)  # examples outweigh a random prior
    found = pipeline("few-shot-ner", model=fitted)("book a table at Nobu in Paris for four people tonight")
    assert [entity["word"] for entity in found] == ["Nobu", "Paris"]


def test_a_model_gives_its_prior_as_its_folder_does(dual):
    model = NuNerForConceptContrast.from_pretrained(dual)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    weights = [fit([], concepts=CONCEPTS, foundation=given).classifier.weight for given in (dual, model)]
    assert torch.equal(*weights)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_headless_model_is_traced_back_to_its_dual_encoder(dual):
    headless = NuNerForTokenClassification.from_pretrained(dual)
    expected = fit(EXAMPLES, foundation=dual)
    torch.testing.assert_close(fit(EXAMPLES, foundation=headless).classifier.weight, expected.classifier.weight)
    by_pipeline = pipeline("few-shot-ner", model=str(dual), examples=EXAMPLES).model
    torch.testing.assert_close(by_pipeline.classifier.weight, expected.classifier.weight)


@pytest.mark.parametrize("kind", ["bert", "blog's", "recipe", "mode"])
def test_no_example_needs_a_prior(dual, encoders, tmp_path, kind):
    foundation = encoders["bert"] if kind == "bert" else dual
    if kind == "blog's":
        foundation = make_contrast(tmp_path, encoders["bert"], encoders["bert"])
    options = {"recipe": {"recipe": "blog"}, "mode": {"mode": "full"}}.get(kind, {})
    with pytest.raises(ValueError, match="no example is given"):
        fit([], concepts=CONCEPTS, foundation=foundation, **options)


def test_no_example_and_no_concept(dual):
    with pytest.raises(ValueError, match="empty"):
        fit([], foundation=dual)


def test_refused(dual, encoders):
    with pytest.raises(ValueError, match="recipe='mine'"):
        fit(EXAMPLES, foundation=dual, recipe="mine")
    model = NuNerForConceptContrast.from_encoders(encoders["bert"], encoders["bert"])
    with pytest.raises(ValueError, match="mention_prior"):
        ConceptPrior(model, None)


def test_command_line_from_names_alone(dual, tmp_path):
    concepts = tmp_path / "concepts.json"
    concepts.write_text(json.dumps(CONCEPTS))
    command = ["fit", "--foundation", str(dual), "-o", str(tmp_path / "recognizer")]
    result = CliRunner().invoke(app, [*command, "--concepts", str(concepts)])
    assert result.exit_code == 0, result.output
    assert "2 concepts from 0 examples" in result.output
    assert isinstance(pipeline("few-shot-ner", model=str(tmp_path / "recognizer"))("a table at Nobu"), list)
    assert CliRunner().invoke(app, command).exit_code != 0
