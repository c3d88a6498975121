import re
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from matplotlib.patches import PathPatch

from nerfound.corpus.lettering import ink_box, overlapping, pack, shortened, text_box
from nerfound.corpus.plots import (
    _SAMPLE_WIDTH,
    _common_concepts,
    _concepts_by_rank,
    _cumulative_share,
    _rare_concepts,
    plot_statistics,
)
from nerfound.corpus.statistics import CorpusStatistics, Group
from nerfound.figures import figure_style

NAMES = ["city", "<script>alert(1)</script>", "$\\frac{", "a -- b", "x" * 500, "القلعة", "date & time"]


def statistics_of(counts):
    passages = {"": Group(9, sum(counts.values()))}
    return CorpusStatistics(9, 9, dict(counts), passages, passages)


@pytest.fixture(scope="module")
def statistics():
    """A few hostile names, a hundred and twenty others, and thirty that occur once."""
    common = {name: 400 // (rank + 1) for rank, name in enumerate(NAMES)}
    common |= {f"concept number {i}": 50 - i // 3 for i in range(120)}
    return statistics_of(common | {f"rare concept {i}": 1 for i in range(30)})


@pytest.fixture
def style():
    with figure_style():
        yield


def overlaps(boxes):
    return [(i, j) for i in range(len(boxes)) for j in range(i) if overlapping(boxes[i], boxes[j : j + 1])]


def test_pictures_are_written_and_equal_for_equal_statistics(tmp_path):
    statistics = statistics_of({name: 9 - rank for rank, name in enumerate(NAMES)} | {"once\ufffd": 1})
    first, second = (plot_statistics(statistics, tmp_path / folder, seed=1) for folder in "ab")
    assert [path.name for path in first] == [
        f"{name}.{suffix}"
        for name in ("concepts_by_rank", "cumulative_share", "common_concepts", "rare_concepts")
        for suffix in ("png", "svg")
    ]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    for path in first[1::2]:
        tags = {element.tag.split("}")[1] for element in ElementTree.parse(path).iter()}
        assert not tags & {"script", "image", "foreignObject"}


def test_a_corpus_whose_concepts_all_recur_has_no_rare_ones(tmp_path):
    names = {path.name for path in plot_statistics(statistics_of({"city": 3, "date": 2}), tmp_path)}
    assert "rare_concepts.png" not in names
    assert "common_concepts.png" in names


@pytest.mark.usefixtures("style")
def test_the_curve_of_ranks(statistics):
    axes = _concepts_by_rank(statistics).axes[0]
    curve = axes.get_lines()[0]
    assert list(curve.get_ydata()) == list(statistics.concepts.values())
    assert list(curve.get_xdata()) == list(range(1, len(statistics.concepts) + 1))
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    texts = [text.get_text() for text in axes.texts]
    assert "city: 400" in texts
    assert "30 concepts occur once" in texts


@pytest.mark.usefixtures("style")
def test_the_curve_of_shares_by_hand():
    counts = {"a": 5, "b": 3, "c": 1, "d": 1}
    axes = _cumulative_share(statistics_of(counts)).axes[0]
    assert np.allclose(axes.get_lines()[0].get_ydata(), [50, 80, 90, 100])
    texts = [text.get_text() for text in axes.texts]
    assert "concepts that occur once: 20.0 %" in texts
    assert not any("blog" in text for text in texts)  # its figure is of a hundred concepts


@pytest.mark.usefixtures("style")
def test_the_curve_of_shares_beside_the_blog(statistics):
    texts = [text.get_text() for text in _cumulative_share(statistics).axes[0].texts]
    assert "the blog's corpus: 100 concepts, 43 %" in texts
    share = 100 * sum(statistics.common.values()) / statistics.annotations
    assert f"here: 100 concepts, {share:.1f} %" in texts


@pytest.mark.usefixtures("style")
def test_common_concepts_are_as_large_as_frequent_and_do_not_overlap():
    counts = {f"mm{i}": 400 // (i + 1) for i in range(110)}
    axes = _common_concepts(statistics_of(counts)).axes[0]
    patches = [patch for patch in axes.patches if isinstance(patch, PathPatch)]
    assert len(patches) == 100
    boxes = np.array([ink_box(patch.get_path()) for patch in patches])
    assert overlaps(boxes) == []
    heights = boxes[:, 3] - boxes[:, 1]
    assert heights[3] / heights[0] == pytest.approx(0.5, rel=0.1)  # a quarter as often, half as high
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    assert boxes[:, 0].min() >= left - 1e-6
    assert boxes[:, 2].max() <= right + 1e-6
    assert boxes[:, 1].min() >= bottom - 1e-6
    assert boxes[:, 3].max() <= top + 1e-6


@pytest.mark.usefixtures("style")
def test_rare_concepts_are_a_seeded_sample_on_the_page():
    rare = statistics_of({"city": 2} | {f"a rare concept {i:04}": 1 for i in range(1_000)})
    figures = [_rare_concepts(rare, seed) for seed in (0, 0, 1)]
    shown = [[text.get_text() for text in figure.axes[0].texts if "rare" in text.get_text()] for figure in figures]
    assert shown[0] == shown[1] == sorted(shown[0])
    assert shown[0] != shown[2]
    assert 50 < len(shown[0]) < 1_000
    for text in figures[0].axes[0].texts:
        if "rare" in text.get_text():
            assert text.get_position()[0] + text_box(text.get_text(), 9.0)[2] <= _SAMPLE_WIDTH + 1
    note = figures[0].axes[0].texts[0].get_text()
    assert re.fullmatch(rf"{len(shown[0])} of 1,000, which are 100% of the concepts", note)


def test_packed_boxes_do_not_overlap():
    rng = np.random.default_rng(0)
    sizes = rng.uniform([5, 2], [60, 12], (60, 2))
    centres = pack([tuple(size) for size in sizes], aspect=1.6)
    assert overlaps(np.hstack([centres - sizes / 2, centres + sizes / 2])) == []
    assert np.allclose(centres[0], 0, atol=2)
    width, height = np.ptp(centres, axis=0)
    assert sizes.prod(1).sum() / (width * height) > 0.4  # most of the room is used


def test_overlapping():
    boxes = np.array([[0, 0, 1, 1], [1, 0, 2, 1], [0.5, 0.5, 3, 3]])
    assert overlapping(boxes, np.array([[0, 0, 1, 1]])).tolist() == [True, False, True]
    assert overlapping(boxes, np.empty((0, 4))).tolist() == [False] * 3


def test_long_names_are_shortened():
    assert shortened("x" * 40) == "x" * 40
    assert shortened("x" * 41) == "x" * 39 + "…"


def test_without_matplotlib_the_extra_is_named(statistics, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match=r"nerfound\[plots\]"):
        plot_statistics(statistics, tmp_path)
