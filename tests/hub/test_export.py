"""A recognizer in its backbone's own architecture: the same numbers where it can be, a stated cost where it cannot."""

import json
import re
from itertools import pairwise

import pytest
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

from nerfound.fewshot import fit, parse_examples
from nerfound.hub import export_native
from nerfound.modeling_nuner import NuNerForTokenClassification
from tests.factories import SENTENCES, make_contrast

EXAMPLES = [
    "book a table at [Nobu](restaurant) in [Paris](city) for four people tonight",
    "is there a free table at [Noma](restaurant), near the river?",
    "Marie Curie was born in [Warsaw](city) in 1867; she died in 1934.",
    "fly from [Berlin](city) to [New York](city) on 12.10.2024 at 10:30",
    "a table at [Nobu](restaurant) in [Berlin](city), please",
    "is [Noma](restaurant) open? fly to [Paris](city) tonight",
    "she died in [New York](city)",
    "four people at [Noma](restaurant) in [Warsaw](city)",
]
REPEATED = [*EXAMPLES, EXAMPLES[0]] * 4
"""In every fold of cross-validation, so that it trusts them although the encoder's weights are random."""
NESTED_ENTITIES = [{"start": 4, "end": 14, "label": "restaurant"}, {"start": 4, "end": 9, "label": "city"}]


@pytest.fixture(scope="module")
def saved(encoders, tmp_path_factory):
    """Folders of fitted recognizers, by kind of encoder and what else they were fitted with."""
    folders = {}

    def save(kind, examples=EXAMPLES, **options):
        key = kind, str(options)
        if key not in folders:
            folders[key] = tmp_path_factory.mktemp("recognizer") / kind
            fit(examples, foundation=str(encoders[kind]), l2=1e-3, **options).save_pretrained(folders[key])
        return folders[key]

    return save


def serve(folder, strategy="simple"):
    return pipeline("token-classification", model=str(folder), aggregation_strategy=strategy, device="cpu")


def found(entities, text):
    """Entities, without the white space that some tokenizers count to words."""
    spans = [(entity["entity_group"], entity["start"], entity["end"]) for entity in entities]
    return {(label, end - len(text[start:end].lstrip()), end) for label, start, end in spans if text[start:end].strip()}


def strict_f1(pipe):
    """Of what a pipeline finds in the examples: a mention counts if its boundaries and its label are right."""
    gold, right, claimed = 0, 0, 0
    for example in parse_examples(EXAMPLES).examples:
        true = {(label, start, end) for start, end, label in example.entities}
        predicted = found(pipe(example.text), example.text)
        gold, right, claimed = gold + len(true), right + len(true & predicted), claimed + len(predicted)
    return 2 * right / (gold + claimed)


@pytest.mark.parametrize("kind", ["bert", "roberta", "deberta"])
def test_a_linear_head_is_taken_over_bit_for_bit(kind, saved, tmp_path):
    source = saved(kind)
    statement = export_native(source, tmp_path / "native")
    recognizer = NuNerForTokenClassification.from_pretrained(source)
    native = AutoModelForTokenClassification.from_pretrained(tmp_path / "native")
    assert type(native).__module__.startswith("transformers.")
    inputs = AutoTokenizer.from_pretrained(tmp_path / "native")(SENTENCES[0], return_tensors="pt")
    with torch.no_grad():
        assert torch.equal(native(**inputs).logits, recognizer(**inputs).logits)
    assert f"{type(native).__name__}, with the recognizer's own weights" in statement
    assert "was not measured: give labelled texts as data (--data)" in statement


@pytest.mark.parametrize(
    ("kind", "options"),
    [("modernbert", {}), ("modernbert", {"token_layers": (-1, -2)}), ("bert", {"token_layers": (-1, -2)})],
)
def test_another_head_is_fitted_anew(kind, options, saved, encoders, tmp_path):
    source = saved(kind, **options)
    statement = export_native(source, tmp_path / "native", examples=REPEATED, data=EXAMPLES)
    config = json.loads((tmp_path / "native" / "config.json").read_text())
    assert config["model_type"] == kind
    assert "auto_map" not in config
    assert not list((tmp_path / "native").glob("*.py"))
    assert "a linear head fitted anew" in statement
    strategy = {"bert": "average", "modernbert": "simple"}[kind]  # BERT's tokenizer alone marks pieces of words
    assert f'aggregation_strategy="{strategy}"' in statement
    served = serve(tmp_path / "native", strategy)
    assert type(served.model).__module__.startswith("transformers.")
    assert {("restaurant", 16, 20), ("city", 24, 29)} <= found(served(SENTENCES[0]), SENTENCES[0])
    encoder = NuNerForTokenClassification.from_pretrained(source).token_encoder.state_dict()
    written = served.model.base_model.state_dict()
    assert all(torch.equal(written[name], weight) for name, weight in encoder.items())
    note = " once the white space that its tokenizer counts to words is stripped" if kind == "modernbert" else ""
    stated = rf"F1 on 8 texts: ([\d.]+) with nerfound, ([\d.]+) served plainly{note}\. The cost: ([-\d.]+) points"
    ours, plain, cost = map(float, re.search(stated, statement).groups())
    assert ours == pytest.approx(100 * strict_f1(pipeline("few-shot-ner", model=str(source))), abs=0.05)
    assert plain == pytest.approx(100 * strict_f1(served), abs=0.05)
    assert ours > plain > 0
    assert cost == pytest.approx(ours - plain, abs=0.11)


def test_what_stands_before_the_classifier_is_transparent(saved, tmp_path):
    export_native(saved("modernbert"), tmp_path / "native", examples=EXAMPLES)
    head = serve(tmp_path / "native").model.head
    assert torch.equal(head.dense.weight, torch.eye(32))
    assert torch.equal(head.norm.weight, torch.ones(32))


def test_a_head_to_be_fitted_needs_examples(saved, tmp_path):
    with pytest.raises(ValueError, match=r"ModernBertForTokenClassification cannot hold .* give the examples"):
        export_native(saved("modernbert"), tmp_path / "native", data=EXAMPLES)
    assert not (tmp_path / "native").exists()


def test_examples_and_data_are_files_too_and_checked_before_anything_is_written(saved, tmp_path):
    examples = tmp_path / "examples.txt"
    examples.write_text("\n".join(EXAMPLES))
    statement = export_native(saved("modernbert"), tmp_path / "native", examples=examples, data=str(examples))
    assert "Strict entity F1 on 8 texts" in statement
    examples.write_text("book [Nobu](hotel)")
    with pytest.raises(ValueError, match="label 'hotel' is not among the given concepts"):
        export_native(saved("modernbert"), tmp_path / "other", examples=examples)
    assert not (tmp_path / "other").exists()


def test_concepts_that_the_examples_miss_keep_their_place(saved, tmp_path):
    few = parse_examples(["book a table at [Nobu](restaurant)", "in [Paris](city)"], concepts=["city", "restaurant"])
    export_native(saved("modernbert"), tmp_path / "native", examples=[*few.examples])
    model = AutoModelForTokenClassification.from_pretrained(tmp_path / "native")
    assert model.config.id2label == NuNerForTokenClassification.from_pretrained(saved("modernbert")).config.id2label


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_a_nested_recognizer_is_served_flat_and_that_is_said(kind, saved, tmp_path):
    examples = [*EXAMPLES, {"text": "the Paris Nobu", "entities": NESTED_ENTITIES}]
    source = saved(kind, examples, nested=True)
    statement = export_native(source, tmp_path / "native", examples=examples, data=examples)
    assert "Plain serving is flat: of entities that overlap" in statement
    spans = sorted((entity["start"], entity["end"]) for entity in serve(tmp_path / "native")("the Paris Nobu"))
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    assert "Strict entity F1 on 9 texts" in statement


def test_data_may_hold_concepts_that_the_recognizer_does_not_know(saved, tmp_path):
    statement = export_native(saved("bert"), tmp_path / "native", data=[*EXAMPLES, "[Marie Curie](person) was born"])
    assert "on 9 texts" in statement


def test_long_texts_are_cut_not_a_crash(saved, tmp_path):
    source = saved("bert", batch_size=16)
    config = source / "tokenizer_config.json"
    edit = json.loads(config.read_text())
    config.write_text(json.dumps({name: value for name, value in edit.items() if name != "model_max_length"}))
    export_native(source, tmp_path / "native")
    long = SENTENCES[0] + " and so on" * 200
    assert all(entity["end"] < len(long) / 2 for entity in serve(tmp_path / "native")(long))


def test_a_foundation_is_no_recognizer(encoders, tmp_path):
    folder = make_contrast(tmp_path / "contrast", encoders["bert"], encoders["bert"])
    with pytest.raises(ValueError, match="is a foundation without a head: fit a recognizer first"):
        export_native(folder, tmp_path / "native")
    with pytest.raises(ValueError, match="is a foundation without a head"):
        export_native(encoders["bert"], tmp_path / "native")
