"""What the buttons of the teaching tab do, for one visitor at a time: nothing is kept but in the session's state."""

from __future__ import annotations

import html
from collections import Counter
from pathlib import Path
from typing import Any

from ..fewshot import SupportSet
from .archives import write_archive
from .documents import Document, add_examples, empty_document, from_markup, import_file, ready_to_fit, to_markup
from .engine import Engine, Taught
from .limits import RefusedError, checked_text, told
from .worked import Worked, worked_examples

_NO_RECOGNIZER = "There is no recognizer yet: mark some mentions, then press Fit."


class Teaching:
    """The handlers of the tab.

    Args:
        engine (`Engine`): the encoders.
        archives (`Path`): where recognizers to download lie.
    """

    def __init__(self, engine: Engine, archives: Path) -> None:
        self.engine = engine
        self.archives = archives

    @told
    def fit(self, document: Document) -> tuple[Taught, str]:
        """Fit a recognizer on the examples of a document; it stays in your session for /extract and /recognizer.

        Examples may also be inline markup, such as "a table at [Nobu](restaurant)". Returns how it went, as HTML.
        """
        taught = self.engine.teach(self._ready(document))
        return taught, _described(taught)

    @told
    def fit_if_changed(self, document: Document, current: Taught | None) -> tuple[Taught, str]:
        """Fit, unless the recognizer is of these very examples."""
        support = self._ready(document)
        if current is None or support != current.support:
            current = self.engine.teach(support)
        return current, _described(current)

    def _ready(self, document: Document) -> SupportSet:
        return ready_to_fit(document, names_suffice=self.engine.starts_from_names)

    @told
    def extract(self, text: str, current: Taught | None) -> dict[str, Any]:
        """Find entities in a text with the recognizer that /fit made in this session."""
        if current is None:
            raise RefusedError(_NO_RECOGNIZER)
        entities = current.extract(checked_text(text))
        return {
            "text": text,
            "entities": entities,
            "concepts": list(current.support.concepts),
            "threshold": 0,
            "note": "" if entities else "Nothing found. Select what is missing, or mark more examples.",
        }

    @told
    def add_corrections(self, document: Document, found: dict[str, Any] | None) -> Document:
        """Add a corrected result of /extract to the examples of a document."""
        if not isinstance(found, dict) or not isinstance(found.get("entities"), list):
            raise RefusedError("Nothing to add yet: find the entities of a text first.")
        return add_examples(document, checked_text(found.get("text")), _kept(found["entities"], found.get("threshold")))

    @told
    def read_file(self, path: str, document: Document) -> Document:
        """Add the examples of a file (JSONL, CoNLL or inline markup) to a document. The file is deleted at once."""
        try:
            return import_file(path, document)
        finally:
            Path(path).unlink(missing_ok=True)

    @told
    def recognizer(self, current: Taught | None) -> str:
        """The recognizer that /fit made in this session, as a zip that loads with pipeline("few-shot-ner")."""
        if current is None:
            raise RefusedError(_NO_RECOGNIZER)
        return str(write_archive(current.recognizer, self.archives))


def show_markup(document: Document) -> Document:
    """The document with its examples as markup to edit."""
    try:
        return {**document, "markup": to_markup(document), "error": None}
    except RefusedError as refusal:
        return {**document, "markup": "", "error": str(refusal)}


def apply_markup(document: Document) -> Document:
    """The document that the edited markup says; or the same, with what is wrong with the markup."""
    try:
        return from_markup(str(document.get("markup") or ""), document)
    except RefusedError as refusal:
        return {**document, "error": str(refusal)}


def start(worked: Worked | None) -> tuple[Document, str, None, None, str]:
    """Document, new text, findings, recognizer and status of a worked example, or of nothing."""
    document = worked.document if worked else empty_document()
    return document, worked.new[0].text if worked else "", None, None, status("Not fitted yet.")


def next_text(document: Document, text: str) -> str:
    """Another text of the worked example that these concepts come from; of any, for concepts of the visitor's own."""
    concepts = document.get("concepts") or []
    names = {concept["name"] for concept in concepts}
    fitting = [each for each in worked_examples() if names & {concept["name"] for concept in each.document["concepts"]}]
    texts = [example.text for each in fitting or worked_examples() for example in (*each.new, each.compare)]
    return texts[(texts.index(text) + 1) % len(texts)] if text in texts else texts[0]


def status(said: str) -> str:
    """The line below the button; `said` is HTML."""
    return f"<div class='nf-status' role='status'>{said}</div>"


def _described(taught: Taught) -> str:
    examples = taught.support.examples
    marked = Counter(entity.label for example in examples for entity in example.entities)
    said = f"<b>Fitted in {taught.seconds:.1f} s</b> on {len(examples)} examples with {marked.total()} mentions."
    if not examples:
        said = (
            f"<b>Fitted in {taught.seconds:.1f} s</b> on names and descriptions alone: mark mentions to teach it more."
        )
    for names, note in (
        (set(taught.recognizer.labels) - marked.keys() if examples else (), "Known by name alone, as yet"),
        (taught.support.concepts.keys() - set(taught.recognizer.labels), "Left out, for want of a mention"),
    ):
        if names:
            said += f" {note}: {html.escape(', '.join(sorted(names)))}."
    return status(said)


def _kept(entities: list[Any], threshold: Any) -> list[Any]:
    """What a visitor sees of the entities: those above the threshold, and their own."""
    least = threshold if isinstance(threshold, int | float) else 0
    kept = []
    for entity in entities:
        score = entity.get("score") if isinstance(entity, dict) else None
        if not isinstance(score, int | float) or score >= least:
            kept.append({key: entity.get(key) for key in ("start", "end", "label")} if score is not None else entity)
    return kept
