"""Readers of concept corpora: one function per format, all returning the same `datasets.Dataset`.

Every reader streams: a record is read, aligned, checked and written to a memory-mapped file before the next one, so
memory does not grow with the corpus. Every reader logs its `AlignmentReport` and adds it to the one passed as `report`.
Reading is done anew on each call; to read once and align once, write the result with `write_parquet`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from datasets import Dataset
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from .packaged import load_packaged_corpus
from .records import Record, rows_from_records
from .report import AlignmentReport
from .sources import (
    PathLike,
    block_records,
    csv_records,
    json_records,
    open_dataset,
    parquet_records,
    refuse_options,
)
from .writers import dataset_from_rows

logger = logging.getLogger(__name__)

PACKAGED_NAME = "default"
_COMPRESSION_SUFFIXES = (".gz", ".zst")
_TEXT_SUFFIXES = (".txt", ".jsonl", ".csv")


def read_blocks(path: PathLike, *, propagate: bool = True, report: AlignmentReport | None = None) -> Dataset:
    """Read the block format in which annotators write.

    ```
    S: World War II started on September 1 1939.
    World War II -|- historical event -|- Significant event or period that shaped world history.
    September 1 -|- date -|- Specific day of the calendar.

    S: the next passage, after a blank line
    ```

    The first line of a block is its passage; each further line is an annotation, whose description may be left out.
    Passages get `passage_id` as their id.

    Args:
        path (`str` or `os.PathLike`): a UTF-8 text file, which may be compressed (`.gz`, `.zst`).
        propagate (`bool`, *optional*, defaults to `True`): see `align_annotations`.
        report (`AlignmentReport`, *optional*): receives the counts of this reading, in place.

    Returns:
        `datasets.Dataset`: with the columns of `CORPUS_FEATURES`.

    Raises:
        ValueError: if a line fits neither form, naming `file:line` and the mend.
    """
    return _read(block_records(path), path, propagate, report)


def read_jsonl(path: PathLike, *, propagate: bool = True, report: AlignmentReport | None = None) -> Dataset:
    """Read one JSON object per line, with `annotations` to be aligned or with `entities` that are.

    ```
    {"text": "Germany invaded Poland.", "annotations": [["Germany", "country", "Sovereign nation."]]}
    {"text": "Germany invaded Poland.", "entities": [{"start": 0, "end": 7, "text": "Germany", "concept": "country"}]}
    ```

    `id`, `language` and `domain` are optional strings, other keys are left out. Without an id, the passage gets
    `passage_id`.

    Args:
        path (`str` or `os.PathLike`): a UTF-8 text file, which may be compressed (`.gz`, `.zst`). Blank lines are
            passed over.
        propagate (`bool`, *optional*, defaults to `True`): see `align_annotations`; aligned entities stay as they are.
        report (`AlignmentReport`, *optional*): receives the counts of this reading, in place.

    Returns:
        `datasets.Dataset`: with the columns of `CORPUS_FEATURES`.

    Raises:
        ValueError: if a line is not such an object, naming `file:line` and the mend.
    """
    return _read(json_records(path), path, propagate, report)


def read_parquet(path: PathLike, *, propagate: bool = True, report: AlignmentReport | None = None) -> Dataset:
    """Read a Parquet file, with the columns of `CORPUS_FEATURES` (see `write_parquet`) or the keys of `read_jsonl`.

    Args:
        path (`str` or `os.PathLike`): the file.
        propagate (`bool`, *optional*, defaults to `True`): see `align_annotations`; aligned entities stay as they are.
        report (`AlignmentReport`, *optional*): receives the counts of this reading, in place.

    Returns:
        `datasets.Dataset`: with the columns of `CORPUS_FEATURES`.

    Raises:
        ValueError: if the file is not Parquet or a row is wrong, naming file, row (from 0) and the mend.
    """
    return _read(parquet_records(path), path, propagate, report)


def read_hub_dataset(
    id_or_path: PathLike,
    *,
    split: str | None = None,
    propagate: bool = True,
    report: AlignmentReport | None = None,
    **load_dataset_kwargs: Any,
) -> Dataset:
    """Read a data set of the Hugging Face Hub, or a folder written by `save_to_disk` or holding data files.

    Its rows have the columns of `CORPUS_FEATURES`, the keys of `read_jsonl`, or the `input` and `output` of
    `numind/NuNER`.

    Args:
        id_or_path (`str` or `os.PathLike`): a data set id (`namespace/name`) or a folder.
        split (`str`, *optional*): the split, by default `"train"`; where `load_dataset` reads, also sliced:
            `"train[:1000]"`. A folder that holds one saved `Dataset` has none.
        propagate (`bool`, *optional*, defaults to `True`): see `align_annotations`; aligned entities stay as they are.
        report (`AlignmentReport`, *optional*): receives the counts of this reading, in place.
        load_dataset_kwargs: further arguments of `datasets.load_dataset`, such as `name`, `revision` or `streaming`.

    Returns:
        `datasets.Dataset`: with the columns of `CORPUS_FEATURES`.

    Raises:
        ValueError: if a row is wrong, naming data set, row (from 0) and the mend; if a folder lacks the split.
    """
    rows = open_dataset(id_or_path, split, load_dataset_kwargs)
    records = ((f"{id_or_path}: row {number}", row) for number, row in enumerate(rows))
    return _read(records, id_or_path, propagate, report)


def read_nuner_csv(path: PathLike, *, propagate: bool = True, report: AlignmentReport | None = None) -> Dataset:
    """Read a CSV file of the published data set `numind/NuNER`: `entity-*.csv` or `full-*.csv`.

    Its column `input` is the passage, its column `output` a Python list literal of `"mention <> concept"` or
    `"mention <> concept <> description"`. Rows without input or output, and rows whose output does not parse, are
    known to occur: they are left out and counted by reason in `AlignmentReport.skipped`.

    Args:
        path (`str` or `os.PathLike`): the file, which may be compressed (`.gz`, `.zst`).
        propagate (`bool`, *optional*, defaults to `True`): see `align_annotations`.
        report (`AlignmentReport`, *optional*): receives the counts of this reading, in place.

    Returns:
        `datasets.Dataset`: with the columns of `CORPUS_FEATURES`; the language is English.

    Raises:
        ValueError: if a column is missing or the file is no CSV, naming `file:line` and the mend.
    """
    return _read(csv_records(path), path, propagate, report)


_READERS = {".txt": read_blocks, ".jsonl": read_jsonl, ".parquet": read_parquet, ".csv": read_nuner_csv}


def read_corpus(
    source: PathLike,
    *,
    split: str | None = None,
    propagate: bool = True,
    report: AlignmentReport | None = None,
    **load_dataset_kwargs: Any,
) -> Dataset:
    """Read a corpus, choosing the reader by the first of these rules that fits:

    1. an existing folder: `read_hub_dataset`;
    2. `"default"`: the English part of the packaged corpus (`load_packaged_corpus`);
    3. a name that ends in `.txt`, `.jsonl`, `.csv` (these also followed by `.gz` or `.zst`) or `.parquet`:
       `read_blocks`, `read_jsonl`, `read_nuner_csv`, `read_parquet`;
    4. `namespace/name`, where no such file exists: `read_hub_dataset`.

    Args:
        source (`str` or `os.PathLike`): what to read.
        split (`str`, *optional*): the split of a data set or folder, by default `"train"`.
        propagate (`bool`, *optional*, defaults to `True`): see `align_annotations`.
        report (`AlignmentReport`, *optional*): receives the counts of this reading, in place.
        load_dataset_kwargs: further arguments of `datasets.load_dataset`, for a data set or folder.

    Returns:
        `datasets.Dataset`: with the columns of `CORPUS_FEATURES`.

    Raises:
        ValueError: if no rule fits, or if arguments were given that the source has no use for.
    """
    path = Path(source)
    if not path.is_dir() and (reader := _file_reader(source)):
        refuse_options(source, load_dataset_kwargs if split is None else {"split": split, **load_dataset_kwargs})
        return reader(source, propagate=propagate, report=report)
    if path.is_dir() or (_is_dataset_id(source) and not path.exists()):
        return read_hub_dataset(source, split=split, propagate=propagate, report=report, **load_dataset_kwargs)
    raise ValueError(
        f"cannot tell how to read {os.fspath(source)!r}; give {PACKAGED_NAME!r}, a file ending in "
        f"{', '.join(_READERS)} (text files also with {' or '.join(_COMPRESSION_SUFFIXES)} after it), "
        "a folder, or the id of a data set: namespace/name"
    )


def _read_packaged(source: PathLike, *, propagate: bool, report: AlignmentReport | None) -> Dataset:
    """Satisfy the readers' signature; the packaged entities are aligned already, so `propagate` changes nothing."""
    return load_packaged_corpus(report=report)


def _file_reader(source: PathLike) -> Callable[..., Dataset] | None:
    """The reader of a file, by its name; the packaged corpus counts as one."""
    if source == PACKAGED_NAME:
        return _read_packaged
    name = os.fspath(source)
    for suffix in _COMPRESSION_SUFFIXES:
        if name.removesuffix(suffix).endswith(_TEXT_SUFFIXES):
            name = name.removesuffix(suffix)
    return _READERS.get(Path(name).suffix)


def _is_dataset_id(source: PathLike) -> bool:
    try:
        validate_repo_id(os.fspath(source))
    except HFValidationError:
        return False
    return "/" in os.fspath(source)


def _read(
    records: Iterable[tuple[str, Record]], source: PathLike, propagate: bool, report: AlignmentReport | None
) -> Dataset:
    """What all readers share: align, check, store, log the report and hand it out."""
    counts = AlignmentReport()
    dataset = dataset_from_rows(rows_from_records(records, propagate=propagate, report=counts))
    logger.info("%s: %s", source, counts)
    if report is not None:
        report.merge(counts)
    return dataset
