"""Prompts: what the language model is told, as versioned files, and the form in which it must answer.

A template is a file `templates/NAME.vN.txt`. A change of its words is a new file with the next N, so that the prompt
which a corpus names can always be read; the newest version of a name is the one in use.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from ..concepts import Concept

_FILE_NAME = re.compile(r"(?P<name>[a-z-]+)\.v(?P<version>\d+)\.txt")


@dataclass(frozen=True)
class Prompt:
    """A prompt, complete but for the text.

    Args:
        name (`str`): of the template: `"open-lines"`.
        version (`int`): of the template.
        system (`str`): the instructions. The text to annotate is the whole of the user's message, and nothing else is.
        structured (`bool`): whether the answer is JSON after a schema, else lines of `-|-`.
        concepts (`tuple[Concept, ...]`): the closed ontology; empty if it is open.
    """

    name: str
    version: int
    system: str
    structured: bool
    concepts: tuple[Concept, ...] = ()

    @property
    def label(self) -> str:
        """Name and version, as the corpus records them: `"open-lines.v1"`."""
        return f"{self.name}.v{self.version}"

    def messages(self, text: str) -> list[dict[str, str]]:
        """The messages of one request."""
        return [{"role": "system", "content": self.system}, {"role": "user", "content": text}]

    def response_format(self) -> dict[str, Any] | None:
        """The JSON schema of the answer, for servers that support structured output; `None` for lines."""
        if not self.structured:
            return None
        fields: dict[str, Any] = {"entity": {"type": "string"}, "concept": {"type": "string"}}
        if self.concepts:
            fields["concept"]["enum"] = [concept.name for concept in self.concepts]
        else:
            fields["description"] = {"type": "string"}
        entity = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
        schema = {
            "type": "object",
            "properties": {"entities": {"type": "array", "items": entity}},
            "required": ["entities"],
            "additionalProperties": False,
        }
        return {"type": "json_schema", "json_schema": {"name": "entities", "strict": True, "schema": schema}}


def load_prompt(*, structured: bool = False, concepts: Sequence[Concept] = (), nested: bool = False) -> Prompt:
    """The newest prompt of a kind.

    Args:
        structured (`bool`, *optional*, defaults to `False`): ask for JSON after a schema instead of lines.
        concepts (`Sequence[Concept]`, *optional*): a closed ontology; by default the model invents concepts.
        nested (`bool`, *optional*, defaults to `False`): with a closed ontology, entities may overlap.
    """
    ontology = ("closed-nested" if nested else "closed") if concepts else "open"
    name = f"{ontology}-{'json' if structured else 'lines'}"
    version, template = max(_templates(name))
    listed = "\n".join(f"- {concept.text}" for concept in concepts)
    system = template.replace("{concepts}", listed) if concepts else template
    return Prompt(name, version, system.strip(), structured, tuple(concepts))


def _templates(name: str) -> list[tuple[int, str]]:
    """All versions of a template, with their words."""
    folder = resources.files(__package__) / "templates"
    matches = [(file, _FILE_NAME.fullmatch(file.name)) for file in folder.iterdir()]
    return [
        (int(match["version"]), file.read_text(encoding="utf-8"))
        for file, match in matches
        if match and match["name"] == name
    ]
