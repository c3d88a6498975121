"""The tab that scores words against any concept by its name and description, with no example at all."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ..concepts import Concept
from .compare import title
from .components import words
from .engine import Engine
from .limits import MAX_DESCRIPTION, MAX_NAME, RefusedError, checked_text, told

MAX_LINES = 8
MAX_SCORED_TEXT = 2_000

_TEXT = (
    "Grandma simmered the lentil stew in her copper pot while the thunderstorm rolled over Salzburg. The vet had "
    "called at noon: the limping greyhound only needed rest and a bandage."
)
_CONCEPTS = (
    "food: something that people eat or drink\nanimal: a living creature\nkitchen utensil: a tool for cooking\n"
    "weather: a state of the atmosphere\nplace: a city, region or country"
)
_SCHEMA = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "words": {"type": "array", "items": {}, "description": "[start, end] of each word, in characters"},
        "concepts": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "description": {"type": "string"},
                    "scores": {"type": "array", "items": {"type": "number"}, "description": "one per word"},
                },
            },
        },
    },
}


def build_concepts(engine: Engine, encoder_limits: dict[str, Any]) -> None:
    """Build the tab, inside a `gr.Blocks`."""
    title(
        "Any concept, no examples <span class='nf-badge'>uncalibrated</span>",
        "The foundation comes with a concept encoder: a name and a description become a vector, and every word is "
        "scored against it. The scores rank words; they are no probabilities, and are no substitute for examples.",
    )
    with gr.Row(equal_height=False):
        text = gr.Textbox(_TEXT, label="Text", lines=6, min_width=300, elem_id="concepts-text")
        concepts = gr.Textbox(
            _CONCEPTS,
            label="Concepts",
            info=f"One per line, as name: description. Up to {MAX_LINES}.",
            lines=6,
            min_width=300,
            elem_id="concepts-list",
        )
    button = gr.Button("Score the words", variant="primary", elem_id="score")
    heat = words(placeholder="Press the button.", schema=_SCHEMA, elem_id="concepts-heat")

    @told
    def score_concepts(text: str, concepts: str) -> dict[str, Any]:
        """Score every word of a text against concepts, one per line as "name: description". Uncalibrated."""
        checked_text(text, most=MAX_SCORED_TEXT)
        read = read_concept_lines(concepts)
        offsets, scores = engine.score_concepts(text, read)
        return {
            "text": text,
            "words": [list(offset) for offset in offsets],
            "concepts": [
                {**concept._asdict(), "scores": [round(float(score), 4) for score in column]}
                for concept, column in zip(read, scores.T, strict=True)
            ],
        }

    button.click(
        score_concepts, [text, concepts], heat, show_progress="minimal", **encoder_limits, api_name="score_concepts"
    )


def read_concept_lines(lines: Any) -> list[Concept]:
    """Concepts, one per line, as `name: description` or a name alone.

    Raises:
        RefusedError: if there is none, there are too many, or one is too long.
    """
    read = []
    for line in checked_text(lines, "list of concepts").splitlines():
        name, _, description = (part.strip() for part in line.partition(":"))
        if name:
            read.append(Concept(name, description))
        elif description:
            raise RefusedError(f"“: {description[:MAX_NAME]}” has no name: write name: description.")
    if len(read) > MAX_LINES:
        raise RefusedError(f"{len(read)} concepts; this page scores at most {MAX_LINES} at a time.")
    for concept in read:
        if len(concept.name) > MAX_NAME or len(concept.description) > MAX_DESCRIPTION:
            raise RefusedError(
                f"“{concept.name[:MAX_NAME]}” is long: give at most {MAX_NAME} characters of name "
                f"and {MAX_DESCRIPTION} of description."
            )
    return read
