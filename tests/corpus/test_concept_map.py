import base64
import hashlib
import html.parser
import json
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from nerfound.cli.corpus import app
from nerfound.corpus.concept_map import (
    ConceptMap,
    _colors,
    _labels,
    _nearest,
    draw_concept_map,
    make_concept_map,
    write_concept_map_page,
)
from nerfound.corpus.lettering import overlapping, text_box
from nerfound.figures import oklab_to_rgb
from nerfound.pretraining.ranking import CONCEPT_TOKENIZER_FOLDER, concept_name_encoder
from tests.factories import tokenizer_of

HOSTILE = [
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<!--<script>",
    "{{data}} {{policy}}",
    "$\\frac{1}{",
    "a -- b\ufffd",
    "\u2028\\u003c 'quoted' `${x}`",
]
NAMES = [*HOSTILE, *(f"{kind} {i}" for kind in ("city", "protein", "vehicle") for i in range(60))]
COUNTS = {name: 2_000 // (rank + 1) + 1 for rank, name in enumerate(NAMES)}


def encode(names):
    """Vectors in three far clusters, by the first word."""
    centres = {"city": 0, "protein": 1, "vehicle": 2}
    rng = np.random.default_rng(0)
    vectors = rng.normal(0, 0.1, (len(names), 16))
    for vector, name in zip(vectors, names, strict=True):
        vector[centres.get(name.split()[0], 0)] += 1
    return torch.tensor(vectors)


@pytest.fixture(scope="module")
def concept_map():
    return make_concept_map(COUNTS, encode, seed=3)


class Page(html.parser.HTMLParser):
    """The elements of a page, the text of its scripts and styles, and its heading."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts = [], [], {}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_data(self, data):
        if data.strip():
            self.texts.setdefault(self.tags[-1], []).append(data)


def page_of(concept_map, folder, title="Concept map"):
    write_concept_map_page(concept_map, folder / "map.html", title)
    return Page((folder / "map.html").read_text(encoding="utf-8"))


def test_near_concepts_lie_near_each_other(concept_map):
    assert concept_map.names == NAMES
    assert concept_map.places.shape == (len(NAMES), 2)
    assert concept_map.colors.dtype == np.uint8
    kinds = [[i for i, name in enumerate(NAMES) if name.startswith(kind)] for kind in ("city", "protein", "vehicle")]
    for space in (concept_map.places, concept_map.colors.astype(float)):
        centres = [space[kind].mean(0) for kind in kinds]
        for kind, centre in zip(kinds, centres, strict=True):
            own = np.linalg.norm(space[kind] - centre, axis=1).mean()
            assert all(other is centre or own < np.linalg.norm(other - centre) for other in centres)
    assert np.ptp(concept_map.places[:, 0]) >= 0.8 * np.ptp(concept_map.places[:, 1])


def test_equal_seeds_give_equal_maps(concept_map):
    again = make_concept_map(COUNTS, encode, seed=3)
    assert np.array_equal(again.places, concept_map.places)
    assert np.array_equal(again.colors, concept_map.colors)
    assert not np.array_equal(make_concept_map(COUNTS, encode, seed=4).places, concept_map.places)


def test_only_the_most_common_are_shown(monkeypatch):
    shown = make_concept_map(COUNTS, encode, limit=30)
    assert shown.names == NAMES[:30]
    assert shown.counts == list(COUNTS.values())[:30]
    assert shown.subtitle.startswith("the 30 most common of 187 concepts; ")


def test_few_concepts_make_no_map():
    with pytest.raises(ValueError, match="19 concepts make no map; it needs 20"):
        make_concept_map(dict(list(COUNTS.items())[:19]), encode)


def test_without_umap_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ModuleNotFoundError, match=r"nerfound\[plots\]"):
        make_concept_map(COUNTS, encode)


def test_nearest_by_hand():
    vectors = np.array([[1, 0], [2, 0.1], [0, 1], [0.1, 3]], dtype=np.float32)
    columns, distances = _nearest(vectors, 2)
    assert columns.tolist() == [[0, 1], [1, 0], [2, 3], [3, 2]]
    assert distances[:, 0].tolist() == [0] * 4
    assert distances[0, 1] == pytest.approx(1 - 2 / np.hypot(2, 0.1), abs=1e-6)


def test_colours():
    grey = oklab_to_rgb(np.array([0.0, 0.59987, 1.0]), np.zeros(3), np.zeros(3))
    assert grey.tolist() == [[0, 0, 0], [128, 128, 128], [255, 255, 255]]
    red = oklab_to_rgb(np.array([0.62796]), np.array([0.22486]), np.array([0.12585]))
    assert np.abs(red.astype(int) - [[255, 0, 0]]).max() <= 1
    colors = _colors(np.random.default_rng(0).normal(size=(500, 3))) / 255
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    assert (1.05 / (luminance + 0.05)).min() > 2  # seen on white


def test_written_names_do_not_overlap(concept_map):
    points = concept_map.places - concept_map.places.min(0)
    points *= 600 / points.max()
    shares = np.sqrt(np.array(concept_map.counts) / concept_map.counts[0])
    labels = _labels([f"name {i}" for i in range(len(points))], points, shares, (620, 620))
    assert labels[0][0] == 0  # the most common has the first choice
    assert len(labels) > 10
    boxes = np.array([text_box(f"name {i}", size) + np.array([x, y, x, y]) for i, x, y, size in labels])
    for i in range(len(boxes)):
        assert not overlapping(boxes[i], np.delete(boxes, i, 0))
    assert boxes.min() >= 0
    assert boxes.max() <= 620


def test_pictures_are_small_and_equal_for_equal_maps(concept_map, tmp_path):
    first, second = (draw_concept_map(concept_map, tmp_path / folder) for folder in "ab")
    assert [path.name for path in first] == ["concept_map.png", "concept_map.svg"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    tags = [element.tag.split("}")[1] for element in ElementTree.parse(first[1]).iter()]
    assert tags.count("image") == 1
    assert "script" not in tags


def test_hostile_names_stay_data(concept_map, tmp_path):
    page = page_of(concept_map, tmp_path, "</title><script>alert(2)</script> {{data}}")
    assert page.tags.count("script") == 2
    assert not {"img", "link", "iframe", "base"} & set(page.tags)
    data = json.loads(page.texts["script"][0])
    assert data["names"] == NAMES
    assert data["counts"] == list(COUNTS.values())
    assert "".join(page.texts["title"]).startswith("</title><script>alert(2)</script> {{data}}")


def test_the_page_loads_nothing_and_runs_its_own_script_alone(concept_map, tmp_path):
    page = page_of(concept_map, tmp_path)
    assert not [item for item in page.attributes if item[1] in {"src", "href", "style"} or item[1].startswith("on")]
    policy = next(value for tag, name, value in page.attributes if (tag, name) == ("meta", "content"))
    script = hashlib.sha256(page.texts["script"][1].encode()).digest()
    assert policy.startswith("default-src 'none'")
    assert f"script-src 'sha256-{base64.b64encode(script).decode()}'" in policy
    assert "unsafe" not in policy
    assert "fetch(" not in page.texts["script"][1]
    assert "innerHTML" not in page.texts["script"][1]


def test_places_on_the_page(tmp_path):
    places = np.array([[-2.0, -1.0], [2.0, 1.0]])
    data = json.loads(
        page_of(
            ConceptMap(["a", "b"], [2, 1], places, np.array([[255, 0, 1], [0, 16, 0]], dtype=np.uint8), 2), tmp_path
        ).texts["script"][0]
    )
    assert (data["x"], data["y"]) == ([0, 10_000], [5_000, 0])  # up is towards 0
    assert data["colors"] == [0xFF0001, 0x001000]


def test_vectors_of_a_plain_and_of_a_dual_encoder(encoders, contrast_folder, tmp_path):
    names = ["city", "a restaurant"]
    plain = concept_name_encoder(str(encoders["bert"]))(names)
    assert plain.shape == (2, 32)
    folder = tmp_path / "dual"
    folder.mkdir()
    for file in contrast_folder.iterdir():
        (folder / file.name).symlink_to(file)
    tokenizer_of("bert").save_pretrained(folder / CONCEPT_TOKENIZER_FOLDER)
    torch.testing.assert_close(concept_name_encoder(str(folder))(names), plain)


def test_the_command_draws_the_map(encoders, write_jsonl, tmp_path):
    names = [f"{kind} {place}" for kind in ("table", "city", "river", "flight") for place in "abcdefg"]
    corpus = write_jsonl(*({"text": "Rome fell.", "annotations": [["Rome", name, ""]]} for name in names))
    arguments = ["stats", str(corpus), "-o", str(tmp_path / "out"), "--encoder", str(encoders["bert"])]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert {"concept_map.png", "concept_map.svg", "concept_map.html"} <= {p.name for p in (tmp_path / "out").iterdir()}
    assert "concept_map.html" in result.output
