"""The baseline objective: which concepts become labels, what each token is taught, and what a run leaves."""

import json
import shutil

import pytest
import torch
from transformers import AutoModel, EvalPrediction
from typer.testing import CliRunner

from nerfound import fit
from nerfound.cli import app
from nerfound.concepts import concept_key
from nerfound.modeling_nuner import NuNerForTokenClassification, bio_labels
from nerfound.pretraining import FixedOntologyCollator, PretrainingArguments
from nerfound.pretraining.fixed_ontology import TokenMicroF1, most_frequent_concepts
from nerfound.pretraining.run import read_passages
from tests.factories import tokenizer_of
from tests.pretraining.helpers import (
    EPOCHS,
    LAUNCH,
    STEPS,
    in_process,
    logged,
    passages,
    row,
    run,
    same_weights,
    state_of,
    write_rows,
)

IGNORED = -100
KEYS = ["city", "route", "capital"]
BASELINE = ["--objective", "fixed-ontology", "--num_concepts", 6, "--learning_rate", 5e-3]


def taught(text, *entities, max_tokens=64):
    """The tokens of a passage that are taught anything, each with its label."""
    collate = FixedOntologyCollator(tokenizer_of("bert"), KEYS, max_tokens=max_tokens)
    batch = collate([row(text, *entities)])
    names = bio_labels(KEYS)
    tokens = tokenizer_of("bert").convert_ids_to_tokens(batch["input_ids"][0])
    labels = batch["labels"][0].tolist()
    return [(token, names[label]) for token, label in zip(tokens, labels, strict=True) if label != IGNORED]


# --- the ontology


def test_the_most_frequent_concepts_by_their_most_frequent_spelling():
    counts = {"city": 3, "City": 4, "date": 6, "b": 2, "a": 2, "A": 2, "street  name": 1, "Street name": 1}
    ontology = most_frequent_concepts(counts, 5)
    assert list(ontology.items()) == [
        ("city", "City"),
        ("date", "date"),
        ("a", "A"),  # of two spellings as frequent, the first in the order of code points
        ("b", "b"),
        ("street name", "Street name"),
    ]
    assert list(most_frequent_concepts(dict(reversed(counts.items())), 5)) == list(ontology)
    assert list(most_frequent_concepts(counts, 2)) == ["city", "date"]
    assert len(most_frequent_concepts(counts, 100)) == 5


# --- the labels


def test_a_mention_of_another_concept_is_no_evidence_of_outside():
    assert taught("table at Nobu in Paris", ("Nobu", "restaurant"), ("Paris", "City")) == [
        ("table", "O"),
        ("at", "O"),
        ("in", "O"),
        ("paris", "B-city"),
    ]


def test_of_several_mentions_a_token_takes_the_shortest():
    route = ("Berlin (Tegel) to New York", "route")
    mentions = [("Berlin (Tegel)", "airport"), ("New York", "city"), ("Berlin", "city")]
    expected = [
        ("from", "O"),
        ("berlin", "B-city"),
        ("(", "I-route"),
        ("tegel", "I-route"),
        (")", "I-route"),
        ("to", "I-route"),
        ("new", "B-city"),
        ("york", "I-city"),
    ]
    text = "from Berlin (Tegel) to New York"
    assert taught(text, route, *mentions) == expected
    assert taught(text, *reversed(mentions), route) == expected


def test_of_equally_long_mentions_a_token_takes_that_of_the_most_frequent_concept():
    assert taught("Paris", ("Paris", "city"), ("Paris", "capital")) == [("paris", "B-city")]
    assert taught("Paris", ("Paris", "capital"), ("Paris", "city")) == [("paris", "B-city")]


def test_a_mention_that_is_cut_off_is_not_taught():
    assert taught("to Nobu in Paris", ("Paris", "city"), max_tokens=4) == [("to", "O"), ("nobu", "O")]


def test_cut_passages_are_counted():
    collate = FixedOntologyCollator(tokenizer_of("bert"), KEYS, max_tokens=4)
    collate([row("to Nobu"), row("to Nobu in Paris")])
    assert collate.cut_passages == 1


def test_a_batch_in_which_all_is_ignored_has_a_loss():
    assert taught("Nobu", ("Nobu", "restaurant")) == [("[CLS]", "O")]


def slow_labels(passage, tokenizer, keys):
    """Labels, token by token, each from the mentions that it overlaps."""
    offsets = tokenizer(passage["text"], return_offsets_mapping=True, truncation=True, max_length=64)["offset_mapping"]
    labels = [IGNORED] * len(offsets)
    started = set()
    for position, (start, end) in list(enumerate(offsets))[1:-1]:
        over = [entity for entity in passage["entities"] if entity["start"] < end and start < entity["end"]]
        known = [entity for entity in over if concept_key(entity["concept"]) in keys]
        best = min(known, key=lambda one: (one["end"] - one["start"], keys.index(one["concept"].lower())), default=None)
        if best is not None:
            index = keys.index(concept_key(best["concept"]))
            labels[position] = 1 + 2 * index + (best["start"] in started)
        elif not over:
            labels[position] = 0
        started |= {entity["start"] for entity in over}
    return labels


def test_labels_are_exact_for_every_encoder(kind):
    rows = passages(20)
    counts = {}
    for entity in (entity for passage in rows for entity in passage["entities"]):
        counts[entity["concept"]] = counts.get(entity["concept"], 0) + 1
    keys = list(most_frequent_concepts(counts, 20))
    batch = FixedOntologyCollator(tokenizer_of(kind), keys, max_tokens=64)(rows)
    assert batch.keys() <= {"input_ids", "attention_mask", "token_type_ids", "labels"}
    for passage, labels in zip(rows, batch["labels"].tolist(), strict=True):
        expected = slow_labels(passage, tokenizer_of(kind), keys)
        assert labels == expected + [IGNORED] * (len(labels) - len(expected))
    assert set(batch["labels"].unique().tolist()) >= {IGNORED, 0, 1, 2}


# --- the score


def test_token_micro_f1_over_batches_of_different_widths():
    score = TokenMicroF1()
    # Two of the concept 0, one of them found; an I for a B is right; one found that is outside; ignored ones are not
    first = EvalPrediction(torch.tensor([[2, 0, 0, 3]]), torch.tensor([[1, 2, 0, IGNORED]]))
    second = EvalPrediction(torch.tensor([[1, 5], [3, 0]]), torch.tensor([[0, 6], [1, IGNORED]]))
    assert score(first, compute_result=False) == {}
    assert score(second, compute_result=True) == {"token_micro_f1": 2 * 2 / (4 + 4)}
    nothing = EvalPrediction(torch.zeros(1, 2), torch.zeros(1, 2))
    assert score(nothing, compute_result=True) == {"token_micro_f1": 0.0}


# --- a run


@pytest.fixture(scope="module")
def baseline(common, tmp_path_factory):
    """The folder of a run from beginning to end."""
    folder = tmp_path_factory.mktemp("baseline") / "foundation"
    in_process(common, folder, *BASELINE)
    return folder


def changed_weights(folder, encoder):
    untrained = NuNerForTokenClassification.from_pretrained(encoder).state_dict()
    trained = NuNerForTokenClassification.from_pretrained(folder).state_dict()
    return {name for name, value in trained.items() if name not in untrained or not torch.equal(value, untrained[name])}


def test_training_lowers_the_loss_of_head_and_top_layers(baseline, encoders):
    losses = logged(baseline, "loss")
    assert state_of(baseline)["global_step"] == len(losses) == STEPS
    assert sum(losses[-7:]) < 0.8 * sum(losses[:7])
    assert len(logged(baseline, "eval_token_micro_f1")) == EPOCHS
    results = json.loads((baseline / "eval_results.json").read_text())
    assert results["eval_loss"] < losses[0]
    assert not [name for name in results if "map" in name]
    changed = changed_weights(baseline, encoders["roberta"])
    assert {"classifier.weight", "classifier.bias"} < changed
    assert all("layer.2." in name or "layer.3." in name or "classifier." in name for name in changed)
    assert any("layer.2." in name for name in changed)


def test_the_labels_are_the_most_frequent_concepts_of_the_passages_trained_on(baseline, common, tmp_path):
    args = PretrainingArguments(str(tmp_path), corpus=common[1], held_out=0.1)
    counts = {}
    for entity in (entity for entities in read_passages(args)[0]["entities"] for entity in entities):
        counts[entity["concept"]] = counts.get(entity["concept"], 0) + 1
    labels = NuNerForTokenClassification.from_pretrained(baseline).labels
    assert labels == list(most_frequent_concepts(counts, 6).values())


def test_the_folders_hold_no_pickle_of_arguments(baseline):
    folders = [baseline, *baseline.glob("checkpoint-*")]
    assert len(folders) == 3
    assert not [path for folder in folders for path in folder.glob("training_args.bin")]


def test_the_run_is_resumed_bit_for_bit(baseline, common, tmp_path):
    folder = tmp_path / "resumed"
    shutil.copytree(baseline / "checkpoint-14", folder / "checkpoint-14")
    in_process(common, folder, *BASELINE, "--resume_from_checkpoint", "last")
    assert same_weights(folder, baseline)
    assert logged(folder, "loss") == logged(baseline, "loss")


def test_a_recognizer_is_fitted_on_it_as_on_any_foundation(baseline):
    examples = ["a table at [Nobu](restaurant) in [Paris](city)", "is [Noma](restaurant) near the river?"]
    recognizer = fit(examples, foundation=baseline)
    assert recognizer.labels == ["restaurant", "city"]
    foundation = NuNerForTokenClassification.from_pretrained(baseline)
    inputs = foundation.tokenizer("a table at Nobu", return_tensors="pt")
    assert torch.equal(recognizer.token_states(**inputs), foundation.token_states(**inputs))
    assert fit(examples, foundation=baseline, token_layers=(-1, -3)).config.token_layers == (-1, -3)


def test_its_encoder_is_exported(baseline, tmp_path):
    result = CliRunner().invoke(app, ["export", str(baseline), str(tmp_path / "encoder")])
    assert result.exit_code == 0, result.output
    foundation = NuNerForTokenClassification.from_pretrained(baseline)
    exported = AutoModel.from_pretrained(tmp_path / "encoder", add_pooling_layer=False)
    inputs = foundation.tokenizer("a table at Nobu", return_tensors="pt")
    with torch.no_grad():
        assert torch.equal(exported(**inputs).last_hidden_state, foundation.token_states(**inputs))


def test_adapters_are_trained_and_merged(common, encoders, tmp_path):
    in_process(common, tmp_path / "lora", *BASELINE, "--lora_rank", 4)
    losses = logged(tmp_path / "lora", "loss")
    assert sum(losses[-7:]) < 0.8 * sum(losses[:7])
    changed = changed_weights(tmp_path / "lora", encoders["roberta"])
    assert {"classifier.weight", "classifier.bias"} < changed
    assert all(name.endswith("weight") for name in changed - {"classifier.bias"})
    assert not [name for name in changed if "lora" in name]


def test_two_processes_score_the_held_out_passages_together(encoders, tmp_path):
    cities = ["Paris", "Berlin", "Warsaw"]
    texts = [("book a table at Nobu " * (i % 4) + f"in {cities[i % 3]}", cities[i % 3]) for i in range(60)]
    rows = [row(text, (city, "city"), name=f"r{i}") for i, (text, city) in enumerate(texts)]
    corpus = write_rows(tmp_path / "corpus.jsonl", rows)
    folder = tmp_path / "two"
    options = {
        "objective": "fixed-ontology",
        "corpus": corpus,
        "token_encoder": encoders["bert"],
        "output_dir": folder,
        "held_out": 0.2,
        "num_train_epochs": 6,
        "learning_rate": 0.01,
        "per_device_train_batch_size": 2,
        "per_device_eval_batch_size": 3,
        "bf16": False,
        "save_strategy": "no",
        "eval_strategy": "no",
    }
    result = run(
        *(*LAUNCH, "--num_processes", 2, "-m", "nerfound.pretraining"),
        *(part for name, value in options.items() for part in (f"--{name}", value)),
    )
    assert result.returncode == 0, result.stderr
    assert "their 1 most frequent concepts, with 100% of the mentions, are the labels" in result.stderr
    model = NuNerForTokenClassification.from_pretrained(folder)
    held_out = read_passages(PretrainingArguments(str(folder), corpus=str(corpus), held_out=0.2))[1]
    assert len(held_out) % 6  # the last batches are filled up with passages that must not count
    batch = FixedOntologyCollator(model.tokenizer, ["city"])(list(held_out))
    labels = batch.pop("labels")
    with torch.no_grad():
        predictions = model(**batch).logits.argmax(-1)
    expected = TokenMicroF1()(EvalPrediction(predictions, labels), compute_result=True)["token_micro_f1"]
    assert expected > 0
    assert json.loads((folder / "eval_results.json").read_text())["eval_token_micro_f1"] == pytest.approx(expected)


def test_a_corpus_without_entities_is_refused(common, tmp_path):
    corpus = write_rows(tmp_path / "corpus.jsonl", [passage | {"entities": []} for passage in passages()])
    with pytest.raises(ValueError, match=r"--corpus .*corpus.jsonl: its passages have no entities"):
        in_process(common, tmp_path / "out", *BASELINE, "--corpus", corpus)


def test_a_wrong_objective_is_named(tmp_path):
    with pytest.raises(ValueError, match="--objective ner: give contrast or fixed-ontology"):
        PretrainingArguments(str(tmp_path), objective="ner")
