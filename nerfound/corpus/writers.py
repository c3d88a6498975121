"""Rows on disk: an Arrow file of this process under a `datasets.Dataset`, and Parquet files."""

from __future__ import annotations

import functools
import itertools
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, DatasetInfo

from .schema import CORPUS_FEATURES, CorpusRow

_BATCH_ROWS = 1_000
# Enough rows for good compression, few enough for a reader's memory: some ten megabytes of text and entities.
_ROW_GROUP_ROWS = 10_000
# A dictionary pays where values recur, and costs where nearly every value is new; ids and offsets ascend.
_REPETITIVE_COLUMNS = ["language", "domain", "entities.list.element.concept", "entities.list.element.description"]
_COLUMN_ENCODINGS = {
    "id": "DELTA_BYTE_ARRAY",
    "entities.list.element.start": "DELTA_BINARY_PACKED",
    "entities.list.element.end": "DELTA_BINARY_PACKED",
}


def dataset_from_rows(rows: Iterable[CorpusRow]) -> Dataset:
    """Write rows to a new memory-mapped file and open it as a data set; memory holds one batch at a time.

    The file is the process's own, never looked up again and removed at exit. `Dataset.from_generator` would keep its
    file and find it by its arguments: a changed source would give stale rows, and a cached one no alignment report.

    Args:
        rows (`Iterable[CorpusRow]`): rows that satisfy `validate_row`.

    Returns:
        `datasets.Dataset`: with the columns of `CORPUS_FEATURES`.
    """
    handle, path = tempfile.mkstemp(suffix=".arrow", dir=_scratch_folder().name)
    remaining = iter(rows)
    try:
        with os.fdopen(handle, "wb") as file, pa.ipc.new_stream(file, CORPUS_FEATURES.arrow_schema) as stream:
            while batch := list(itertools.islice(remaining, _BATCH_ROWS)):
                stream.write_batch(pa.RecordBatch.from_pylist(batch, CORPUS_FEATURES.arrow_schema))
    except BaseException:
        os.unlink(path)
        raise
    return Dataset.from_file(path, info=DatasetInfo(features=CORPUS_FEATURES))


def write_parquet(dataset: Dataset, path: str | os.PathLike[str], *, compression_level: int = 9) -> None:
    """Write a corpus as one Parquet file, compressed with zstd.

    The file is complete or absent: it is written beside its place and moved there. `read_parquet`,
    `datasets.load_dataset("parquet", data_files=...)` and any Parquet reader open it.

    Args:
        dataset (`datasets.Dataset`): with the columns of `CORPUS_FEATURES`.
        path (`str` or `os.PathLike`): where to write; an existing file is replaced.
        compression_level (`int`, *optional*, defaults to 9): of zstd, 1 to 22; higher is smaller and slower.

    Raises:
        ValueError: if the data set's columns are not those of a corpus.
    """
    if dataset.features != CORPUS_FEATURES:
        raise ValueError(
            f"the data set has the columns {dataset.features}, a corpus has {CORPUS_FEATURES}; "
            "read it with a reader of nerfound.corpus first"
        )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=path.parent) as folder:
        unfinished = Path(folder) / path.name
        with pq.ParquetWriter(
            unfinished,
            CORPUS_FEATURES.arrow_schema,
            compression="zstd",
            compression_level=compression_level,
            use_dictionary=_REPETITIVE_COLUMNS,
            column_encoding=_COLUMN_ENCODINGS,
        ) as writer:
            for table in dataset.with_format("arrow").iter(batch_size=_ROW_GROUP_ROWS):
                writer.write_table(table.cast(CORPUS_FEATURES.arrow_schema))
        os.replace(unfinished, path)


@functools.cache
def _scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """The folder of this process's Arrow files: beside the cache of `datasets`, on the disk that users chose for it."""
    cache = Path(datasets.config.HF_DATASETS_CACHE)
    cache.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="nerfound-", dir=cache)
