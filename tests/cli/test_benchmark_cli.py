"""`nerfound benchmark`: what it is told in one go or piece by piece, and all that it leaves."""

import json
import sys

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from nerfound.cli import app, comparison
from nerfound.cli.options import ListOptions
from nerfound.offline import DEFAULT_ENCODER
from nerfound.pretraining import ranking
from tests.evaluation.duals import make_dual

TRAIN = """\
book a table at [Nobu](restaurant) in [Paris](city) for four people tonight
is there a free table at [Noma](restaurant), near the river?
Marie Curie was born in [Warsaw](city) in 1867; she died in 1934.
fly from [Berlin](city) to [New York](city) on 12.10.2024 at 10:30
"""
TEST = "a table at [Nobu](restaurant)\nfly to [Paris](city)\n"


def nerfound(*arguments):
    """Run a command in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def write_task(folder, train=TRAIN):
    folder.mkdir(parents=True)
    (folder / "train.txt").write_text(train, encoding="utf-8")
    (folder / "test.txt").write_text(TEST, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """Two folders of train and test files."""
    parent = tmp_path_factory.mktemp("tasks")
    return write_task(parent / "travel"), write_task(parent / "tables", TRAIN.replace("tonight", "at 10:30"))


# Several values to an option


@pytest.fixture
def asked(monkeypatch):
    """What the command would have been run with."""
    calls = []
    monkeypatch.setattr(comparison, "compare_encoders", lambda *given, **options: calls.append((given, options)))
    return calls


def test_values_in_one_go_are_values_one_by_one(asked, tmp_path):
    out = ["-o", tmp_path / "out"]
    ways = [
        ["--encoder", "a=x", "b=y", "--data", "t=one", "two", "--k", 1, 2, 4, "--token-layers", -2, -1,
         "--recipe", "blog", "nerfound", *out],
        ["--encoder", "a=x", "--encoder", "b=y", *out, "--data", "t=one", "--data", "two",
         "--k", 1, "--k", 2, "--k", 4, "--token-layers", -2, "--token-layers", -1],
        [*out, "--k", 1, 2, "--data", "t=one", "--encoder", "a=x", "--k", 4, "--data", "two", "--encoder", "b=y",
         "--token-layers", "-2", "-1"],
    ]  # fmt: skip
    for way in ways:
        result = nerfound("benchmark", *way)
        assert result.exit_code == 0, result.output
    first = asked[0]
    assert asked == [first] * 3
    (encoders, sources, output), options = first
    assert list(encoders.items()) == [("a", "x"), ("b", "y")]  # the others are compared with the first
    assert sources == [("t", "one"), (None, "two")]
    assert output == tmp_path / "out"
    assert options["shots"] == [1, 2, 4]
    assert options["recipes"] == ["blog", "nerfound"]
    assert options["token_layers"] == (-2, -1)


def test_what_is_not_said_is_the_protocol_of_the_blog(asked, tmp_path):
    result = nerfound("benchmark", "--encoder", "a=x=y", "--data", "mit-movie", "-o", tmp_path)
    assert result.exit_code == 0, result.output
    ((encoders, sources, _), options), = asked  # fmt: skip
    assert encoders == {"a": "x=y"}
    assert sources == [(None, "mit-movie")]
    assert options == {
        "shots": None, "repeats": 10, "protocols": ["blog", "entity"], "recipes": ["blog", "nerfound"],
        "token_layers": None, "l2": 0.01, "split": "test", "test_limit": None, "vectors": None, "corpus": "default",
    }  # fmt: skip


def test_options_of_one_value_take_one():
    """A value too many is an error, and arguments behind an option of one value stay arguments."""
    small = typer.Typer()
    seen = []

    @small.command(cls=ListOptions)
    def command(words: list[str], many: list[int] = typer.Option([]), one: int = 0, flag: bool = False):  # noqa: B008
        seen.append((words, many, one, flag))

    for arguments in (["--many", "1", "2", "--one", "3", "a", "b"], ["--one", "3", "a", "b", "--many", "1", "2"],
                      ["--many", "1", "--many", "2", "--one=3", "a", "b"]):  # fmt: skip
        assert CliRunner().invoke(small, arguments).exit_code == 0
    assert seen == [(["a", "b"], [1, 2], 3, False)] * 3
    result = CliRunner().invoke(small, ["--many", "1", "2", "--flag", "a"])
    assert result.exit_code == 0
    assert seen[-1] == (["a"], [1, 2], 0, True)
    assert CliRunner().invoke(small, ["--many", "1", "x", "--flag", "a"]).exit_code == 2


# A run


@pytest.fixture(scope="module")
def named(encoders):
    return [f"{name}={encoders[name]}" for name in ("bert", "roberta")]


@pytest.fixture(scope="module")
def run(named, tasks, tmp_path_factory):
    """What a run of two encoders on two tasks said, its folder, and its command line."""
    output = tmp_path_factory.mktemp("benchmark") / "results"
    arguments = ["benchmark", "--encoder", *named, "--data", f"trips={tasks[0]}", tasks[1], "--k", 1, 2]
    arguments = [str(a) for a in [*arguments, "--repeats", 2, "--l2", 0.1, "--corpus", "none", "-o", output]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["nerfound", *arguments])
        result = nerfound(*arguments)
    assert result.exit_code == 0, result.output
    return result, output, arguments


def test_a_run_leaves_frame_tables_pictures_and_what_it_was_run_with(run, encoders, tasks):
    _, output, arguments = run
    pictures = [f"curve_{task}.{kind}" for task in ("average", "trips", "tables") for kind in ("png", "svg")]
    files = {"results.parquet", "support_sets.parquet", "cells.jsonl", "results.md", "efficiency.md", "run.json"}
    left = {path.name for path in output.iterdir() if path.name != ".lock"}
    assert left == {*files, *pictures, "vectors"}
    assert all((output / name).stat().st_size for name in [*files, *pictures])

    frame = pd.read_parquet(output / "results.parquet")
    draws = frame[["task", "encoder", "protocol", "k", "seed"]].drop_duplicates()
    assert sorted(draws.itertuples(index=False, name=None)) == sorted(
        (task, encoder, protocol, k, seed)
        for task in ("trips", "tables")
        for encoder in ("bert", "roberta")
        for protocol in ("blog", "entity")
        for k in (1, 2)
        for seed in (0, 1)
    )
    results = (output / "results.md").read_text()
    for named in (
        "## Token macro-F1\n",
        "## Strict entity micro-F1\n",
        "| trips | bert |",
        "| trips | roberta |",
        "| average | bert |",
    ):
        assert named in results
    efficiency = (output / "efficiency.md").read_text()
    assert "roberta" in efficiency
    assert "bert" in efficiency

    facts = json.loads((output / "run.json").read_text())
    assert facts["command"].split() == ["nerfound", *arguments]
    assert facts["encoders"] == {name: str(encoders[name]) for name in ("bert", "roberta")}
    assert facts["data"] == {"trips": str(tasks[0]), "tables": str(tasks[1])}
    assert facts["settings"] == {
        "split": "test", "test_limit": None, "shots": [1, 2], "repeats": 2, "protocols": ["blog", "entity"],
        "recipes": ["blog", "nerfound"], "token_layers": None, "l2": 0.1, "vectors": None,
    }  # fmt: skip
    assert {len(value) for value in facts["hashes"]["encoders"].values()} == {32}
    assert len(set(facts["hashes"]["encoders"].values())) == len(set(facts["hashes"]["data"].values())) == 2
    assert set(facts["hashes"]["encoders"]) == {"bert", "roberta"}
    assert set(facts["hashes"]["data"]) == {"trips", "tables"}
    assert {"nerfound", "torch", "transformers", "python"} <= facts["versions"].keys()
    assert facts["seconds"] > sum(facts["phases"].values()) > 0
    assert facts["phases"].keys() == {"embedding", "fitting", "scoring"}


def test_a_run_says_what_it_does_and_shows_its_figures(run):
    result, output, _ = run
    said = result.stderr.splitlines()
    assert said[0] == "0 of 32: bert: loading"
    assert said[1] == "0 of 32: bert on trips: embedding"
    assert said[-1] == "32 of 32: done"
    for cell in ("trips", "tables", "average", "k=1", "k=2", "bert", "roberta", "±"):
        assert cell in result.stdout
    files = "results.md, efficiency.md, curve_*.png and .svg, results.parquet, run.json"
    assert " ".join(result.stdout.split()).endswith(f"{output}: {files}")


def test_a_finished_run_is_told_again_and_one_encoder_is_compared_with_none(run, named, tasks, tmp_path):
    """The same rows from cells that are there, of one encoder, on one task, by one protocol."""
    _, output, _ = run
    (tmp_path / "cells.jsonl").write_bytes((output / "cells.jsonl").read_bytes())
    setting = ["--k", 1, "--repeats", 2, "--l2", 0.1, "--protocol", "entity", "--corpus", "none", "-o", tmp_path]
    result = nerfound("benchmark", "--encoder", named[0], "--data", f"trips={tasks[0]}", *setting)
    assert result.exit_code == 0, result.output
    assert "embedding" not in result.stderr
    assert "efficiency.md" not in result.stdout
    names = {path.name for path in tmp_path.iterdir()}
    assert {"curve_trips.png", "curve_trips.svg", "results.md"} <= names
    assert not names & {"efficiency.md", "curve_average.png", "label_overlap.md"}
    assert "## Strict entity micro-F1\n" in (tmp_path / "results.md").read_text()
    assert "## Token macro-F1\n" not in (tmp_path / "results.md").read_text()
    assert json.loads((tmp_path / "run.json").read_text())["phases"] == {"embedding": 0, "fitting": 0, "scoring": 0}
    whole = pd.read_parquet(output / "results.parquet")
    part = whole.query("encoder == 'bert' and task == 'trips' and protocol == 'entity' and k == 1")
    found = pd.read_parquet(tmp_path / "results.parquet")[whole.columns]
    pd.testing.assert_frame_equal(found, part.reset_index(drop=True))


def test_types_are_looked_up_in_a_corpus(run, named, tasks, tmp_path, encoders, monkeypatch):
    asked = []  # a tiny encoder in place of the default one, which is an extra
    monkeypatch.setattr(ranking, "resolve_encoder", lambda name: asked.append(name) or str(encoders["bert"]))
    _, output, _ = run
    (tmp_path / "cells.jsonl").write_bytes((output / "cells.jsonl").read_bytes())
    text = "The Ritz stands in London."
    entities = [
        {"start": 4, "end": 8, "text": "Ritz", "concept": "eating place", "description": ""},
        {"start": 19, "end": 25, "text": "London", "concept": "City", "description": ""},
    ]
    corpus = tmp_path / "corpus.jsonl"
    row = {"id": "1", "language": "English", "domain": "", "text": text, "entities": entities}
    corpus.write_text(json.dumps(row) + "\n")
    setting = ["--k", 1, "--repeats", 1, "--l2", 0.1, "--protocol", "entity", "--corpus", corpus, "-o", tmp_path]
    result = nerfound("benchmark", "--encoder", named[0], "--data", f"trips={tasks[0]}", *setting)
    assert result.exit_code == 0, result.output
    assert "trips: of 2 types, 1 are pre-training concepts by name" in result.stdout
    assert asked == [DEFAULT_ENCODER]
    overlap = (tmp_path / "label_overlap.md").read_text()
    assert f"`{corpus}`" in overlap
    assert "| trips | city | yes | City | 1.00 |" in overlap
    assert "| trips | restaurant |  | eating place | " in overlap


def test_a_dual_encoder_has_a_line_more_from_k_0(named, tasks, encoders, tmp_path):
    dual = make_dual(tmp_path / "dual", encoders["bert"])
    setting = ["--data", f"trips={tasks[0]}", "--k", 0, 1, "--repeats", 2, "--corpus", "none"]
    output = tmp_path / "both"
    result = nerfound("benchmark", "--encoder", named[0], f"dual={dual}", *setting, "-o", output)
    assert result.exit_code == 0, result.output
    results = (output / "results.md").read_text()
    assert "| trips | bert |  | " in results
    assert "| trips | dual |  | " in results
    assert "| trips | dual + prior | " in results
    assert "| *95 % interval* |" in (output / "efficiency.md").read_text()
    assert "dual + prior against bert" in (output / "efficiency.md").read_text()
    assert "k=0" in result.stdout
    assert json.loads((output / "run.json").read_text())["settings"]["shots"] == [0, 1]
    # One encoder alone is compared with its own plain heads
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "cells.jsonl").write_bytes((output / "cells.jsonl").read_bytes())
    alone = nerfound("benchmark", "--encoder", f"dual={dual}", *setting, "-o", tmp_path / "alone")
    assert "embedding" not in alone.stderr
    assert "efficiency.md" in alone.stdout
    assert "dual + prior against dual" in (tmp_path / "alone" / "efficiency.md").read_text()


# Errors


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--encoder": ["{bert}"]}, "--encoder {bert}: give NAME=PATH_OR_HUB_ID"),
        ({"--encoder": ["a={bert}", "="]}, "--encoder =: give NAME=PATH_OR_HUB_ID"),
        ({"--encoder": ["a={bert}", "b={bert}", "a={roberta}"]}, "--encoder gives a twice"),
        ({"--data": ["={task}"]}, "--data ={task}: give NAME=PATH_OR_HUB_ID"),
        ({"--data": ["{task}", "{task}/../travel"]}, "two tasks are called travel: name them with NAME=SOURCE"),
        ({"--data": ["{task}/nowhere"]}, "'{task}/nowhere' is no preset"),
        ({"--k": ["0", "2"]}, "k=0 needs an encoder that brings a prior, and none of a does"),
        ({"--k": ["-1"]}, "k=-1"),
        ({"--recipe": ["mine"]}, "recipe mine is unknown: choose from blog, nerfound"),
        ({"--protocol": ["io"]}, "protocol io is unknown: choose from blog, entity"),
        ({"--corpus": ["{tmp}/corpus.jsonl"]}, "{tmp}/corpus.jsonl"),
    ],
)
def test_errors_are_one_line_before_anything_is_written(changes, message, encoders, tasks, tmp_path):
    names = {"bert": encoders["bert"], "roberta": encoders["roberta"], "task": tasks[0], "tmp": tmp_path}
    options = {"--encoder": ["a={bert}"], "--data": ["{task}"], "--corpus": ["none"], "-o": ["{tmp}/out"]} | changes
    arguments = [part.format(**names) for name, values in options.items() for part in (name, *values)]
    result = nerfound("benchmark", *arguments)
    assert result.exit_code == 1, (result.exception, result.output)
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert errors == result.stderr.splitlines()[-1:]
    assert message.format(**names) in errors[0]
    assert not (tmp_path / "out").exists()
