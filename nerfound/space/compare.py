"""The tab that fits the same examples on the plain encoder and on the foundation, and sets them side by side."""

from __future__ import annotations

from collections import Counter
from typing import Any

import gradio as gr

from ..fewshot import Example
from ..spans import Entity, Span
from .components import findings
from .documents import Document, ready_to_fit
from .engine import Engine
from .limits import checked_text, told
from .teach import TeachTab
from .worked import known_answers, worked_examples


def build_compare(engine: Engine, teach: TeachTab, encoder_limits: dict[str, Any]) -> None:
    """Build the tab, inside a `gr.Blocks`."""
    title(
        "The same examples, two encoders",
        "Your examples from the first tab are fitted twice: on the foundation, which was trained to tell concepts "
        "apart and starts from their names where it can, and on the plain encoder that it was made from. "
        "✓ right · ≈ some of its words · ✗ wrong · outlined: missed.",
    )
    text = gr.Textbox(
        worked_examples()[0].compare.text, label="Text that neither has seen", lines=4, elem_id="compare-text"
    )
    button = gr.Button("Compare", variant="primary", elem_id="compare")
    with gr.Row(equal_height=False):
        panels = []
        for heading, hint, name in (
            ("Foundation", "trained on concepts", "foundation"),
            ("Plain encoder", "the same, before that training", "base"),
        ):
            with gr.Column(min_width=300, elem_classes="nf-card"):
                title(heading, hint)
                panels.append(findings(editable=False, placeholder="Press Compare.", elem_id=f"compare-{name}"))

    @told
    def compare(document: Document, text: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Fit the examples of a document on the foundation and on the plain encoder; find entities with both.

        In the texts of the worked examples, whose answers are known, each entity has a verdict.
        """
        support = ready_to_fit(document, names_suffice=engine.starts_from_names)
        checked_text(text)
        concepts = list(support.concepts)
        answer = known_answers().get(text)
        if answer is not None and not {entity.label for entity in answer.entities} <= set(concepts):
            answer = None
        foundation = engine.teach(support).extract(text)
        base = engine.teach(support, "base").extract(text) if support.examples else []  # it knows no names
        return _panel(text, concepts, foundation, answer), _panel(text, concepts, base, answer)

    button.click(
        compare, [teach.annotator, text], panels, show_progress="minimal", **encoder_limits, api_name="compare"
    )
    for worked_button, worked in teach.worked:
        worked_button.click(
            lambda worked=worked: (worked.compare.text, None, None),
            None,
            [text, *panels],
            show_progress="hidden",
            api_visibility="private",
        )


def title(heading: str, hint: str) -> None:
    """A heading with a line below it; both are ours."""
    gr.HTML(f"<h2>{heading}</h2><p>{hint}</p>", elem_classes="nf-title", apply_default_css=False)


def _panel(text: str, concepts: list[str], entities: list[Entity], answer: Example | None) -> dict[str, Any]:
    if answer is None:
        note = f"{len(entities)} entities found"
        return {"text": text, "entities": entities, "concepts": concepts, "note": note}
    judged = judge(entities, answer)
    count = Counter(entity["verdict"] for entity in judged)
    note = " · ".join(f"{count[verdict]} {verdict}" for verdict in ("right", "partly", "wrong", "missed"))
    return {"text": text, "entities": judged, "concepts": concepts, "note": f"Of {len(answer.entities)}: {note}"}


def judge(entities: list[Entity], answer: Example) -> list[dict[str, Any]]:
    """Entities with a verdict: `right` is the same words and concept, `partly` some of the words and the concept.

    Returns:
        The entities in order of their start, without overlap; what was `missed` among them.
    """
    judged: list[dict[str, Any]] = []
    for entity in entities:
        start, end, label = entity["start"], entity["end"], entity["label"]
        same = [span for span in answer.entities if span.label == label and span.start < end and start < span.end]
        verdict = "right" if Span(start, end, label) in same else "partly" if same else "wrong"
        judged.append({**entity, "verdict": verdict})
    for start, end, label in answer.entities:
        if not any(entity["start"] < end and start < entity["end"] for entity in judged):
            judged.append({"start": start, "end": end, "label": label, "score": None, "verdict": "missed"})
    return sorted(judged, key=lambda entity: int(entity["start"]))
