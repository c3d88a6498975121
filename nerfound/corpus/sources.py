"""Sources of a corpus: each yields its records one at a time, with the place where each stood."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, IterableDataset, load_dataset, load_from_disk

from .alignment import Annotation
from .lines import BLOCK_SEPARATOR, numbered_lines, open_text, split_annotation
from .records import SURPLUS_FIELDS, Record

PathLike = str | os.PathLike[str]

DEFAULT_SPLIT = "train"
_NO_ROWS = "corresponds to no data"  # of the message by which `load_dataset` tells it
_PASSAGE_MARK = "S:"
_PARQUET_BATCH_ROWS = 1_000


def block_records(path: PathLike) -> Iterator[tuple[str, Record]]:
    """The blocks of a block file, in the source layout; see `read_blocks`."""
    passage: str | None = None
    where = ""
    annotations: list[Annotation] = []
    for number, line in numbered_lines(path):
        if not line.strip():
            if passage is not None:
                yield where, {"text": passage, "annotations": annotations}
            passage = None
        elif passage is None:
            passage, where, annotations = _passage(line, f"{path}:{number}"), f"{path}:{number}", []
        elif BLOCK_SEPARATOR in line:
            annotations.append(split_annotation(line, BLOCK_SEPARATOR, passage))
        else:
            raise ValueError(
                f"{path}:{number}: {line!r} is no annotation; write 'mention -|- concept -|- description', "
                "or put a blank line before the next passage"
            )
    if passage is not None:
        yield where, {"text": passage, "annotations": annotations}


def _passage(line: str, where: str) -> str:
    text = line.removeprefix(_PASSAGE_MARK).strip()
    if not line.startswith(_PASSAGE_MARK) or not text:
        raise ValueError(f"{where}: {line!r} begins a block; its first line must be 'S: ' and the passage")
    return text


def json_records(path: PathLike) -> Iterator[tuple[str, Record]]:
    """The objects of a JSON lines file; see `read_jsonl`."""
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{where} is not JSON ({error}); write one object per line, on one line") from None
        if not isinstance(record, dict):
            raise ValueError(f"{where} is {line[:60]!r}; it must be an object with text and annotations or entities")
        yield where, record


def parquet_records(path: PathLike) -> Iterator[tuple[str, Record]]:
    """The rows of a Parquet file; see `read_parquet`."""
    try:
        # With `pre_buffer`, every row group read so far would stay in memory until the last one is.
        with pq.ParquetFile(path, pre_buffer=False) as file:
            rows = (row for batch in file.iter_batches(_PARQUET_BATCH_ROWS) for row in batch.to_pylist())
            for number, row in enumerate(rows):
                yield f"{path}: row {number}", row
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} is no Parquet file, or damaged ({error}); fetch or write it again") from error


def csv_records(path: PathLike) -> Iterator[tuple[str, Record]]:
    """The rows of a CSV file in the NuNER layout; see `read_nuner_csv`."""
    with open_text(path, newline="") as stream:
        reader = csv.DictReader(stream, restkey=SURPLUS_FIELDS)
        try:
            if not {"input", "output"} <= set(reader.fieldnames or ()):
                raise ValueError(
                    f"{path}:1: the columns are {reader.fieldnames}; the CSV of numind/NuNER has input and output. "
                    "Convert other tables to JSON lines"
                )
            for row in reader:
                yield f"{path}:{reader.line_num}", row
        except csv.Error as error:  # for instance a quote that is never closed, which would swallow the file
            raise ValueError(f"{path}:{reader.line_num}: no CSV ({error}); mend the quotes before this line") from None


def open_dataset(source: PathLike, split: str | None, options: dict[str, Any]) -> Dataset | IterableDataset:
    """The rows of one split, of a folder that `save_to_disk` wrote or of what `load_dataset` finds."""
    folder = Path(source)
    is_dict = (folder / "dataset_dict.json").is_file()
    if not is_dict and not (folder / "state.json").is_file():
        try:
            return load_dataset(os.fspath(source), split=split or DEFAULT_SPLIT, **options)
        except ValueError as error:
            if _NO_ROWS not in str(error):
                raise
            rejects = folder / "rejects.jsonl"
            why = f"; {rejects} says why every text was rejected" if rejects.is_file() else ""
            raise ValueError(f"{source} has no rows in split {split or DEFAULT_SPLIT!r}{why}") from error
    refuse_options(source, options)
    saved = load_from_disk(source).with_format(None)
    if is_dict:
        if (split or DEFAULT_SPLIT) not in saved:
            raise ValueError(f"{source} has no split {split or DEFAULT_SPLIT!r}; give one of {list(saved)}")
        return saved[split or DEFAULT_SPLIT]
    if split is not None:
        raise ValueError(f"{source} holds one data set without splits; leave out split={split!r}")
    return saved


def refuse_options(source: PathLike, options: dict[str, Any]) -> None:
    """Raise a `ValueError` if a source was given options that only `load_dataset` understands."""
    if options:
        raise ValueError(f"{source} takes no {', '.join(options)}; only what load_dataset reads has such options")
