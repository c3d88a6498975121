import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from nerfound.evaluation.plots import _draw, plot_curves
from nerfound.evaluation.summary import scores_of
from tests.evaluation.frames import make_frame, with_k_0

KS = (1, 4, 16, 64)
BASE, FOUNDATION = (0.2, 0.4, 0.5, 0.6), (0.4, 0.5, 0.6, 0.7)
CURVES = {task: {"base": BASE, "foundation": FOUNDATION} for task in ("movies", "genes")}


@pytest.fixture(scope="module")
def frame():
    return make_frame(CURVES, KS)


def draw(frame, task, metric="token_macro_f1"):
    figure = _draw(scores_of(frame, metric), task, metric)
    return figure, figure.axes[0]


def test_a_picture_per_task_and_of_the_average(frame, tmp_path):
    written = plot_curves(frame, tmp_path / "figures")
    names = [f"curve_{task}{suffix}" for task in ("movies", "genes", "average") for suffix in (".png", ".svg")]
    assert [path.name for path in written] == names
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == sorted(names)
    assert written[0].read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in written[1].read_bytes()


def test_equal_results_make_equal_files_and_leave_the_users_style_alone(frame, tmp_path):
    first = [path.read_bytes() for path in plot_curves(frame[frame.task == "genes"], tmp_path / "a")]
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        second = [path.read_bytes() for path in plot_curves(frame[frame.task == "genes"], tmp_path / "b")]
        assert matplotlib.rcParams["font.size"] == 30
    assert first == second
    assert len(first) == 2  # one task has no average


def test_axes_are_labelled(frame):
    _, axes = draw(frame, "movies", "entity_micro_f1")
    assert axes.get_xlabel() == "examples per concept (log scale)"
    assert axes.get_ylabel() == "Strict entity micro-F1 (%)"
    assert axes.get_title(loc="left") == "movies"
    assert axes.get_xscale() == "log"
    assert axes.xaxis.get_transform().base == 2
    assert list(axes.get_xticks()) == list(KS)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "4", "16", "64"]
    assert any("10 draws of the support set; band: ± 1 standard deviation" in text.get_text() for text in axes.texts)


def test_lines_are_means_in_percent_and_bands_their_spread(frame):
    _, axes = draw(frame, "movies")
    draws = 100 * scores_of(frame, "token_macro_f1").draws("movies", "foundation")
    line = axes.get_lines()[1]
    assert line.get_label() == "foundation"
    assert np.allclose(line.get_ydata(), draws.mean(axis=0))
    heights = axes.collections[1].get_paths()[0].vertices[:, 1]
    assert heights.max() == pytest.approx((draws.mean(axis=0) + draws.std(axis=0, ddof=1)).max())


def test_twenty_encoders_all_look_different():
    curves = {"movies": {f"encoder {i}": BASE for i in range(20)}}
    _, axes = draw(make_frame(curves, KS, seeds=2), "movies")
    looks = {(line.get_color(), line.get_marker(), line.get_linestyle()) for line in axes.get_lines()}
    assert len(looks) == 20


def test_the_legend_is_in_the_order_of_the_lines(frame):
    figure, _ = draw(frame, "movies")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["foundation", "base"]


def test_the_average_tells_the_data_efficiency():
    frame = make_frame(CURVES, KS, noise=0)
    _, axes = draw(frame, "average")
    texts = [text.get_text() for text in axes.texts]
    assert axes.get_title(loc="left") == "Average over 2 tasks"
    assert any("movies, genes" in text for text in texts)
    assert "16 examples ≈ 64\nof base" in texts
    assert not any("≈" in text.get_text() for text in draw(frame, "movies")[1].texts)


@pytest.mark.parametrize("foundation", [BASE, (0.1, 0.2, 0.3, 0.4), (0.7, 0.75, 0.8, 0.9)])
def test_there_is_no_arrow_where_nothing_can_be_read_off(foundation):
    curves = {task: {"base": BASE, "foundation": foundation} for task in CURVES}
    _, axes = draw(make_frame(curves, KS, noise=0), "average")
    assert not any("≈" in text.get_text() for text in axes.texts)


def test_k_0_is_a_point_left_of_a_break_in_the_axis():
    frame = with_k_0(make_frame(CURVES, KS), {task: {"foundation": 0.3} for task in CURVES})
    figure, axes = draw(frame, "average")
    assert list(axes.get_xticks()) == [0.5, *KS]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "4", "16", "64"]
    lines = axes.get_lines()
    base, foundation, dotted = (list(line.get_xdata()) for line in lines[:3])
    assert (base, foundation, dotted) == (list(KS), list(KS), [0.5, 1])
    assert lines[2].get_linestyle() == ":"
    assert lines[2].get_color() == lines[1].get_color()
    assert lines[2].get_ydata()[0] == pytest.approx(30)
    assert lines[2].get_ydata()[1] == lines[1].get_ydata()[0]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["foundation", "base"]
    (gap, strokes) = (marks.get_offsets() for marks in axes.collections if isinstance(marks, PathCollection))
    assert (len(gap), len(strokes)) == (1, 2)
    assert 0.5 < strokes[0, 0] < gap[0, 0] < strokes[1, 0] < 1
    assert any("of base" in text.get_text() for text in axes.texts)  # the arrow is between examples
    with_none = draw(make_frame(CURVES, KS), "average")[1]
    assert len(with_none.get_lines()) == 2
    assert not any(isinstance(marks, PathCollection) for marks in with_none.collections)


def test_one_draw_has_no_band():
    _, axes = draw(make_frame(CURVES, KS, seeds=1), "movies")
    assert any(text.get_text() == "1 draw of the support set" for text in axes.texts)


def test_task_names_become_file_names(tmp_path):
    written = plot_curves(make_frame({"tner/wnut 2017": CURVES["movies"]}, KS, seeds=2), tmp_path)
    assert [path.name for path in written] == ["curve_tner-wnut-2017.png", "curve_tner-wnut-2017.svg"]


def test_tasks_that_would_be_one_file_are_refused(tmp_path):
    frame = make_frame({"a/b": CURVES["movies"], "a b": CURVES["movies"]}, KS, seeds=2)
    with pytest.raises(ValueError, match="a/b, a b"):
        plot_curves(frame, tmp_path)


def test_a_failed_write_leaves_the_old_picture(frame, tmp_path, monkeypatch):
    old = tmp_path / "curve_movies.png"
    old.write_text("old")

    def fail(self, path, **kwargs):
        path.write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        plot_curves(frame, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["curve_movies.png"]
    assert old.read_text() == "old"


def test_without_matplotlib_the_extra_is_named(frame, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match=r"nerfound\[plots\]"):
        plot_curves(frame, tmp_path)


def test_importing_needs_no_matplotlib():
    code = "import sys, nerfound.evaluation.plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
