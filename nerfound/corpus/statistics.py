"""How large a concept corpus is and how its concepts are distributed, beside the corpus of the NuNER blog post."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import regex

from ..concepts import concept_key
from ..markdown import markdown_literal, markdown_table
from ..spans import segment_words
from .markup import printable

TOP_CONCEPTS = 100
_LISTED_GROUPS = 20
# A final mark with what closes after it, before white space and what can begin a sentence; CJK marks need no space.
_SENTENCE_END = regex.compile(r"""[.!?…]+[\p{Pe}\p{Pf}"']*\s+(?=[\p{Pi}\p{Ps}"']*[\p{Lu}\p{Lo}\p{N}])|[。！？]+|\n""")
_NAME_WORD = regex.compile(r"[\p{L}\p{N}]")
_UNPRINTABLE = regex.compile(r"[\p{Cn}\u202A-\u202E\u2066-\u2069]")


class Group(NamedTuple):
    """The passages of one language or domain, and the annotations on them."""

    passages: int
    annotations: int


class Quantity(NamedTuple):
    """A number that describes a corpus: its title, how it is written, and its value in the blog's corpus, if known."""

    title: str
    form: str
    blog: float | None


QUANTITIES = {
    "passages": Quantity("passages", ",", 160_000),
    "sentences": Quantity("sentences (by their final marks, about)", ",", 160_000),
    "annotations": Quantity("annotations", ",", 800_000),
    "annotations_per_passage": Quantity("annotations per passage", ".1f", 5),
    "annotations_per_sentence": Quantity("annotations per sentence", ".1f", 5),
    "concepts": Quantity("unique concepts", ",", 80_000),
    "name_words": Quantity("unique words in concept names", ",", 28_000),
    "top_share": Quantity(f"share of annotations, {TOP_CONCEPTS} most common concepts", ".1%", 0.43),
    "singletons": Quantity("concepts that occur once", ",", 50_000),
    "singleton_annotation_share": Quantity("their share of annotations", ".1%", 0.057),
    "singleton_concept_share": Quantity("their share of concepts", ".1%", 50_000 / 80_000),
}
"""The figures of a corpus in the order in which they are shown. The blog's corpus has one sentence per passage."""


@dataclass(frozen=True)
class CorpusStatistics:
    """Counts of a concept corpus, as `corpus_statistics` takes them.

    Args:
        passages (`int`): passages, annotated or not.
        sentences (`int`): about how many sentences they have.
        concepts (`dict[str, int]`): annotations of each concept, the most common first. Spellings with one
            `concept_key` are one concept, under the most common of them, made safe to print.
        languages (`dict[str, Group]`): by language, the one with most annotations first; "" where none is given.
        domains (`dict[str, Group]`): by domain, likewise.
    """

    passages: int
    sentences: int
    concepts: dict[str, int]
    languages: dict[str, Group]
    domains: dict[str, Group]

    @property
    def annotations(self) -> int:
        """Annotations on all passages."""
        return sum(self.concepts.values())

    @property
    def common(self) -> dict[str, int]:
        """The `TOP_CONCEPTS` most common concepts."""
        return dict(list(self.concepts.items())[:TOP_CONCEPTS])

    @property
    def singletons(self) -> list[str]:
        """The concepts that occur once."""
        return [name for name, count in self.concepts.items() if count == 1]

    def figures(self) -> dict[str, float]:
        """The value of every one of `QUANTITIES`; shares lie between 0 and 1."""
        annotations, singletons = self.annotations, len(self.singletons)
        return {
            "passages": self.passages,
            "sentences": self.sentences,
            "annotations": annotations,
            "annotations_per_passage": annotations / self.passages,
            "annotations_per_sentence": annotations / self.sentences,
            "concepts": len(self.concepts),
            "name_words": len(_name_words(self.concepts)),
            "top_share": sum(self.common.values()) / annotations,
            "singletons": singletons,
            "singleton_annotation_share": singletons / annotations,
            "singleton_concept_share": singletons / len(self.concepts),
        }

    def table(self) -> list[tuple[str, str, str]]:
        """The figures in words: title, value here, value in the blog's corpus ("" where unknown)."""
        return [
            (
                quantity.title,
                format(value, quantity.form),
                "" if quantity.blog is None else format(quantity.blog, quantity.form),
            )
            for (_, value), quantity in zip(self.figures().items(), QUANTITIES.values(), strict=True)
        ]

    def to_dict(self) -> dict[str, Any]:
        """What `statistics.json` holds. `concepts_by_count` has, for every count, how many concepts occur so often."""
        return {
            "figures": self.figures(),
            "blog": {key: quantity.blog for key, quantity in QUANTITIES.items()},
            "most_common": self.common,
            "concepts_by_count": {str(count): number for count, number in self.concepts_by_count().items()},
            "languages": {name: group._asdict() for name, group in self.languages.items()},
            "domains": {name: group._asdict() for name, group in self.domains.items()},
        }

    def concepts_by_count(self) -> dict[int, int]:
        """For every count that occurs, ascending, how many concepts have it."""
        return dict(sorted(Counter(self.concepts.values()).items()))


def corpus_statistics(rows: Iterable[Mapping[str, Any]]) -> CorpusStatistics:
    """Count a corpus in one pass; memory grows with the number of different concepts, not with the corpus.

    Args:
        rows (`Iterable[Mapping]`): rows of a corpus, such as a `datasets.Dataset` with the columns of
            `CORPUS_FEATURES`.

    Raises:
        ValueError: if no row has an annotation.
    """
    spellings: Counter[str] = Counter()
    sentences = 0
    passages: dict[str, Counter[str]] = {"language": Counter(), "domain": Counter()}
    annotations: dict[str, Counter[str]] = {"language": Counter(), "domain": Counter()}
    for row in rows:
        sentences += count_sentences(row["text"])
        spellings.update(entity["concept"] for entity in row["entities"])
        for column, of_column in passages.items():
            of_column[row[column]] += 1
            annotations[column][row[column]] += len(row["entities"])
    if not spellings:
        raise ValueError(
            f"none of {passages['language'].total():,} passages has an annotation; give an annotated corpus"
        )
    languages, domains = (_groups(passages[column], annotations[column]) for column in ("language", "domain"))
    return CorpusStatistics(passages["language"].total(), sentences, _concepts(spellings), languages, domains)


def count_sentences(text: str) -> int:
    """About how many sentences a text has: a final mark before a capital, a digit or a new line ends one.

    An abbreviation before a name ("Dr. Smith") counts as an end too. A text has at least one sentence.
    """
    return max(1, sum(not piece.isspace() for piece in _SENTENCE_END.split(text) if piece))


def statistics_markdown(statistics: CorpusStatistics, source: str, command: str) -> str:
    """The statistics of a corpus as a Markdown page.

    Args:
        statistics (`CorpusStatistics`): of the corpus.
        source (`str`): how the user named it.
        command (`str`): the command line that the figures come from.
    """
    common = [(markdown_literal(name), f"{count:,}") for name, count in statistics.common.items()]
    return "\n".join(
        [
            f"# Statistics of {markdown_literal(source)}\n",
            f"Made by `{command.replace('`', '')}`. Beside it the corpus of the blog post *A Foundation Model for "
            "Entity Recognition* (NuMind, 2023), which has one sentence per passage. Spellings of a concept that "
            "differ only in case or white space are one concept.\n",
            markdown_table(["", "here", "blog"], statistics.table()),
            *_group_section("Languages", statistics.languages),
            *_group_section("Domains", statistics.domains),
            f"## The {len(common)} most common concepts\n",
            markdown_table(["concept", "annotations"], common),
        ]
    )


def _group_section(title: str, groups: Mapping[str, Group]) -> list[str]:
    listed = list(groups.items())[:_LISTED_GROUPS]
    rows = [(markdown_literal(name) or "(none given)", f"{n:,}", f"{m:,}") for name, (n, m) in listed]
    if len(groups) > len(listed):
        rows.append((f"… and {len(groups) - len(listed):,} more", "", ""))
    return [f"## {title}: {len(groups):,}\n", markdown_table([title.lower(), "passages", "annotations"], rows)]


def _concepts(spellings: Counter[str]) -> dict[str, int]:
    """Annotations by concept, the most common first (ties: by name), from annotations by spelling."""
    counts: Counter[str] = Counter()
    names: dict[str, str] = {}
    for spelling, count in spellings.most_common():
        key = concept_key(spelling)
        counts[key] += count
        names.setdefault(key, spelling)
    # Names that differ in unprintable characters alone would come out equal: their counts are added up.
    concepts: Counter[str] = Counter()
    for key, count in counts.items():
        concepts[_shown(names[key])] += count
    return dict(sorted(concepts.items(), key=lambda item: (-item[1], item[0])))


def _groups(passages: Counter[str], annotations: Counter[str]) -> dict[str, Group]:
    groups = {name: Group(count, annotations[name]) for name, count in passages.items()}
    return dict(sorted(groups.items(), key=lambda item: (-item[1].annotations, -item[1].passages, item[0])))


def _name_words(names: Iterable[str]) -> set[str]:
    """The different words of concept names: case-folded, without punctuation."""
    return {
        word
        for name in map(concept_key, names)
        for start, end in segment_words(name)
        if _NAME_WORD.search(word := name[start:end])
    }


def _shown(name: str) -> str:
    """A name on one line, without what could command a terminal, break an XML file or turn the text around it."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", printable(" ".join(name.split())))
