"""`nerfound.fit`: foundations and examples of every kind, what it changes and what it never does."""

import copy
import re

import pytest
import torch
from transformers import AutoModel, Trainer, pipeline

from nerfound import fit
from nerfound.fewshot import finetuning, parse_examples
from nerfound.modeling_nuner import NuNerForConceptContrast, NuNerForTokenClassification
from tests.factories import make_recognizer

EXAMPLES = [
    "book a table at [Nobu](restaurant) in [Paris](city) for four people tonight",
    "is there a free table at [Noma](restaurant), near the river?",
    "fly from [Berlin](city) (Tegel) to [New York](city) on 12.10.2024 at 10:30",
]
PLAIN = [re.sub(r"\[(.*?)\]\(.*?\)", r"\1", example) for example in EXAMPLES]
FOUND = [
    [("restaurant", "Nobu"), ("city", "Paris")],
    [("restaurant", "Noma")],
    [("city", "Berlin"), ("city", "New York")],
]
LABELS = ["O", "B-restaurant", "I-restaurant", "B-city", "I-city"]


def found(recognizer, text):
    return [(e["entity_group"], e["word"]) for e in pipeline("few-shot-ner", model=recognizer)(text)]


def found_in_examples(recognizer):
    return [found(recognizer, text) for text in PLAIN]


def snapshot(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_unchanged(model, before):
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def changed(encoder, before):
    return {name for name, value in encoder.state_dict().items() if not torch.equal(value, before[name])}


# --- the head alone


def test_fit_on_a_folder(encoders):
    recognizer = fit(EXAMPLES, foundation=encoders["bert"])
    assert isinstance(recognizer, NuNerForTokenClassification)
    assert list(recognizer.config.id2label.values()) == LABELS
    assert recognizer.config.concepts == {"restaurant": "", "city": ""}
    assert not recognizer.config.nested
    assert not recognizer.training
    encoder = AutoModel.from_pretrained(encoders["bert"], add_pooling_layer=False)
    assert_unchanged(recognizer.token_encoder, encoder.state_dict())
    assert found_in_examples(fit(EXAMPLES, foundation=encoders["bert"], l2=1e-4)) == FOUND


def test_fitting_twice_gives_the_same(encoders):
    first, second = (fit(EXAMPLES, foundation=encoders["roberta"]) for _ in range(2))
    assert_unchanged(second, first.state_dict())


def as_folder_of_recognizer(encoders, contrast_folder, tmp_path):
    make_recognizer(encoders["roberta"], concepts={"old": "x"}, nested=True).save_pretrained(tmp_path)
    return tmp_path


FOUNDATIONS = {
    "encoder": lambda encoders, *_: AutoModel.from_pretrained(encoders["roberta"], add_pooling_layer=False).eval(),
    "foundation": lambda encoders, *_: NuNerForTokenClassification.from_pretrained(encoders["roberta"]),
    "recognizer": lambda encoders, *_: make_recognizer(encoders["roberta"], concepts={"old": "x"}, nested=True),
    "dual encoder": lambda _, contrast_folder, __: NuNerForConceptContrast.from_pretrained(contrast_folder),
    "folder of a dual encoder": lambda _, contrast_folder, __: contrast_folder,
    "folder of a recognizer": as_folder_of_recognizer,
}


@pytest.mark.parametrize("kind", FOUNDATIONS)
@pytest.mark.parametrize("layers", [None, (-1, -3)])
def test_foundations_of_every_kind_give_the_same(kind, layers, encoders, contrast_folder, tmp_path):
    foundation = FOUNDATIONS[kind](encoders, contrast_folder, tmp_path)
    expected = fit(EXAMPLES, foundation=str(encoders["roberta"]), token_layers=layers)
    is_model = isinstance(foundation, torch.nn.Module)
    if is_model:
        before, config = snapshot(foundation), foundation.config.to_dict()
        trainable = [p.requires_grad for p in foundation.parameters()]
    recognizer = fit(EXAMPLES, foundation=foundation, token_layers=layers)
    torch.testing.assert_close(recognizer.classifier.weight, expected.classifier.weight)
    assert recognizer.config.token_layers == expected.config.token_layers == (layers or (-1,))
    assert list(recognizer.config.id2label.values()) == LABELS
    assert recognizer.config.nested is False
    assert found_in_examples(recognizer) == found_in_examples(expected)
    if is_model:
        assert_unchanged(foundation, before)
        assert foundation.config.to_dict() == config
        assert [p.requires_grad for p in foundation.parameters()] == trainable
        shared = getattr(foundation, "token_encoder", foundation)
        assert recognizer.token_encoder is shared


def test_several_recognizers_share_a_foundation(encoders):
    foundation = NuNerForTokenClassification.from_pretrained(encoders["roberta"])
    first = fit(EXAMPLES, foundation=foundation, l2=1e-5)
    answer = found_in_examples(first)
    second = fit(["a [table](furniture) at Noma"], foundation=foundation, nested=True)
    assert first.token_encoder is second.token_encoder
    assert found_in_examples(first) == answer
    assert first.config is not second.config
    assert (first.labels, second.labels) == (["restaurant", "city"], ["furniture"])
    assert (first.config.nested, second.config.nested) == (False, True)
    assert foundation.classifier is None


def test_a_tokenizer_may_be_given(encoders):
    tokenizer = copy.copy(NuNerForTokenClassification.from_pretrained(encoders["bert"]).tokenizer)
    encoder = AutoModel.from_pretrained(encoders["bert"])
    encoder.name_or_path = "nowhere/to-be-found"
    recognizer = fit(EXAMPLES, foundation=encoder, tokenizer=tokenizer)
    assert recognizer.tokenizer is tokenizer
    foundation = NuNerForTokenClassification.from_pretrained(encoders["bert"])
    foundation.name_or_path = "nowhere/to-be-found"
    assert fit(EXAMPLES, foundation=foundation, tokenizer=tokenizer).tokenizer is tokenizer


def test_concepts_keep_their_order_and_descriptions(encoders):
    concepts = {"city": "A town.", "never": "Not seen.", "restaurant": ""}
    recognizer = fit(EXAMPLES, foundation=encoders["bert"], concepts=concepts, l2=1e-4)
    assert recognizer.labels == ["city", "never", "restaurant"]
    assert list(recognizer.config.concepts.items()) == list(concepts.items())
    assert found_in_examples(recognizer) == FOUND


def test_descriptions_in_the_examples(encoders):
    entity = {"start": 3, "end": 7, "label": "city", "description": "A town."}
    recognizer = fit([{"text": "in Rome", "entities": [entity]}], foundation=encoders["bert"])
    assert recognizer.config.concepts == {"city": "A town."}


def test_nested(encoders):
    text = "the Bank of England in London"
    entities = [{"start": 4, "end": 19, "label": "bank"}, {"start": 12, "end": 19, "label": "country"}]
    recognizer = fit([{"text": text, "entities": entities}], foundation=encoders["bert"], nested=True, l2=1e-4)
    assert recognizer.config.nested
    assert found(recognizer, text) == [("bank", "Bank of England"), ("country", "England")]


def test_a_support_set_and_files(encoders, tmp_path):
    expected = fit(EXAMPLES, foundation=encoders["bert"]).classifier.weight
    path = tmp_path / "examples.txt"
    path.write_text("\n".join(EXAMPLES), encoding="utf-8")
    for given in (parse_examples(EXAMPLES), path, str(path), iter(EXAMPLES)):
        assert torch.equal(fit(given, foundation=encoders["bert"]).classifier.weight, expected)


def test_long_examples_are_read_whole(encoders):
    examples = [*EXAMPLES, "at " * 150 + "[Xyzzy](ruin)"]
    recognizer = fit(examples, foundation=encoders["bert"], l2=1e-4)
    assert recognizer.labels == ["restaurant", "city", "ruin"]
    assert ("ruin", "Xyzzy") in found(recognizer, "at " * 150 + "Xyzzy")


def test_errors_say_where(encoders, tmp_path):
    bad = {"text": "ab", "entities": [{"start": 0, "end": 2, "label": "x"}, {"start": 0, "end": 1, "label": "y"}]}
    with pytest.raises(ValueError, match=r"example 2: .*overlap"):
        fit([*EXAMPLES[:2], bad], foundation=encoders["bert"])
    path = tmp_path / "examples.txt"
    path.write_text(f"{EXAMPLES[0]}\n\nat [Noma](restaurant\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"examples\.txt, line 3"):
        fit(path, foundation=encoders["bert"])
    with pytest.raises(ValueError, match="at least one example"):
        fit([], foundation=encoders["bert"])


def test_wrong_arguments(encoders):
    with pytest.raises(ValueError, match="mode='ful': give 'head', 'full' or 'lora'"):
        fit(EXAMPLES, foundation=encoders["bert"], mode="ful")
    with pytest.raises(TypeError, match="takes no learning_rate, seeds with mode='head'"):
        fit(EXAMPLES, foundation=encoders["bert"], seeds=3, learning_rate=1)


# --- fine-tuning


@pytest.fixture
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", ["roberta", "modernbert"])
@pytest.mark.parametrize("nested", [False, True])
def test_full(kind, nested, encoders, working_folder):
    foundation = NuNerForTokenClassification.from_pretrained(encoders[kind])
    before = snapshot(foundation)
    head = fit(EXAMPLES, foundation=foundation, nested=nested).classifier.weight
    recognizer = fit(
        EXAMPLES, foundation=foundation, nested=nested, mode="full", num_train_epochs=3, learning_rate=1e-3
    )
    assert_unchanged(foundation, before)
    assert foundation.classifier is None
    assert all(p.requires_grad for p in foundation.parameters())
    assert recognizer.token_encoder is not foundation.token_encoder
    matrices = {name for name, value in recognizer.token_encoder.named_parameters() if value.ndim == 2}
    assert matrices <= changed(recognizer.token_encoder, snapshot(foundation.token_encoder))
    assert not torch.equal(recognizer.classifier.weight, head)
    assert not recognizer.training
    assert not any(p.requires_grad for p in recognizer.parameters())
    assert recognizer.config.nested == nested
    assert recognizer.labels == ["restaurant", "city"]
    assert list(working_folder.iterdir()) == []


@pytest.mark.parametrize("kind", ["roberta", "deberta"])
def test_lora(kind, encoders, working_folder):
    foundation = NuNerForTokenClassification.from_pretrained(encoders[kind])
    before = snapshot(foundation)
    head = fit(EXAMPLES, foundation=foundation).classifier.weight
    recognizer = fit(EXAMPLES, foundation=foundation, mode="lora", num_train_epochs=3, learning_rate=1e-2, lora_rank=4)
    assert_unchanged(foundation, before)
    assert type(recognizer) is NuNerForTokenClassification
    assert type(recognizer.classifier) is torch.nn.Linear
    assert not torch.equal(recognizer.classifier.weight, head)
    base = foundation.token_encoder
    assert recognizer.token_encoder.state_dict().keys() == base.state_dict().keys()  # merged: no adapters are left
    linear = {f"{name}.weight" for name, module in base.named_modules() if isinstance(module, torch.nn.Linear)}
    assert changed(recognizer.token_encoder, snapshot(base)) == linear
    ranks = torch.linalg.matrix_rank(
        torch.stack([
            (recognizer.token_encoder.get_parameter(name) - base.get_parameter(name))[:32, :32] for name in linear
        ]),
        rtol=1e-3,
    )  # fmt: skip
    assert ranks.max() == 4
    recognizer.save_pretrained(working_folder / "saved")
    loaded = NuNerForTokenClassification.from_pretrained(working_folder / "saved")
    assert found_in_examples(loaded) == found_in_examples(recognizer)
    assert [path.name for path in working_folder.iterdir()] == ["saved"]


def test_fine_tuning_learns(encoders):
    """What a random encoder's head cannot tell apart, all weights can."""
    examples = [f"{before} at [Nobu](a)" for before in ("b", "c d", "e f g")]
    examples += [f"{before} in [Nobu](b)" for before in ("b", "c d", "e f g")]
    strong = {"foundation": encoders["modernbert"], "l2": 1e3}
    untrained = fit(examples, **strong)
    trained = fit(examples, **strong, mode="full", num_train_epochs=40, learning_rate=1e-2)
    assert found(untrained, "c at Nobu") == []
    assert found(trained, "c at Nobu") == [("a", "Nobu")]
    assert found(trained, "c in Nobu") == [("b", "Nobu")]


def test_seeds(encoders):
    def weights(seed):
        settings = {"mode": "full", "num_train_epochs": 1, "learning_rate": 1e-3, "batch_size": 1}
        return fit(EXAMPLES, foundation=encoders["bert"], seed=seed, **settings).state_dict()

    first, again, other = weights(1), weights(1), weights(2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_the_best_epoch_is_kept_and_training_stops_early(encoders, monkeypatch):
    """A learning rate that spoils the model: the held-out loss is lowest after the first epochs."""
    trainers = []

    class Watched(Trainer):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            trainers.append(self)

    monkeypatch.setattr(finetuning, "Trainer", Watched)
    examples = [f"{sentence} {number}" for number in range(7) for sentence in EXAMPLES]
    tuned = fit(
        examples, foundation=encoders["bert"], mode="full", num_train_epochs=30, learning_rate=5e-2, patience=2,
        batch_size=8,
    )  # fmt: skip
    (trainer,) = trainers
    assert len({window.text for window, _ in trainer.eval_dataset}) == 4  # a fifth of 21
    trained = {window.text for window, _ in trainer.train_dataset}
    assert trained.isdisjoint({window.text for window, _ in trainer.eval_dataset})
    losses = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    assert len(losses) < 30
    assert losses.index(min(losses)) == len(losses) - 1 - 2
    batch = finetuning._WindowCollator(tuned.tokenizer)(trainer.eval_dataset)
    assert tuned(**batch).loss.item() == pytest.approx(min(losses), rel=1e-4)
