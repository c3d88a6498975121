"""Mend what is systematically wrong in the packaged corpus: the step between what was written and what ships.

    git show 4cbf2f8:nerfound/data/concept-corpus.parquet > before.parquet
    python -m tests.benchmarks.corpus_mending before.parquet after.parquet

In order: one name per concept (`names`: spelling, number and word order; a few synonyms), one concept per name
(`senses`: homonyms that their descriptions tell apart), descriptions of at least four words, leading articles off,
then mentions that the annotator left out. What needs a reader's judgement stands in `corpus_mending.json`, read off the
corpus; the rest is done by the rules here. Passages, ids and their order stay as they are, and a mended corpus comes
out as it went in. Counts and what was left alone: docs/corpus_review.md.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import regex

from nerfound.concepts import concept_key
from nerfound.corpus import CorpusEntity, CorpusRow, read_parquet, write_parquet
from nerfound.corpus.alignment import sort_entities
from nerfound.corpus.writers import dataset_from_rows
from nerfound.spans import segment_words

TABLES = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
FEWEST_WORDS = 4
"""Words of the shortest description that is left as it is."""
COMPRESSION_LEVEL = 19

_NAMES = {concept_key(old): new for new, olds in TABLES["names"].items() for old in olds}
_NAMES |= {concept_key(new): new for new in TABLES["names"]}
_SENSES = {(concept, description): new for concept, description, new in TABLES["senses"]}
_SURFACES = {surface: concept for concept, surfaces in TABLES["surfaces"].items() for surface in surfaces}
_HOMOGRAPHS = set(TABLES["homographs"])

_DAY = "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_MONTH = "(?:January|February|March|April|May|June|July|August|September|October|November|December)"
# Forms that mean one thing wherever they stand; the longer come first
_FORMS = {
    "date": rf"(?<![\w.,–-])\d{{1,2}} {_MONTH}(?: \d{{4}})?(?![\w–-])",
    "day of the week": rf"\b{_DAY}s?\b",
    "month": r"\b(?:January|February|April|June|July|September|October|November|December)\b",
    "percentage": r"(?<![\w.,–-])\d+(?:\.\d+)?(?: ?%| per ?cent)(?![\w–-])",
    "year": r"(?<=\b(?:in|since|until|from) |, |\()(?:1[5-9]|20)\d\d(?![\w%]|[.,:–-]\d)",
}
_FIGURE = regex.compile(r"\d+(?:[.,]\d+)*")
_CONCEPTS_OF_FORMS = {
    "amount of money",
    "clock time",
    "decade",
    "dosage",
    "price",
    "temperature",
    "time",
    "time of day",
}
_NAME_PART = regex.compile(r"\p{Lu}\p{Ll}{2,}")
_ARTICLE = regex.compile(r"the (?=\d+(?:st|nd|rd|th)$|thirtieth$|year$|mile$|back$|war$)")
# A word that is part of a longer one is no mention: mother-in-law, sister ship
_COMPOUND = regex.compile(r"[-–/]\p{L}| (?:ship|company|city|station|tongue|tree)\b")
_FEWEST_ANNOTATIONS, _SMALLEST_SHARE = 3, 0.7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="the corpus as it was written, in Parquet")
    parser.add_argument("target", type=Path, help="where the mended one goes")
    args = parser.parse_args()
    rows = list(read_parquet(args.source))
    before = figures(rows)
    mended, counts = mend(rows)
    args.target.parent.mkdir(parents=True, exist_ok=True)
    write_parquet(dataset_from_rows(mended), args.target, compression_level=COMPRESSION_LEVEL)
    for name, count in counts.items():
        print(f"{count:7,}  {name}")
    for name, value in figures(mended).items():
        print(f"{before[name]:7,} → {value:7,}  {name}")
    print(f"{args.source.stat().st_size:7,} → {args.target.stat().st_size:7,}  bytes")


def mend(rows: Iterable[CorpusRow]) -> tuple[list[CorpusRow], Counter[str]]:
    """Mend a whole corpus.

    Args:
        rows (`Iterable[CorpusRow]`): of the corpus; they stay as they are.

    Returns:
        `tuple[list[CorpusRow], Counter[str]]`: the mended rows, in the same order, and how often what was done.
    """
    counts: Counter[str] = Counter()
    mended = [row | {"entities": [dict(entity) for entity in row["entities"]]} for row in rows]
    entities = [entity for row in mended for entity in row["entities"]]
    for entity in entities:
        _mend_name(entity, counts)
    _mend_descriptions(entities, counts)
    for row in mended:
        if row["language"] == "English":
            for entity in row["entities"]:
                _mend_boundary(entity, counts)
    _add_missed(mended, counts)
    for row in mended:
        row["entities"] = sort_entities(_distinct(row["entities"], counts))
    return mended, counts


def figures(rows: Iterable[CorpusRow]) -> dict[str, int]:
    """What the counts of a corpus are before and after."""
    entities = [entity for row in rows for entity in row["entities"]]
    descriptions = defaultdict(set)
    for entity in entities:
        descriptions[concept_key(entity["concept"])].add(entity["description"])
    return {
        "annotations": len(entities),
        "concepts": len(descriptions),
        "concepts with several descriptions": sum(len(found) > 1 for found in descriptions.values()),
        "annotations with a short description": sum(map(_is_short, entities)),
    }


def _mend_name(entity: CorpusEntity, counts: Counter[str]) -> None:
    sense = _SENSES.get((entity["concept"], entity["description"]))
    name = sense or _NAMES.get(concept_key(entity["concept"]), entity["concept"])
    if name != entity["concept"]:
        counts["annotations got the name of another sense" if sense else "annotations got their concept's name"] += 1
        entity["concept"] = name


def _mend_descriptions(entities: Iterable[CorpusEntity], counts: Counter[str]) -> None:
    """Short descriptions give way to the concept's most frequent longer one; the others stay: variety helps."""
    usual = _usual_descriptions(entities)
    for entity in entities:
        if _is_short(entity):
            key = concept_key(entity["concept"])
            entity["description"] = usual.get(key) or TABLES["descriptions"].get(key, entity["description"])
            counts["short descriptions replaced"] += not _is_short(entity)


def _usual_descriptions(entities: Iterable[CorpusEntity]) -> dict[str, str]:
    """The most frequent description of each concept that is not short, by `concept_key`."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for entity in entities:
        if not _is_short(entity):
            found[concept_key(entity["concept"])][entity["description"]] += 1
    return {key: min(of, key=lambda text: (-of[text], text)) for key, of in found.items()}


def _is_short(entity: CorpusEntity) -> bool:
    return len(entity["description"].split()) < FEWEST_WORDS


def _mend_boundary(entity: CorpusEntity, counts: Counter[str]) -> None:
    if article := _ARTICLE.match(entity["text"]):
        entity["start"] += article.end()
        entity["text"] = entity["text"][article.end() :]
        counts["leading articles taken off"] += 1


def _add_missed(rows: Iterable[CorpusRow], counts: Counter[str]) -> None:
    """Annotate mentions that were left out, where nothing else is annotated. English only: so are the rules."""
    english = [row for row in rows if row["language"] == "English"]
    usual = _usual_descriptions(entity for row in english for entity in row["entities"])
    concepts = _usual_concepts(english)
    words = {word for row in english for word in regex.findall(r"\b\p{Ll}+\b", row["text"])}
    for row in english:
        passage = _Passage(row, usual)
        for kind, found in (
            ("another spelling of an annotated mention", passage.variants()),
            ("part of an annotated name", passage.name_parts(words)),
            ("usual mention of a concept of the passage", passage.usual_mentions(concepts)),
            ("figure of the same form as annotated ones", passage.series()),
            ("date, weekday, month, year or percentage", passage.forms()),
            ("word that nearly always names one concept", passage.surfaces()),
        ):
            for start, end, concept in found:
                counts[f"mentions added: {kind}"] += passage.add(start, end, concept)


class _Passage:
    """A passage whose left-out mentions are being added."""

    def __init__(self, row: CorpusRow, usual: dict[str, str]) -> None:
        self.text = row["text"]
        self.entities = row["entities"]
        self.given = list(row["entities"])
        self.usual = usual
        self.words = segment_words(self.text)
        self.starts = {start for start, _ in self.words}
        self.ends = {end for _, end in self.words}
        self.descriptions = {entity["concept"]: entity["description"] for entity in reversed(self.given)}

    def add(self, start: int, end: int, concept: str) -> bool:
        """Annotate a span, described as elsewhere in the passage, or else in the corpus, if it is free."""
        if not self.is_free(start, end):
            return False
        description = self.descriptions.get(concept) or self.usual[concept_key(concept)]
        self.entities.append(
            CorpusEntity(start=start, end=end, text=self.text[start:end], concept=concept, description=description)
        )
        return True

    def is_free(self, start: int, end: int) -> bool:
        """Whether a span lies on whole words and overlaps no entity."""
        on_words = start in self.starts and end in self.ends
        return on_words and all(end <= entity["start"] or entity["end"] <= start for entity in self.entities)

    def is_in_name(self, start: int, end: int) -> bool:
        """Whether a capitalised word goes on as a name: Latin America."""
        return self.text[start].isupper() and regex.match(r" \p{Lu}", self.text, pos=end) is not None

    def find(self, surface: str, flags: int = 0) -> Iterator[tuple[int, int]]:
        """The places of a surface that are mentions of their own."""
        for match in regex.finditer(rf"\b{regex.escape(surface)}\b", self.text, flags):
            alone = match.start() == 0 or self.text[match.start() - 1] not in "-–/"
            if alone and match.group().lower() not in _HOMOGRAPHS and not _COMPOUND.match(self.text, match.end()):
                yield match.span()

    def variants(self) -> Iterator[tuple[int, int, str]]:
        """Annotated words in another case or number."""
        for entity in self.given:
            if regex.fullmatch(r"[\p{L} '’-]{3,}", entity["text"]) and not _is_number(entity["text"]):
                for surface in _inflections(entity["text"]):
                    for start, end in self.find(surface, regex.IGNORECASE):
                        yield start, end, entity["concept"]

    def name_parts(self, common: set[str]) -> Iterator[tuple[int, int, str]]:
        """The first or last word of a name alone, unless the corpus has it as a common word or another name."""
        for entity in self.given:
            parts = entity["text"].split()
            if len(parts) > 1 and all(_NAME_PART.match(part) or part.isupper() for part in parts):
                for part in {parts[0], parts[-1]}:
                    if _NAME_PART.fullmatch(part) and part.lower() not in common and part not in _CALENDAR:
                        for start, end in self.find(part):
                            if not self.is_in_name(start, end):
                                yield start, end, entity["concept"]

    def usual_mentions(self, usual: dict[str, str]) -> Iterator[tuple[int, int, str]]:
        """What the corpus usually annotates as a concept that this passage has too."""
        present = {entity["concept"] for entity in self.given}
        for number, (start, _) in enumerate(self.words):
            for _, end in self.words[number : number + 4]:
                surface = self.text[start:end]
                concept = usual.get(surface)
                if concept in present and not self.is_in_name(start, end) and (start, end) in self.find(surface):
                    yield start, end, concept

    def series(self) -> Iterator[tuple[int, int, str]]:
        """Figures of a form (00:00, $0, 0 mK) that the passage annotates under one concept only.

        Two annotated ones make a series. One is enough where form and concept go together: 5 g may be a weight here
        and a serving there, but the times of a programme are all times.
        """
        found: dict[str, list[str]] = defaultdict(list)
        for entity in self.given:
            if regex.search(r"\d", entity["text"]) and not _FIGURE.fullmatch(entity["text"]):
                form = _FIGURE.pattern.join(map(regex.escape, _FIGURE.split(entity["text"])))
                found[form].append(entity["concept"])
        for form, concepts in found.items():
            if len(set(concepts)) == 1 and (len(concepts) > 1 or concepts[0] in _CONCEPTS_OF_FORMS):
                for match in regex.finditer(rf"(?<![\w.,–−+/×-]){form}(?![\w%–/×°-])", self.text):
                    yield match.start(), match.end(), concepts[0]

    def forms(self) -> Iterator[tuple[int, int, str]]:
        for concept, form in _FORMS.items():
            for match in regex.finditer(form, self.text):
                yield match.start(), match.end(), concept

    def surfaces(self) -> Iterator[tuple[int, int, str]]:
        for surface, concept in _SURFACES.items():
            for start, end in self.find(surface):
                if concept == "academic title" or not self.is_in_name(start, end):  # titles stand before names
                    yield start, end, concept


def _usual_concepts(rows: list[CorpusRow]) -> dict[str, str]:
    """The concept of each surface without a number that mostly is annotated, and mostly so."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    occurrences: Counter[str] = Counter()
    for row in rows:
        for entity in row["entities"]:
            if not _is_number(entity["text"]):
                found[entity["text"]][entity["concept"]] += 1
        words = segment_words(row["text"])
        for number, (start, _) in enumerate(words):
            occurrences.update(row["text"][start:end] for _, end in words[number : number + 4])
    concepts = {}
    for surface, of in found.items():
        concept, count = of.most_common(1)[0]
        often = of.total() >= _FEWEST_ANNOTATIONS and 2 * of.total() >= occurrences[surface]
        if often and count >= _SMALLEST_SHARE * of.total():
            concepts[surface] = concept
    return concepts


_CALENDAR = set(regex.findall(r"\p{Lu}\p{Ll}+", _MONTH)) | {
    f"{day}day" for day in ("Mon", "Tues", "Wednes", "Thurs", "Fri", "Satur", "Sun")
}
_NUMBER = regex.compile(
    r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|twenty|thirty|forty|fifty|"
    r"sixty|seventy|eighty|ninety|hundred|thousand|million|billion|half|third|fifth|quarter|an?)\b",
    regex.IGNORECASE,
)


def _is_number(text: str) -> bool:
    return _NUMBER.search(text) is not None


def _inflections(text: str) -> list[str]:
    """A mention, and its plural or singular as English nouns form them."""
    forms = [text, text + "s"]
    if text.endswith("s") and not text.endswith("ss"):
        forms.append(text[:-1])
    if text.endswith("es"):
        forms.append(text[:-2])
    if text.endswith("ies"):
        forms.append(text[:-3] + "y")
    if text.endswith("y"):
        forms.append(text[:-1] + "ies")
    if regex.search("(?:s|x|ch|sh)$", text):
        forms.append(text + "es")
    return forms


def _distinct(entities: Iterable[CorpusEntity], counts: Counter[str]) -> list[CorpusEntity]:
    """One entity per span and concept: two names that became one may have stood on the same words."""
    found: dict[tuple[int, int, str], CorpusEntity] = {}
    for entity in entities:
        key = entity["start"], entity["end"], concept_key(entity["concept"])
        counts["annotations that had become the same"] += key in found
        found.setdefault(key, entity)
    return list(found.values())


if __name__ == "__main__":
    main()
