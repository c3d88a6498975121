"""What a saved recognizer looks like: the backbone's own layout where it can hold the head, else ours with its code."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

from nerfound.modeling_nuner import NuNerForTokenClassification, nested_logits
from tests.factories import SENTENCES, make_recognizer, tokenizer_of

NATIVE = {
    "bert": "BertForTokenClassification",
    "mbert": "BertForTokenClassification",
    "roberta": "RobertaForTokenClassification",
    "deberta": "DebertaV2ForTokenClassification",
}
CODE = {f"{name}_nuner.py" for name in ("modeling", "configuration", "encoders", "losses", "scorers", "publishing")}


def config_of(folder):
    return json.loads((folder / "config.json").read_text())


def inputs_of(kind):
    return dict(tokenizer_of(kind)(SENTENCES[:3], padding=True, return_tensors="pt"))


@pytest.mark.parametrize("kind", NATIVE)
def test_native_layout(kind, encoders, tmp_path):
    model = make_recognizer(encoders[kind])
    model.save_pretrained(tmp_path)
    config = config_of(tmp_path)
    assert config["architectures"] == [NATIVE[kind]]
    assert "auto_map" not in config
    assert config["id2label"] == {str(i): label for i, label in model.config.id2label.items()}
    assert not list(tmp_path.glob("*.py"))
    loaded, info = AutoModelForTokenClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert type(loaded).__name__ == NATIVE[kind]
    assert not any(info[problem] for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    expected = model(**inputs_of(kind)).logits
    assert torch.equal(loaded(**inputs_of(kind)).logits, expected)
    back = NuNerForTokenClassification.from_pretrained(tmp_path)
    assert torch.equal(back(**inputs_of(kind)).logits, expected)
    assert (back.labels, back.config.concepts) == (model.labels, model.config.concepts)
    assert AutoTokenizer.from_pretrained(tmp_path)(SENTENCES) == tokenizer_of(kind)(SENTENCES)


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_concepts_with_odd_names(kind, encoders, tmp_path):
    concepts = {"B-cell": "With a hyphen.", "O": "", "I-": "", "name with space": "", "İstanbul 東京": '"quoted" ä'}
    model = make_recognizer(encoders[kind], concepts=concepts)
    model.save_pretrained(tmp_path)
    loaded = NuNerForTokenClassification.from_pretrained(tmp_path)
    assert loaded.labels == list(concepts)
    assert loaded.config.concepts == concepts
    assert torch.equal(loaded.classifier.weight, model.classifier.weight)


def test_native_layout_serves_the_stock_pipeline(encoders, tmp_path):
    make_recognizer(encoders["bert"]).save_pretrained(tmp_path)
    stock = pipeline("token-classification", model=str(tmp_path), aggregation_strategy="simple")
    found = stock(SENTENCES[0])
    assert {entity["entity_group"] for entity in found} <= {"restaurant", "city"}
    assert found


def test_saving_does_not_change_the_model(encoders, tmp_path):
    model = make_recognizer(encoders["bert"])
    before, config = model(**inputs_of("bert")).logits, model.config.to_dict()
    model.save_pretrained(tmp_path / "a")
    model.save_pretrained(tmp_path / "b")
    assert torch.equal(model(**inputs_of("bert")).logits, before)
    assert model.config.to_dict() == config
    assert {p.device.type for p in model.parameters()} == {"cpu"}
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in "ab"]
    assert weights[0] == weights[1]


def test_a_head_can_be_fitted_anew_on_a_loaded_recognizer(encoders, tmp_path):
    """What one recognizer's config.json says of its head must not stick to the next one."""
    make_recognizer(encoders["bert"], concepts={"old": "gone"}, nested=True).save_pretrained(tmp_path / "old")
    model = NuNerForTokenClassification.from_pretrained(tmp_path / "old")
    model.set_head(torch.ones(3, 32), torch.zeros(3), {"new": "fresh"})
    model.save_pretrained(tmp_path / "new")
    loaded = NuNerForTokenClassification.from_pretrained(tmp_path / "new")
    assert (loaded.labels, loaded.config.concepts, loaded.config.nested) == (["new"], {"new": "fresh"}, False)


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_nested_head_round_trip(kind, encoders, tmp_path):
    model = make_recognizer(encoders[kind], nested=True)
    model.save_pretrained(tmp_path)
    loaded = NuNerForTokenClassification.from_pretrained(tmp_path)
    assert loaded.config.nested is True
    assert torch.equal(loaded(**inputs_of(kind)).logits, model(**inputs_of(kind)).logits)


def test_nested_logits():
    logits = torch.tensor([[9.0, 1.0, 2.0, 3.0, 4.0]])
    assert nested_logits(logits).tolist() == [[[0, 1, 2], [0, 3, 4]]]


def test_losses(encoders):
    """Flat: cross-entropy over the labels; nested: over (O, B, I) of each concept; -100 ignored in both."""
    flat, nested = (make_recognizer(encoders["bert"], nested=nested) for nested in (False, True))
    ids = torch.tensor([[2, 9, 8, 3]])
    logits = flat(ids).logits[0]
    loss = flat(ids, labels=torch.tensor([[-100, 1, 2, -100]])).loss
    log_p = logits.log_softmax(-1)
    torch.testing.assert_close(loss, -(log_p[1, 1] + log_p[2, 2]) / 2)
    loss = nested(ids, labels=torch.tensor([[[-100, -100], [1, 0], [2, -100], [-100, -100]]])).loss
    log_p = nested_logits(logits).log_softmax(-1)
    torch.testing.assert_close(loss, -(log_p[1, 0, 1] + log_p[1, 1, 0] + log_p[2, 0, 2]) / 3)


@pytest.mark.parametrize(("kind", "fields"), [("modernbert", {}), ("roberta", {"token_layers": (-1, -2)})])
def test_own_layout_carries_its_code(kind, fields, encoders, tmp_path):
    model = make_recognizer(encoders[kind], **fields)
    model.save_pretrained(tmp_path)
    config = config_of(tmp_path)
    assert config["architectures"] == ["NuNerForTokenClassification"]
    assert config["auto_map"] == {
        "AutoConfig": "configuration_nuner.NuNerConfig",
        "AutoModelForTokenClassification": "modeling_nuner.NuNerForTokenClassification",
    }
    assert {path.name for path in tmp_path.glob("*.py")} == CODE
    loaded = NuNerForTokenClassification.from_pretrained(tmp_path)
    assert torch.equal(loaded(**inputs_of(kind)).logits, model(**inputs_of(kind)).logits)
    assert AutoTokenizer.from_pretrained(tmp_path)(SENTENCES) == tokenizer_of(kind)(SENTENCES)


SERVE = """
import json, sys

class NoNerfound:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "nerfound":
            raise ModuleNotFoundError(f"{name} is blocked")

sys.meta_path.insert(0, NoNerfound())
from transformers import AutoModelForTokenClassification, pipeline

text, folders, broken_folders = map(json.loads, sys.argv[1:])
answers = {}
for folder in folders:
    pipe = pipeline("token-classification", model=folder, trust_remote_code=True)
    answers[folder] = {
        "logits": pipe.model(**pipe.tokenizer(text, return_tensors="pt")).logits.tolist(),
        "tags": [entity["entity"] for entity in pipe(text)],
        "module": type(pipe.model).__module__,
    }
    pipe.save_pretrained(folder + "-again")
for folder in broken_folders:
    try:
        AutoModelForTokenClassification.from_pretrained(folder, trust_remote_code=True)
    except (OSError, ImportError):
        continue
    raise SystemExit(f"{folder} loads")
assert not any(name.partition(".")[0] == "nerfound" for name in sys.modules)
json.dump(answers, open("answers.json", "w"))
"""


def run_without_nerfound(folder, *arguments):
    """Run SERVE where nerfound cannot be imported and the cache of remote code is empty."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"HF_MODULES_CACHE": str(folder / "modules"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    finished = subprocess.run(
        [sys.executable, "-c", SERVE, *map(json.dumps, arguments)],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    assert "Do you wish to run the custom code" not in finished.stdout  # consent was given once
    return json.loads((folder / "answers.json").read_text())


def test_saved_folders_serve_without_nerfound(encoders, tmp_path):
    """And no module is carried for nothing: with one of them left out, nothing loads."""
    models = {
        "modernbert": make_recognizer(encoders["modernbert"]),
        "roberta": make_recognizer(encoders["roberta"], token_layers=(-1, -2)),
        "bert": make_recognizer(encoders["bert"]),
    }
    folders = {kind: str(tmp_path / kind) for kind in models}
    for kind, model in models.items():
        model.save_pretrained(folders[kind])
    broken = {name: tmp_path / f"without-{name}" for name in CODE}
    for name, folder in broken.items():
        shutil.copytree(folders["roberta"], folder)
        (folder / name).unlink()
    answers = run_without_nerfound(tmp_path, SENTENCES[1], list(folders.values()), list(map(str, broken.values())))
    for kind, model in models.items():
        answer = answers[folders[kind]]
        encoded = tokenizer_of(kind)(SENTENCES[1], return_tensors="pt")
        logits = model(**encoded).logits
        torch.testing.assert_close(torch.tensor(answer["logits"]), logits)
        assert answer["module"].startswith("transformers.models.bert" if kind == "bert" else "transformers_modules.")
        tags = [model.config.id2label[int(i)] for i in logits[0].argmax(-1)]
        assert answer["tags"] == [tag for tag in tags[1:-1] if tag != "O"] != []
        # and what was saved there is loaded here, with nerfound
        again = NuNerForTokenClassification.from_pretrained(f"{folders[kind]}-again")
        assert torch.equal(again(**encoded).logits, logits)
