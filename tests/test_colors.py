"""Words in the colours of their vectors: the axes, the page, the picture, and `nerfound colors`."""

import html.parser
import re

import numpy as np
import pytest
from matplotlib.image import imread
from typer.testing import CliRunner

from nerfound.cli import app
from nerfound.color_pictures import MOST_WORDS, STYLE, render_html, render_png
from nerfound.colors import (
    _CHROMA,
    _DARKER,
    _PALEST,
    ColorAxes,
    ColoredWord,
    Panel,
    color_panels,
    color_words,
    fit_color_axes,
)
from nerfound.fewshot.fitting import load_foundation
from nerfound.figures import oklab_to_rgb
from nerfound.spans import segment_words
from tests.factories import SENTENCES

INK, PAPER = (0x11,) * 3, (0xF5,) * 3
HOSTILE = ["</span><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "<!--", "&lt;", "\0", "\ud800"]


@pytest.fixture(scope="module")
def few_passages():
    """The axes from a tenth of the passages: as good here, and faster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nerfound.colors._REFERENCE_STRIDE", 600)
        yield


@pytest.fixture(scope="module")
def models(encoders):
    return {kind: load_foundation(encoders[kind]) for kind in ("bert", "roberta")}


@pytest.fixture(scope="module")
def axes(models, few_passages):
    return {kind: fit_color_axes(model) for kind, model in models.items()}


def luminance(rgb):
    parts = np.asarray(rgb) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


def contrast(one, other):
    """Of WCAG 2."""
    darker, lighter = np.sort([luminance(one), np.broadcast_to(luminance(other), np.shape(luminance(one)))], axis=0)
    return (lighter + 0.05) / (darker + 0.05)


# --- the axes


@pytest.mark.parametrize("text", SENTENCES)
def test_every_word_has_a_colour(models, axes, text):
    for kind, model in models.items():
        words = color_words(text, model, axes=axes[kind])
        assert [(word.start, word.end) for word in words] == segment_words(text)
        assert len({word.rgb for word in words}) > 1
        assert all(type(part) is int and 0 <= part <= 255 for word in words for part in word.rgb)


def test_long_texts_are_read_to_their_end(models, axes):
    text = " ".join(SENTENCES) * 100
    words = color_words(text, models["bert"], axes=axes["bert"], batch_size=7)
    assert [(word.start, word.end) for word in words] == segment_words(text)


def test_colours_are_the_same_every_time(encoders, axes, few_passages):
    first, second = (color_words(SENTENCES[0], encoders["bert"]) for _ in range(2))
    assert first == second == color_words(SENTENCES[0], encoders["bert"], axes=axes["bert"])
    assert first != color_words(SENTENCES[0], encoders["roberta"])


def test_any_vector_gives_a_colour_that_can_be_read():
    grid = np.stack(np.meshgrid(*[np.linspace(-5, 5, 21)] * 3), -1).reshape(-1, 3)
    # Vectors are made unit: the fourth dimension is what is left of their length
    vectors = np.column_stack([grid, np.full(len(grid), 0.1)])
    shown = ColorAxes(np.zeros(4), np.eye(4)[:, :3] * 3, np.zeros((0, 2))).colors(vectors)
    assert shown.dtype == np.uint8
    assert len(np.unique(shown, axis=0)) > 1_000
    assert contrast(shown, INK).min() >= 4.5
    lightness, a, b = np.meshgrid(
        np.linspace(_PALEST - _DARKER, _PALEST + 0.1 * _DARKER, 9), *[np.linspace(-1, 1, 9)] * 2
    )
    dark = oklab_to_rgb(1.2 - lightness.ravel(), _CHROMA * a.ravel(), _CHROMA * b.ravel())  # as the page's style says
    assert "oklch(from var(--color) calc(1.2 - l) c h)" in STYLE
    assert contrast(dark, PAPER).min() >= 4.5
    zero = ColorAxes(np.zeros(4), np.eye(4)[:, :3], np.zeros((0, 2))).colors(np.zeros((1, 4)))[0]
    assert max(zero) - min(zero) <= 2  # an ordinary word is grey
    assert luminance(zero) > 0.7


def test_near_vectors_have_near_colours(axes):
    rng = np.random.default_rng(0)
    center = axes["bert"].center
    vectors = center + rng.normal(size=(500, len(center)))
    moved = vectors + 1e-3 * rng.normal(size=vectors.shape)
    apart = np.abs(axes["bert"].colors(vectors).astype(int) - axes["bert"].colors(moved)).max()
    assert apart <= 3
    assert np.abs(axes["bert"].colors(vectors).astype(int) - axes["bert"].colors(vectors[::-1])).max() > 50


def test_axes_fit_the_words_of_mentions(axes):
    for of_encoder in axes.values():
        assert of_encoder.axes.shape == (32, 3)
        known = of_encoder.hues[np.isfinite(of_encoder.hues).all(1)]
        assert len(known) > 50
        np.testing.assert_allclose(known.std(0), 1, rtol=1e-4)
        np.testing.assert_allclose(np.corrcoef(known.T)[0, 1], 0, atol=1e-4)


def test_hues_are_turned_onto_those_of_the_first(models, axes, few_passages):
    turned = fit_color_axes(models["roberta"], like=axes["bert"])
    alone, first = axes["roberta"], axes["bert"]
    both = np.isfinite(first.hues).all(1) & np.isfinite(alone.hues).all(1)

    def apart(hues):
        return np.linalg.norm(hues[both] - first.hues[both])

    angles = np.linspace(0, 2 * np.pi, 73)
    turns = [np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]) for a in angles]
    others = [apart(alone.hues @ turn @ np.diag([1, flip])) for turn in turns for flip in (1, -1)]
    assert apart(turned.hues) <= min(others) + 1e-6
    assert apart(turned.hues) < max(others) - 1
    np.testing.assert_allclose(turned.axes[:, 0], alone.axes[:, 0])  # lightness means the same already
    itself = fit_color_axes(models["bert"], like=first)
    np.testing.assert_allclose(itself.axes, first.axes, atol=1e-6)


def test_panels_are_named_without_their_place(encoders, few_passages):
    panels = color_panels(SENTENCES[0], [encoders["bert"], load_foundation(encoders["roberta"])])
    assert [panel.title for panel in panels] == ["bert", "roberta"]
    assert [len(panel.words) for panel in panels] == [len(segment_words(SENTENCES[0]))] * 2


# --- the page


class Page(html.parser.HTMLParser):
    """The texts of a page's panels, the colour of every word, and its elements."""

    def __init__(self, markup):
        super().__init__()
        self.texts, self.colors, self.elements, self.open = [], [], set(), []
        self.feed(markup)

    def handle_starttag(self, tag, attributes):
        self.elements.add(tag)
        self.open += [tag] if tag != "meta" else []
        if tag == "p":
            self.texts.append("")
        if tag == "span":
            self.colors.append(re.fullmatch("--color: #([0-9a-f]{6})", dict(attributes)["style"])[1])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"p", "section"} <= set(self.open):
            self.texts[-1] += data


def panel_of(text, title="base"):
    """A panel with colours of its own for every word."""
    words = segment_words(text)
    return Panel(title, [ColoredWord(*span, (255, 3 * i % 256, 200)) for i, span in enumerate(words)])


@pytest.mark.parametrize("text", [*SENTENCES, " a\n\n\tb  c ", *HOSTILE])
def test_a_page_shows_the_whole_text(text):
    panels = [panel_of(text, "<base>"), panel_of(text, text or "-")]
    page = Page(render_html(text, panels))
    shown = re.sub("[\0\ud800]", "\ufffd", text)
    assert page.texts[-2:] == [shown, shown]
    assert page.elements == {"html", "head", "meta", "title", "style", "body", "h1", "p", "div", "section", "h2"} | (
        {"span"} if panels[0].words else set()
    )
    assert page.colors == [bytes(word.rgb).hex() for panel in panels for word in panel.words]
    render_html(text, panels).encode()


def test_a_page_loads_nothing_and_runs_nothing():
    markup = render_html(SENTENCES[0], [panel_of(SENTENCES[0])])
    assert "default-src &#x27;none&#x27;" in markup
    assert not re.search(r"script|@import|url\(|https?:|<link|<img", markup.replace("script-src", ""))


# --- the picture


def test_a_picture_has_the_colours_of_the_words(tmp_path):
    text = "Nobu and Noma,\nin Paris"
    panels = [panel_of(text), panel_of(text, "foundation")]
    render_png(text, panels, tmp_path / "words.png")
    pixels = np.rint(255 * imread(tmp_path / "words.png")[..., :3]).astype(int)
    height, width, _ = pixels.shape
    for half in (pixels[:, : width // 2], pixels[:, width // 2 :]):
        for word in panels[0].words:
            rows = np.argwhere((half == word.rgb).all(-1))
            assert len(rows) > 50, word
    below = [np.argwhere((pixels == word.rgb).all(-1))[:, 0].mean() for word in panels[0].words]
    assert below[0] == pytest.approx(below[3], abs=3)  # comma: on the first line
    assert below[-1] - below[0] > 0.1 * height
    before = (tmp_path / "words.png").read_bytes()
    render_png(text, panels, tmp_path / "words.png")
    assert (tmp_path / "words.png").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["words.png"]


def test_a_picture_is_wrapped_and_no_word_leaves_its_column(tmp_path):
    for text in ("word " * 40, "ł," * 60, "a" * 500, "$x_1$ \\frac \0 \ud800 <b>"):
        render_png(text, [panel_of(text)], tmp_path / "words.png")
        pixels = imread(tmp_path / "words.png")[..., :3]
        assert (pixels[:, -10:] == 1).all()
        assert (pixels < 1).any(-1).sum() > 500


def test_a_picture_holds_so_many_words(tmp_path):
    text = "a " * (MOST_WORDS + 1)
    with pytest.raises(ValueError, match=r"1,501 words, a picture holds 1,500: give a \.html page"):
        render_png(text, [panel_of(text)], tmp_path / "words.png")
    assert not list(tmp_path.iterdir())


# --- the command


def nerfound_colors(*arguments, text=None):
    return CliRunner().invoke(app, ["colors", *map(str, arguments)], input=text)


def test_command_with_a_text_a_file_and_standard_input(encoders, few_passages, tmp_path):
    text = SENTENCES[0]
    (tmp_path / "text.txt").write_text(f"\ufeff{text}", encoding="utf-8")
    options = ["--encoder", encoders["bert"], "--encoder", encoders["roberta"], "-o"]
    pages = []
    for source, given in ((text, None), (tmp_path / "text.txt", None), ("-", text)):
        result = nerfound_colors(source, *options, tmp_path / "words.html", text=given)
        assert result.exit_code == 0, result.output
        assert result.output.splitlines()[-1].endswith("words.html: 11 words, bert beside roberta")
        pages.append((tmp_path / "words.html").read_text(encoding="utf-8"))
    assert pages[0] == pages[1] == pages[2]
    assert Page(pages[0]).texts[-2:] == [text, text]


def test_command_makes_a_picture(encoders, few_passages, tmp_path):
    result = nerfound_colors(SENTENCES[2], "--encoder", encoders["bert"], "-o", tmp_path / "words.png")
    assert result.exit_code == 0, result.output
    assert len(np.unique(imread(tmp_path / "words.png").reshape(-1, 4), axis=0)) > 20


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["Nobu", "-o", "words.svg"], "-o words.svg: give a name that ends in .html or .png"),
        ([" ", "-o", "words.html"], "' ' holds no word to colour"),
    ],
)
def test_command_names_what_is_wrong(arguments, fault, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = nerfound_colors(*arguments)
    assert result.exit_code == 1
    assert fault in " ".join(result.stderr.split())
    assert not list(tmp_path.iterdir())
