"""Training that ends on the Hub: pre-training and fine-tuning push one commit, whose card carries their metrics."""

import json

import pytest
from huggingface_hub import ModelCard

from nerfound.fewshot import fit
from nerfound.modeling_nuner import NuNerForConceptContrast, NuNerForTokenClassification
from nerfound.pretraining.run import main
from tests.fakes.card_metadata import check
from tests.pretraining.helpers import write_passages

EXAMPLES = [
    "book a table at [Nobu](restaurant) in [Paris](city) for four people tonight",
    "is there a free table at [Noma](restaurant), near the river?",
    "Marie Curie was born in [Warsaw](city) in 1867; she died in 1934.",
]


def card_of(hub, repo_id):
    repository = hub.repositories["model", repo_id]
    assert len(list(repository.history())) == 2  # and the first is the Hub's own
    readme = repository.at("main").files["README.md"].content.decode()
    assert check(readme, "model") == ([], [])
    return ModelCard(readme)


@pytest.mark.parametrize("objective", ["contrast", "fixed-ontology"])
def test_pretraining_pushes_at_its_end(hub, encoders, tmp_path, monkeypatch, objective):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    options = {
        "corpus": write_passages(tmp_path / "passages.jsonl"),
        "output_dir": tmp_path / "trained",
        "token_encoder": encoders["bert"],
        "concept_encoder": encoders["bert"],
        "objective": objective,
        "num_train_epochs": 1,
        "held_out": 0.1,
        "max_tokens": 32,
        "hub_model_id": "acme/trained",
    }
    main([*(str(part) for name, value in options.items() for part in (f"--{name}", value)), "--push_to_hub"])
    card = card_of(hub, "acme/trained")
    loss = json.loads((tmp_path / "trained" / "all_results.json").read_text())["eval_loss"]
    text = " ".join(card.text.split())
    assert f"| loss | {loss:.4g} |" in text
    assert "on 49 passages of `passages.jsonl` (English); 11 passages were held out" in text
    assert "| `num_train_epochs` | `1.0` |" in text
    assert card.data.language == ["en"]
    assert str(tmp_path) not in str(card)
    model_class = NuNerForConceptContrast if objective == "contrast" else NuNerForTokenClassification
    assert model_class.from_pretrained("acme/trained")
    assert not [name for name in hub.repositories["model", "acme/trained"].at("main").files if "checkpoint" in name]


def test_full_fine_tuning_pushes_its_result(hub, encoders):
    recognizer = fit(
        EXAMPLES * 2, foundation=str(encoders["bert"]), mode="full", num_train_epochs=1, l2=1e-3,
        push_to_hub=True, hub_model_id="acme/tuned", hub_private_repo=True,
    )  # fmt: skip
    assert hub.repositories["model", "acme/tuned"].private
    text = " ".join(card_of(hub, "acme/tuned").text.split())
    assert "All weights, and a linear head" in text
    assert "| `epochs` | `1.0` |" in text
    assert recognizer.config.fitted["training"]["learning_rate"] == 2e-5
    assert NuNerForTokenClassification.from_pretrained("acme/tuned").config.fitted == recognizer.config.fitted


def test_a_head_is_pushed_on_request_too(hub, encoders):
    fit(EXAMPLES, foundation=str(encoders["bert"]), l2=1e-3, push_to_hub=True, hub_model_id="acme/head")
    assert "A linear head on the frozen encoder" in card_of(hub, "acme/head").text
    with pytest.raises(ValueError, match="needs hub_model_id"):
        fit(EXAMPLES, foundation=str(encoders["bert"]), push_to_hub=True)
