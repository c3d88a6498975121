"""Coloured words as a web page or a picture, the encoders' panels side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .colors import ColoredWord, Panel
from .corpus.lettering import shortened
from .figures import figure_style, save_figure
from .pages import PAGE_END, page_start
from .rendering_nuner import escaped

if TYPE_CHECKING:
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.figure import Figure

SUBTITLE = "Each word in the colour of three dimensions of its vector: near vectors have near colours."
MOST_WORDS = 1_500
"""Words of a text that a picture holds; a page holds any number."""

STYLE = """\
.nerfound-colors { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 2rem; }
.nerfound-colors h2 { margin: 0 0 0.5rem; font-size: 1rem; overflow-wrap: anywhere; }
.nerfound-colors p { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.75; }
.nerfound-colors span { padding: 0.08em 0.14em; border-radius: 0.25em; box-decoration-break: clone;
  -webkit-box-decoration-break: clone; color: light-dark(#111, #f5f5f5);
  background: light-dark(var(--color), oklch(from var(--color) calc(1.2 - l) c h)); }
[data-jp-theme-light="false"] .nerfound-colors, .vscode-dark .nerfound-colors, [theme="dark"] .nerfound-colors,
.dark .nerfound-colors { color-scheme: dark; }
"""
"""Style sheet of [`render_panels`]; on a dark page the same hues, dark where they are pale."""

_COLUMN, _MARGIN, _GUTTER = 400.0, 16.0, 26.0  # points, as all lengths of the picture
_LETTERS, _LINE, _HEAD = 10.5, 19.0, 26.0
_FONTS = ("DejaVu Sans", "Noto Sans", "Noto Sans CJK JP", "Noto Sans CJK SC", "Arial Unicode MS", "Segoe UI Symbol")


def render_html(text: str, panels: Sequence[Panel]) -> str:
    """A web page of coloured words: one file that loads nothing, light or dark as its reader likes.

    Args:
        text (`str`): what the words' offsets point into.
        panels (`Sequence[Panel]`): of [`color_panels`].
    """
    return page_start("Words by their vectors", SUBTITLE, STYLE) + render_panels(text, panels) + PAGE_END


def render_panels(text: str, panels: Sequence[Panel]) -> str:
    """The panels alone, for a page that has [`STYLE`]; everything in them is escaped."""
    columns = (
        f'<section><h2>{escaped(panel.title)}</h2><p dir="auto">{_marked(text, panel.words)}</p></section>\n'
        for panel in panels
    )
    return f'<div class="nerfound-colors">\n{"".join(columns)}</div>\n'


def _marked(text: str, words: Sequence[ColoredWord]) -> str:
    return "".join(
        f'<span style="--color: #{bytes(rgb).hex()}">{escaped(piece)}</span>' if rgb else escaped(piece)
        for piece, rgb in _pieces(text, words)
    )


def _pieces(text: str, words: Sequence[ColoredWord]) -> Iterator[tuple[str, tuple[int, int, int] | None]]:
    """The whole text in pieces: words with their colours, what is between them without."""
    here = 0
    for start, end, rgb in words:
        if here < start:
            yield text[here:start], None
        yield text[start:end], rgb
        here = end
    if here < len(text):
        yield text[here:], None


def render_png(text: str, panels: Sequence[Panel], path: Path) -> None:
    """Draw coloured words as a PNG file, which is replaced; equal words, equal files.

    Args:
        text (`str`): what the words' offsets point into.
        panels (`Sequence[Panel]`): of [`color_panels`].
        path (`Path`): a name that ends in `.png`.

    Raises:
        ModuleNotFoundError: without matplotlib.
        ValueError: if the text has more than 1,500 words.
    """
    count = max(len(panel.words) for panel in panels)
    if count > MOST_WORDS:
        raise ValueError(f"the text has {count:,} words, a picture holds {MOST_WORDS:,}: give a .html page")
    with figure_style():
        save_figure(_draw(text, panels), path.with_suffix(""), (".png",))


class _Placed(NamedTuple):
    text: str
    left: float
    line: int
    width: float
    rgb: tuple[int, int, int] | None


def _draw(text: str, panels: Sequence[Panel]) -> Figure:
    from matplotlib import font_manager, rcParams
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyBboxPatch

    known = set(font_manager.get_font_names())
    rcParams["font.family"] = [font for font in _FONTS if font in known]  # the style's context restores it
    figure = Figure(dpi=125)
    ruler = FigureCanvasAgg(figure).get_renderer()
    columns = [_place(text, panel.words, ruler) for panel in panels]
    lines = 1 + max((word.line for column in columns for word in column), default=0)
    width = 2 * _MARGIN + len(panels) * _COLUMN + (len(panels) - 1) * _GUTTER
    height = 2 * _MARGIN + _HEAD + lines * _LINE
    figure.set_size_inches(width / 72, height / 72)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    for number, (panel, column) in enumerate(zip(panels, columns, strict=True)):
        left = _MARGIN + number * (_COLUMN + _GUTTER)
        axes.text(left, _MARGIN + 6, shortened(panel.title), fontsize=12, fontweight="bold", va="center")
        for word in column:
            middle = _MARGIN + _HEAD + (word.line + 0.5) * _LINE
            if word.rgb:
                color = tuple(part / 255 for part in word.rgb)
                box = (left + word.left - 0.4, middle - 6.6)
                round_box = "round,pad=1,rounding_size=2.5"
                axes.add_patch(FancyBboxPatch(box, word.width + 0.8, 13.6, boxstyle=round_box, fc=color, lw=0))
            axes.text(left + word.left, middle + 4, word.text, fontsize=_LETTERS, color="#111111", va="baseline")
    return figure


def _place(text: str, words: Sequence[ColoredWord], ruler: RendererAgg) -> list[_Placed]:
    """Words in lines as wide as a column, broken at white space; where there is none for a whole line, anywhere."""
    placed: list[_Placed] = []
    left, line = 0.0, 0
    for group in _unbroken(text, words):
        if isinstance(group, str):
            breaks = len(f"{group}.".splitlines()) - 1
            line += breaks
            left = 0.0 if breaks else left + (_LETTERS / 3 + 1.6 if left else 0)
            continue
        widths = [_width(piece, ruler) for piece, _ in group]
        if left and left + sum(widths) + 2.4 * len(group) > _COLUMN and sum(widths) < _COLUMN:
            left, line = 0.0, line + 1
        for (piece, rgb), width in zip(group, widths, strict=True):
            if left and left + width > _COLUMN:
                left, line = 0.0, line + 1
            placed.append(_Placed(piece, left, line, width, rgb))
            left += width + 2.4  # room for the colour's edges
    return placed


Group = list[tuple[str, tuple[int, int, int] | None]]


def _unbroken(text: str, words: Sequence[ColoredWord]) -> Iterator[Group | str]:
    """White space, and groups of pieces with none between them."""
    group: Group = []
    for piece, rgb in _pieces(text, words):
        if not rgb and not piece.strip():
            yield group
            yield piece
            group = []
        else:  # control characters have no shape, and half a surrogate pair cannot be written
            shown = "".join(char if char.isprintable() else "\ufffd" for char in piece.strip())
            group.append((shortened(shown), rgb))
    yield group


def _width(piece: str, ruler: RendererAgg) -> float:
    from matplotlib.font_manager import FontProperties

    return ruler.get_text_width_height_descent(piece, FontProperties(size=_LETTERS), False)[0] * 72 / ruler.dpi
