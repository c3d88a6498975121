"""The tab in which a visitor teaches: name concepts, mark mentions, fit, try, correct, fit again."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from .components import annotator, findings
from .documents import FILE_TYPES
from .engine import Engine
from .limits import MAX_TEXT
from .teaching import Teaching, apply_markup, next_text, show_markup, start, status
from .worked import Worked, worked_examples

SESSION_SECONDS = 3600
"""What a visitor taught is forgotten so long after the last fit."""

_FROM_NAMES = "In about a second. Names and descriptions alone give a first guess; every mention improves it."
_FROM_MENTIONS = "In a second or two: the foundation stays as it is, a small head is fitted on your mentions."
_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


@dataclass
class TeachTab:
    """The parts of the tab; the worked examples and the annotator are of use to other tabs."""

    worked: list[tuple[gr.Button, Worked]]
    clear: gr.Button
    annotator: gr.HTML
    upload: gr.UploadButton
    fit: gr.Button
    status: gr.HTML
    text: gr.Textbox
    find: gr.Button
    another: gr.Button
    findings: gr.HTML
    correct: gr.Button
    archive: gr.Button
    archive_file: gr.DownloadButton
    taught: gr.State


def build_teach(engine: Engine, fit_limits: dict[str, Any], read_limits: dict[str, Any]) -> TeachTab:
    """Build the tab, inside a `gr.Blocks`."""
    tab = _lay_out(engine.starts_from_names)
    _wire(tab, Teaching(engine, Path(tab.archive_file.GRADIO_CACHE) / "archives"), fit_limits, read_limits)
    return tab


def step(number: int, title: str, hint: str) -> None:
    """The heading of a step."""
    gr.HTML(
        f"<h2><span aria-hidden='true'>{number}</span>{html.escape(title)}</h2><p>{html.escape(hint)}</p>",
        elem_classes="nf-step",
        apply_default_css=False,
    )


def _lay_out(from_names: bool) -> TeachTab:
    first = worked_examples()[0]
    parts: dict[str, Any] = {"taught": gr.State(None, time_to_live=SESSION_SECONDS)}
    with gr.Row(elem_classes="nf-worked"):
        gr.HTML("<span class='nf-hint'>Start from an example:</span>", min_width=0)
        parts["worked"] = [(gr.Button(each.name, size="sm", min_width=0), each) for each in worked_examples()]
        parts["clear"] = gr.Button("Start empty", size="sm", min_width=0)
    with gr.Row(equal_height=False):
        with gr.Column(min_width=320, elem_classes="nf-card"):
            step(
                1,
                "Name concepts and mark mentions",
                "Select words, then click a concept or press its number. What you mark, it learns.",
            )
            parts["annotator"] = annotator(first.document, elem_id="annotator")
            parts["upload"] = gr.UploadButton(
                "Import JSONL, CoNLL or markup file", file_types=list(FILE_TYPES), size="sm", elem_id="import"
            )
        with gr.Column(min_width=320, elem_classes="nf-card"):
            step(2, "Fit", _FROM_NAMES if from_names else _FROM_MENTIONS)
            parts["fit"] = gr.Button("Fit", variant="primary", elem_id="fit")
            parts["status"] = gr.HTML(status("Not fitted yet."), elem_id="fit-status")
            step(3, "Try it on new text", "Not one of the examples: here it shows what it has learnt.")
            parts["text"] = gr.Textbox(
                first.new[0].text,
                label=f"New text, up to {MAX_TEXT:,} characters",
                lines=3,
                max_lines=12,
                elem_id="new-text",
            )
            with gr.Row():
                parts["find"] = gr.Button("Find entities", variant="primary", min_width=120, elem_id="find")
                parts["another"] = gr.Button("Another text", min_width=120, elem_id="another")
            parts["findings"] = findings(
                editable=True,
                placeholder="Press Fit, and the entities of the text appear here.",
                elem_id="findings",
            )
            step(4, "Correct it, and fit again", "Click an entity to relabel or remove it; select words to add one.")
            parts["correct"] = gr.Button("Add to the examples and fit again", elem_id="correct")
            parts["archive"] = gr.Button("Download the recognizer (.zip)", elem_id="archive")
            parts["archive_file"] = gr.DownloadButton(visible="hidden", elem_id="archive-file")
    return TeachTab(**parts)


def _wire(tab: TeachTab, teaching: Teaching, fit_limits: dict[str, Any], read_limits: dict[str, Any]) -> None:
    fitting: dict[str, Any] = {
        "outputs": [tab.taught, tab.status],
        "show_progress_on": tab.status,
        "show_progress": "minimal",
    }
    extracting: dict[str, Any] = {
        "fn": teaching.extract,
        "inputs": [tab.text, tab.taught],
        "outputs": tab.findings,
        "show_progress": "minimal",
        **read_limits,
    }
    tab.fit.click(teaching.fit, tab.annotator, **fitting, **fit_limits, api_name="fit").success(
        **extracting, api_name="extract"
    )
    # Nearly always nothing has changed: this must not wait for the fits of others
    tab.find.click(
        teaching.fit_if_changed, [tab.annotator, tab.taught], **fitting, **read_limits, api_visibility="private"
    ).success(**extracting, api_visibility="private")
    tab.correct.click(
        teaching.add_corrections,
        [tab.annotator, tab.findings],
        tab.annotator,
        show_progress="hidden",
        api_name="add_corrections",
    ).success(teaching.fit, tab.annotator, **fitting, **fit_limits, api_visibility="private").success(
        **extracting, api_visibility="private"
    )
    tab.upload.upload(
        teaching.read_file, [tab.upload, tab.annotator], tab.annotator, show_progress="hidden", api_name="import_file"
    )
    tab.archive.click(teaching.recognizer, tab.taught, tab.archive_file, **fit_limits, api_name="recognizer").success(
        None, js="() => { document.getElementById('archive-file').click(); }"
    )
    tab.another.click(next_text, [tab.annotator, tab.text], tab.text, **_QUIET)
    tab.annotator.show_markup(show_markup, tab.annotator, tab.annotator, **_QUIET)
    tab.annotator.apply_markup(apply_markup, tab.annotator, tab.annotator, **_QUIET)
    fresh = [tab.annotator, tab.text, tab.findings, tab.taught, tab.status]
    for button, worked in tab.worked:
        button.click(lambda worked=worked: start(worked), None, fresh, **_QUIET)
    tab.clear.click(lambda: start(None), None, fresh, **_QUIET)
