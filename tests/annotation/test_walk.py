"""The walk of docs/annotation.md, command by command, against a server that has the answers on record."""

import csv
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nerfound.annotation import read_ontology
from nerfound.annotation.costs import price_of
from nerfound.cli import app
from nerfound.corpus import read_corpus
from nerfound.fewshot import read_examples
from tests.fakes.openai_server import FakeOpenAI

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data" / "annotation"
PAGE = (ROOT / "docs" / "annotation.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(bash|text|yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BILL = re.compile(r"^\| (gpt-[\w.-]+).*?\| ([\d.]+), ([\d.]+) \|.*\| \$([\d,]+) \| \$([\d,]+) \|$", re.MULTILINE)
WRITTEN = {"data", "dataset_info.json", "rejects.jsonl", "annotation.json", ".annotation"}
# What a test cannot wait for: real encoders and a concept map; where it asks: the fake server, which has no C4
FEWER_STEPS = ["--max_steps", "4", "--max_tokens", "64"]


@pytest.fixture(scope="module")
def server():
    """The server of the page; a batch is done when it is first looked at."""
    lines = (DATA / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    answers = {record["text"]: record["answer"] for record in map(json.loads, lines)}
    with FakeOpenAI(answers=answers, batch_steps=1) as server:
        yield server


@pytest.fixture(scope="module")
def walked(server, encoders, tmp_path_factory):
    """The folder in which every command of the page was run, and what they printed, block by block."""
    pytest.importorskip("matplotlib", reason="nerfound corpus stats needs the extra nerfound[plots]")
    folder = tmp_path_factory.mktemp("walk")
    for name in ("passages.txt", "messages.txt"):
        shutil.copy(DATA / name, folder)
    changes = {
        "annotate": ["--base-url", server.url],
        "stats": ["--no-map"],
        "pretrain": [*FEWER_STEPS, "--token_encoder", encoders["bert"], "--concept_encoder", encoders["bert"]],
    }
    printed = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("NERFOUND_CACHE", str(folder / "cache"))
        patch.setattr("datasets.config.HF_DATASETS_CACHE", folder / "datasets")
        for kind, block in BLOCK.findall(PAGE):
            if kind == "yaml":
                Path("concepts.yaml").write_text(block, encoding="utf-8")
            elif kind == "text":
                printed[-1] = (*printed[-1][:2], block)
            else:
                printed.append((block, "".join(map(run_line(changes), block.splitlines())), ""))
    return folder, printed


def run_line(changes):
    """A function that runs a command line of the page and returns what it printed."""

    def run(line):
        name, *arguments = shlex.split(line)
        assert name == "nerfound"
        if "allenai/c4" in arguments:
            return ""
        further = next((more for word, more in changes.items() if word in arguments[:2]), [])
        result = CliRunner().invoke(app, [*arguments, *map(str, further)])
        assert result.exit_code == 0, f"{line}\n{result.output}\n{result.exception!r}"
        return result.output

    return run


def test_the_page_shows_what_is_printed(walked):
    _, printed = walked
    shown = [(output, expected) for _, output, expected in printed if expected]
    assert len(shown) == 3
    for output, expected in shown:
        missing = [line for line in expected.splitlines() if line not in output.splitlines()]
        assert not missing, output


def test_everything_is_there(walked):
    folder, _ = walked
    corpus = read_corpus(folder / "corpus")
    assert len(corpus) > 200
    assert {path.name for path in (folder / "corpus").iterdir()} >= WRITTEN
    assert (folder / "statistics" / "statistics.json").exists()
    ontology = {concept.name: concept.description for concept in read_ontology(folder / "concepts.yaml")}
    (shard,) = (folder / "labelled" / "data").iterdir()
    labelled = read_examples(shard)
    assert len(labelled.examples) == 60
    assert list(labelled.concepts.values()) == [ontology[concept] for concept in labelled.concepts]
    with (folder / "entities.csv").open(encoding="utf-8") as file:
        assert {row["entity_group"] for row in csv.DictReader(file)} <= set(labelled.concepts)
    assert len(read_corpus(folder / "batched")) > 200
    local = json.loads((folder / "local" / "annotation.json").read_text(encoding="utf-8"))
    # The recorded answers are lines, where JSON was asked for
    assert local["outcome"]["rejected"] == {"not the JSON asked for": 346, "empty answer": 4}


def test_the_bill_of_a_million_sentences():
    rows = BILL.findall(PAGE)
    assert len(rows) == 6
    for model, price_in, price_out, cost, cost_of_batch in rows:
        price = price_of(model)
        assert (price.input, price.output) == (float(price_in), float(price_out))
        for shown, share in ((cost, 1), (cost_of_batch, 0.5)):
            assert float(shown.replace(",", "")) == pytest.approx(share * price.of(180e6, 145e6), abs=0.51)
