"""Files of examples, read record by record, each with the place where it stands."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.parquet

from .tags import split_tag


def declared_label_names(features: Mapping[str, Any] | None) -> list[str] | None:
    """The tag that each class id stands for, if the features of a data set declare it by `ClassLabel`.

    Args:
        features (`datasets.Features` or `None`): the features; `None` where a streamed data set does not know them.
    """
    for key in ("tags", "ner_tags"):
        declared = getattr((features or {}).get(key), "feature", None)
        if isinstance(declared, datasets.ClassLabel):
            return declared.names
    return None


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file with their numbers, without line ends."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise ValueError(f"{path}, line {number}: not UTF-8 ({error.reason}): save it as UTF-8") from error


def _read_lines(path: Path) -> Iterator[tuple[str, str]]:
    for number, line in _lines(path):
        if line.strip():
            yield f"{path}, line {number}", line


def _read_jsonl(path: Path) -> Iterator[tuple[str, Any]]:
    for place, line in _read_lines(path):
        try:
            yield place, json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{place}: not valid JSON at column {error.colno} ({error.msg})") from error


def _read_conll(path: Path) -> Iterator[tuple[str, dict[str, list[str]]]]:
    tokens: list[str] = []
    tags: list[str] = []
    first = 0
    for number, line in _lines(path):
        if not line.strip():
            if tokens:
                yield f"{path}, lines {first}-{number - 1}", {"tokens": tokens, "tags": tags}
                tokens, tags = [], []
            continue
        columns = [column.strip() for column in line.split("\t")] if "\t" in line else line.split()
        if columns[0] == "-DOCSTART-":
            continue
        try:
            if len(columns) < 2 or not columns[0]:
                raise ValueError(f"{line!r} is not a token and its tag, separated by a tab or white space")
            split_tag(columns[-1])
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
        if not tokens:
            first = number
        tokens.append(columns[0])
        tags.append(columns[-1])
    if tokens:
        yield f"{path}, lines {first}-{first + len(tokens) - 1}", {"tokens": tokens, "tags": tags}


def parquet_features(path: Path) -> Mapping[str, Any]:
    """The features of a Parquet file.

    Raises:
        ValueError: if it is not a Parquet file.
    """
    try:
        return datasets.Features.from_arrow_schema(pyarrow.parquet.read_schema(path))
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{path}: not a Parquet file ({error})") from error


def _read_parquet(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with pyarrow.parquet.ParquetFile(path) as file:
        row = 0
        for batch in file.iter_batches():
            for record in batch.to_pylist():
                yield f"{path}, row {row}", record
                row += 1


READERS: dict[str, Callable[[Path], Iterator[tuple[str, Any]]]] = {
    ".jsonl": _read_jsonl,
    ".txt": _read_lines,
    ".conll": _read_conll,
    ".bio": _read_conll,
    ".tsv": _read_conll,
    ".parquet": _read_parquet,
}
"""By suffix, the function that yields a file's records: the place (file and line) that errors name, and the record."""
