"""Foundations as deltas: the packaged nerfound-mini, and what `nerfound shrink` writes of any other."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoModelForTokenClassification, AutoTokenizer
from typer.testing import CliRunner

import nerfound
from nerfound import NuNerForConceptContrast, NuNerForTokenClassification, mini, offline
from nerfound.cli import app
from nerfound.mini import expand, shrink
from nerfound.offline import DEFAULT_ENCODER, PACKAGED_FOUNDATION, resolve_encoder, resolve_foundation
from tests.factories import edit_weights, make_contrast, make_encoder

BASES = ("token_encoder", "concept_encoder")
EXAMPLES = ["book a table at [Nobu](restaurant)", "is there room at [Noma](restaurant) in [Copenhagen](city)?"]
needs_extra = pytest.mark.skipif(
    resolve_encoder(DEFAULT_ENCODER) == DEFAULT_ENCODER, reason="needs the extra nerfound[offline]"
)


@pytest.fixture(autouse=True)
def assets(monkeypatch, tmp_path):
    """Where this test's checkpoints are written out."""
    monkeypatch.setattr("huggingface_hub.constants.HF_ASSETS_CACHE", str(tmp_path / "assets"))
    return tmp_path / "assets" / "nerfound" / "foundations"


@pytest.fixture(scope="session")
def foundation(encoders, tmp_path_factory):
    """A dual encoder whose top layers were trained, so to speak: their weights are others than the bases'."""
    folder = tmp_path_factory.mktemp("trained") / "foundation"
    make_contrast(folder, encoders["roberta"], encoders["bert"], projection_dim=16, boundary_weight=0.5)
    AutoTokenizer.from_pretrained(encoders["bert"]).save_pretrained(folder / "concept_tokenizer")
    generator = torch.Generator().manual_seed(0)

    def train(weights):
        for name, tensor in weights.items():
            if ".layer.3." in name or (name.startswith("concept_encoder") and ".layer.1." in name):
                tensor.add_(torch.randn(tensor.shape, generator=generator), alpha=0.1)
            elif not name.startswith(BASES):
                tensor.add_(0.3)

    edit_weights(folder, train)
    return folder


@pytest.fixture(scope="session")
def bases(encoders):
    """The arguments that name the bases of `foundation`."""
    return {"token_encoder": str(encoders["roberta"]), "concept_encoder": str(encoders["bert"])}


@pytest.fixture
def delta(foundation, bases, tmp_path):
    """`foundation` as a delta that keeps every change, in half precision."""
    return shrink(foundation, tmp_path / "small", rank=1000, **bases).parent


# ------------------------------------------------------------------------------------------------------- round trips


def test_a_delta_of_full_rank_gives_the_foundation_back(foundation, delta):
    original, loaded = (NuNerForConceptContrast.from_pretrained(path).state_dict() for path in (foundation, delta))
    assert original.keys() == loaded.keys()
    halved = {name.removesuffix(":change") for name in load_file(delta / "delta.safetensors") if ":" in name}
    assert halved
    for name, tensor in original.items():
        if name in halved:  # as exact as half precision is for a change of this size
            assert 0 < (tensor - loaded[name]).abs().max() < 3e-4, name
        else:
            assert torch.equal(tensor, loaded[name]), name


def test_only_what_training_changed_is_stored(foundation, delta):
    stored = {name.partition(":")[0] for name in load_file(delta / "delta.safetensors")}
    changed = {name for name in load_file(foundation / "model.safetensors") if ".layer.3." in name}
    assert changed <= stored
    assert not {name for name in stored if "embeddings" in name or "layer.0." in name}
    rooms = {name.partition(".")[0] for name in stored}
    assert rooms == {*BASES, "token_projection", "concept_projection", "scorer", "mention_prior"}


def test_a_change_of_low_rank_survives_at_that_rank(foundation, encoders, bases, tmp_path):
    name = "token_encoder.encoder.layer.3.intermediate.dense.weight"
    base = NuNerForConceptContrast.from_pretrained(foundation).state_dict()
    for key, tensor in AutoModel.from_pretrained(encoders["roberta"]).state_dict().items():
        if f"token_encoder.{key}" in base:
            base[f"token_encoder.{key}"] = tensor
    generator = torch.Generator().manual_seed(1)
    low, shape = tmp_path / "low", base[name].shape
    shutil.copytree(foundation, low)
    product = torch.randn(shape[0], 2, generator=generator) @ torch.randn(2, shape[1], generator=generator)
    save_file(base | {name: base[name] + product}, low / "model.safetensors", metadata={"format": "pt"})
    errors = []
    for rank in (1, 2):
        small = nerfound.load(shrink(low, tmp_path / f"rank-{rank}", rank=rank, **bases).parent)
        errors.append((small.state_dict()[name] - base[name] - product).norm() / product.norm())
    assert errors[0] > 0.1
    assert errors[1] < 1e-3


def test_a_lower_rank_is_a_smaller_file_and_a_worse_copy(foundation, bases, tmp_path):
    original = NuNerForConceptContrast.from_pretrained(foundation).state_dict()
    sizes, errors = [], []
    for rank in (1, 4, 12):
        path = shrink(foundation, tmp_path / f"rank-{rank}", rank=rank, **bases)
        loaded = nerfound.load(path.parent).state_dict()
        sizes.append(path.stat().st_size)
        errors.append(sum((original[name] - loaded[name]).square().sum().item() for name in original))
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 3
    assert errors == sorted(errors, reverse=True)
    assert errors[2] < 0.7 * errors[0]


def test_what_a_delta_stands_for_is_written_out_once(delta, assets):
    folder = expand(delta)
    weights = folder / "model.safetensors"
    written = weights.stat().st_mtime_ns
    assert folder.is_relative_to(assets)
    assert expand(delta) == folder
    assert weights.stat().st_mtime_ns == written
    assert weights.stat().st_mode & 0o044, "a shared cache is to be readable"
    tokenizers = {path.parent for path in folder.rglob("tokenizer.json")}
    assert tokenizers == {folder, folder / "concept_tokenizer"}


def test_a_changed_delta_is_written_out_anew(foundation, bases, delta, tmp_path):
    folder = expand(delta)
    shutil.rmtree(delta)
    shrink(foundation, delta, rank=2, **bases)
    assert expand(delta) != folder


def test_a_training_record_goes_along_and_names_the_bases(foundation, bases, hub, encoders, tmp_path):
    recorded = tmp_path / "recorded"
    shutil.copytree(foundation, recorded)
    names = {"token_encoder": "owner/roberta", "concept_encoder": "owner/bert"}
    (recorded / "training.json").write_text(json.dumps(names | {"passages": 3}))
    for name, kind in (("owner/roberta", "roberta"), ("owner/bert", "bert")):
        hub.add_repo(name, folder=encoders[kind])
    small = shrink(recorded, tmp_path / "small").parent
    manifest = json.loads((small / "delta.json").read_text())
    assert {encoder: base["name"] for encoder, base in manifest["bases"].items()} == names
    assert json.loads((expand(small) / "training.json").read_text())["passages"] == 3
    config = nerfound.load(small).config
    assert config.token_config._name_or_path == "owner/roberta"
    assert str(tmp_path) not in (small / "config.json").read_text()


# ------------------------------------------------------------------------------------------------------------- errors


def test_another_base_is_refused(foundation, encoders, bases, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(encoders["roberta"], base)
    small = shrink(foundation, tmp_path / "small", **bases | {"token_encoder": str(base)}).parent
    edit_weights(base, lambda weights: weights["encoder.layer.0.output.dense.weight"].add_(1e-6))
    with pytest.raises(
        ValueError, match=r"is a delta of .*base with weights of SHA-256 [0-9a-f]{64}; those of the one"
    ):
        nerfound.load(small)


@pytest.mark.parametrize("name", ["delta.safetensors", "config.json"])
def test_a_missing_file_is_named(delta, name):
    (delta / name).unlink()
    with pytest.raises(ValueError, match=f"no complete delta: it has no {name}.*nerfound shrink"):
        nerfound.load(delta)


def test_a_damaged_delta_is_refused(delta, assets):
    content = bytearray((delta / "delta.safetensors").read_bytes())
    content[-1] ^= 1
    (delta / "delta.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"delta.safetensors is damaged: its SHA-256 is [0-9a-f]{64}"):
        nerfound.load(delta)
    assert not list(assets.rglob("*.safetensors")), "nothing may be left of what did not succeed"


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 1, "bases": {}}', '{"format": 1}'])
def test_a_damaged_manifest_is_refused(delta, content):
    (delta / "delta.json").write_text(content)
    with pytest.raises(ValueError, match=r"delta.json is damaged"):
        nerfound.load(delta)


def test_a_later_format_is_refused(delta):
    (delta / "delta.json").write_text('{"format": 2, "something": "else"}')
    with pytest.raises(ValueError, match=r"has format 2, this nerfound reads 1: pip install -U"):
        nerfound.load(delta)


def test_a_base_that_cannot_be_had_is_named(foundation, bases, tmp_path, encoders):
    base = tmp_path / "base"
    shutil.copytree(encoders["roberta"], base)
    small = shrink(foundation, tmp_path / "small", **bases | {"token_encoder": str(base)}).parent
    shutil.rmtree(base)
    with pytest.raises(OSError, match=r"small is a delta of .*base, which is not to be had"):
        nerfound.load(small)


def test_nothing_is_shrunk_that_could_not_be_loaded(foundation, encoders, bases, tmp_path):
    output = tmp_path / "small"
    with pytest.raises(ValueError, match=r"what its token_encoder was trained from is not known.*--token-encoder"):
        shrink(foundation, output)
    with pytest.raises(ValueError, match=r"have not the same architecture"):
        shrink(foundation, output, **bases | {"token_encoder": str(encoders["bert"])})
    with pytest.raises(ValueError, match=r"rank=0"):
        shrink(foundation, output, rank=0, **bases)
    other = make_encoder("roberta", tmp_path / "other")
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    tokenizer["added_tokens"].append(tokenizer["added_tokens"][0] | {"id": 399, "content": "<ent>"})
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ValueError, match=r"is not that of .*other"):
        shrink(foundation, output, **bases | {"token_encoder": str(other)})
    assert not output.exists()
    output.mkdir()
    with pytest.raises(ValueError, match="is there already"):
        shrink(foundation, output, **bases)


def test_a_record_that_names_a_folder_is_no_answer(foundation, tmp_path):
    recorded = tmp_path / "recorded"
    shutil.copytree(foundation, recorded)
    (recorded / "training.json").write_text('{"token_encoder": "roberta"}')
    with pytest.raises(ValueError, match=r"training.json says 'roberta', which is no Hub id"):
        shrink(recorded, tmp_path / "small")


# -------------------------------------------------------------------------------------------------- names and loaders


@pytest.fixture
def tiny_mini(delta, monkeypatch, tmp_path):
    """The tiny delta in the place of the packaged one; the working directory is an empty folder."""
    folder = tmp_path / "packaged" / "nerfound-mini"
    shutil.copytree(delta, folder)
    (folder / "training.json").write_text('{"token_encoder": "owner/roberta"}')
    for module in (offline, mini):
        monkeypatch.setattr(module, "PACKAGED_FOUNDATION", folder)
    monkeypatch.chdir(tmp_path / "packaged" / "..")
    return folder


@pytest.mark.parametrize("name", ["nerfound-mini", "mini"])
def test_every_loader_knows_the_name(tiny_mini, name):
    assert AutoConfig.from_pretrained(name).model_type == "nuner"
    assert isinstance(AutoModel.from_pretrained(name), NuNerForConceptContrast)
    assert isinstance(AutoModelForTokenClassification.from_pretrained(name), NuNerForTokenClassification)
    assert NuNerForTokenClassification.from_pretrained(name).tokenizer.vocab_size == 400
    assert AutoTokenizer.from_pretrained(pretrained_model_name_or_path=name).vocab_size == 400
    assert AutoTokenizer.from_pretrained(name, subfolder="concept_tokenizer").vocab_size != 400
    assert nerfound.load(name).config.projection_dim == 16
    fitted = nerfound.fit(EXAMPLES, foundation=name, l2=0.1).config.fitted
    assert fitted["foundation"] == "nerfound-mini"
    assert fitted["base_model"] == "owner/roberta"


def test_the_folder_of_a_delta_is_a_foundation_everywhere(delta):
    assert AutoModel.from_pretrained(delta).config.projection_dim == 16
    assert NuNerForTokenClassification.from_pretrained(delta).tokenizer.vocab_size == 400
    assert nerfound.fit(EXAMPLES, foundation=delta, l2=0.1).labels == ["restaurant", "city"]


def test_a_folder_of_that_name_comes_first(tiny_mini, contrast_folder, tmp_path):
    assert resolve_foundation("nerfound-mini") != "nerfound-mini"
    shutil.copytree(contrast_folder, tmp_path / "nerfound-mini")
    assert resolve_foundation("nerfound-mini") == "nerfound-mini"
    assert nerfound.load("nerfound-mini").config.projection_dim is None
    assert AutoModel.from_pretrained("nerfound-mini").config.projection_dim is None


def test_other_names_are_passed_on_as_they_are(encoders):
    for name in ("owner/nerfound-mini", DEFAULT_ENCODER, str(encoders["bert"]), "no-such-folder"):
        assert resolve_foundation(name) == name


def test_the_pipeline_knows_the_name_and_asks_the_hub_nothing(tiny_mini, hub):
    hub.add_repo("owner/other", files={"config.json": "{}"})
    pipe = transformers.pipeline("few-shot-ner", model="nerfound-mini", examples=EXAMPLES)
    default = transformers.pipeline("few-shot-ner", examples=EXAMPLES)
    text = "book a table at Nobu"
    assert pipe(text) == default(text)
    assert pipe.model.name_or_path == default.model.name_or_path
    assert Path(pipe.model.name_or_path).name == "nerfound-mini"
    assert not hub.requests
    with pytest.raises(OSError, match="owner/missing"):
        transformers.pipeline("few-shot-ner", model="owner/missing")
    assert hub.requests, "this test would not see a request"


def test_the_base_comes_from_the_hub_where_the_extra_is_not(foundation, encoders, bases, hub, monkeypatch, tmp_path):
    # Shrunk for the encoder of the Hub, which here is a tiny one; the copy that is installed is out of sight
    monkeypatch.setattr(offline, "_packaged_folder", lambda: None)
    hub.add_repo(DEFAULT_ENCODER, folder=encoders["roberta"])
    small = shrink(foundation, tmp_path / "small", **bases | {"token_encoder": "all-MiniLM-L6-v2"}).parent
    monkeypatch.setattr(offline, "PACKAGED_FOUNDATION", small)
    assert nerfound.load("nerfound-mini").config.projection_dim == 16
    assert any(request.path.startswith(f"/{DEFAULT_ENCODER}/resolve/") for request in hub.requests)
    shutil.rmtree(tmp_path / "huggingface" / "assets")
    with monkeypatch.context() as patch:
        hub.connect(patch, tmp_path / "huggingface", offline=True)
        hub.requests.clear()
        assert nerfound.load("nerfound-mini").config.projection_dim == 16  # from the Hub's cache
    assert not hub.requests


def test_commands_take_the_name(tiny_mini, foundation, bases, tmp_path):
    def run(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        return result.output

    run("export", "nerfound-mini", tmp_path / "encoder")
    plain = AutoModel.from_pretrained(tmp_path / "encoder", add_pooling_layer=False)
    assert plain.config.model_type == "roberta"
    expected = NuNerForTokenClassification.from_pretrained("nerfound-mini").token_encoder.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in plain.state_dict().items())

    (tmp_path / "examples.txt").write_text("\n".join(EXAMPLES))
    run("fit", tmp_path / "examples.txt", "--l2", 0.1, "-o", tmp_path / "recognizer")
    fitted = NuNerForTokenClassification.from_pretrained(tmp_path / "recognizer").config.fitted
    assert fitted["foundation"] == "nerfound-mini"

    options = [part for name in BASES for part in (f"--{name.replace('_', '-')}", bases[name])]
    said = run("shrink", foundation, "-o", tmp_path / "smaller", "--rank", 2, *options)
    assert "delta.safetensors: 0." in said
    assert nerfound.load(tmp_path / "smaller").config.projection_dim == 16


# ---------------------------------------------------------------------------------------------------- nerfound-mini


def test_the_packaged_delta_is_small_and_says_nothing_of_the_machine_it_was_made_on():
    files = {path.name: path for path in PACKAGED_FOUNDATION.iterdir()}
    assert {"delta.safetensors", "delta.json", "config.json"} <= files.keys()
    assert {path.suffix for path in files.values()} <= {".safetensors", ".json", ".md"}
    assert sum(path.stat().st_size for path in files.values()) < 12_000_000
    for path in files.values():
        if path.suffix == ".json":
            folders = [word for word in _strings(json.loads(path.read_text())) if word.startswith(("/", "~"))]
            assert not folders, path.name
    manifest = json.loads(files["delta.json"].read_text())
    assert [manifest["bases"][encoder]["name"] for encoder in BASES] == [DEFAULT_ENCODER] * 2


def _strings(value):
    if isinstance(value, dict):
        return [word for part in value.values() for word in _strings(part)]
    return (
        [value]
        if isinstance(value, str)
        else [word for part in value for word in _strings(part)]
        if isinstance(value, list)
        else []
    )


@needs_extra
def test_it_works_offline_from_the_first_use_on_by_several_processes_at_once(tmp_path):
    """Two fresh processes with an empty cache; in one, `pipeline` is there before nerfound."""
    imports = (
        "import nerfound\nfrom transformers import pipeline",
        "from transformers import pipeline\nimport nerfound",
    )
    code = """
        import json
        {imports}
        pipe = pipeline("few-shot-ner", model="nerfound-mini", examples={examples})
        entities = [(entity["entity_group"], entity["word"]) for entity in pipe("a free table at Noma in Oslo")]
        dual = nerfound.load("mini")
        print(json.dumps([entities, dual.name_or_path, sum(weight.numel() for weight in dual.parameters())]))
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code).format(imports=order, examples=EXAMPLES)],
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for order in imports
    ]
    answers = []
    for process in processes:
        out, err = process.communicate(timeout=600)
        assert process.returncode == 0, err
        answers.append(json.loads(out))
    assert answers[0] == answers[1]
    entities, folder, size = answers[0]
    assert ["restaurant", "Noma"] in entities
    assert size > 40_000_000
    (written,) = (tmp_path / "home" / "assets" / "nerfound" / "foundations").iterdir()
    assert Path(folder).parent == written
    assert sorted(path.name for path in written.iterdir()) == [".lock", "nerfound-mini"]
    assert not [path for path in (tmp_path / "home").rglob("*") if path.suffix in {".bin", ".pt", ".pkl"}]
