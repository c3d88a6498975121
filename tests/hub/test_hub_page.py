"""docs/hub.md, block by block, against the fake Hub: what it pushes is there, and what it loads comes from there."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import close_session
from typer.testing import CliRunner

from nerfound.cli import app
from nerfound.fewshot import fit
from nerfound.modeling_nuner import NuNerForTokenClassification
from nerfound.pretraining.run import main as pretrain
from tests.factories import make_contrast, tokenizer_of
from tests.fakes.hub import GUEST, OWNER, FakeHub, User
from tests.pretraining.helpers import write_passages

ROOT = Path(__file__).parents[2]
SPACES = ROOT / "spaces"
PAGE = (ROOT / "docs" / "hub.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(bash|py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ACCELERATE = "accelerate launch -m nerfound.pretraining "
OFFLINE = "HF_HUB_OFFLINE=1 "
# What a test cannot wait for: real encoders and whole epochs
SMALL = ["--max_steps", "2", "--max_tokens", "32", "--per_device_train_batch_size", "4", "--held_out", "0.1"]
TEXTS = [
    "book a table at [Nobu](restaurant) in [Paris](city) for four people tonight",
    "Could you find me a table at [Noma](restaurant) in [Paris](city)?",  # what the page asks, of random weights
    "Marie Curie was born in [Warsaw](city) in 1867; she died in 1934.",
]


def prepare(folder, encoders):
    """What the page takes for granted."""
    make_contrast(folder / "foundation", encoders["roberta"], encoders["bert"])
    tokenizer_of("bert").save_pretrained(folder / "foundation" / "concept_tokenizer")
    fit(TEXTS, foundation=str(encoders["bert"]), l2=1e-3).save_pretrained(folder / "recognizer")
    write_passages(folder / "corpus.jsonl")
    (folder / "test.txt").write_text("\n".join(TEXTS))
    (folder / "reviews.txt").write_text("a table at Noma in Paris\n")
    shutil.copytree(SPACES, folder / "spaces")


def run_line(line, hub, home, encoders):
    """Run a command line of the page, in this process where it can be."""
    small = [*SMALL, "--token_encoder", encoders["bert"], "--concept_encoder", encoders["bert"]]
    if line.startswith(OFFLINE):
        command = [sys.executable, "-m", *shlex.split(line.removeprefix(OFFLINE))]
        asked = len(hub.requests)
        environment = hub.environment(home, offline=True)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert len(hub.requests) == asked
        return done.stdout
    if line.startswith(ACCELERATE):
        pretrain([*shlex.split(line.removeprefix(ACCELERATE)), *map(str, small)])
        return ""
    name, *arguments = shlex.split(line)
    assert name == "nerfound"
    further = small if arguments[0] == "pretrain" else []
    done = CliRunner().invoke(app, [*arguments, *map(str, further)])
    assert done.exit_code == 0, f"{line}\n{done.output}\n{done.exception!r}"
    return done.output


@pytest.fixture(scope="module")
def walked(encoders, clean_python, tmp_path_factory):
    """The Hub on which every block of the page was run, the folder it was run in, and what was printed."""
    folder, printed = tmp_path_factory.mktemp("walk"), {}
    home = folder / "huggingface"
    prepare(folder, encoders)
    with pytest.MonkeyPatch.context() as patch, FakeHub() as hub:
        hub.users[OWNER] = User("me")
        hub.connect(patch, home)
        patch.chdir(folder)
        patch.setenv("PYTHONPATH", str(ROOT))  # for `nerfound` in a process of its own
        for kind, block in BLOCK.findall(PAGE):
            if kind == "bash":
                printed |= {line: run_line(line, hub, home, encoders) for line in block.splitlines()}
            elif block.startswith("# without nerfound"):
                printed["without nerfound"] = hub.run(block, folder / "other", python=clean_python)
            else:
                exec(compile(block, "docs/hub.md", "exec"), {})
        yield hub, folder, printed
    close_session()


def files_of(hub, repo_type, repo_id):
    return set(hub.repositories[repo_type, repo_id].at().files)


def test_everything_is_there(walked):
    hub, _, _ = walked
    models = ("foundation", "encoder", "recognizer", "from-python", "cities", "again", "launched", "tuned")
    expected = {("model", f"me/{name}") for name in models}
    assert set(hub.repositories) == expected | {("dataset", "me/concepts"), ("space", "me/few-shot-ner")}
    assert all({"config.json", "model.safetensors", "README.md"} <= files_of(hub, *key) for key in expected)
    assert {"data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"} <= files_of(
        hub, "dataset", "me/concepts"
    )
    assert "app.py" in files_of(hub, "space", "me/few-shot-ner")
    assert hub.repositories["model", "me/from-python"].private
    recognizer = hub.repositories["model", "me/recognizer"]
    assert "v2" in recognizer.heads
    assert len(recognizer.pull_requests) == 1
    for key in expected - {("model", "me/recognizer")}:
        assert len(list(hub.repositories[key].history())) == 2  # ours, and the Hub's own


def test_commands_say_what_the_page_shows(walked):
    hub, folder, printed = walked
    pushed = printed["nerfound push recognizer recognizer me/recognizer --data test.txt"]
    shown = re.search(r"^me/recognizer: (\d+) files at .*, (downloaded again and found equal)$", PAGE, re.MULTILINE)
    assert re.fullmatch(rf"{hub.endpoint}/me/recognizer: {shown[1]} files at [0-9a-f]{{40}}, {shown[2]}\n", pushed)
    assert {path.name for path in folder.glob("look-at-this*")} == {"look-at-this", "look-at-this-token-encoder"}
    assert "'restaurant'" in printed["without nerfound"] or "'city'" in printed["without nerfound"]
    assert printed["without nerfound"].endswith("roberta\n")


def test_offline_finds_the_same(walked):
    _, folder, _ = walked
    assert (folder / "offline.csv").read_text() == (folder / "entities.csv").read_text() != ""
    assert (folder / "fitted" / "model.safetensors").exists()


def test_without_access_the_error_says_what_is_missing(walked, monkeypatch, tmp_path):
    hub, _, _ = walked
    hub.connect(monkeypatch, tmp_path / "home", token=GUEST)
    load = NuNerForTokenClassification.from_pretrained
    with pytest.raises(OSError, match=r"(?s)me/from-python is not a local folder and is not a valid model.*log"):
        load("me/from-python")
    hub.repositories["model", "me/recognizer"].gated = "manual"
    with pytest.raises(OSError, match=r"(?s)gated repo.*me/recognizer"):
        load("me/recognizer")
    hub.repositories["model", "me/recognizer"].gated = False
    with pytest.raises(OSError, match="v9 is not a valid git identifier"):
        load("me/recognizer", revision="v9")
