import numpy as np
import pandas as pd
import pytest

from nerfound.evaluation.summary import METRICS, RESAMPLES, bootstrap_means, paired_differences, scores_of, summarise
from tests.evaluation.frames import make_frame, with_k_0

KS = (1, 4, 16)
CURVES = {
    "movies": {"base": (0.2, 0.4, 0.5), "foundation": (0.3, 0.5, 0.6)},
    "genes": {"base": (0.3, 0.35, 0.4), "foundation": (0.4, 0.5, 0.55)},
}


@pytest.fixture(scope="module")
def frame():
    return make_frame(CURVES, KS)


@pytest.fixture(scope="module")
def summary(frame):
    return summarise(frame)


def cell(table, **keys):
    """The one row with these keys."""
    (row,) = table[np.logical_and.reduce([table[key] == value for key, value in keys.items()])].to_dict("records")
    return row


@pytest.mark.parametrize("metric", METRICS)
def test_means_and_spreads_are_those_of_pandas(frame, summary, metric):
    protocol, average, column = METRICS[metric]
    drawn = frame[(frame.protocol == protocol) & (frame.average == average)]
    for (task, encoder, k), scores in drawn.groupby(["task", "encoder", "k"])[column]:
        row = cell(summary, metric=metric, task=task, encoder=encoder, k=k)
        assert row["protocol"] == protocol
        assert row["draws"] == 10
        assert row["mean"] == pytest.approx(scores.mean())
        assert row["sd"] == pytest.approx(scores.std())


def test_the_average_is_taken_draw_by_draw(frame, summary):
    blog = frame[(frame.protocol == "blog") & (frame.average == "macro") & (frame.encoder == "base") & (frame.k == 4)]
    by_draw = blog.groupby("seed")["token_f1"].mean()
    row = cell(summary, metric="token_macro_f1", task="average", encoder="base", k=4)
    assert row["mean"] == pytest.approx(by_draw.mean())
    assert row["sd"] == pytest.approx(by_draw.std())


def test_intervals_are_those_of_resampling_one_draw_at_a_time(frame, summary):
    draws = scores_of(frame, "token_macro_f1").draws("movies", "base")[:, 0]
    random = np.random.default_rng(1)
    means = [random.choice(draws, len(draws)).mean() for _ in range(RESAMPLES)]
    row = cell(summary, metric="token_macro_f1", task="movies", encoder="base", k=1)
    assert [row["low"], row["high"]] == pytest.approx(np.percentile(means, [2.5, 97.5]), abs=1e-3)


def test_rows_come_in_the_order_of_the_results_and_their_order_within_does_not_matter(frame, summary):
    assert list(summary["metric"].unique()) == list(METRICS)
    assert list(summary["task"].unique()) == ["movies", "genes", "average"]
    assert list(summary["encoder"].unique()) == ["base", "foundation"]
    assert list(summary["k"].unique()) == list(KS)
    shuffled = frame.sample(frac=1, random_state=0)
    shuffled = shuffled.sort_values(["task", "encoder"], ascending=[False, True], kind="stable")
    pd.testing.assert_frame_equal(summary, summarise(shuffled))


def test_survives_a_parquet_file(frame, summary, tmp_path):
    frame.astype({"task": "category", "encoder": "category"}).to_parquet(tmp_path / "results.parquet")
    pd.testing.assert_frame_equal(summary, summarise(pd.read_parquet(tmp_path / "results.parquet")))


def test_one_draw_has_no_spread():
    summary = summarise(make_frame(CURVES, KS, seeds=1))
    assert (summary["sd"] == 0).all()
    assert np.allclose(summary["low"], summary["mean"])
    assert np.allclose(summary["high"], summary["mean"])


def test_one_task_has_no_average():
    assert set(summarise(make_frame({"movies": CURVES["movies"]}, KS))["task"]) == {"movies"}


def test_a_protocol_that_was_not_run_is_left_out(frame):
    assert set(summarise(frame[frame.protocol == "blog"])["metric"]) == {"token_macro_f1"}


def test_differences_are_paired():
    """A constant lead is certain, however much the draws scatter."""
    ahead = make_frame({"movies": {"base": (0.3, 0.4, 0.5)}}, KS, noise=0.1)
    lead = ahead.assign(encoder="foundation", token_f1=ahead["token_f1"] + 0.05)
    differences = paired_differences(pd.concat([ahead, lead]), "base")
    row = cell(differences, metric="token_macro_f1", task="movies", encoder="foundation", k=1)
    assert row["baseline"] == "base"
    assert [row["mean"], row["low"], row["high"]] == pytest.approx([0.05] * 3)
    assert row["sd"] == pytest.approx(0, abs=1e-12)


def test_differences_are_to_the_baseline(frame, summary):
    differences = paired_differences(frame, "foundation")
    assert set(differences["encoder"]) == {"base"}
    for task in ("movies", "genes", "average"):
        base, foundation = (
            cell(summary, metric="entity_micro_f1", task=task, encoder=name, k=4) for name in CURVES["genes"]
        )
        row = cell(differences, metric="entity_micro_f1", task=task, k=4)
        assert row["mean"] == pytest.approx(base["mean"] - foundation["mean"])
        assert row["low"] < row["mean"] < row["high"] < 0


def test_a_lone_encoder_differs_from_nothing(frame):
    alone = paired_differences(frame[frame.encoder == "base"], "base")
    assert alone.empty
    assert {"metric", "task", "encoder", "baseline", "k", "mean", "low", "high"} <= set(alone.columns)


def test_an_unknown_baseline_is_named(frame):
    with pytest.raises(ValueError, match=r"'roberta'.*base, foundation"):
        paired_differences(frame, "roberta")


def test_a_missing_draw_is_named(frame):
    gap = (frame.task == "genes") & (frame.encoder == "foundation") & (frame.k == 4) & (frame.seed == 3)
    with pytest.raises(
        ValueError, match=r"token_macro_f1 is missing for task genes, encoder foundation, seed 3, k 4\."
    ):
        summarise(frame[~gap])
    with pytest.raises(ValueError, match=r"encoder foundation, seed 0, k 1 and 29 more\."):
        summarise(frame[~((frame.task == "genes") & (frame.encoder == "foundation"))])


def test_an_encoder_without_one_protocol_is_named(frame):
    with pytest.raises(ValueError, match=r"entity_micro_f1 is missing for task movies, encoder base"):
        summarise(frame[(frame.protocol == "blog") | (frame.encoder == "foundation")])


def test_an_unknown_score_is_missing(frame):
    with pytest.raises(ValueError, match=r"token_macro_f1 is missing for task movies, encoder base, seed 0, k 1 "):
        summarise(frame.assign(token_f1=np.nan))


def test_nothing_to_summarise(frame):
    assert summarise(frame[:0]).empty
    with pytest.raises(ValueError, match="token_macro_f1 is missing for everything"):
        scores_of(frame[:0], "token_macro_f1")


def test_a_draw_given_twice_is_named(frame):
    with pytest.raises(ValueError, match=r"token_macro_f1 is there twice for task movies, encoder base, seed 0, k 1 "):
        summarise(pd.concat([frame, frame]))


def test_no_task_may_be_called_average(frame):
    with pytest.raises(ValueError, match="a task is called 'average'"):
        summarise(frame.replace({"task": {"movies": "average"}}))


def test_an_unknown_metric_is_named(frame):
    with pytest.raises(ValueError, match=r"'accuracy' is unknown: choose from token_macro_f1"):
        scores_of(frame, "accuracy")


def test_titles_name_the_metric_and_no_head():
    assert METRICS["token_macro_f1"].title == "Token macro-F1"
    assert METRICS["entity_token_macro_f1"].title == "Token macro-F1, decoded"
    assert METRICS["entity_micro_f1"].title == "Strict entity micro-F1"
    assert len({metric.title for metric in METRICS.values()}) == len(METRICS)


# Lines with a score without examples

ZERO_SHOT = {"movies": {"prior": 0.25}, "genes": {"prior": 0.31}}
WITH_PRIOR = {task: curves | {"prior": tuple(f1 + 0.2 for f1 in curves["base"])} for task, curves in CURVES.items()}


@pytest.fixture(scope="module")
def with_zero_shot():
    return with_k_0(make_frame(WITH_PRIOR, KS), ZERO_SHOT)


def test_k_0_is_one_draw_of_the_lines_that_have_it(with_zero_shot, summary):
    all_lines = summarise(with_zero_shot)
    zero = all_lines[all_lines["k"] == 0]
    assert set(zero["encoder"]) == {"prior"}
    assert len(zero) == 3 * len(METRICS)
    for task, f1 in (("movies", 0.25), ("genes", 0.31), ("average", 0.28)):
        row = cell(all_lines, metric="token_macro_f1", task=task, encoder="prior", k=0)
        assert (row["draws"], row["sd"]) == (1, 0)
        assert [row["mean"], row["low"], row["high"]] == pytest.approx([f1] * 3)
    # and it changes nothing else
    others = all_lines[(all_lines["k"] > 0)].reset_index(drop=True)
    pd.testing.assert_frame_equal(others, summarise(make_frame(WITH_PRIOR, KS)))


def test_differences_at_k_0_are_between_lines_that_have_it(with_zero_shot):
    differences = paired_differences(with_zero_shot, "base")
    assert set(differences["k"]) == set(KS)
    assert set(differences["encoder"]) == {"foundation", "prior"}
    both = with_k_0(with_zero_shot, {"movies": {"foundation": 0.15}, "genes": {"foundation": 0.3}})
    row = cell(paired_differences(both, "prior"), metric="token_macro_f1", task="average", encoder="foundation", k=0)
    assert (row["draws"], row["sd"]) == (1, 0)
    assert [row["mean"], row["low"], row["high"]] == pytest.approx([-0.055] * 3)
    assert "base" not in set(paired_differences(both, "prior").query("k == 0")["encoder"])


def test_scores_with_and_without_examples(with_zero_shot):
    scores = scores_of(with_zero_shot, "token_macro_f1")
    assert (scores.ks, scores.shots) == ((0, *KS), KS)
    assert scores.zero_shot("average", "prior") == pytest.approx(0.28)
    assert scores.zero_shot("movies", "base") is None
    assert np.isnan(scores.draws("movies", "base")[:, 0]).all()
    assert np.array_equal(scores.fitted("movies", "prior"), scores.draws("movies", "prior")[:, 1:])
    alone = scores_of(with_zero_shot[with_zero_shot["k"] == 0], "token_macro_f1")
    assert (alone.encoders, alone.ks, alone.shots) == (("prior",), (0,), ())
    assert scores_of(make_frame(CURVES, KS), "token_macro_f1").zero_shot("movies", "base") is None


def test_k_0_missing_on_one_task_is_named(with_zero_shot):
    gap = (with_zero_shot["k"] == 0) & (with_zero_shot["task"] == "genes")
    with pytest.raises(ValueError, match=r"token_macro_f1 is missing for task genes, encoder prior, seed 0, k 0\."):
        summarise(with_zero_shot[~gap])


def test_resamples_are_the_same_for_all():
    draws = np.random.default_rng(0).random((5, 2))
    means = bootstrap_means(draws)
    assert means.shape == (RESAMPLES, 2)
    assert np.allclose(bootstrap_means(1 - draws), 1 - means)
