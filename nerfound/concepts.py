"""Concepts: what a mention is an instance of, as a name and an optional description."""

from __future__ import annotations

from typing import NamedTuple


class Concept(NamedTuple):
    """A concept of an open ontology: a name, and a description of the concept (never of the mention)."""

    name: str
    description: str = ""

    @property
    def text(self) -> str:
        """The concept as the concept encoder reads it: `name: description`, or the name alone."""
        return f"{self.name}: {self.description}" if self.description else self.name


def concept_key(name: str) -> str:
    """The key under which two spellings of a concept name count as one: case-folded, white space collapsed."""
    return " ".join(name.casefold().split())
