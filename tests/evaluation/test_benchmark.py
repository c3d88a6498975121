"""The benchmark's run: what it computes, what it never computes twice, and what a kill leaves."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal

from nerfound.evaluation import probes, vectors
from nerfound.evaluation.benchmark import hash_task, run_benchmark
from nerfound.evaluation.scoring import predict_examples, score_entities
from nerfound.evaluation.tasks import Task
from nerfound.fewshot.embedding import embed_examples
from nerfound.fewshot.fitting import fit_head, load_foundation
from nerfound.fewshot.formats import Example, SupportSet, parse_examples
from nerfound.fewshot.sampler import sample_k_shot
from tests.evaluation.examples import CONCEPTS, EXAMPLES

ROOT = Path(__file__).parents[2]
MEASURES = ("precision", "recall", "f1")
SHOTS, REPEATS, PROTOCOLS = (1, 2), 2, ("blog", "entity")
HEADS = len(SHOTS) * REPEATS * len(PROTOCOLS)  # per encoder and task


def make_task(name, train, test):
    examples = parse_examples(train)
    return Task(name, examples, parse_examples(test, concepts=examples.concepts).examples)


def make_tasks():
    travel = [
        f"{verb} from [{start}](city) to [{end}](city) with [{who}](person)"
        for verb, start, end, who in [
            ("fly", "Berlin", "New York", "Marie"),
            ("go", "Paris", "Warsaw", "Marie Curie"),
            ("run", "Warsaw", "Berlin", "Noma"),
            ("book", "New York", "Paris", "Nobu"),
        ]
    ]
    tables = ["a table at [Nobu](restaurant)", "is [Noma](restaurant) free?", "[Nobu](restaurant) near the river",
              "four people at [Noma](restaurant) tonight", "no place at all"]  # fmt: skip
    return [
        make_task("travel", travel, ["[Marie](person) was born in [Paris](city)", "she died"]),
        make_task("tables", tables, ["book [Nobu](restaurant) for tonight", "the river"]),
    ]


def benchmark(encoders, output, tasks=None, **options):
    settings = {"shots": SHOTS, "repeats": REPEATS, "protocols": PROTOCOLS, "l2": 0.1} | options
    return run_benchmark(encoders, make_tasks() if tasks is None else tasks, output, **settings)


@pytest.fixture(scope="module")
def two(encoders):
    return {"small": str(encoders["bert"]), "other": str(encoders["roberta"])}


@pytest.fixture(scope="module")
def whole(two, tmp_path_factory):
    """A run of two encoders on two tasks, and its folder. Not to be changed."""
    output = tmp_path_factory.mktemp("benchmark") / "whole"
    return benchmark(two, output), output


@pytest.fixture
def work(monkeypatch):
    """How many heads are fitted, and windows embedded, from here on."""
    done = {"heads": 0, "windows": 0}
    fit_linear_head, embed_windows = probes.fit_linear_head, vectors.embed_windows

    def fit(*arguments, **options):
        done["heads"] += 1
        return fit_linear_head(*arguments, **options)

    def embed(model, windows, **options):
        done["windows"] += len(windows)
        return embed_windows(model, windows, **options)

    monkeypatch.setattr(probes, "fit_linear_head", fit)
    monkeypatch.setattr(vectors, "embed_windows", embed)
    return done


def sentences(output):
    """How many sentences each encoder reads in a run: those of the support sets, and four to score on."""
    return len(pd.read_parquet(output / "support_sets.parquet")[["task", "index"]].drop_duplicates()) + 4


def copy_cells(source, target):
    target.mkdir()
    (target / "cells.jsonl").write_bytes((source / "cells.jsonl").read_bytes())
    return target / "cells.jsonl"


# The frame


def test_a_row_for_every_class_and_average_of_every_head(whole):
    frame, output = whole[0].frame, whole[1]
    settings = [
        (task.name, encoder, protocol, k, seed, average, concept)
        for encoder in ("small", "other")
        for task in make_tasks()
        for k in SHOTS
        for seed in range(REPEATS)
        for protocol in PROTOCOLS
        for average, concept in [*(("class", name) for name in task.train.concepts), ("micro", ""), ("macro", "")]
    ]
    keys = ["task", "encoder", "protocol", "k", "seed", "average", "concept"]
    assert list(frame[keys].itertuples(index=False, name=None)) == settings
    scores = [f"{view}_{measure}" for view in ("token", "strict", "exact", "partial") for measure in MEASURES]
    assert set(frame.columns) == {*keys, "support", *scores}
    blog = frame["protocol"] == "blog"
    of_entities = [name for name in scores if not name.startswith("token")]
    assert frame.loc[blog, of_entities].isna().all(axis=None)
    assert frame.loc[~blog, scores].notna().all(axis=None)
    assert frame[scores].fillna(0).ge(0).all(axis=None)
    assert frame[scores].fillna(0).le(1).all(axis=None)
    assert frame.loc[~blog, "strict_f1"].max() > 0
    support = frame[frame["average"] == "class"].groupby(["task", "concept"])["support"].unique().map(list).to_dict()
    assert support == {("tables", "restaurant"): [1], ("travel", "city"): [1], ("travel", "person"): [1]}
    assert_frame_equal(pd.read_parquet(output / "results.parquet"), frame)


def test_the_support_sets_are_those_of_the_sampler_for_every_encoder(whole, two, tmp_path):
    saved = pd.read_parquet(whole[1] / "support_sets.parquet")
    assert list(saved.columns) == ["task", "k", "seed", "index", "text"]
    drawn = {key: rows["index"].tolist() for key, rows in saved.groupby(["task", "k", "seed"])}
    tasks = {task.name: task.train for task in make_tasks()}
    assert drawn == {
        (name, k, seed): sample_k_shot(train.examples, k, seed, train.concepts)
        for name, train in tasks.items()
        for k in SHOTS
        for seed in range(REPEATS)
    }
    assert all(set(drawn[name, 1, seed]) <= set(drawn[name, 2, seed]) for name in tasks for seed in range(REPEATS))
    assert len({tuple(drawn["travel", 1, seed]) for seed in range(REPEATS)}) == REPEATS
    assert all(row.text == tasks[row.task].examples[row.index].text for row in saved.itertuples(index=False))
    # whichever encoders run
    alone = benchmark({"other": two["other"]}, tmp_path)
    assert_frame_equal(pd.read_parquet(tmp_path / "support_sets.parquet"), saved)
    frame = whole[0].frame
    assert_frame_equal(alone.frame, frame[frame["encoder"] == "other"].reset_index(drop=True))


@pytest.mark.parametrize("seed", range(REPEATS))
def test_the_scores_are_those_of_a_recognizer_fitted_on_the_support_set(two, tmp_path, seed):
    """The benchmark's entity protocol is what `nerfound.fit` does; texts of several windows, given words."""
    train = SupportSet(EXAMPLES[:4], dict.fromkeys(CONCEPTS, ""))
    task = Task("task", train, tuple(EXAMPLES[4:] + EXAMPLES[:2]))
    frame = benchmark(two, tmp_path, [task], shots=(1,), l2=1e-3).frame
    draw = sample_k_shot(train.examples, 1, seed, train.concepts)
    for encoder, path in two.items():
        model = load_foundation(path)
        fit_head(model, embed_examples(model, [train.examples[i] for i in draw]), train.concepts, l2=1e-3)
        scores = score_entities(task.test, predict_examples(model, task.test), list(train.concepts))
        rows = frame[(frame["encoder"] == encoder) & (frame["seed"] == seed) & (frame["protocol"] == "entity")]
        for average in ("micro", "macro"):
            row = rows[rows["average"] == average].iloc[0]
            for view in ("strict", "exact", "partial", "token"):
                assert [row[f"{view}_{m}"] for m in MEASURES] == pytest.approx(
                    [scores[f"{view}_{average}_{m}"] for m in MEASURES]
                )


def test_what_was_fitted_on_is_found_again(two, tmp_path):
    task = make_tasks()[0]
    task = Task("seen", task.train, task.train.examples)
    frame = benchmark({"other": two["other"]}, tmp_path, [task], shots=(4,), repeats=1, l2=1e-5).frame
    macro = frame[frame["average"] == "macro"].set_index("protocol")
    assert macro.loc["blog", "token_f1"] > 0.8
    assert macro.loc["entity", ["token_f1", "strict_f1"]].min() > 0.8


# What is done is not done again


def test_a_finished_run_does_nothing(whole, two, tmp_path, work):
    result, output = whole
    copy_cells(output, tmp_path / "again")
    again = benchmark(two, tmp_path / "again")
    assert work == {"heads": 0, "windows": 0}
    assert_frame_equal(again.frame, result.frame)
    assert (again.weights, again.data) == (result.weights, result.data)
    assert again.timing.embedding == again.timing.fitting == again.timing.scoring == 0
    for name in ("results.parquet", "support_sets.parquet"):
        assert (tmp_path / "again" / name).read_bytes() == (output / name).read_bytes()


def test_a_run_counts_its_work(two, tmp_path, work):
    said = []
    result = benchmark(two, tmp_path, progress=lambda *what: said.append(what))
    assert work["heads"] == 4 * HEADS
    assert work["windows"] == 2 * sentences(tmp_path)
    assert [done for what, done, _ in said if "k=" in what] == list(range(1, 4 * HEADS + 1))
    assert {total for *_, total in said} == {4 * HEADS}
    assert said[-1] == ("done", 4 * HEADS, 4 * HEADS)
    assert min(result.timing.embedding, result.timing.fitting, result.timing.scoring) > 0


def test_a_line_that_was_cut_off_is_computed_anew_and_only_it(whole, two, tmp_path, work):
    result, output = whole
    cells = copy_cells(output, tmp_path / "cut")
    content = cells.read_bytes()
    cells.write_bytes(content[:-10])
    assert_frame_equal(benchmark(two, tmp_path / "cut").frame, result.frame)
    assert work["heads"] == 1
    assert cells.read_bytes() == content


def test_more_k_later_are_only_the_new_ones(whole, two, tmp_path, work):
    first = benchmark(two, tmp_path, shots=(1,))
    assert work["heads"] == 2 * HEADS
    embedded = work["windows"]
    assert_frame_equal(benchmark(two, tmp_path).frame, whole[0].frame)
    assert work["heads"] == 4 * HEADS
    fewer = benchmark(two, tmp_path, shots=(1,), repeats=1)  # and a part of it is a part of the frame
    assert work == {"heads": 4 * HEADS, "windows": 2 * sentences(whole[1])}
    assert embedded < work["windows"]
    assert_frame_equal(fewer.frame, first.frame[first.frame["seed"] == 0].reset_index(drop=True))
    assert set(pd.read_parquet(tmp_path / "support_sets.parquet")["k"]) == {1}


def test_other_data_or_another_penalty_are_computed_anew(whole, two, tmp_path, work):
    encoders, (travel, tables) = {"small": two["small"]}, make_tasks()
    copy_cells(whole[1], tmp_path / "out")
    changed = Task("tables", tables.train, (*tables.test, Example("one more", ())))
    result = benchmark(encoders, tmp_path / "out", [travel, changed])
    assert work["heads"] == HEADS
    assert result.data["travel"] == whole[0].data["travel"]
    assert result.data["tables"] != whole[0].data["tables"]
    benchmark(encoders, tmp_path / "out", [travel, tables], l2=0.2)
    assert work["heads"] == 3 * HEADS
    benchmark(encoders, tmp_path / "out", [travel, tables], token_layers=(-2,))
    assert work["heads"] == 5 * HEADS


def test_scores_belong_to_weights_and_sentences_not_to_names(whole, two, tmp_path, work):
    copy_cells(whole[1], tmp_path / "out")
    travel, _ = make_tasks()
    renamed = Task("trips", travel.train, travel.test)
    frame = benchmark({"one": two["small"], "two": two["small"]}, tmp_path / "out", [renamed]).frame
    assert work == {"heads": 0, "windows": 0}
    expected = whole[0].frame.query("encoder == 'small' and task == 'travel'").reset_index(drop=True)
    for name in ("one", "two"):
        rows = frame[frame["encoder"] == name].reset_index(drop=True)
        assert_frame_equal(rows, expected.assign(encoder=name, task="trips"))


def test_vectors_may_be_shared(two, tmp_path, work):
    encoders, tasks = {"small": two["small"]}, make_tasks()[:1]
    benchmark(encoders, tmp_path / "a", tasks, vectors=tmp_path / "vectors")
    embedded = work["windows"]
    benchmark(encoders, tmp_path / "b", tasks, vectors=tmp_path / "vectors")
    assert work == {"heads": 2 * HEADS, "windows": embedded}
    assert not (tmp_path / "a" / "vectors").exists()


def test_the_hash_of_a_task():
    travel, tables = make_tasks()
    examples, concepts = travel.train.examples, travel.train.concepts
    first = examples[0]
    same = Task("another name", SupportSet(examples, dict.fromkeys(concepts, "described")), travel.test)
    assert hash_task(same) == hash_task(travel)
    others = [
        tables,
        Task("travel", SupportSet(examples, dict(reversed(concepts.items()))), travel.test),
        Task("travel", SupportSet(examples[::-1], concepts), travel.test),
        Task("travel", SupportSet(examples[:-1], concepts), (examples[-1], *travel.test)),
        Task("travel", SupportSet((*examples[1:], Example(first.text, first.entities[1:])), concepts), travel.test),
        Task(
            "travel", SupportSet((Example(first.text, first.entities, ((0, 3),)), *examples[1:]), concepts), travel.test
        ),
    ]
    assert len({hash_task(task) for task in [travel, *others]}) == 1 + len(others)


# Kills


def killed_run(output, heads, encoders):
    """In a process of its own: a run that is killed once so many heads are done."""

    def kill(what, done, total):
        if done == heads:
            os.kill(os.getpid(), signal.SIGKILL)

    torch.set_num_threads(1)
    benchmark(encoders, Path(output), progress=kill)


def test_a_killed_run_goes_on_where_it_was_and_ends_as_if_it_had_not_been(whole, two, tmp_path, work):
    heads = HEADS + 3  # in the second task of the first encoder
    script = f"from tests.evaluation.test_benchmark import killed_run; killed_run({str(tmp_path)!r}, {heads}, {two!r})"
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == -signal.SIGKILL, result.stderr
    assert not (tmp_path / "results.parquet").exists()
    assert len((tmp_path / "cells.jsonl").read_text().splitlines()) == heads
    benchmark(two, tmp_path)
    assert work == {"heads": 4 * HEADS - heads, "windows": sentences(tmp_path)}  # of the second encoder
    for name in ("results.parquet", "support_sets.parquet", "cells.jsonl"):
        assert (tmp_path / name).read_bytes() == (whole[1] / name).read_bytes()
    assert not list(tmp_path.rglob("*.partial"))


@pytest.fixture
def two_threads():
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def test_the_number_of_threads_is_left_as_it_was(two, tmp_path, two_threads, monkeypatch):
    encoders, tasks = {"small": two["small"]}, make_tasks()[:1]
    benchmark(encoders, tmp_path / "a", tasks)
    assert torch.get_num_threads() == 2

    def interrupt(what, done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as held:  # as an interactive session holds on to an error, and its frames
        benchmark(encoders, tmp_path / "b", tasks, progress=interrupt)
    assert held.tb
    assert torch.get_num_threads() == 2
    monkeypatch.setattr(probes, "fit_linear_head", lambda *arguments, **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        benchmark(encoders, tmp_path / "c", tasks)
    assert torch.get_num_threads() == 2


# Errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoders": {}}, "no encoder is given"),
        ({"tasks": []}, "no task is given"),
        ({"shots": ()}, "no k is given"),
        ({"protocols": ()}, "no protocol is given"),
        ({"shots": (4, 0)}, "k=0"),
        ({"repeats": 0}, "repeats=0"),
        ({"protocols": ("blog", "bio")}, "protocol bio is unknown: choose from blog, entity"),
        ({"tasks": make_tasks() + make_tasks()[:1]}, "two tasks are called travel: name them with NAME=SOURCE"),
        ({"encoders": {"small": "no/such/folder/encoder"}}, "no/such/folder/encoder"),
    ],
)
def test_errors_name_the_value(two, tmp_path, options, message):
    options = {"encoders": two} | options
    with pytest.raises((ValueError, OSError), match=message):
        benchmark(output=tmp_path / "out", **options)
    assert "folder" in message or not (tmp_path / "out").exists()


def test_a_second_run_in_the_same_folder_is_refused_while_the_first_writes(two, tmp_path):
    encoders = {"small": two["small"]}

    def intrude(what, done, total):
        with pytest.raises(ValueError, match=r"another run is writing to .*another folder"):
            benchmark(encoders, tmp_path)

    benchmark(encoders, tmp_path, make_tasks()[:1], progress=intrude)
    benchmark(encoders, tmp_path, make_tasks()[:1])


def test_a_damaged_line_is_named(two, tmp_path):
    (tmp_path / "cells.jsonl").write_text("{broken\n")
    with pytest.raises(ValueError, match=r"cells.jsonl:1 is damaged .*remove that line"):
        benchmark(two, tmp_path)
