import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerfound.evaluation import efficiency
from nerfound.evaluation.efficiency import Bounded, efficiency_markdown, efficiency_table, examples_needed, ratio
from nerfound.evaluation.summary import bootstrap_means, scores_of
from tests.evaluation.frames import make_frame, with_k_0

KS = (1, 4, 16, 64)
LINE = (0.2, 0.4, 0.6, 0.8)  # 0.1 with every doubling


@pytest.mark.parametrize(
    ("f1s", "target", "needed"),
    [
        (LINE, 0.4, Bounded(4)),
        (LINE, 0.5, Bounded(8)),
        (LINE, 0.2, Bounded(1)),
        (LINE, 0.19, Bounded(1, "≤")),
        (LINE, 0.8, Bounded(64)),
        (LINE, 0.81, Bounded(64, ">")),
        ((0.2, 0.6, 0.4, 0.8), 0.5, Bounded(4**0.75)),  # the dip changes nothing
        ((0.2, 0.6, 0.4, 0.8), 0.7, Bounded(32)),
        ((0.2, 0.4, 0.4, 0.4), 0.4, Bounded(4)),
        ((0.3, 0.3, 0.3, 0.3), 0.3, Bounded(1)),
        ((0.9, 0.5, 0.4, 0.4), 0.6, Bounded(1, "≤")),
    ],
)
def test_examples_needed(f1s, target, needed):
    found = examples_needed(KS, f1s, target)
    assert found.sign == needed.sign
    assert found.value == pytest.approx(needed.value)


def test_examples_needed_of_a_single_point():
    assert [examples_needed([5], [0.5], target) for target in (0.4, 0.5, 0.6)] == [
        Bounded(5, "≤"),
        Bounded(5),
        Bounded(5, ">"),
    ]


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4), st.floats(0, 1))
def test_the_monotone_curve_is_at_the_target_where_it_is_reached(f1s, target):
    needed = examples_needed(KS, f1s, target)
    monotone = np.maximum.accumulate(f1s)
    if needed.sign == ">":
        assert needed.value == 64
        assert monotone[-1] < target
    elif needed.sign == "≤":
        assert needed.value == 1
        assert f1s[0] > target
    else:
        assert 1 <= needed.value <= 64 * (1 + 1e-12)
        # Two steps, as a steep piece turns the last digit of `needed` into a large one of F1.
        reached = np.interp(np.log2(needed.value) + np.array([-1e-9, 1e-9]), np.log2(KS), monotone)
        assert reached[0] - 1e-6 <= target <= reached[1] + 1e-6


@pytest.mark.parametrize("ks", [(), (1, 4, 4, 16), (4, 1, 16, 64), (0, 1, 2, 4), (1, 4, 16)])
def test_a_wrong_k_is_refused(ks):
    with pytest.raises(ValueError, match="ascending"):
        examples_needed(ks, LINE, 0.5)


@pytest.mark.parametrize(
    ("numerator", "denominator", "quotient"),
    [
        (Bounded(24), Bounded(4), "6"),
        (Bounded(64, ">"), Bounded(4), ">16"),
        (Bounded(64, ">"), Bounded(1, "≤"), ">64"),
        (Bounded(30), Bounded(1, "≤"), "≥30"),
        (Bounded(1, "≤"), Bounded(4), "≤0.25"),
        (Bounded(4), Bounded(64, ">"), "<0.063"),
        (Bounded(1, "≤"), Bounded(64, ">"), "<0.016"),
        (Bounded(1, "≤"), Bounded(1, "≤"), "None"),
        (Bounded(64, ">"), Bounded(64, ">"), "None"),
    ],
)
def test_a_ratio_propagates_bounds(numerator, denominator, quotient):
    assert str(ratio(numerator, denominator)) == quotient


@pytest.mark.parametrize(
    ("bounded", "text"),
    [
        (Bounded(4.0000000000001), "4"),
        (Bounded(1.98), "2.0"),
        (Bounded(9.96), "10.0"),
        (Bounded(12.6), "13"),
        (Bounded(150.4), "150"),
        (Bounded(0.344), "0.34"),
        (Bounded(12.6, ">"), ">12"),
        (Bounded(12.2, "≤"), "≤13"),
        (Bounded(2.59, "≥"), "≥2.5"),
        (Bounded(1.1, "≤"), "≤1.1"),  # 1.1 × 10 is above 11
        (Bounded(1, "≤"), "≤1"),
    ],
)
def test_bounds_stay_true_when_rounded(bounded, text):
    assert str(bounded) == text


CURVES = {
    "movies": {"base": LINE, "foundation": (0.4, 0.6, 0.8, 0.9)},
    "genes": {"base": (0.1, 0.2, 0.3, 0.4), "foundation": (0.2, 0.3, 0.4, 0.5)},
}


def rows_of(table, task, *, measured):
    return table[(table["task"] == task) & (table["k"].notna() == measured)]


def test_a_fourfold_efficiency_is_found_everywhere():
    table = efficiency_table(make_frame(CURVES, KS, seeds=3, noise=0), "base", "foundation")
    assert list(table["task"].unique()) == ["movies", "genes", "average"]
    for task in ("movies", "genes", "average"):
        measured = rows_of(table, task, measured=True)
        assert list(measured["k"]) == list(KS)
        assert list(map(str, measured["baseline_needs"])) == ["4", "16", "64", ">64"]
        assert list(map(str, measured["encoder_needs"])) == ["1", "4", "16", "64"]
        assert list(map(str, measured["ratio"])) == ["4", "4", "4", ">1"]
        assert list(measured["low"]) == pytest.approx([4, 4, 4, 1])
        assert list(measured["high"]) == pytest.approx([4, 4, 4, math.inf])


def test_round_targets_span_what_was_measured():
    table = efficiency_table(make_frame(CURVES, KS, seeds=3, noise=0), "base", "foundation")
    rows = rows_of(table, "genes", measured=False)
    assert list(rows["target"]) == pytest.approx(np.arange(0.10, 0.51, 0.05))
    by_target = {round(100 * row.target): row for row in rows.itertuples()}
    assert str(by_target[15].ratio) == "≥2"
    assert str(by_target[25].ratio) == "4"
    assert str(by_target[45].ratio) == ">2"
    assert math.isinf(by_target[45].high)
    assert by_target[45].low == pytest.approx(2)


def bounds_of(bounded):
    """The least and the most that it can be."""
    if bounded is None:
        return 0, math.inf
    return (
        0 if bounded.sign in {"<", "≤"} else bounded.value,
        math.inf if bounded.sign in {">", "≥"} else bounded.value,
    )


def test_intervals_are_those_of_one_resample_at_a_time(monkeypatch):
    def few(draws):
        return bootstrap_means(draws)[:1000]

    monkeypatch.setattr(efficiency, "bootstrap_means", few)
    frame = make_frame(CURVES, KS, noise=0.05)
    scores = scores_of(frame, "token_macro_f1")
    table = efficiency_table(frame, "base", "foundation")
    base, other = (few(scores.draws("average", name)) for name in ("base", "foundation"))
    ratios = []
    for of_base, of_other in zip(base, other, strict=True):
        needs = (examples_needed(KS, curve, of_other[:3].max()) for curve in (of_base, of_other))
        ratios.append(bounds_of(ratio(*needs)))
    least, most = zip(*ratios, strict=True)
    row = rows_of(table, "average", measured=True).iloc[2]  # what the foundation reaches with 16 examples
    assert row["low"] == pytest.approx(np.quantile(least, 0.025, method="lower"))
    assert row["high"] == pytest.approx(np.quantile(most, 0.975, method="higher"))
    assert len(set(ratios)) > 100


def test_intervals_hold_the_ratio():
    table = efficiency_table(make_frame(CURVES, KS, noise=0.05), "base", "foundation", "entity_micro_f1")
    assert table["high"].map(math.isinf).any()
    for row in table.itertuples():
        least, most = bounds_of(row.ratio)
        assert row.low <= (least or most) * (1 + 1e-9)
        assert row.high >= (most if math.isfinite(most) else least) * (1 - 1e-9)


def test_one_task_stands_for_itself():
    table = efficiency_table(make_frame({"movies": CURVES["movies"]}, KS), "base", "foundation")
    assert set(table["task"]) == {"movies"}
    assert table["low"].notna().all()


def test_markdown_says_how_to_read_it_and_names_metric_and_encoders():
    text = efficiency_markdown(make_frame(CURVES, KS, noise=0), "base")
    assert "10 draws of the support set" in text
    assert "`>64`: not reached" in text
    assert "## Token macro-F1: foundation against base" in text
    assert "## Strict entity micro-F1: foundation against base" in text
    assert "| task | k=1 | k=4 | k=16 | k=64 |" in text
    assert "| average | 4 (4×) | 16 (4×) | 64 (4×) | >64 (>1×) |" in text
    assert "| F1 | base | foundation | ratio | 95 % interval |" in text
    assert "\n| 35 | 6.3 | 1.6 | 4 | 4–4 |" in text
    assert "\n| 65 | >64 | 32 | >2 | ≥2 |" in text
    assert "nan" not in text
    assert "inf" not in text


@pytest.mark.parametrize("f1s", [(0, 0, 0, 0), (0.01, 0.02, 0.03, 0.04), (0.41, 0.42, 0.42, 0.43), (1, 1, 1, 1)])
def test_markdown_of_curves_that_cross_no_round_score(f1s):
    frame = make_frame({"movies": {"base": f1s, "foundation": f1s}}, KS, seeds=2, noise=0)
    text = efficiency_markdown(frame[frame.protocol == "blog"], "base")
    assert "| movies | 1 (1×) | " in text
    assert ("needed for an F1" in text) == (f1s[0] == 1)


def test_markdown_of_a_single_k():
    frame = make_frame({task: {"base": (0.31,), "foundation": (0.42,)} for task in "ab"}, (4,), noise=0)
    text = efficiency_markdown(frame, "base")
    assert "| task | k=4 |" in text
    assert "| average | >4 (>1×) |" in text
    assert "| 35 | >4 | ≤4 | >1 | ≥1 |" in text


def test_markdown_of_one_protocol():
    frame = make_frame(CURVES, KS)
    assert "entity protocol" not in efficiency_markdown(frame[frame.protocol == "blog"], "base")


def test_an_unknown_baseline_is_named():
    with pytest.raises(ValueError, match="'roberta'"):
        efficiency_markdown(make_frame(CURVES, KS), "roberta")


def test_k_0_is_worth_so_many_examples_of_the_base_and_changes_nothing_else():
    plain = make_frame(CURVES, KS, seeds=3, noise=0)
    zero_shot = {"movies": {"foundation": 0.3}, "genes": {"foundation": 0.05}}  # 0.175 on average
    frame = with_k_0(plain, zero_shot)
    table = efficiency_table(frame, "base", "foundation")
    rows = table[(table["k"] == 0).fillna(False)]
    assert list(rows["task"]) == ["movies", "genes", "average"]
    assert list(rows["target"]) == pytest.approx([0.3, 0.05, 0.175])
    assert list(map(str, rows["baseline_needs"])) == ["2", "≤1", "1.3"]
    assert list(map(str, rows["encoder_needs"])) == ["0"] * 3
    assert list(rows["ratio"]) == [None] * 3
    assert list(rows["low"]) == pytest.approx([2, 0, 2 ** (1 / 3)])
    assert list(rows["high"]) == pytest.approx([2, 1, 2 ** (1 / 3)])
    rest = table[(table["k"] != 0).fillna(True)].reset_index(drop=True)
    pd.testing.assert_frame_equal(rest, efficiency_table(plain, "base", "foundation"))


def test_a_base_with_k_0_is_compared_from_its_first_example():
    plain = make_frame(CURVES, KS, noise=0.05)
    frame = with_k_0(plain, {"movies": {"foundation": 0.7}, "genes": {"foundation": 0.7}})
    table, expected = efficiency_table(frame, "foundation", "base"), efficiency_table(plain, "foundation", "base")
    pd.testing.assert_frame_equal(table, expected)


def test_markdown_says_what_k_0_is_worth():
    plain = make_frame(CURVES, KS, seeds=3, noise=0)
    text = efficiency_markdown(with_k_0(plain, {task: {"foundation": 0.3} for task in CURVES}), "base")
    assert "- k=0: what base needs for what the other encoder reaches with no example" in text
    assert "| task | k=0 | k=1 | k=4 | k=16 | k=64 |" in text
    assert "| movies | 2 | 4 (4×) | 16 (4×) | 64 (4×) | >64 (>1×) |\n| *95 % interval* | 2–2 |" in text
    assert "`≤1`: already surpassed" in text
    assert "k=0" not in efficiency_markdown(plain, "base")


def test_targets_are_in_order_and_typed():
    table = efficiency_table(make_frame(CURVES, KS), "base", "foundation")
    assert table["k"].dtype == pd.Int64Dtype()
    assert all(isinstance(value, Bounded) for value in [*table["baseline_needs"], *table["encoder_needs"]])
