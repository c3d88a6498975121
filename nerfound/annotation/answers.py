"""What is asked of a server, and what it answered: the two ends of a request."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple

from .prompts import Prompt

DEFAULT_PARAMETERS: Mapping[str, Any] = {"temperature": 0, "max_completion_tokens": 1024}
_MOST_TOKENS = 2**31 - 1  # that the columns of the corpus hold
_LENGTH_PARAMETERS = ("max_completion_tokens", "max_tokens")


class Answer(NamedTuple):
    """A finished request: everything that its answer can be read from again, without asking again.

    `finish_reason` is the server's (`"stop"`, `"length"`, `"content_filter"`), `model` the one that the server says
    has answered, `answered_at` an ISO date and time in UTC. Token counts are 0 where the server gives none.
    """

    content: str
    refusal: str
    finish_reason: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    answered_at: str


@dataclass(frozen=True)
class Question:
    """What all requests of a run share.

    Args:
        model (`str`): the name that the server knows.
        prompt (`Prompt`): the instructions.
        parameters (`dict[str, Any]`): of the completion, as the server takes them; `None` leaves a default out.
    """

    model: str
    prompt: Prompt
    parameters: Mapping[str, Any] = field(default_factory=dict)

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

    def body(self, text: str) -> dict[str, Any]:
        """The body of the request for one text."""
        body: dict[str, Any] = {"model": self.model, "messages": self.prompt.messages(text)}
        if response_format := self.prompt.response_format():
            body["response_format"] = response_format
        return {**body, **self.sent_parameters}

    def key(self, text: str) -> bytes:
        """SHA-256 of the body: model, prompt, parameters and text. Requests with one key are the same request."""
        canonical = json.dumps(self.body(text), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).digest()


def answer_from_completion(completion: Any) -> Answer:
    """Read the body of a chat completion.

    Raises:
        ValueError: if it is none.
    """
    try:
        choice = completion["choices"][0]
        message, usage = choice["message"], completion.get("usage") or {}
        return Answer(
            content=_storable(message.get("content")),
            refusal=_storable(message.get("refusal")),
            finish_reason=_storable(choice.get("finish_reason")),
            model=_storable(completion.get("model")),
            prompt_tokens=_count(usage.get("prompt_tokens")),
            completion_tokens=_count(usage.get("completion_tokens")),
            answered_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"the answer is no chat completion: {completion!r:.200}") from error


def _count(tokens: Any) -> int:
    """A number of tokens, made one that can be stored and paid whatever the server says."""
    try:
        return min(max(int(tokens or 0), 0), _MOST_TOKENS)
    except OverflowError:  # JSON may hold numbers that are infinite
        return _MOST_TOKENS


def _storable(value: Any) -> str:
    """A string as UTF-8 can hold it: JSON may name half of a character."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError(value)
    return value.encode("utf-8", "replace").decode()
