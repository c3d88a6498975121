"""What users load from the Hub: every layout, offline, by revision; and what is refused there, with what to do."""

import json
import re
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoModelForTokenClassification, pipeline

from nerfound.fewshot import fit
from nerfound.hub import push_corpus, push_foundation, push_recognizer
from nerfound.hub.staging import stage_recognizer
from nerfound.modeling_nuner import NuNerForConceptContrast, NuNerForTokenClassification
from tests.factories import SENTENCES, edit_config, make_contrast, make_encoder, make_recognizer, tokenizer_of
from tests.fakes.hub import GUEST

EXAMPLES = ["book a table at [Nobu](restaurant) in [Paris](city)", "is [Noma](restaurant), near the river?"]
load = NuNerForTokenClassification.from_pretrained


@pytest.fixture(scope="module")
def staged(encoders, tmp_path_factory):
    """Repositories of recognizers: `bert` without code for its model, `modernbert` with."""
    folder = tmp_path_factory.mktemp("staged")
    for kind in ("bert", "modernbert"):
        stage_recognizer(make_recognizer(encoders[kind]), folder / kind, f"owner/{kind}")
    return folder


def states(model):
    return model.token_states(**model.tokenizer(SENTENCES[0], return_tensors="pt"))


# --- every layout


@pytest.mark.parametrize("kind", ["roberta", "modernbert", "deberta"])
@pytest.mark.parametrize("layout", ["encoder", "language model", "dual encoder", "recognizer"])
def test_layouts_by_id(hub, encoders, tmp_path, kind, layout):
    folder = tmp_path / "made"
    if layout == "encoder":
        folder = encoders[kind]
    elif layout == "language model":
        make_encoder(kind, folder, auto_class=AutoModelForMaskedLM)
    elif layout == "dual encoder":
        make_contrast(folder, encoders[kind], encoders["bert"])
    else:
        make_recognizer(encoders[kind]).save_pretrained(folder)
    hub.add_repo("owner/model", folder=folder)
    model = load("owner/model")
    assert torch.equal(states(model), states(load(folder)))
    assert fit(EXAMPLES, foundation="owner/model").labels == ["restaurant", "city"]


# --- offline, and by revision


def test_offline_after_one_filling(hub, encoders, tmp_path, monkeypatch):
    monkeypatch.setattr("nerfound.hub.cards._draw_statistics", lambda *_: [])
    foundation = make_contrast(tmp_path / "foundation", encoders["roberta"], encoders["bert"])
    push_foundation(foundation, "owner/foundation")
    for kind in ("bert", "modernbert"):
        push_recognizer(make_recognizer(encoders[kind]), f"owner/{kind}")
    rows = [{"id": "a", "text": "Paris is old.", "entities": []}] * 3
    rows[0] = rows[0] | {"annotations": [["Paris", "city", ""]]}
    del rows[0]["entities"]
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)))
    push_corpus(tmp_path / "corpus.jsonl", "owner/corpus")
    code = f"""
        import nerfound
        from transformers import pipeline
        text = {SENTENCES[0]!r}
        for name in ("owner/bert", "owner/modernbert"):
            print(pipeline("few-shot-ner", model=name)(text))
            print(pipeline("token-classification", model=name, trust_remote_code=True)(text)[:2])
        recognizer = nerfound.fit({EXAMPLES!r}, foundation="owner/foundation", l2=1.0)
        print(recognizer.classifier.weight.sum().item())
        print(nerfound.NuNerForConceptContrast.from_pretrained("owner/foundation").dtype)
        print(nerfound.read_corpus("owner/corpus")[:])
    """
    online = hub.run(code, tmp_path / "home")
    hub.requests.clear()
    assert hub.run(code, tmp_path / "home", offline=True) == online
    assert hub.requests == []


def test_offline_with_an_empty_cache_says_so(hub, monkeypatch, tmp_path):
    hub.connect(monkeypatch, tmp_path / "empty", offline=True)
    with pytest.raises(OSError, match=r"(?s)couldn't find them in the cached files.*offline mode"):
        load("owner/model")


def test_by_revision(hub, encoders):
    first, second = make_recognizer(encoders["modernbert"]), make_recognizer(encoders["modernbert"], seed=1)
    push_recognizer(first, "owner/model")
    hub.api().create_tag("owner/model", tag="v1")
    push_recognizer(second, "owner/model")
    for name, model in (("v1", first), ("main", second)):
        assert torch.equal(load("owner/model", revision=name).classifier.weight, model.classifier.weight)
        pipe = pipeline("few-shot-ner", model="owner/model", revision=name)
        assert torch.equal(pipe.model.classifier.weight, model.classifier.weight)
        assert load("owner/model", revision=name).tokenizer(SENTENCES) == tokenizer_of("modernbert")(SENTENCES)


# --- repositories that cannot be read


def test_a_gated_repository_says_whom_to_ask(hub, staged, monkeypatch, tmp_path):
    hub.add_repo("owner/gated", folder=staged / "bert", gated="manual")
    hub.connect(monkeypatch, tmp_path / "home", token=GUEST)
    for read in (load, lambda name: pipeline("few-shot-ner", model=name), lambda name: fit(EXAMPLES, foundation=name)):
        with pytest.raises(OSError, match=r"(?s)gated repo.*owner/gated") as caught:
            read("owner/gated")
        assert "ask for access" in str(caught.value) or "request access" in str(caught.value)


def test_a_missing_repository_or_revision_says_what_to_check(hub, staged):
    with pytest.raises(
        OSError, match=r"(?s)owner/missing is not a local folder and is not a valid model identifier.*log"
    ):
        load("owner/missing")
    hub.add_repo("owner/model", folder=staged / "bert")
    with pytest.raises(OSError, match=r"(?s)v9 is not a valid git identifier"):
        load("owner/model", revision="v9")


# --- code

CANARY = """
from pathlib import Path
Path({path!r}).write_text("ran")
from transformers import BertConfig, BertModel
class EvilConfig(BertConfig):
    model_type = {model_type!r}
class EvilModel(BertModel):
    config_class = EvilConfig
"""
AUTO_MAP = {
    "AutoConfig": "evil.EvilConfig",
    "AutoModel": "evil.EvilModel",
    "AutoModelForTokenClassification": "evil.EvilModel",
}


def evil_repo(hub, folder, canary, edit, model_type="bert"):
    """A repository with code that writes `canary` when it is imported, and a configuration that may point there."""
    edit_config(folder, edit)
    (folder / "evil.py").write_text(CANARY.format(path=str(canary), model_type=model_type))
    hub.add_repo("owner/evil", folder=folder)


@pytest.mark.parametrize("model_type", ["bert", "evil"])
def test_code_of_a_repository_is_not_run(hub, tmp_path, model_type):
    folder, canary = make_encoder("bert", tmp_path / "evil"), tmp_path / "canary"
    evil_repo(hub, folder, canary, lambda c: c.update(auto_map=AUTO_MAP, model_type=model_type), model_type)
    if model_type == "bert":
        assert type(load("owner/evil").token_encoder).__module__.startswith("transformers.models.bert")
    else:
        with pytest.raises(ValueError, match="trust_remote_code=True"):
            load("owner/evil")
    assert not canary.exists()


@pytest.mark.parametrize("model_type", ["bert", "evil"])
@pytest.mark.parametrize("part", ["token_config", "concept_config"])
@pytest.mark.parametrize("reference", ["", "owner/evil--"])
def test_code_that_a_nested_configuration_points_at_is_not_run(hub, encoders, tmp_path, part, model_type, reference):
    folder, canary = make_contrast(tmp_path / "evil", encoders["bert"], encoders["bert"]), tmp_path / "canary"
    auto_map = {name: f"{reference}{target}" for name, target in AUTO_MAP.items()}

    def edit(config):
        config[part].update(auto_map=auto_map, model_type=model_type)

    evil_repo(hub, folder, canary, edit, model_type)
    for model_class in (NuNerForConceptContrast, NuNerForTokenClassification):
        try:
            model_class.from_pretrained("owner/evil")
        except (ValueError, KeyError) as error:
            assert model_type in str(error)  # noqa: PT017 (whether it is refused or read as what we know is not the point)
    assert not canary.exists()


def test_our_own_code_in_a_repository_is_not_run_where_nerfound_is(hub, staged, tmp_path, monkeypatch):
    folder = tmp_path / "changed"
    folder.mkdir()
    for path in (staged / "modernbert").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    canary = tmp_path / "canary"
    for path in folder.glob("*.py"):
        path.write_text(f"from pathlib import Path\nPath({str(canary)!r}).write_text('ran')\n" + path.read_text())
    hub.add_repo("owner/changed", folder=folder)
    load("owner/changed")
    pipeline("few-shot-ner", model="owner/changed")
    AutoModelForTokenClassification.from_pretrained("owner/changed")
    assert not canary.exists()


# --- weights


def damaged(hub, folder, name, change):
    hub.add_repo("owner/damaged", folder=folder, files=None)
    repository = hub.repositories["model", "owner/damaged"]
    repository.commit("Damage", {name: change(repository.at("main").files[name].content)})


def test_a_bit_that_flips_is_noticed(hub, staged):
    """safetensors has no checksum, and the length is right; the hash that the Hub gives tells it."""
    repository = hub.add_repo("owner/model", folder=staged / "modernbert")
    weights = repository.at().files["model.safetensors"]
    flipped = bytearray(weights.content)
    flipped[-1] ^= 1
    repository.objects[weights.sha256] = bytes(flipped)
    for read in (load, lambda name: pipeline("few-shot-ner", model=name)):
        with pytest.raises(ValueError, match=rf"owner/model: its weights file is damaged .*{weights.sha256}") as caught:
            read("owner/model")
    repository.objects[weights.sha256] = weights.content
    blob = Path(re.search(r"Remove (\S+), and load again", str(caught.value))[1])
    assert blob.read_bytes() == flipped
    blob.unlink()
    assert torch.equal(load("owner/model").classifier.weight, load(staged / "modernbert").classifier.weight)


@pytest.mark.parametrize(
    "change",
    [lambda content: content[: len(content) // 2], lambda content: b"\0" + content[1:], lambda content: b"{}"],
    ids=["truncated", "header", "other"],
)
def test_damaged_weights_are_refused(hub, staged, change):
    damaged(hub, staged / "bert", "model.safetensors", change)
    with pytest.raises(ValueError, match=r"owner/damaged: its weights file is damaged .* Fetch or write it again"):
        load("owner/damaged")


def test_a_cut_download_is_finished(hub, staged):
    hub.add_repo("owner/model", folder=staged / "bert")
    hub.cut_download("/storage/", after=5000)
    assert torch.equal(load("owner/model").classifier.weight, load(staged / "bert").classifier.weight)


def test_pickled_weights_are_refused(hub, staged, tmp_path):
    class Canary:
        def __reduce__(self):
            return Path.write_text, (tmp_path / "canary", "ran")

    files = {p.name: p.read_bytes() for p in (staged / "bert").iterdir() if p.name != "model.safetensors"}
    torch.save({"weight": Canary()}, tmp_path / "pytorch_model.bin")
    files["pytorch_model.bin"] = (tmp_path / "pytorch_model.bin").read_bytes()
    hub.add_repo("owner/pickled", files=files)
    with pytest.raises(ValueError, match=r"owner/pickled has no safetensors weights .* convert them to safetensors"):
        load("owner/pickled")
    assert not (tmp_path / "canary").exists()
    assert not [request for request in hub.requests if request.method == "GET" and "pytorch_model" in request.path]
