"""Recognizers by their ids where there is no nerfound: in a virtual environment of transformers and torch alone."""

import json

import pytest
from transformers import pipeline

from nerfound.fewshot import fit
from nerfound.hub import push_recognizer
from nerfound.modeling_nuner import NuNerForTokenClassification
from tests.factories import SENTENCES, make_recognizer
from tests.hub.environments import not_needed_by

EXAMPLES = [
    "book a table at [Nobu](restaurant) in [Paris](city) for four people tonight",
    "is there a free table at [Noma](restaurant), near the river?",
    "Marie Curie was born in [Warsaw](city) in 1867; she died in 1934.",
]
KINDS = ("bert", "modernbert")
"""The first is served natively, the second by the code that it carries."""
CODE = """
import importlib.util, json, sys
shown = {"importable": [name for name in OTHERS if importlib.util.find_spec(name)]}

from transformers import pipeline
from transformers.pipelines import PIPELINE_REGISTRY
shown["registered"] = "few-shot-ner" in PIPELINE_REGISTRY.get_supported_tasks()

def spans(pipe):
    return [[e["entity_group"], e["start"], e["end"]] for e in pipe(TEXT)]

plain = pipeline("token-classification", model="owner/bert", aggregation_strategy="simple")
shown["bert"] = [type(plain.model).__module__, spans(plain)]
try:
    pipeline("token-classification", model="owner/modernbert", trust_remote_code=False)
except ValueError as error:
    shown["asked"] = str(error)
trusted = {"aggregation_strategy": "simple", "trust_remote_code": True}
plain = pipeline("token-classification", model="owner/modernbert", **trusted)
shown["modernbert"] = [type(plain.model).__module__, spans(plain)]
for kind in ("bert", "modernbert"):
    few = pipeline("few-shot-ner", model="owner/" + kind, trust_remote_code=True)
    shown[kind] += [type(few).__module__, spans(few)]

shown["weights"] = []
for tag in ("v1", "v2"):
    pipe = pipeline("few-shot-ner", model="owner/model", revision=tag, trust_remote_code=True)
    shown["weights"].append(pipe.model.classifier.weight.double().sum().item())
shown["loaded"] = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps(shown))
"""


@pytest.fixture
def pushed(hub, encoders):
    """A fitted recognizer of each kind, and one with two revisions."""
    for kind in KINDS:
        push_recognizer(fit(EXAMPLES, foundation=str(encoders[kind]), l2=1e-3), f"owner/{kind}")
    for seed, tag in enumerate(("v1", "v2")):
        push_recognizer(make_recognizer(encoders["bert"], seed=seed), "owner/model")
        hub.api().create_tag("owner/model", tag=tag)


def test_recognizers_are_served_by_transformers_and_torch_alone(hub, pushed, clean_python, tmp_path):
    others, text = not_needed_by("transformers", "torch"), SENTENCES[1]
    assert {"nerfound", "datasets", "accelerate", "pandas", "pyarrow"} <= set(others)
    code = CODE.replace("OTHERS", repr(others)).replace("TEXT", repr(text))
    shown = json.loads(hub.run(code, tmp_path / "home", python=clean_python).splitlines()[-1])
    assert shown["importable"] == []
    assert not set(others) & set(shown["loaded"])
    assert not shown["registered"]
    assert "trust_remote_code=True" in shown["asked"]
    for kind in KINDS:
        ours = pipeline("few-shot-ner", model=f"owner/{kind}")  # nerfound is here: no code of the Hub need be trusted
        assert type(ours.model) is NuNerForTokenClassification
        served_by, plain, carried, few = shown[kind]
        assert served_by.startswith("transformers.models.bert" if kind == "bert" else "transformers_modules.")
        assert carried.startswith("transformers_modules.")
        assert few == [[e["entity_group"], e["start"], e["end"]] for e in ours(text)] != []
        assert plain
    # A native model is loaded anew as ours: from the same commit
    load = NuNerForTokenClassification.from_pretrained
    weights = [load("owner/model", revision=tag).classifier.weight.double().sum().item() for tag in ("v1", "v2")]
    assert shown["weights"] == weights
    assert weights[0] != weights[1]
