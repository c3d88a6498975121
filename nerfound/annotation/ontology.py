"""Concepts: the one rule by which names are normalised, those that name none, and a user's own list of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import regex
import yaml

from ..concepts import Concept, concept_key
from ..corpus.lines import BLOCK_SEPARATOR

MAX_CONCEPT_CHARACTERS = 80
_FORMS = "a mapping of names to descriptions, or a list of names or of {name, description}"
_ENDS = "\"'`*“”‘’«»„‹› \t"
_GAPS = regex.compile(r"[\s_]+")

_PARTS_OF_SPEECH = frozenset(
    """
    adj adjective adjectives adjective_phrase adv adverb adverbs adverb_phrase adverbial auxiliary_verb common_noun
    common_nouns conjunction conjunctions determiner determiners gerund infinitive interjection interjections modal_verb
    noun nouns noun_phrase noun_phrases numeral part_of_speech participle past_participle phrasal_verb plural_noun pos
    preposition prepositions prepositional_phrase pronoun pronouns proper_noun proper_nouns punctuation verb verbs
    verb_phrase verb_phrases
    """.split()  # noqa: SIM905
)
_PLACEHOLDERS = frozenset(("concept", "entity", "entity concept", "entity type", "idea", "n/a", "none", "unknown"))


def normalise_concept(raw: str) -> str:
    """The name under which a concept enters the corpus.

    The rule: white space and underscores become single spaces, quotes, asterisks and white space at both ends and full
    stops, colons and commas at the end are taken off, and the rest is lower-cased. The raw form is kept beside it.

    Args:
        raw (`str`): what the annotator wrote: `" **Historical_Event**."`.

    Returns:
        `str`: `"historical event"`; empty if nothing is left.
    """
    return _GAPS.sub(" ", raw).lstrip(_ENDS).rstrip(_ENDS + ".:,;").lower()


def is_part_of_speech(concept: str) -> bool:
    """Whether a normalised name is one of grammar: the prompt asks for something more meaningful."""
    return concept.replace(" ", "_") in _PARTS_OF_SPEECH


def is_placeholder(concept: str) -> bool:
    """Whether a normalised name says no more than that there is a concept."""
    return concept in _PLACEHOLDERS


def unquoted(mention: str) -> str:
    """A mention without the quotes, asterisks and white space that annotators put around it."""
    return mention.strip(_ENDS)


def read_ontology(path: str | os.PathLike[str]) -> tuple[Concept, ...]:
    """Read concepts from a YAML or JSON file.

    ```yaml
    restaurant: A place that serves meals.
    city: A large settlement.
    ```

    A list of names, or of mappings with `name` and `description`, is read too.

    Args:
        path (`str` or `os.PathLike`): the file.

    Returns:
        `tuple[Concept, ...]`: in the order of the file.

    Raises:
        ValueError: if the file holds anything else, names no concept, or names one twice.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        return checked_ontology(content)
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from error


def checked_ontology(content: Any) -> tuple[Concept, ...]:
    """Concepts from a mapping or list, checked; see `read_ontology`."""
    if not isinstance(content, Mapping | list | tuple) or not content:
        raise ValueError(f"{content!r:.80} names no concepts; write {_FORMS}")
    pairs: Iterable[Any] = content.items() if isinstance(content, Mapping) else content
    concepts: dict[str, Concept] = {}
    for item in pairs:
        concept = _concept(item)
        key = concept_key(normalise_concept(concept.name))  # as answers are read
        if not key or len(key) > MAX_CONCEPT_CHARACTERS or BLOCK_SEPARATOR in key:
            raise ValueError(
                f"concept {concept.name!r:.100} cannot be read from an answer; name it in words, in at most "
                f"{MAX_CONCEPT_CHARACTERS} characters, without {BLOCK_SEPARATOR}"
            )
        if other := concepts.get(key):
            raise ValueError(f"concept {concept.name!r} is the same as {other.name!r}; name each one once")
        concepts[key] = concept
    return tuple(concepts.values())


def _concept(item: Any) -> Concept:
    if isinstance(item, Mapping):
        item = item.get("name"), item.get("description")
    name, description = (item, None) if isinstance(item, str) else item if _is_pair(item) else (None, None)
    description = "" if description is None else description
    if not isinstance(name, str) or not isinstance(description, str) or not name.strip():
        raise ValueError(f"{item!r:.80} is no concept; write {_FORMS}, as strings (quote yes, no and numbers)")
    return Concept(*(" ".join(field.split()) for field in (name, description)))


def _is_pair(item: Any) -> bool:
    return isinstance(item, tuple) and len(item) == 2
