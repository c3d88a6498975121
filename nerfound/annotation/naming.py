"""Concept names: the one rule by which they are normalised, and those that name no concept."""

from __future__ import annotations

import regex

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
