"""Every layout that a recognizer or a foundation may be loaded from, and what is refused."""

import json
import logging

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    AutoModelForTokenClassification,
    DistilBertConfig,
    ElectraConfig,
    T5Config,
)
from transformers.utils import logging as transformers_logging

from nerfound.configuration_nuner import NuNerConfig
from nerfound.fewshot.fitting import load_foundation
from nerfound.modeling_nuner import NuNerForConceptContrast, NuNerForTokenClassification
from tests.factories import (
    CONCEPTS,
    SENTENCES,
    edit_config,
    edit_weights,
    encoder_config,
    make_contrast,
    make_encoder,
    make_model,
    make_recognizer,
    save_model,
    tokenizer_of,
)

load = NuNerForTokenClassification.from_pretrained


def inputs_of(kind):
    encoded = tokenizer_of(kind)(SENTENCES[:3], padding=True, return_tensors="pt")
    return dict(encoded)


def states_of(model, kind):
    return model(**inputs_of(kind)).last_hidden_state


@pytest.fixture
def warnings_of(caplog):
    """The warnings that transformers' own logger, which ours hangs under, has written."""
    transformers_logging.enable_propagation()
    caplog.set_level(logging.WARNING)
    yield lambda: caplog.text
    transformers_logging.disable_propagation()


# --- plain encoders


@pytest.mark.parametrize("auto_class", [AutoModel, AutoModelForMaskedLM])
def test_plain_encoder(kind, auto_class, tmp_path):
    make_encoder(kind, tmp_path, auto_class=auto_class)
    model = load(tmp_path)
    assert isinstance(model, NuNerForTokenClassification)
    assert not model.training
    assert model.classifier is None
    assert (model.config.num_labels, model.name_or_path) == (0, str(tmp_path))
    reference = auto_class.from_pretrained(tmp_path)
    assert torch.equal(model.token_states(**inputs_of(kind)), states_of(reference.base_model, kind))
    assert model.tokenizer(SENTENCES) == tokenizer_of(kind)(SENTENCES)
    with pytest.raises(ValueError, match="no head yet: fit one"):
        model(**inputs_of(kind))


def test_sharded_encoder(kind, tmp_path):
    make_encoder(kind, tmp_path, shard="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    reference = AutoModel.from_pretrained(tmp_path)
    assert torch.equal(load(tmp_path).token_states(**inputs_of(kind)), states_of(reference, kind))


def test_encoder_in_a_subfolder(tmp_path):
    make_encoder("bert", tmp_path / "inner")
    model = load(tmp_path, subfolder="inner")
    assert model.tokenizer(SENTENCES) == tokenizer_of("bert")(SENTENCES)
    reference = AutoModel.from_pretrained(tmp_path / "inner")
    assert torch.equal(model.token_states(**inputs_of("bert")), states_of(reference, "bert"))


def test_half_precision_encoder_loads_as_float32(tmp_path):
    save_model(make_model("roberta").half(), "roberta", tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "float16"
    model = load(tmp_path)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert {p.dtype for p in load(tmp_path, dtype=torch.float16).parameters()} == {torch.float16}


@pytest.mark.parametrize(
    ("config", "auto_class"),
    [
        (DistilBertConfig(vocab_size=50, dim=32, hidden_dim=32, n_layers=2, n_heads=2), AutoModelForMaskedLM),
        (
            ElectraConfig(
                vocab_size=50, hidden_size=32, embedding_size=16, intermediate_size=32, num_attention_heads=2,
                num_hidden_layers=2,
            ),
            AutoModelForPreTraining,
        ),
    ],
    ids=["distilbert", "electra"],
)  # fmt: skip
def test_heads_of_other_pretrained_encoders_are_no_surprise(config, auto_class, tmp_path):
    reference = auto_class.from_config(config).eval()
    reference.save_pretrained(tmp_path)
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(load(tmp_path).token_states(ids), reference.base_model(ids).last_hidden_state)


def test_token_layers(kind, encoders):
    model = load(encoders[kind], token_layers=(-1, -2))
    states = AutoModel.from_pretrained(encoders[kind])(**inputs_of(kind), output_hidden_states=True)
    expected = torch.cat([states.last_hidden_state, states.hidden_states[-2]], dim=-1)
    assert torch.equal(model.token_states(**inputs_of(kind)), expected)
    assert model.config.hidden_size == 64


def test_token_layers_that_do_not_exist(encoders):
    with pytest.raises(ValueError, match=r"token_layers=\(-1, -6\)"):
        load(encoders["roberta"], token_layers=(-1, -6))


def test_encoder_decoder_is_refused(tmp_path):
    sizes = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2, "vocab_size": 20}
    AutoModel.from_config(T5Config(**sizes)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="'t5' is an encoder-decoder"):
        load(tmp_path)


# --- native token classifiers


def bert_classifier(folder, labels, **changes):
    """A published BERT token classifier with a random head."""
    id2label = dict(enumerate(labels))
    model = make_model(
        "bert",
        auto_class=AutoModelForTokenClassification,
        id2label=id2label,
        label2id={label: i for i, label in id2label.items()},
        **changes,
    )
    save_model(model, "bert", folder)
    return model


def test_classifier_with_labels_in_another_order(tmp_path):
    labels = ["B-PER", "I-LOC", "O", "I-PER", "B-LOC"]
    reference = bert_classifier(tmp_path, labels)
    model = load(tmp_path)
    assert model.labels == ["PER", "LOC"]
    assert model.config.id2label == dict(enumerate(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]))
    logits = reference(**inputs_of("bert")).logits
    torch.testing.assert_close(model(**inputs_of("bert")).logits, logits[..., [2, 0, 3, 4, 1]])
    assert model.config.concepts == {"PER": "", "LOC": ""}


def test_classifier_whose_config_has_no_label2id(tmp_path):
    reference = bert_classifier(tmp_path, ["B-PER", "O", "I-PER"])
    edit_config(tmp_path, lambda config: config.pop("label2id"))
    logits = reference(**inputs_of("bert")).logits
    torch.testing.assert_close(load(tmp_path)(**inputs_of("bert")).logits, logits[..., [1, 0, 2]])


@pytest.mark.parametrize(
    "labels",
    [
        ["LABEL_0", "LABEL_1"],
        ["O", "B-PER"],
        ["O", "B-PER", "I-PER", "I-LOC"],
        ["O", "PER", "LOC"],
        ["O", "B-PER", "I-PER", "E-PER", "S-PER"],
    ],
)
def test_classifier_without_bio_labels_loses_its_head(labels, tmp_path, warnings_of):
    reference = bert_classifier(tmp_path, labels)
    model = load(tmp_path)
    assert model.classifier is None
    assert "labels are no BIO labels, dropped" in warnings_of()
    assert torch.equal(model.token_states(**inputs_of("bert")), states_of(reference.base_model, "bert"))


def test_classifier_with_more_than_a_linear_head(tmp_path):
    labels = {0: "O", 1: "B-PER", 2: "I-PER"}
    model = make_model("modernbert", auto_class=AutoModelForTokenClassification, id2label=labels)
    save_model(model, "modernbert", tmp_path)
    with pytest.raises(ValueError, match=r"ModernBertForTokenClassification is more than a linear layer"):
        load(tmp_path)


def test_classifier_with_a_pooler_from_older_transformers(tmp_path):
    reference = bert_classifier(tmp_path, ["O", "B-PER", "I-PER"])
    extra = {
        "bert.pooler.dense.weight": torch.zeros(32, 32),
        "bert.pooler.dense.bias": torch.zeros(32),
        "bert.embeddings.position_ids": torch.arange(64)[None],
    }
    edit_weights(tmp_path, lambda weights: weights.update(extra))
    torch.testing.assert_close(load(tmp_path)(**inputs_of("bert")).logits, reference(**inputs_of("bert")).logits)


# --- own layouts


def test_own_layout(encoders, tmp_path):
    model = make_recognizer(encoders["modernbert"], concepts={"A": "first", "B": ""}, nested=True)
    model.save_pretrained(tmp_path)
    loaded = load(tmp_path)
    assert torch.equal(loaded(**inputs_of("modernbert")).logits, model(**inputs_of("modernbert")).logits)
    assert (loaded.labels, loaded.config.concepts, loaded.config.nested) == (["A", "B"], {"A": "first", "B": ""}, True)
    auto = AutoModelForTokenClassification.from_pretrained(tmp_path)
    assert type(auto) is NuNerForTokenClassification
    assert torch.equal(auto.classifier.weight, model.classifier.weight)


def test_own_layout_of_a_trainer_checkpoint(encoders, tmp_path):
    model = make_recognizer(encoders["roberta"])
    model.save_pretrained(tmp_path, state_dict=model.state_dict())
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "nuner"
    loaded = load(tmp_path)
    assert torch.equal(loaded(**inputs_of("roberta")).logits, model(**inputs_of("roberta")).logits)


def test_dual_encoder(contrast_folder, warnings_of):
    model = load(contrast_folder)
    log = warnings_of()
    assert all(part in log for part in (str(contrast_folder), "concept_encoder.", "scorer.", "concept_projection."))
    assert model.classifier is None
    assert model.config.concept_config is None
    assert not any("concept" in name for name, _ in model.named_parameters())
    dual = NuNerForConceptContrast.from_pretrained(contrast_folder)
    assert torch.equal(
        model.token_states(**inputs_of("roberta")),
        dual.token_encoder(**inputs_of("roberta")).last_hidden_state,
    )
    assert AutoModelForTokenClassification.from_pretrained(contrast_folder).classifier is None


def test_dual_encoder_with_projection_and_token_layers(encoders, tmp_path):
    make_contrast(tmp_path, encoders["deberta"], encoders["bert"], projection_dim=8, token_layers=(-2,))
    model = load(tmp_path)
    assert model.config.token_layers == (-2,)
    reference = AutoModel.from_pretrained(encoders["deberta"])(**inputs_of("deberta"), output_hidden_states=True)
    assert torch.equal(model.token_states(**inputs_of("deberta")), reference.hidden_states[-2])


def test_saved_token_encoder_is_a_plain_encoder(contrast_folder, tmp_path):
    model = load(contrast_folder)
    model.save_token_encoder(tmp_path)
    encoder, info = AutoModel.from_pretrained(tmp_path, add_pooling_layer=False, output_loading_info=True)
    assert type(encoder).__name__ == "RobertaModel"
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    for name, value in model.token_encoder.state_dict().items():
        assert torch.equal(value, encoder.state_dict()[name]), name
    assert torch.equal(load(tmp_path).token_states(**inputs_of("roberta")), states_of(encoder, "roberta"))
    assert load(tmp_path).tokenizer(SENTENCES) == tokenizer_of("roberta")(SENTENCES)


# --- new heads and other labels


def test_a_new_head_on_request(encoders, warnings_of):
    model = load(encoders["bert"], num_labels=3)
    assert "new head of 3 labels, all zero; train it" in warnings_of()
    assert model.classifier.weight.shape == (3, 32)
    assert not model.classifier.weight.any()
    named = load(encoders["bert"], id2label={"0": "O", "1": "B-x", "2": "I-x"}, token_layers=(-1, -2))
    assert named.config.label2id == {"O": 0, "B-x": 1, "I-x": 2}
    assert named.classifier.weight.shape == (3, 64)


def test_a_configuration_says_layers_and_labels(encoders):
    config = NuNerConfig(token_config=encoder_config("bert"), token_layers=(-2,), id2label={0: "O", 1: "B-x", 2: "I-x"})
    model = load(encoders["bert"], config=config)
    assert model.config.token_layers == (-2,)
    assert model.config.id2label == {0: "O", 1: "B-x", 2: "I-x"}


@pytest.mark.parametrize("fields", [{"token_layers": (-2,)}, {"num_labels": 7}, {"id2label": {0: "O"}}])
def test_a_fitted_head_cannot_be_had_with_other_layers_or_labels(encoders, tmp_path, fields):
    make_recognizer(encoders["bert"]).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="has a head for 2 concepts"):
        load(tmp_path, **fields)


def test_the_same_layers_and_labels_are_no_contradiction(encoders, tmp_path):
    model = make_recognizer(encoders["bert"])
    model.save_pretrained(tmp_path)
    same = load(tmp_path, token_layers=[-1], id2label=model.config.id2label)
    assert torch.equal(same.classifier.weight, model.classifier.weight)


def test_set_head_checks_shapes(encoders):
    model = load(encoders["bert"])
    with pytest.raises(ValueError, match=r"\(4, 32\) for 2 concepts; expected \(5, 32\)"):
        model.set_head(torch.zeros(4, 32), torch.zeros(4), CONCEPTS)
    with pytest.raises(ValueError, match="expected"):
        model.set_head(torch.zeros(5, 32), torch.zeros(3), CONCEPTS)


# --- broken checkpoints


def drop(name):
    return lambda weights: weights.pop(name)


def reshape(name):
    return lambda weights: weights.update({name: weights[name][..., :-1].contiguous()})


def add(name):
    return lambda weights: weights.update({name: torch.zeros(3)})


def save_contrast(encoders, folder):
    return make_contrast(folder, encoders["roberta"], encoders["bert"], projection_dim=16)


def save_recognizer(encoders, folder):
    make_recognizer(encoders["roberta"]).save_pretrained(folder)


def save_own_layout(encoders, folder):
    make_recognizer(encoders["roberta"], token_layers=(-1, -2)).save_pretrained(folder)


def save_encoder(encoders, folder):
    save_model(AutoModel.from_pretrained(encoders["roberta"]), "roberta", folder)


def save_language_model(encoders, folder):
    make_encoder("roberta", folder, auto_class=AutoModelForMaskedLM)


QUERY = "encoder.layer.1.attention.self.query.weight"
BROKEN = [
    (save_contrast, NuNerForConceptContrast, f"token_encoder.{QUERY}"),
    (save_contrast, NuNerForConceptContrast, "concept_projection.weight"),
    (save_contrast, NuNerForTokenClassification, f"token_encoder.{QUERY}"),
    (save_recognizer, NuNerForTokenClassification, f"roberta.{QUERY}"),
    (save_recognizer, NuNerForTokenClassification, "classifier.weight"),
    (save_own_layout, NuNerForTokenClassification, f"token_encoder.{QUERY}"),
    (save_own_layout, NuNerForTokenClassification, "classifier.weight"),
    (save_encoder, NuNerForTokenClassification, QUERY),
    (save_language_model, NuNerForTokenClassification, f"roberta.{QUERY}"),
]


@pytest.mark.parametrize(("save", "model_class", "weight"), BROKEN)
def test_a_broken_checkpoint_is_refused(save, model_class, weight, encoders, tmp_path):
    inner = weight.removeprefix("roberta.")
    for edit, what in [
        (drop(weight), f"{inner} is missing"),
        (reshape(weight), f"{inner} has another shape"),
        (add("stranger.weight"), "stranger.weight is unexpected"),
        (add(weight.replace("weight", "extra")), f"{inner.replace('weight', 'extra')} is unexpected"),
    ]:
        folder = tmp_path / what.split()[-1]
        save(encoders, folder)
        edit_weights(folder, edit)
        with pytest.raises(ValueError, match=what.replace(".", r"\.")) as caught:
            model_class.from_pretrained(folder)
        assert str(folder) in str(caught.value)


@pytest.mark.parametrize("part", ["token", "concept"])
def test_from_encoders_refuses_a_broken_encoder(part, encoders, tmp_path):
    save_encoder(encoders, tmp_path)
    edit_weights(tmp_path, drop(QUERY))
    parts = {"token_encoder": encoders["bert"], "concept_encoder": encoders["bert"], f"{part}_encoder": tmp_path}
    with pytest.raises(ValueError, match=r"query\.weight is missing"):
        NuNerForConceptContrast.from_encoders(**parts)


def test_many_problems_are_shortened(encoders, tmp_path):
    save_encoder(encoders, tmp_path)
    edit_weights(tmp_path, lambda weights: [weights.pop(name) for name in sorted(weights) if "bias" in name])
    with pytest.raises(ValueError, match=r"and \d+ more is missing"):
        load(tmp_path)


def test_loading_leaves_the_verbosity_as_it_was(encoders):
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_info()
    try:
        load(encoders["bert"])
        assert transformers_logging.get_verbosity() == logging.INFO
    finally:
        transformers_logging.set_verbosity(before)


def test_no_path_of_the_training_machine_is_saved(encoders, tmp_path):
    saved = make_contrast(tmp_path / "dual", encoders["bert"], encoders["roberta"])
    assert str(encoders["bert"].parent) not in (saved / "config.json").read_text()


def test_a_recognizer_as_foundation_loses_its_head_and_says_so(encoders, tmp_path, warnings_of):
    folder = tmp_path / "recognizer"
    make_recognizer(encoders["bert"]).save_pretrained(folder)
    assert load_foundation(folder).classifier is None
    assert f"{folder}: took its token encoder; dropped its head." in warnings_of()
