"""The page's own components: `gr.HTML` with scripts of ours. Scripts build the page from data; no data is markup."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

import gradio as gr

from ..rendering_nuner import concept_colors
from .documents import Document
from .limits import MAX_CONCEPTS, MAX_DESCRIPTION, MAX_EXAMPLE_CHARACTERS, MAX_EXAMPLES, MAX_NAME

_SCRIPTS = ("marks.js", "annotator.js", "findings.js", "words.js")
_CONCEPT = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "description": {"type": "string"}},
    "required": ["name"],
}
_ENTITY = {
    "type": "object",
    "properties": {
        "start": {"type": "integer"},
        "end": {"type": "integer"},
        "label": {"type": "string"},
        "text": {"type": "string"},
        "score": {"type": "number"},
    },
    "required": ["start", "end", "label"],
}
_DOCUMENT = {
    "type": "object",
    "properties": {
        "concepts": {"type": "array", "items": _CONCEPT},
        "examples": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"text": {"type": "string"}, "entities": {"type": "array", "items": _ENTITY}},
                "required": ["text", "entities"],
            },
        },
    },
    "required": ["concepts", "examples"],
}
_FOUND = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "entities": {"type": "array", "items": _ENTITY},
        "concepts": {"type": "array", "items": {"type": "string"}},
        "threshold": {"type": "number"},
        "note": {"type": "string"},
    },
    "required": ["text", "entities", "concepts"],
}


@cache
def head() -> str:
    """The style sheet and the scripts of the components, for the page's head."""
    static = resources.files(__package__) / "static"
    colors = "\n".join(
        f".nf-c{number} {{ --pale: {color.pale}; --deep: {color.deep}; }}"
        for number, color in enumerate(concept_colors(str(number) for number in range(MAX_CONCEPTS)).values())
    )
    sheet = (static / "space.css").read_text(encoding="utf-8")
    scripts = "\n".join(f"<script>{(static / name).read_text(encoding='utf-8')}</script>" for name in _SCRIPTS)
    return f"<style>{colors}\n{sheet}</style>\n{scripts}"


def annotator(document: Document, elem_id: str) -> gr.HTML:
    """Concepts and examples to name, mark and correct; its value is the document."""
    return _scripted(
        document,
        script="annotator",
        events=("show_markup", "apply_markup"),
        schema=_DOCUMENT,
        example={
            "concepts": [{"name": "restaurant", "description": ""}],
            "examples": [{"text": "a table at Nobu", "entities": [{"start": 11, "end": 15, "label": "restaurant"}]}],
        },
        elem_id=elem_id,
        max_concepts=MAX_CONCEPTS,
        max_name=MAX_NAME,
        max_description=MAX_DESCRIPTION,
        max_examples=MAX_EXAMPLES,
        max_example=MAX_EXAMPLE_CHARACTERS,
    )


def findings(*, editable: bool, placeholder: str, elem_id: str) -> gr.HTML:
    """A text with the entities found in it; its value is `{text, entities, concepts, threshold, note}` or `None`."""
    return _scripted(
        None,
        script="findings",
        schema=_FOUND,
        example={
            "text": "a table at Noma",
            "entities": [{"start": 11, "end": 15, "label": "restaurant", "text": "Noma", "score": 0.93}],
            "concepts": ["restaurant"],
        },
        editable=editable,
        placeholder=placeholder,
        elem_id=elem_id,
    )


def words(*, placeholder: str, schema: dict[str, Any], elem_id: str) -> gr.HTML:
    """A text with a colour for each word; its value is made by the tab that shows it."""
    return _scripted(None, script="words", schema=schema, example=None, placeholder=placeholder, elem_id=elem_id)


def _scripted(
    value: Any, *, script: str, schema: dict[str, Any], example: Any, events: Sequence[str] = (), **props: Any
) -> gr.HTML:
    """A component whose value is data, which a script of ours shows; API clients are told the data's schema.

    No subclass: for each, Gradio writes a stub file beside its module.
    """
    # The script starts as soon as the page's head is there; Gradio finds the names of our own events quoted here
    on_load = (
        f"const events = {list(events)!r};\n"
        "const start = () => window.nerfound && window.nerfound."
        f"{script} ? window.nerfound.{script}(element, props, trigger, watch) : setTimeout(start, 20);\n"
        "start();"
    )
    component = gr.HTML(value, html_template="", js_on_load=on_load, apply_default_css=False, **props)
    component.api_info = lambda: schema  # type: ignore[method-assign]
    component.example_payload = lambda: example  # type: ignore[method-assign]
    return component
