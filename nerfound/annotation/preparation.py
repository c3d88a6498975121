"""From documents to the passages that are worth a request: sentences, filtered, each text once, a sample of them."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from sentencex import segment

from ..corpus.records import passage_id
from ..spans import segment_words
from .inputs import Document

_CODE_LETTERS = 3
_DAMAGED = re.compile("[\0\ud800-\udfff]")  # NUL, and halves of characters


@dataclass(frozen=True)
class Selection:
    """Which passages to annotate.

    Args:
        sentences (`bool`, *optional*, defaults to `True`): split documents into sentences; else a document is one
            passage, as it is.
        language (`str`, *optional*, defaults to `"en"`): code of the documents' language, by whose rules sentences are
            split. A document whose source states another code is left out.
        min_words (`int`, *optional*, defaults to 3): words and numbers of a passage.
        max_characters (`int`, *optional*, defaults to 1000): length of a passage.
        min_letters (`float`, *optional*, defaults to 0.5): share of letters among the characters without white space.
        sample (`int`, *optional*): how many passages to take, at random from all; by default all.
        seed (`int`, *optional*, defaults to 0): of the sample. It depends on seed and texts alone, not on their order.
    """

    sentences: bool = True
    language: str = "en"
    min_words: int = 3
    max_characters: int = 1_000
    min_letters: float = 0.5
    sample: int | None = None
    seed: int = 0


class Passage(NamedTuple):
    """A text to annotate; `priority` orders passages for sampling."""

    id: str
    text: str
    language: str
    domain: str
    priority: int


def passages(documents: Iterable[Document], selection: Selection, counts: Counter[str]) -> Iterator[Passage]:
    """The passages of documents that pass the filters, in order; a text may come again.

    Args:
        documents (`Iterable[Document]`): the source.
        selection (`Selection`): what to take.
        counts (`Counter[str]`): receives `documents`, `passages`, and what was left out by reason, in place.
    """
    for document in documents:
        counts["documents"] += 1
        if _is_foreign(document.language, selection.language):
            counts["left out, document in another language"] += 1
            continue
        if _DAMAGED.search(document.text):
            counts["left out, document with damaged characters"] += 1
            continue
        for text in _texts(document.text, selection):
            counts["passages"] += 1
            if reason := _flaw(text, selection):
                counts[f"left out, {reason}"] += 1
            else:
                # The language that the source states, if any: one that none is stated for counts as in every language
                priority = _priority(text, selection)
                yield Passage(passage_id(text), text, document.language, document.domain, priority)


def _texts(text: str, selection: Selection) -> Iterator[str]:
    if not selection.sentences:
        if stripped := text.strip():
            yield stripped
        return
    for sentence in segment(selection.language, text):
        if collapsed := " ".join(sentence.split()):
            yield collapsed


def _is_foreign(stated: str, wanted: str) -> bool:
    """Whether a document states a language code that is not the wanted one; names of languages are no codes."""
    code = stated.replace("_", "-").partition("-")[0]
    return 0 < len(code) <= _CODE_LETTERS and code.casefold() != wanted.partition("-")[0].casefold()


def _flaw(text: str, selection: Selection) -> str | None:
    if len(text) > selection.max_characters:
        return "too long"
    if sum(map(str.isalpha, text)) < selection.min_letters * len("".join(text.split())):
        return "too few letters"
    words = sum(text[start].isalnum() for start, _ in segment_words(text))
    return "too short" if words < selection.min_words else None


def _priority(text: str, selection: Selection) -> int:
    """A number that looks random, and is the same for the same text and seed: the sample takes the lowest."""
    digest = hashlib.blake2b(f"{selection.seed}\n{text}".encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big")
