"""The configuration and the dual encoder: what it is built from, what it scores, what its loss is."""

import math

import pytest
import torch
import torch.nn.functional as F
from huggingface_hub.errors import StrictDataclassFieldValidationError
from transformers import AutoConfig, AutoModel, AutoTokenizer, BertConfig, Trainer, TrainingArguments

import nerfound
from nerfound.configuration_nuner import NuNerConfig
from nerfound.modeling_nuner import NuNerForConceptContrast, NuNerForTokenClassification
from tests.factories import SENTENCES, encoder_config, make_encoder

CONCEPTS = ["city", "restaurant name: where one eats, and drinks, and meets", "x", "date of birth of a person", "river"]
TEXTS = SENTENCES[:3]


@pytest.fixture(scope="module")
def model(contrast_folder):
    return NuNerForConceptContrast.from_pretrained(contrast_folder)


@pytest.fixture(scope="module")
def batch(contrast_folder, encoders):
    """Three texts of different lengths, five concepts, and labels of all three kinds."""
    tokens = AutoTokenizer.from_pretrained(contrast_folder)(
        TEXTS, padding=True, return_special_tokens_mask=True, return_tensors="pt"
    )
    concepts = AutoTokenizer.from_pretrained(encoders["bert"])(CONCEPTS, padding=True, return_tensors="pt")
    shape = (*tokens["input_ids"].shape, len(CONCEPTS))
    labels = torch.randint(-1, 2, shape, generator=torch.Generator().manual_seed(0), dtype=torch.int8)
    return {
        **tokens,
        "concept_input_ids": concepts["input_ids"],
        "concept_attention_mask": concepts["attention_mask"],
        "labels": torch.where(labels == -1, -100, labels).to(torch.int8),
    }


# --- configuration


def own_fields(config):
    """A configuration as a dict, without where it came from."""
    return {name: value for name, value in config.to_dict().items() if name not in {"_name_or_path", "use_cache"}}


def test_configuration_round_trip(tmp_path):
    config = NuNerConfig(
        token_config=encoder_config("modernbert"),
        concept_config=encoder_config("bert"),
        projection_dim=16,
        concept_pooling="cls",
        score="dot",
        token_layers=[-1, -3],
        score_chunk_size=7,
        concepts={"city": "A town."},
        nested=True,
        id2label={0: "O", 1: "B-city", 2: "I-city"},
        label2id={"O": 0, "B-city": 1, "I-city": 2},
    )
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert type(loaded) is NuNerConfig
    assert own_fields(loaded) == own_fields(config)
    assert loaded.token_layers == (-1, -3)
    assert type(loaded.token_config) is type(config.token_config)
    assert loaded.hidden_size == 2 * 32
    assert (loaded.num_labels, loaded.label2id) == (3, {"O": 0, "B-city": 1, "I-city": 2})
    assert loaded.concept_config.max_position_embeddings == 64


def test_configuration_defaults():
    config = NuNerConfig()
    assert config.token_config.model_type == "roberta"
    assert config.concept_config is None
    assert (config.num_labels, config.id2label) == (0, {})
    assert config.max_input_tokens == 512 - 2  # two of RoBERTa's positions are never used


def test_configuration_knows_how_many_tokens_an_encoder_reads(kind):
    config = NuNerConfig(token_config=encoder_config(kind))
    tokens = torch.full((1, config.max_input_tokens), 7)
    model = NuNerForTokenClassification(config).eval()
    assert model.token_states(tokens).shape == (1, 64, 32)
    if kind in {"bert", "mbert", "roberta"}:  # absolute positions: one token more is one too many
        with pytest.raises((IndexError, RuntimeError)):
            model.token_states(torch.full((1, config.max_input_tokens + 1), 7))


@pytest.mark.parametrize("layers", [(), (0,), (-6,), (-1, -6)])
def test_configuration_refuses_layers_that_do_not_exist(layers):
    with pytest.raises(ValueError, match=rf"token_layers=\({str(layers)[1:-1]}\).*-5.*4 layers"):
        NuNerConfig(token_config=encoder_config("roberta"), token_layers=layers)


@pytest.mark.parametrize(
    ("field", "value"), [("score", "euclid"), ("concept_pooling", "max"), ("projection_dim", "16"), ("nested", "yes")]
)
def test_configuration_refuses_wrong_values(field, value):
    with pytest.raises(StrictDataclassFieldValidationError, match=f"'{field}'"):
        NuNerConfig(token_config=encoder_config("bert"), **{field: value})


def test_public_names_and_auto_classes(contrast_folder):
    assert nerfound.NuNerForConceptContrast is NuNerForConceptContrast
    assert type(AutoConfig.from_pretrained(contrast_folder)) is nerfound.NuNerConfig
    assert type(AutoModel.from_pretrained(contrast_folder)) is NuNerForConceptContrast


def test_a_dual_encoder_needs_a_concept_encoder():
    with pytest.raises(ValueError, match="no concept_config"):
        NuNerForConceptContrast(NuNerConfig(token_config=encoder_config("bert")))


def test_sizes_that_differ_need_a_projection():
    sizes = {"token_config": encoder_config("bert"), "concept_config": encoder_config("bert", hidden_size=16)}
    with pytest.raises(ValueError, match="32 dimensions and concept vectors 16: give projection_dim"):
        NuNerForConceptContrast(NuNerConfig(**sizes))


# --- from_encoders


def test_from_encoders_is_its_parts(encoders, batch):
    model = NuNerForConceptContrast.from_encoders(encoders["roberta"], encoders["bert"], score="dot")
    assert not model.training
    ids, mask = batch["input_ids"], batch["attention_mask"]
    expected = AutoModel.from_pretrained(encoders["roberta"])(ids, mask).last_hidden_state
    assert torch.equal(model.encode_tokens(ids, mask), expected)
    ids, mask = batch["concept_input_ids"], batch["concept_attention_mask"]
    states = AutoModel.from_pretrained(encoders["bert"])(ids, mask).last_hidden_state
    mean = torch.stack([states[i, : mask[i].sum()].mean(0) for i in range(len(ids))])
    torch.testing.assert_close(model.encode_concepts(ids, mask), mean)
    model.config.concept_pooling = "cls"
    torch.testing.assert_close(model.encode_concepts(ids, mask), states[:, 0])


@pytest.mark.parametrize("score", ["cosine", "dot"])
def test_scores(encoders, batch, score):
    fields = {"initial_scale": 5.0, "initial_bias": -3.0} if score == "cosine" else {}
    model = NuNerForConceptContrast.from_encoders(encoders["roberta"], encoders["bert"], score=score, **fields)
    with torch.no_grad():
        output = model(**batch)
    dot = NuNerForConceptContrast.from_encoders(encoders["roberta"], encoders["bert"], score="dot")
    tokens = dot.encode_tokens(batch["input_ids"], batch["attention_mask"])[0, 1]
    concept = dot.encode_concepts(batch["concept_input_ids"], batch["concept_attention_mask"])[2]
    expected = 5 * torch.cosine_similarity(tokens, concept, dim=0) - 3 if score == "cosine" else tokens @ concept
    torch.testing.assert_close(output.logits[0, 1, 2], expected)


def test_projection_where_sizes_differ(encoders, tmp_path):
    wide = make_encoder("bert", tmp_path / "wide", hidden_size=48)
    model = NuNerForConceptContrast.from_encoders(wide, encoders["bert"], score="dot")
    assert model.config.projection_dim == 32
    ids = torch.tensor([[2, 9, 8, 3]])
    states = AutoModel.from_pretrained(wide)(ids).last_hidden_state
    torch.testing.assert_close(model.encode_tokens(ids), states[..., :32])  # starts as an identity, cut
    given = NuNerForConceptContrast.from_encoders(wide, encoders["bert"], projection_dim=8)
    assert given.encode_tokens(ids).shape == (1, 4, 8)
    assert given.encode_concepts(ids, torch.ones_like(ids)).shape == (1, 8)
    two = NuNerForConceptContrast.from_encoders(encoders["bert"], encoders["bert"], token_layers=(-1, -2))
    assert two.config.projection_dim == 32


def trained_layers(encoder):
    """Which layers have gradients, and how many other parameters have."""
    names = {name for name, parameter in encoder.named_parameters() if parameter.requires_grad}
    layers = {int(part) for name in names for part in name.split(".") if part.isdigit()}
    return layers, {name for name in names if not any(part.isdigit() for part in name.split("."))}


@pytest.mark.parametrize(
    ("kind", "count", "layers", "others"),
    [
        ("roberta", None, {2, 3}, set()),
        ("roberta", 1, {3}, set()),
        ("roberta", 0, set(), set()),
        ("deberta", None, {1}, set()),
        ("modernbert", None, {2}, {"final_norm.weight"}),
    ],
)
def test_the_bottom_half_is_frozen(encoders, kind, count, layers, others):
    model = NuNerForConceptContrast.from_encoders(encoders[kind], encoders["bert"], trainable_layers=count)
    assert trained_layers(model.token_encoder) == (layers, others)
    assert all(p.requires_grad for p in model.scorer.parameters())


def test_all_layers_train_the_embeddings_too(encoders):
    model = NuNerForConceptContrast.from_encoders(encoders["bert"], encoders["bert"], trainable_layers=2)
    assert all(parameter.requires_grad for parameter in model.parameters())
    with pytest.raises(ValueError, match="3 layers to train, but BertModel has 2"):
        model.train_top_layers(3)


# --- forward and loss


def brute_force_loss(logits, labels, batch):
    """Cross-entropy of every pair one by one, summed over concepts, averaged over the tokens that count."""
    total, tokens = 0.0, 0
    for b in range(labels.shape[0]):
        for t in range(labels.shape[1]):
            if not batch["attention_mask"][b, t] or batch["special_tokens_mask"][b, t]:
                continue
            tokens += 1
            for c in range(labels.shape[2]):
                if labels[b, t, c] != -100:
                    p = 1 / (1 + math.exp(-logits[b, t, c].item()))
                    total -= math.log(p if labels[b, t, c] == 1 else 1 - p)
    return total / tokens


def test_shapes_and_loss(model, batch):
    output = model(**batch)
    tokens = batch["input_ids"].shape
    assert output.logits.shape == (*tokens, 5)
    assert output.token_vectors.shape == (*tokens, 32)
    assert output.concept_vectors.shape == (5, 32)
    assert {-100, 0, 1} == set(batch["labels"].unique().tolist())
    assert output.loss.item() == pytest.approx(brute_force_loss(output.logits, batch["labels"], batch), rel=1e-4)
    silent = (batch["attention_mask"] == 0) | (batch["special_tokens_mask"] == 1)
    assert (output.logits[silent] == torch.finfo(torch.float32).min).all()
    assert (output.logits[~silent].abs() < 100).all()


def test_without_logits_and_without_labels(model, batch):
    assert model(**batch, return_logits=False).logits is None
    torch.testing.assert_close(model(**batch, return_logits=False).loss, model(**batch).loss)
    assert model(**{k: v for k, v in batch.items() if k != "labels"}).loss is None


def test_special_tokens_and_padding_do_not_count(model, batch):
    loss = model(**batch).loss
    silent = (batch["attention_mask"] == 0) | (batch["special_tokens_mask"] == 1)
    changed = batch["labels"].clone()
    changed[silent] = 1
    torch.testing.assert_close(model(**batch | {"labels": changed}).loss, loss, rtol=0, atol=0)
    changed[~silent] = 1
    assert (model(**batch | {"labels": changed}).loss - loss).abs() > 0.1
    # padded further, tokens and concepts alike
    padded = {
        name: F.pad(value, (0, 0, 0, 3) if name == "labels" else (0, 3), value=name == "input_ids")
        for name, value in batch.items()
    }
    torch.testing.assert_close(model(**padded).loss, loss)


def test_no_token_to_score_is_no_division_by_zero(model, batch):
    nothing = torch.ones_like(batch["special_tokens_mask"])
    assert model(**batch | {"special_tokens_mask": nothing}).loss.item() == 0.0


@pytest.mark.parametrize("chunk", [1, 2, 4, 5])
def test_chunks_change_neither_loss_nor_gradients(model, batch, chunk):
    def loss_and_gradients(size):
        model.config.score_chunk_size = size
        model.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        return loss.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]

    loss, gradients = loss_and_gradients(1024)
    assert sum(gradient.abs().sum() > 0 for gradient in gradients) > 30
    chunked_loss, chunked = loss_and_gradients(chunk)
    torch.testing.assert_close(chunked_loss, loss)
    torch.testing.assert_close(chunked, gradients)


def test_only_unfrozen_layers_get_gradients(encoders, batch):
    model = NuNerForConceptContrast.from_encoders(encoders["roberta"], encoders["bert"])
    model(**batch).loss.backward()
    for name, parameter in model.named_parameters():
        # the position bias of keys has no gradient at all: softmax does not see it
        assert (parameter.grad is not None) == parameter.requires_grad, name
    assert model.scorer.bias.grad.abs() > 0
    assert model.token_encoder.encoder.layer[3].output.dense.weight.grad.abs().sum() > 0


def test_concepts_do_not_depend_on_chunks_order_or_padding(model, batch):
    ids, mask = batch["concept_input_ids"], batch["concept_attention_mask"]
    vectors = model.encode_concepts(ids, mask)
    assert mask.sum(1).unique().numel() > 3
    for chunk in (1, 2, 3):
        torch.testing.assert_close(model.encode_concepts(ids, mask, chunk_size=chunk), vectors)
    order = torch.tensor([3, 0, 4, 2, 1])
    torch.testing.assert_close(model.encode_concepts(ids[order], mask[order], chunk_size=2), vectors[order])
    alone = [model.encode_concepts(ids[i : i + 1, : mask[i].sum()], mask[i : i + 1, : mask[i].sum()]) for i in range(5)]
    torch.testing.assert_close(torch.cat(alone), vectors)


def test_concept_mask_defaults_to_all_tokens(model, batch):
    one = {"concept_input_ids": batch["concept_input_ids"][1:2], "labels": batch["labels"][..., :1]}
    given = model(**batch | one | {"concept_attention_mask": torch.ones_like(one["concept_input_ids"])}).loss
    torch.testing.assert_close(model(**batch | one | {"concept_attention_mask": None}).loss, given)


def test_activation_checkpointing_of_frozen_layers(encoders, batch, tmp_path):
    """The bottom is frozen, so that no input of a layer has a gradient; the top must get its own all the same."""
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    folder = make_encoder("roberta", tmp_path, **still)
    model = NuNerForConceptContrast.from_encoders(folder, encoders["bert"]).train()
    model.concept_encoder.eval()

    def gradients():
        model.zero_grad()
        model(**batch).loss.backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    plain = gradients()
    model.activation_checkpointing_enable()
    torch.testing.assert_close(gradients(), plain)
    assert any(name.startswith("token_encoder.encoder.layer.2") for name in plain)


def test_trainer_divides_the_loss_by_the_accumulation_steps(model, recognizer, tmp_path):
    """`**kwargs` in forward makes a Trainer believe that the model does so itself, unless it is told otherwise."""
    arguments = TrainingArguments(output_dir=tmp_path, report_to=[])
    for each in (model, recognizer):
        assert not Trainer(each, arguments).model_accepts_loss_kwargs


def test_save_and_load_bit_equal(model, batch, tmp_path):
    model.scorer.bias.data += 0.123
    model.save_pretrained(tmp_path)
    loaded = NuNerForConceptContrast.from_pretrained(tmp_path)
    model.scorer.bias.data -= 0.123
    assert loaded.scorer.bias.item() == pytest.approx(-8 + 0.123)
    expected = dict(model.state_dict(), **{"scorer.bias": loaded.scorer.bias})
    assert loaded.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.state_dict().items())
    assert own_fields(loaded.config) == own_fields(model.config)


def test_half_precision_loads_as_float32(contrast_folder, encoders, tmp_path):
    AutoModel.from_pretrained(encoders["bert"], dtype=torch.float16).save_pretrained(tmp_path)
    model = NuNerForConceptContrast.from_encoders(tmp_path, tmp_path)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    half = NuNerForConceptContrast.from_pretrained(contrast_folder, dtype=torch.bfloat16)
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}
    half.save_pretrained(tmp_path)
    loaded = NuNerForConceptContrast.from_pretrained(tmp_path)
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}


def test_initial_scale_and_bias_survive_building_from_config():
    config = NuNerConfig(
        token_config=BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8),
        concept_config=BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8),
        initial_scale=4.0,
        initial_bias=-2.0,
    )
    scorer = NuNerForConceptContrast(config).scorer
    assert (scorer.log_scale.item(), scorer.bias.item()) == (pytest.approx(math.log(4)), -2.0)
