"""The settings that make a run what it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..concepts import Concept
from .answers import Question
from .inputs import Source
from .preparation import Selection
from .prompts import load_prompt


@dataclass(frozen=True)
class AnnotationTask:
    """What to annotate, and how: all that makes a run what it is.

    Args:
        source (`Source`): the raw text.
        model (`str`): the name that the server knows.
        concepts (`Sequence[Concept]`, *optional*): a closed ontology; by default the model invents concepts.
        structured (`bool`, *optional*, defaults to `False`): ask for JSON after a schema, where the server supports it.
        nested (`bool`, *optional*, defaults to `False`): with a closed ontology, entities may overlap.
        parameters (`dict[str, Any]`, *optional*): of the completion; see `Question`.
        selection (`Selection`, *optional*): which passages.
    """

    source: Source
    model: str
    concepts: Sequence[Concept] = ()
    structured: bool = False
    nested: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)
    selection: Selection = field(default_factory=Selection)

    def question(self) -> Question:
        """What all requests share."""
        prompt = load_prompt(structured=self.structured, concepts=self.concepts, nested=self.nested)
        return Question(self.model, prompt, self.parameters)

    def fingerprint(self) -> dict[str, str]:
        """The settings that a run must keep to go on."""
        question = self.question()
        system = hashlib.sha256(question.prompt.system.encode()).hexdigest()[:12]
        return {
            "source": self.source.fingerprint(),
            "selection": repr(self.selection),
            "model": self.model,
            "prompt": f"{question.prompt.label}, {system}",
            "parameters": json.dumps(question.sent_parameters, sort_keys=True),
        }
