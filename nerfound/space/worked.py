"""Worked examples: what a visitor sees first, and can load with one click. Everything in them is invented."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources

from ..fewshot import Example, parse_examples
from .documents import Document, write_document


@dataclass(frozen=True)
class Worked:
    """A domain with its concepts.

    Args:
        name (`str`): of the domain.
        document (`Document`): concepts and examples.
        new (`tuple[Example, ...]`): texts to try, with what should be found.
        compare (`Example`): a longer one.
    """

    name: str
    document: Document
    new: tuple[Example, ...]
    compare: Example


@cache
def worked_examples() -> tuple[Worked, ...]:
    """The worked examples, in the order of their buttons."""
    raw = json.loads((resources.files(__package__) / "worked_examples.json").read_text(encoding="utf-8"))
    return tuple(_read(**fields) for fields in raw)


def _read(name: str, concepts: dict[str, str], examples: list[str], new: list[str], compare: str) -> Worked:
    held_out = parse_examples([*new, compare], concepts=concepts).examples
    return Worked(name, write_document(parse_examples(examples, concepts=concepts)), held_out[:-1], held_out[-1])


@cache
def known_answers() -> dict[str, Example]:
    """The held-out texts of the worked examples, by text: what should be found in them is known."""
    return {example.text: example for worked in worked_examples() for example in (*worked.new, worked.compare)}
