"""The tab that shows what the encoders see: words coloured by their vectors, and the map of concepts."""

from __future__ import annotations

import html
from functools import cache
from importlib import resources
from typing import Any

import gradio as gr

from .compare import title
from .components import words
from .engine import EncoderName, Engine
from .limits import checked_text, told

_EXAMPLE = (
    "Dr. Amara Osei flew from Nairobi to Lisbon on Tuesday to present the vaccine trial. Her team at Fermata Biotech "
    "had measured antibodies in 1,200 patients, and malaria cases fell by half within six months. On the way back she "
    "bought a bottle of port and two custard tarts for her nephew."
)
_PANELS: tuple[tuple[str, str, EncoderName], ...] = (
    ("Foundation", "trained on concepts", "foundation"),
    ("Plain encoder", "before that", "base"),
)
_SCHEMA = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "panels": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "title": {"type": "string"},
                    "note": {"type": "string"},
                    "words": {"type": "array", "items": {}, "description": "[start, end, color] of each word"},
                },
            },
        },
    },
}


def build_see(engine: Engine, tab: gr.Tab, encoder_limits: dict[str, Any]) -> None:
    """Build the tab, inside a `gr.Blocks`."""
    title(
        "What the encoders see",
        "Every word is coloured by three dimensions of its vector. Equal colours: the encoder takes the words for the "
        "same kind of thing. Grey: for nothing in particular.",
    )
    text = gr.Textbox(_EXAMPLE, label="Text", lines=4, elem_id="see-text")
    button = gr.Button("Colour the words", variant="primary", elem_id="see")
    panels = words(placeholder="Press the button.", schema=_SCHEMA, elem_id="see-panels")
    title(
        "The map of concepts",
        "Concepts of the corpus that the foundation was trained on, near names near each other. Zoom, move, search.",
    )
    concept_map = gr.HTML("<div class='nf-map'></div>", elem_id="concept-map", apply_default_css=False)

    @told
    def colors(text: str) -> dict[str, Any]:
        """Colour the words of a text by three dimensions of their vectors, by the foundation and the plain encoder."""
        checked_text(text)
        return {
            "text": text,
            "panels": [
                {
                    "title": heading,
                    "note": note,
                    "words": [
                        [word.start, word.end, "#{:02x}{:02x}{:02x}".format(*word.rgb)]
                        for word in engine.color_words(text, name)
                    ],
                }
                for heading, note, name in _PANELS
            ],
        }

    def show_map() -> str:
        page = html.escape(packaged_map())
        return f'<iframe class="nf-map" title="Map of concepts" sandbox="allow-scripts" srcdoc="{page}"></iframe>'

    button.click(colors, text, panels, show_progress="minimal", **encoder_limits, api_name="colors")
    tab.select(show_map, None, concept_map, show_progress="hidden", api_visibility="private")


@cache
def packaged_map() -> str:
    """The page of the map, made by `nerfound.space.maps`: it loads nothing and runs no script but its own."""
    return (resources.files("nerfound") / "data" / "concept-map.html").read_text(encoding="utf-8")
