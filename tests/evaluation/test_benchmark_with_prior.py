"""Heads that start from a prior, as a line of their own: from k = 0, beside the blog's."""

from dataclasses import replace

import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal

from nerfound.evaluation import benchmark as module
from nerfound.evaluation import probes
from nerfound.evaluation.outputs import write_reports
from nerfound.evaluation.recipes import load_priors
from nerfound.evaluation.scoring import predict_examples, score_entities
from nerfound.fewshot.embedding import embed_examples
from nerfound.fewshot.fitting import fit_head, load_foundation, load_prior
from nerfound.fewshot.formats import SupportSet
from nerfound.fewshot.sampler import sample_k_shot
from tests.evaluation.duals import make_dual
from tests.evaluation.test_benchmark import MEASURES, benchmark, copy_cells, make_tasks, work  # noqa: F401

SHOTS, REPEATS, PROTOCOLS = (0, 1, 2), 2, ("blog", "entity")
PLAIN = 2 * REPEATS * len(PROTOCOLS)  # heads per encoder and task
WITH_PRIOR = 1 + 2 * REPEATS


@pytest.fixture(scope="module")
def two(encoders, tmp_path_factory):
    dual = make_dual(tmp_path_factory.mktemp("dual"), encoders["bert"])
    return {"base": str(encoders["roberta"]), "dual": str(dual)}


@pytest.fixture(scope="module")
def whole(two, tmp_path_factory):
    """A run of both on two tasks, and its folder. Not to be changed."""
    output = tmp_path_factory.mktemp("benchmark") / "whole"
    return benchmark(two, output, shots=SHOTS), output


@pytest.fixture
def prior_heads(monkeypatch):
    """How many tokens each head with a prior is fitted on, from here on."""
    fitted = []
    fit_few_shot_head = probes.fit_few_shot_head

    def fit(vectors, *arguments, **options):
        fitted.append(len(vectors))
        return fit_few_shot_head(vectors, *arguments, **options)

    monkeypatch.setattr(probes, "fit_few_shot_head", fit)
    return fitted


def test_the_lines_of_every_task(whole):
    frame = whole[0].frame
    found = frame[["task", "encoder", "k", "seed", "protocol"]].drop_duplicates()
    drawn = [(k, seed) for k in (1, 2) for seed in (0, 1)]
    lines = {"base": drawn, "dual": drawn, "dual + prior": [(0, 0), *drawn]}
    assert sorted(found.itertuples(index=False, name=None)) == sorted(
        (task, line, k, seed, protocol)
        for task in ("travel", "tables")
        for line, settings in lines.items()
        for k, seed in settings
        for protocol in PROTOCOLS
    )
    assert list(dict.fromkeys(frame["encoder"])) == list(lines)  # the first is what the others are compared with
    assert set(whole[0].weights) == {"base", "dual"}


@pytest.mark.parametrize(("k", "seed"), [(0, 0), (1, 0), (1, 1), (2, 1)])
def test_the_scores_are_those_of_a_recognizer_that_starts_from_the_prior(whole, two, k, seed):
    prior = load_prior(two["dual"])
    model = load_foundation(prior.model)
    for task in make_tasks():
        draw = sample_k_shot(task.train.examples, k, seed, task.train.concepts)
        embedded = embed_examples(model, [task.train.examples[i] for i in draw])
        fit_head(model, embedded, task.train.concepts, prior=prior)
        scores = score_entities(task.test, predict_examples(model, task.test), list(task.train.concepts))
        rows = whole[0].frame.query(
            f"task == '{task.name}' and encoder == 'dual + prior' and k == {k} and seed == {seed}"
        )
        for average in ("micro", "macro"):
            for protocol, views in (("blog", ["token"]), ("entity", ["strict", "exact", "partial", "token"])):
                row = rows.query(f"protocol == '{protocol}' and average == '{average}'").iloc[0]
                for view in views:
                    assert [row[f"{view}_{m}"] for m in MEASURES] == pytest.approx(
                        [scores[f"{view}_{average}_{m}"] for m in MEASURES]
                    )


def test_something_is_found_without_any_example(whole):
    zero = whole[0].frame.query("k == 0 and average == 'micro' and protocol == 'blog'")
    assert zero["token_recall"].max() > 0


def test_both_protocols_are_of_one_head(whole, prior_heads, two, tmp_path):
    rows = whole[0].frame.query("encoder == 'dual + prior'").reset_index(drop=True)
    tokens = ["k", "seed", "task", "average", "concept", *(f"token_{m}" for m in MEASURES)]
    blog, entity = (rows[rows["protocol"] == protocol].reset_index(drop=True) for protocol in PROTOCOLS)
    assert_frame_equal(blog[tokens], entity[tokens])
    assert blog[[f"strict_{m}" for m in MEASURES]].isna().all(axis=None)
    plain = whole[0].frame.query("encoder == 'dual' and protocol == 'blog' and k == 1 and seed == 0")
    assert blog.query("k == 1 and seed == 0")["support"].tolist() == plain["support"].tolist()  # of words, not entities
    # Either protocol alone is the same, of as many heads
    for protocol in PROTOCOLS:
        result = benchmark({"dual": two["dual"]}, tmp_path / protocol, shots=SHOTS, protocols=(protocol,))
        part = result.frame.query("encoder == 'dual + prior'").reset_index(drop=True)
        whole_part = rows[rows["protocol"] == protocol].reset_index(drop=True)
        assert_frame_equal(part, whole_part[part.columns])
    assert len(prior_heads) == 2 * 2 * (WITH_PRIOR - 1)  # none at k = 0


# What is done is not done again


def test_cells_of_plain_heads_stay_and_vectors_are_shared(whole, two, tmp_path, work, prior_heads):  # noqa: F811
    plain = benchmark(two, tmp_path, shots=(1, 2), recipes=("blog",))
    assert (work["heads"], prior_heads) == (4 * PLAIN, [])
    cells = (tmp_path / "cells.jsonl").read_bytes()
    embedded = work["windows"]
    said = []
    result = benchmark(two, tmp_path, shots=SHOTS, progress=lambda *what: said.append(what))
    assert len(prior_heads) == 2 * (WITH_PRIOR - 1)
    assert work["windows"] == embedded
    assert (tmp_path / "cells.jsonl").read_bytes().startswith(cells)
    assert said[-1] == ("done", 4 * PLAIN + 2 * WITH_PRIOR, 4 * PLAIN + 2 * WITH_PRIOR)
    assert "dual + prior on travel: k=0" in [what for what, *_ in said]
    assert_frame_equal(result.frame, whole[0].frame)
    assert_frame_equal(
        plain.frame, whole[0].frame[whole[0].frame["encoder"].isin(two)].reset_index(drop=True)[plain.frame.columns]
    )


def test_a_finished_run_does_nothing_and_a_line_cut_off_is_one_head(whole, two, tmp_path, work, prior_heads):  # noqa: F811
    result, output = whole
    cells = copy_cells(output, tmp_path / "out")
    assert_frame_equal(benchmark(two, tmp_path / "out", shots=SHOTS).frame, result.frame)
    assert (work, prior_heads) == ({"heads": 0, "windows": 0}, [])
    content = cells.read_bytes()
    cells.write_bytes(content[:-10])  # the last head of the last task, with the prior
    assert_frame_equal(benchmark(two, tmp_path / "out", shots=SHOTS).frame, result.frame)
    assert (work["heads"], len(prior_heads)) == (0, 1)
    assert cells.read_bytes() == content


def test_k_0_alone_needs_no_training_sentence_and_no_efficiency(whole, two, tmp_path, work):  # noqa: F811
    result = benchmark({"dual": two["dual"]}, tmp_path, shots=(0,))
    assert work == {"heads": 0, "windows": 4}  # the test sentences
    expected = whole[0].frame.query("k == 0").reset_index(drop=True)
    assert_frame_equal(result.frame, expected[result.frame.columns])
    assert pd.read_parquet(tmp_path / "support_sets.parquet").empty
    write_reports(result, tmp_path)
    assert not (tmp_path / "efficiency.md").exists()
    assert (tmp_path / "curve_average.png").stat().st_size


@pytest.mark.parametrize("change", ["description", "name"])
def test_descriptions_and_names_are_read_by_the_prior_alone(whole, two, tmp_path, work, prior_heads, change):  # noqa: F811
    copy_cells(whole[1], tmp_path / "out")
    travel, _ = make_tasks()
    other = (
        replace(travel, names={"city": "large town"})
        if change == "name"
        else replace(travel, train=SupportSet(travel.train.examples, travel.train.concepts | {"city": "a large town"}))
    )
    benchmark(two, tmp_path / "out", [other], shots=SHOTS)
    assert (work["heads"], len(prior_heads)) == (0, WITH_PRIOR - 1)


def test_the_prior_reads_natural_names(two):
    travel, tables = make_tasks()
    examples = travel.train.examples
    labels = {"CITY": "", "Person_Name": "a human"}
    shouting = replace(travel, name="shouting", train=SupportSet(examples, labels))
    named = replace(travel, name="named", train=SupportSet(examples, {"x": "", "y": "a human"}),
                    names={"x": "city", "y": "person name"})  # fmt: skip
    priors = load_priors(two, [travel, tables, shouting, named])
    assert list(priors) == ["dual"]
    heads = {task: prior.head for task, prior in priors["dual"].items()}
    expected = load_prior(two["dual"])({"city": "", "person name": "a human"})
    for task in ("shouting", "named"):
        torch.testing.assert_close(heads[task].weight, expected.weight)
        assert priors["dual"][task].fingerprint == priors["dual"]["named"].fingerprint
    assert heads["tables"].weight.shape[0] == 3
    assert len({priors["dual"][task].fingerprint for task in ("travel", "tables", "named")}) == 3


# What is left out, and errors


def test_by_default_k_0_is_only_where_a_prior_is(two, tmp_path, monkeypatch, recwarn):
    monkeypatch.setattr(module, "SHOTS", (0, 1))
    plain = benchmark({"base": two["base"]}, tmp_path / "a", shots=None)
    assert set(plain.frame["k"]) == {1}
    assert not [w for w in recwarn if "prior" in str(w.message)]
    both = benchmark(two, tmp_path / "b", shots=None)
    assert both.frame.groupby("encoder")["k"].unique().map(sorted).to_dict() == {
        "base": [1], "dual": [1], "dual + prior": [0, 1]
    }  # fmt: skip


def test_an_encoder_without_a_prior_has_no_line_for_its_recipe(two, tmp_path):
    with pytest.warns(UserWarning, match="no line for base, without a prior: add the recipe blog"):
        result = benchmark(two, tmp_path, make_tasks()[:1], shots=(1,), recipes=("nerfound",))
    assert set(result.frame["encoder"]) == {"dual + prior"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoders": ["base"]}, r"k=0 needs an encoder that brings a prior, and none of base does: .*boundary_weight"),
        ({"encoders": ["base"], "shots": (1,), "recipes": ("nerfound",)}, "recipe nerfound needs an encoder"),
        ({"recipes": ("blog",)}, r"k=0 needs an encoder .*the recipe nerfound"),
        ({"token_layers": (-2,)}, r"k=0 needs an encoder .*own token layers"),
        ({"recipes": ("blog", "mine")}, "recipe mine is unknown: choose from blog, nerfound"),
        ({"recipes": ()}, "no recipe is given"),
        ({"shots": (1, -1)}, "k=-1: give at least 1 repeat, and k from 0"),
        ({"encoders": ["dual", "dual + prior"]}, r"dual \+ prior is what the line of another encoder is called"),
        ({"labels": {"city": "", "CITY": ""}}, r"travel: the labels 'city' and 'CITY' are both 'city' .*types.json"),
    ],
)
def test_errors_name_the_value_before_anything_is_written(two, tmp_path, options, message):
    folders = two | {"dual + prior": two["base"]}
    encoders = {name: folders[name] for name in options.pop("encoders", two)}
    travel, _ = make_tasks()
    task = replace(travel, train=SupportSet(travel.train.examples, options.pop("labels", travel.train.concepts)))
    with pytest.raises(ValueError, match=message):
        benchmark(encoders, tmp_path / "out", [task], **({"shots": SHOTS} | options))
    assert not (tmp_path / "out").exists()
