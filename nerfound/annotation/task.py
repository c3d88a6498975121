"""What makes a run what it is: its settings, and what they make of a text, the request."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..concepts import Concept
from .inputs import Source
from .preparation import Selection
from .prompts import Prompt, load_prompt

DEFAULT_PARAMETERS: Mapping[str, Any] = {"temperature": 0, "max_completion_tokens": 1024}
_LENGTH_PARAMETERS = ("max_completion_tokens", "max_tokens")
# Of the body, but no parameters: one text, one answer, which comes whole. A second choice would be paid and not read.
_GIVEN = ("messages", "model", "n", "stream")


@dataclass(frozen=True)
class Question:
    """What all requests of a run share.

    Args:
        model (`str`): the name that the server knows.
        prompt (`Prompt`): the instructions.
        parameters (`dict[str, Any]`): of the completion, as the server takes them; `None` leaves a default out.

    Raises:
        ValueError: if a parameter would change what a request is: `messages`, `model`, `n`, `stream`.
    """

    model: str
    prompt: Prompt
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if given := [name for name in _GIVEN if name in self.parameters]:
            value = self.parameters[given[0]]
            raise ValueError(
                f"parameter {given[0]}={value!r:.80} cannot be set: every request asks one model for one answer to one "
                "text; leave it out"
            )

    @cached_property
    def sent_parameters(self) -> dict[str, Any]:
        """The parameters in force: the defaults, changed and completed by those given."""
        defaults = dict(DEFAULT_PARAMETERS)
        if "max_tokens" in self.parameters:  # the older name of the same; servers refuse both at once
            del defaults["max_completion_tokens"]
        return {name: value for name, value in {**defaults, **self.parameters}.items() if value is not None}

    @property
    def max_output_tokens(self) -> int | None:
        """The most tokens that an answer can have; `None` if no parameter says so."""
        return next(
            (int(self.sent_parameters[name]) for name in _LENGTH_PARAMETERS if name in self.sent_parameters), None
        )

    def body(self, text: str) -> bytes:
        """The body of the request for one text, in canonical JSON: sorted keys, no white space, UTF-8."""
        before, after = self._around_the_text
        return before + _canonical(text) + after

    def key(self, text: str) -> bytes:
        """SHA-256 of the body: model, prompt, parameters and text. Requests with one key are the same request."""
        return hashlib.sha256(self.body(text)).digest()

    @cached_property
    def _around_the_text(self) -> tuple[bytes, bytes]:
        """Nearly all of a body is the same in every request, and written down once."""
        mark = uuid.uuid4().hex
        body: dict[str, Any] = {"model": self.model, "messages": self.prompt.messages(mark), **self.sent_parameters}
        if response_format := self.prompt.response_format():
            body.setdefault("response_format", response_format)
        before, _, after = _canonical(body).partition(_canonical(mark))
        return before, after


def _canonical(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


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
