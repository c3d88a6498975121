"""Few-shot tasks: sentences to draw support sets from and sentences to score on, from presets, files and the Hub."""

from __future__ import annotations

import json
import random
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

import datasets
from datasets.exceptions import DatasetsError
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HFValidationError

from ..fewshot.files import READERS
from ..fewshot.formats import Concepts, Example, SupportSet, parse_examples, read_examples

SPLIT_NAMES = {"train": ("train",), "test": ("test",), "dev": ("dev", "valid", "validation")}
"""The names under which files and data sets give each split."""

DESCRIPTIONS_FILE = "types.json"
"""The file of a task's folder that describes its labels."""

_WHOLE = "whole"  # the split of a source that is not divided into training and test sentences
_SplitReader = Callable[[Concepts | None], SupportSet]


@dataclass(frozen=True)
class Task:
    """A few-shot task: sentences to draw support sets from, and sentences to score on.

    Attributes:
        name (`str`): of the task.
        train (`SupportSet`): to draw from; its concepts are labels and their descriptions.
        test (`tuple[Example, ...]`): to score on.
        names (`Mapping[str, str]`): what the source calls labels in plain words; see [`natural_concepts`].
    """

    name: str
    train: SupportSet
    test: tuple[Example, ...]
    names: Mapping[str, str] = field(default_factory=dict)


def natural_concepts(task: Task) -> dict[str, str]:
    """The concepts of a task as a concept encoder is to read them: names in plain words, and descriptions.

    The name is the one that the task gives the label (`name` in `types.json`), else the label in lower case with
    underscores as spaces: `Restaurant_Name` is "restaurant name".

    Returns:
        `dict[str, str]`: name to description, in the order of the labels.

    Raises:
        ValueError: if two labels have the same name.
    """
    labels: dict[str, str] = {}
    for label in task.train.concepts:
        name = task.names.get(label) or " ".join(label.replace("_", " ").lower().split())
        if name in labels:
            raise ValueError(
                f"{task.name}: the labels {labels[name]!r} and {label!r} are both {name!r} in plain words: "
                f"give each a 'name' of its own in {DESCRIPTIONS_FILE}."
            )
        labels[name] = label
    return {name: task.train.concepts[label] for name, label in labels.items()}


@dataclass(frozen=True)
class Preset:
    """A data set of the Hub that is known by name.

    Its files are downloaded one by one and read here, without `datasets.load_dataset`: that refuses a repository with
    a loading script, and `load_dataset("json", data_files="hf://...")` lists the repository on every call, hence fails
    offline even if everything is in the cache.

    Attributes:
        repository (`str`): id of the data set repository.
        revision (`str`): branch or commit.
        files (`Mapping[str, tuple[str, ...]]`): the files of each split (`train`, `test` and perhaps `dev`); `.json`
            is JSON lines.
        labels (`tuple[str, ...]`): the labels that its training sentences must have, all of them and no other.
        note (`str`): what the data are, and how they differ from the published ones.
        tag_ids (`str`, *optional*): file with the class id of each tag, where tags are class ids.
    """

    repository: str
    revision: str
    files: Mapping[str, tuple[str, ...]]
    labels: tuple[str, ...]
    note: str
    tag_ids: str | None = None


_TNER_FILES = {"train": ("dataset/train.json",), "dev": ("dataset/valid.json",), "test": ("dataset/test.json",)}

# What was known when this was written, from stored copies of the Hub's pages (no Hub could be reached): the labels and
# sizes are those of the data set cards; the files are those of the loading scripts and file listings of the
# repositories. A preset names a commit where one was seen together with its files, else the branch.
PRESETS: dict[str, Preset] = {
    "mit-movie": Preset(
        repository="rungalileo/mit_movies_fixed_connll_format",
        revision="bf6c430a8673a2305638576a61f99efdd4f7b2a1",
        files={"train": ("MIT_movies_fixed_train.tsv",), "test": ("MIT_movies_fixed_test.tsv",)},
        labels=(
            "ACTOR",
            "CHARACTER",
            "DIRECTOR",
            "GENRE",
            "PLOT",
            "RATING",
            "RATINGS_AVERAGE",
            "REVIEW",
            "SONG",
            "TITLE",
            "TRAILER",
            "YEAR",
        ),
        note=(
            "MIT Movie, simple queries (`eng`): 9,775 training and 2,443 test sentences, no dev. Galileo corrected the "
            "labels of about 4 % of the sentences, in the test set too. `tner/mit_movie_trivia` is another set, "
            "`trivia10k13`, with other labels."
        ),
    ),
    "mit-restaurant": Preset(
        repository="tner/mit_restaurant",
        revision="538663410a86a70f788b0c193d42320de330cc0d",
        files=_TNER_FILES,
        tag_ids="dataset/label.json",
        labels=("Amenity", "Cuisine", "Dish", "Hours", "Location", "Price", "Rating", "Restaurant_Name"),
        note=(
            "MIT Restaurant: 6,900 training, 760 dev and 1,521 test sentences; dev was carved out of the 7,660 "
            "training sentences published."
        ),
    ),
    "bionlp2004": Preset(
        repository="tner/bionlp2004",
        revision="main",
        files=_TNER_FILES,
        tag_ids="dataset/label.json",
        labels=("DNA", "RNA", "cell_line", "cell_type", "protein"),
        note=(
            "BioNLP 2004 (JNLPBA): 16,619 training, 1,927 dev and 3,856 test sentences; dev was carved out of the "
            "18,546 training sentences published."
        ),
    ),
    "ontonotes5": Preset(
        repository="tner/ontonotes5",
        revision="main",
        files=_TNER_FILES | {"train": tuple(f"dataset/train{part:02d}.json" for part in range(4))},
        tag_ids="dataset/label.json",
        labels=(
            "CARDINAL",
            "DATE",
            "EVENT",
            "FAC",
            "GPE",
            "LANGUAGE",
            "LAW",
            "LOC",
            "MONEY",
            "NORP",
            "ORDINAL",
            "ORG",
            "PERCENT",
            "PERSON",
            "PRODUCT",
            "QUANTITY",
            "TIME",
            "WORK_OF_ART",
        ),
        note="OntoNotes 5, English: 59,924 training, 8,528 dev and 8,262 test sentences. The LDC licenses the text.",
    ),
}
"""By name, the data sets of the NuNER blog post."""


def read_task(
    source: str | Path,
    *,
    name: str | None = None,
    split: Literal["test", "dev"] = "test",
    test_limit: int | None = None,
    seed: int = 0,
) -> Task:
    """Read a task.

    `source` is, and the first that applies counts:

    - a string that names one of [`PRESETS`], even if a file or folder of that name exists: write `./mit-movie` for it;
    - a labelled file that [`~nerfound.fewshot.read_examples`] reads. It has no test split, so a fifth of its sentences,
      drawn by `seed`, is set aside for testing; a `UserWarning` says so;
    - a folder of such files, `train.*` and `test.*`, perhaps also `dev.*` (or `valid.*`, `validation.*`);
    - a folder that `datasets` saved by `save_to_disk`, or that `load_dataset` reads;
    - the id of a data set on the Hub, or `id:config`, with splits of those names. A data set of a single split is
      treated like a file.

    A folder may hold `types.json`, an object of label to description or to an object with a `definition` or
    `description`, and a `name`: these become the descriptions of the concepts and their names in plain words.

    Sentences to score on that occur verbatim (case-folded) among the training sentences are left out. Where `dev` is
    asked for and there is none, a tenth of the training sentences, drawn by `seed`, is taken for it; never a sentence
    that is set aside for testing.

    Args:
        source (`str` or `Path`): see above.
        name (`str`, *optional*): name of the task; that of the preset, folder, file or data set by default.
        split (`"test"` or `"dev"`, *optional*, defaults to `"test"`): what to score on; choose anything only on
            `"dev"`.
        test_limit (`int`, *optional*): score on this many sentences only, drawn by `seed`.
        seed (`int`, *optional*, defaults to 0): of the draws above.

    Returns:
        [`Task`]: the task. Its concepts are those of the training sentences.

    Raises:
        FileNotFoundError: if there is no such source, or it has no such split.
        OSError: if a file of a preset cannot be downloaded.
        ValueError: if the data are not valid, the labels of a preset are not as expected, or there is nothing to score.
    """
    if split not in ("test", "dev"):
        raise ValueError(f"split is {split!r}: score on 'test' or 'dev'")
    if test_limit is not None and test_limit < 1:
        raise ValueError(f"test_limit is {test_limit}: score on at least 1 sentence, or leave it out")
    opened = _open(source)
    train, scored = _divide(opened.readers, split, seed, source)
    seen = {example.text.casefold() for example in train.examples}
    scored = [example for example in scored if example.text.casefold() not in seen]
    if not scored:
        raise ValueError(f"{source}: every {split} sentence also occurs in train, so there is nothing to score on")
    if test_limit is not None and len(scored) > test_limit:
        scored = random.Random(seed).sample(scored, test_limit)
    concepts, names = train.concepts, dict[str, str]()
    if opened.folder is not None and (opened.folder / DESCRIPTIONS_FILE).is_file():
        concepts, names = _described(concepts, opened.folder / DESCRIPTIONS_FILE)
    return Task(name or opened.name, SupportSet(train.examples, concepts), tuple(scored), names)


def _divide(
    readers: Mapping[str, _SplitReader], split: str, seed: int, source: str | Path
) -> tuple[SupportSet, list[Example]]:
    """The training sentences and those to score on, as the source has them or carved out."""
    whole = readers.get(_WHOLE)
    train = (whole or _reader(readers, "train", source))(None)
    examples, scored = list(train.examples), list[Example]()
    if whole:
        scored, examples = _carve(examples, 5, seed, source)
        warnings.warn(
            f"{source} has no test split: {len(scored)} of its {len(train.examples)} sentences, drawn by seed {seed}, "
            "are set aside for testing",
            stacklevel=3,
        )
    if split == "dev" and "dev" not in readers:
        scored, examples = _carve(examples, 10, seed, source)
    elif not whole:
        scored = _of_known_types(_reader(readers, split, source)(None).examples, train.concepts, source)
    return SupportSet(tuple(examples), train.concepts), scored


def _of_known_types(examples: Iterable[Example], concepts: Mapping[str, str], source: str | Path) -> list[Example]:
    """The examples without entities of types that no training sentence has, of which no support set can be drawn."""
    examples = list(examples)
    unknown = Counter(
        entity.label for example in examples for entity in example.entities if entity.label not in concepts
    )
    if unknown:
        counts = ", ".join(f"{label!r} ({count})" for label, count in unknown.items())
        warnings.warn(f"{source}: not scored, since no training sentence has these types: {counts}", stacklevel=4)
    return [
        replace(example, entities=tuple(entity for entity in example.entities if entity.label in concepts))
        for example in examples
    ]


class _Opened(NamedTuple):
    """A source: the name of its task, a reader for each split that it has, and the folder that it is in, if any."""

    name: str
    readers: dict[str, _SplitReader]
    folder: Path | None


def _open(source: str | Path) -> _Opened:
    if isinstance(source, str) and source in PRESETS:
        return _Opened(source, _preset_readers(PRESETS[source]), None)
    path = Path(source)
    if path.is_file():
        return _Opened(path.stem, {_WHOLE: partial(_read_file, path)}, None)
    if path.is_dir():
        splits = _files_of_splits(path) or _load_dataset(path, None)
        return _Opened(path.resolve().name, _split_readers(splits, source), path)
    if isinstance(source, Path) or path.suffix in READERS:  # no id of the Hub
        raise FileNotFoundError(_unknown(source))
    identifier, _, config = source.partition(":")
    name = "-".join(filter(None, (Path(identifier).name, config)))
    return _Opened(name, _split_readers(_load_dataset(identifier, config or None), source), None)


def _reader(readers: Mapping[str, _SplitReader], split: str, source: str | Path) -> _SplitReader:
    if split not in readers:
        raise FileNotFoundError(
            f"{source} has no {' or '.join(SPLIT_NAMES[split])} split, only {', '.join(readers) or 'others'}: "
            f"{_FOLDER_TEXT}"
        )
    return readers[split]


def _files_of_splits(folder: Path) -> dict[str, Path]:
    """The files of a folder that are named after a split and can be read."""
    found: dict[str, Path] = {}
    for names in SPLIT_NAMES.values():
        paths = [path for name in names for suffix in READERS if (path := folder / f"{name}{suffix}").is_file()]
        if len(paths) > 1:
            raise ValueError(f"{folder} has {' and '.join(path.name for path in paths)}: keep one of them")
        found.update((path.stem, path) for path in paths)
    return found


def _load_dataset(identifier: str | Path, config: str | None) -> dict[str, Any]:
    """The splits of a data set that `datasets` can load; a single one is `_WHOLE`."""
    folder = Path(identifier)
    try:
        if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
            loaded = datasets.load_from_disk(folder)
        else:
            loaded = datasets.load_dataset(str(identifier), config)
    except (OSError, HFValidationError) as error:  # not found, not reachable, or no valid id
        raise FileNotFoundError(f"{_unknown(identifier)} ({error})") from error
    except (DatasetsError, RuntimeError) as error:  # damaged, or with a loading script, which is never executed
        raise ValueError(f"{identifier} cannot be loaded ({error}): give a folder instead; {_FOLDER_TEXT}") from error
    splits = dict(loaded) if isinstance(loaded, dict) else {_WHOLE: loaded}
    return splits if len(splits) > 1 else dict(zip([_WHOLE], splits.values(), strict=True))


def _split_readers(splits: Mapping[str, Any], source: str | Path) -> dict[str, _SplitReader]:
    """Readers of files or data sets, which are given by their names of the splits."""
    readers: dict[str, _SplitReader] = {}
    for split, names in {_WHOLE: (_WHOLE,), **SPLIT_NAMES}.items():
        found = next((name for name in names if name in splits), None)
        if found is not None:
            readers[split] = _reader_of(splits[found], f"{source}, split {found!r}")
    return readers


def _reader_of(data: Any, place: str) -> _SplitReader:
    return partial(_read_file, data) if isinstance(data, Path) else partial(_parse, data, place)


def _read_file(path: Path, concepts: Concepts | None) -> SupportSet:
    return read_examples(path, concepts=concepts)


def _preset_readers(preset: Preset) -> dict[str, _SplitReader]:
    return {split: partial(_read_preset, preset, split) for split in preset.files}


def _read_preset(preset: Preset, split: str, concepts: Concepts | None) -> SupportSet:
    """A split of a preset; the labels are checked where no concepts are given, which is on the training sentences."""
    tags = None if preset.tag_ids is None else _tags_by_id(_download(preset, preset.tag_ids), preset)
    records = chain.from_iterable(_records(_download(preset, file)) for file in preset.files[split])
    examples = _parse(records, f"{preset.repository}, {split}", concepts, tags)
    return _with_expected_labels(examples, preset) if concepts is None else examples


def _records(path: Path) -> Iterator[Any]:
    read = READERS[".jsonl" if path.suffix == ".json" else path.suffix]
    return (record for _, record in read(path))


def _download(preset: Preset, file: str) -> Path:
    """A file of a preset, from the cache of the Hub or the Hub."""
    try:
        return Path(hf_hub_download(preset.repository, file, repo_type="dataset", revision=preset.revision))
    except OSError as error:  # what huggingface_hub raises is of this kind
        raise OSError(
            f"{file} of the data set {preset.repository} at revision {preset.revision} is neither in the cache nor can "
            f"it be downloaded: connect to the Hub, or give a folder instead of the preset; {_FOLDER_TEXT} ({error})"
        ) from error


def _tags_by_id(path: Path, preset: Preset) -> list[str]:
    """The tags in the order of their class ids, from the table of the repository."""
    table = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(table, dict) or sorted(map(repr, table.values())) != sorted(map(repr, range(len(table)))):
        raise ValueError(
            f"{preset.tag_ids} of {preset.repository} is no object that gives each tag a class id, 0, 1, ...: the "
            "repository has changed; give a folder instead of the preset"
        )
    return sorted(table, key=table.__getitem__)


def _with_expected_labels(train: SupportSet, preset: Preset) -> SupportSet:
    """The training sentences with their concepts in the order of the preset."""
    missing = [label for label in preset.labels if label not in train.concepts]
    unexpected = [label for label in train.concepts if label not in preset.labels]
    if missing or unexpected:
        raise ValueError(
            f"the labels of {preset.repository} at revision {preset.revision} are not those of the preset: missing "
            f"{missing}, unexpected {unexpected}. The repository has changed; give a folder instead of the preset"
        )
    return SupportSet(train.examples, {label: train.concepts[label] for label in preset.labels})


def _parse(
    data: Iterable[Any], place: str, concepts: Concepts | None, label_names: list[str] | None = None
) -> SupportSet:
    try:
        return parse_examples(data, concepts=concepts, label_names=label_names)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error


def _carve(examples: list[Example], parts: int, seed: int, source: str | Path) -> tuple[list[Example], list[Example]]:
    """One of so many parts of the examples, drawn by the seed, and the others."""
    if len(examples) < parts:
        raise ValueError(f"{source} has {len(examples)} training sentences: give {parts} or more to set some aside")
    shuffled = list(examples)
    random.Random(seed).shuffle(shuffled)
    size = len(shuffled) // parts
    return shuffled[:size], shuffled[size:]


def _described(concepts: Mapping[str, str], path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The concepts, in their order, with the descriptions of a `types.json`, and the names of those that it names."""
    try:
        types = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(types, dict):
        raise ValueError(f"{path} is of type {type(types).__name__}: write an object of label to description")
    if unknown := [label for label in types if label not in concepts]:
        warnings.warn(f"{path} describes {unknown}, which no training sentence has", stacklevel=3)
    given = {label: _name_and_description(value, f"{path}, {label!r}") for label, value in types.items()}
    names = {label: name for label, (name, _) in given.items() if name and label in concepts}
    return {label: given.get(label, ("", ""))[1] or text for label, text in concepts.items()}, names


def _name_and_description(value: Any, place: str) -> tuple[str, str]:
    name, text = "", value
    if isinstance(value, dict):
        name, text = value.get("name", ""), value.get("definition", value.get("description", ""))
    if not isinstance(text, str):
        raise ValueError(f"{place}: the description is {text!r}: write a string, or an object with a 'definition'")
    if not isinstance(name, str):
        raise ValueError(f"{place}: the name is {name!r}: write a string")
    return " ".join(name.split()), text.strip()


_FOLDER_TEXT = (
    f"a folder holds train and test files, and perhaps dev, each of them {', '.join(READERS)}, or what `datasets` saved"
)


def _unknown(source: str | Path) -> str:
    return (
        f"{str(source)!r} is no preset ({', '.join(PRESETS)}), and no file, folder or data set of the Hub could be "
        f"read there: {_FOLDER_TEXT}"
    )
