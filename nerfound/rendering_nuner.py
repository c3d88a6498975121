"""Entities as a person reads them: a text with its mentions marked, in HTML, for notebooks, pages and the Space.

Everything that comes from a text or a model is escaped. The colours of a mention lie on it alone, so that it can be
read on any page; where the page says that it is dark, the mentions are dark too.
"""

from __future__ import annotations

import heapq
import html
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

# A hue of OKLCH every 30°, pale (lightness 0.90, chroma 0.075) and deep (0.41, 0.095): contrast 6 and more
_SHADES = (
    ("#ffcace", "#753139"),
    ("#ffcfb5", "#733719"),
    ("#fcd8a7", "#684100"),
    ("#e5e1a8", "#534c00"),
    ("#c9eab8", "#32551b"),
    ("#afeed2", "#005a3d"),
    ("#a2eeed", "#00595a"),
    ("#a8e9ff", "#005471"),
    ("#bde1ff", "#234b7d"),
    ("#d8d8ff", "#46417b"),
    ("#f1d0ff", "#5d396d"),
    ("#ffcbe9", "#6d3356"),
)
_GAPS = (4, 3, 2, 1)  # hues that two concepts are apart, as far as there is room
_LONGEST_VIEW = 50_000  # characters that a notebook shows
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")

STYLE = """\
.nerfound-text { white-space: pre-wrap; overflow-wrap: anywhere; line-height: 2.1; }
.nerfound-text mark { padding: 0.2em 0.35em; border-radius: 0.35em; box-decoration-break: clone;
  -webkit-box-decoration-break: clone; background: light-dark(var(--pale), var(--deep));
  color: light-dark(#1b1b1b, #f5f5f5); box-shadow: inset 0 0 0 1px light-dark(#00000026, #ffffff33); }
.nerfound-text mark:has(> mark) { padding-block: 0.4em; }
.nerfound-text mark mark { padding-block: 0.1em; }
.nerfound-text mark mark:has(> mark) { padding-block: 0.25em; }
.nerfound-text mark.goes-on { border-start-end-radius: 0; border-end-end-radius: 0; }
.nerfound-text mark.went-on { border-start-start-radius: 0; border-end-start-radius: 0; }
.nerfound-text mark > span { margin-inline-start: 0.45em; font-size: 0.75em; font-weight: 600; user-select: none;
  -webkit-user-select: none; unicode-bidi: isolate; color: light-dark(var(--deep), var(--pale)); }
[data-jp-theme-light="false"] .nerfound-text, .vscode-dark .nerfound-text, [theme="dark"] .nerfound-text,
.dark .nerfound-text { color-scheme: dark; }
"""
"""Style sheet of [`render_entities`], for a page that holds many texts and needs it once."""


class Entities(list):
    """The entities of a text: a `list` of `dict`, which notebooks show as the text with its mentions marked.

    It compares with lists, and becomes a plain list where it is sliced, copied, pickled or written as JSON.

    Args:
        entities (`Iterable[dict]`): as `pipeline("few-shot-ner")` gives them.
        text (`str`): the text that they were found in.
        concepts (`Iterable[str]`, *optional*): all that were looked for, so that each has a colour of its own.
    """

    def __init__(self, entities: Iterable[dict[str, Any]] = (), text: str = "", concepts: Iterable[str] = ()) -> None:
        super().__init__(entities)
        self.text = text
        self.concepts = tuple(concepts)

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (), None, iter(self)  # what is read back needs neither this class nor the text

    def _repr_html_(self) -> str | None:
        """The view in a notebook; of a very long text, its beginning, which says so."""
        if not self.text.strip():
            return None  # then a notebook shows the list
        shown = [entity for entity in self if entity["end"] <= _LONGEST_VIEW]
        view = render_entities(self.text[:_LONGEST_VIEW], shown, self.concepts)
        if len(self.text) > _LONGEST_VIEW:
            rest = len(self.text) - _LONGEST_VIEW
            view += f"<p>… and {rest:,} more characters, with {len(self) - len(shown):,} more entities</p>"
        return view


class ConceptColors(NamedTuple):
    """Two shades of a concept's hue, as `#rrggbb`: whichever is the ground, the other can be read on it."""

    pale: str
    deep: str


def concept_colors(concepts: Iterable[str]) -> dict[str, ConceptColors]:
    """Colours of concepts: that of a concept's name, or the nearest one that those before it leave free.

    The first concept always has its own; adding concepts at the end changes no colour. From the thirteenth on, hues
    are shared.

    Args:
        concepts (`Iterable[str]`): their names.

    Returns:
        `dict[str, ConceptColors]`: by name.
    """
    hues: dict[str, int] = {}
    for name in concepts:
        if name not in hues:
            hues[name] = _hue(name, set(hues.values()))
    return {name: ConceptColors(*_SHADES[hue]) for name, hue in hues.items()}


def _hue(name: str, taken: set[int]) -> int:
    wish = zlib.crc32(name.encode("utf-8", "surrogatepass")) % len(_SHADES)
    for gap in _GAPS:
        free = [hue for hue in range(len(_SHADES)) if all(_distance(hue, other) >= gap for other in taken)]
        if free:
            return min(free, key=lambda hue: _distance(hue, wish))
    return wish


def _distance(one: int, other: int) -> int:
    """Steps between two hues, around the circle."""
    apart = abs(one - other)
    return min(apart, len(_SHADES) - apart)


def render_entities(
    text: str, entities: Iterable[Mapping[str, Any]], concepts: Iterable[str] = (), *, style: bool = True
) -> str:
    """A text with its entities marked: name of the concept behind each, score and place where a pointer rests on it.

    Entities may lie within one another; of two that cross, the one that begins later is marked in two parts, the
    second of which has the name.

    Args:
        text (`str`): any text.
        entities (`Iterable[Mapping]`): with `start` and `end` in characters, the concept as `entity_group` or `label`,
            and, where there is one, the `score`.
        concepts (`Iterable[str]`, *optional*): all that entities may be of, in an order that stays: each gets a colour
            that is told from the others'. Else a concept's colour is that of its name, which another may share.
        style (`bool`, *optional*, defaults to `True`): whether the style sheet comes with it; else the page has
            [`STYLE`].

    Returns:
        `str`: a `<div>`, everything in it escaped.

    Raises:
        ValueError: if an entity has no label, or lies outside the text.
    """
    colors = concept_colors(concepts)
    parts: list[str] = []
    here = 0
    enclosing: list[_Part] = []
    for part in _nested(_checked(text, entities)):
        while enclosing and enclosing[-1].end <= part.start:
            here = _close(parts, text, here, enclosing.pop())
        parts.append(escaped(text[here : part.start]))
        here = part.start
        color = colors.get(part.label) or concept_colors([part.label])[part.label]
        parts.append(
            f'<mark{part.classes} style="--pale: {color.pale}; --deep: {color.deep}" title="{escaped(part.title)}">'
        )
        enclosing.append(part)
    while enclosing:
        here = _close(parts, text, here, enclosing.pop())
    parts.append(escaped(text[here:]))
    sheet = f"<style>\n{STYLE}</style>" if style else ""
    return f'{sheet}<div class="nerfound-text" dir="auto">{"".join(parts)}</div>'


class _Part(NamedTuple):
    """A stretch of one entity, in the order in which marks open."""

    start: int
    minus_end: int  # of two that begin together, the longer one is the outer
    label: str
    title: str
    went_on: bool = False
    goes_on: bool = False

    @property
    def end(self) -> int:
        return -self.minus_end

    @property
    def classes(self) -> str:
        names = ["went-on"] * self.went_on + ["goes-on"] * self.goes_on
        return f' class="{" ".join(names)}"' if names else ""


def _checked(text: str, entities: Iterable[Mapping[str, Any]]) -> list[_Part]:
    parts = []
    for number, entity in enumerate(entities):
        label = entity.get("entity_group", entity.get("label"))
        if not isinstance(label, str):
            raise ValueError(f"entity {number} is {dict(entity)!r:.120}: give its concept as entity_group or label.")
        start, end = entity.get("start", -1), entity.get("end", -1)
        whole = all(hasattr(offset, "__index__") for offset in (start, end))  # numpy's integers are, too
        if not (whole and 0 <= start < end <= len(text)):
            raise ValueError(
                f"entity {number} reaches from {start!r} to {end!r}, but its text has {len(text):,} characters: "
                "give start and end in characters of this very text."
            )
        score = entity.get("score")
        certainty = "" if score is None else f" · score {score:.2f}"
        parts.append(_Part(start, -end, label, f"{label}{certainty} · characters {start:,} to {end:,}"))
    return parts


def _nested(parts: list[_Part]) -> Iterator[_Part]:
    """The parts in the order in which they open, so cut that each lies within those which are open, or behind them."""
    heapq.heapify(parts)
    enclosing: list[int] = []  # their ends
    while parts:
        part = heapq.heappop(parts)
        while enclosing and enclosing[-1] <= part.start:
            enclosing.pop()
        if enclosing and enclosing[-1] < part.end:
            heapq.heappush(parts, part._replace(start=enclosing[-1], went_on=True))
            part = part._replace(minus_end=-enclosing[-1], goes_on=True)
        enclosing.append(part.end)
        yield part


def _close(parts: list[str], text: str, here: int, part: _Part) -> int:
    """Write the rest of a part and the end of its mark; returns how far the text is written."""
    parts.append(escaped(text[here : part.end]))
    if not part.goes_on:
        parts.append(f"<span>{escaped(part.label)}</span>")
    parts.append("</mark>")
    return part.end


def escaped(text: str) -> str:
    """A text as it stands between tags or quotes; what no page may hold becomes the replacement character."""
    return html.escape(_LONE_SURROGATE.sub("\ufffd", text).replace("\0", "\ufffd"))
