"""Writing Parquet: complete or absent, compressed, and only what is a corpus."""

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset

from nerfound.corpus import CORPUS_FEATURES, read_jsonl, read_parquet, write_parquet, writers
from nerfound.corpus.sources import parquet_records


def many(count):
    return ({"id": str(n), "language": "", "domain": "", "text": f"t{n}", "entities": []} for n in range(count))


def test_row_groups_and_compression(tmp_path):
    write_parquet(writers.dataset_from_rows(many(25_000)), tmp_path / "new" / "c.parquet")
    metadata = pq.ParquetFile(tmp_path / "new" / "c.parquet").metadata
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [10_000, 10_000, 5_000]
    assert metadata.row_group(0).column(0).compression == "ZSTD"
    assert list(read_parquet(tmp_path / "new" / "c.parquet")["id"]) == [str(n) for n in range(25_000)]


def test_selected_and_shuffled_rows_are_written_in_their_order(tmp_path):
    dataset = writers.dataset_from_rows(many(30)).select([7, 3, 29])
    write_parquet(dataset, tmp_path / "c.parquet")
    assert list(read_parquet(tmp_path / "c.parquet")["id"]) == ["7", "3", "29"]


def test_an_empty_corpus_is_written(tmp_path):
    write_parquet(writers.dataset_from_rows([]), tmp_path / "c.parquet")
    assert read_parquet(tmp_path / "c.parquet").features == CORPUS_FEATURES


def test_a_failed_writing_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "c.parquet"
    write_parquet(writers.dataset_from_rows(many(3)), path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(writers.pq.ParquetWriter, "write_table", fail)
    with pytest.raises(OSError, match="disk full"):
        write_parquet(writers.dataset_from_rows(many(5)), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_other_columns_are_refused(tmp_path):
    with pytest.raises(ValueError, match="the data set has the columns"):
        write_parquet(Dataset.from_list([{"text": "a"}]), tmp_path / "c.parquet")


def test_a_corpus_can_replace_its_own_source(write_jsonl, records, tmp_path):
    path = tmp_path / "c.parquet"
    dataset = read_jsonl(write_jsonl(*records))
    write_parquet(dataset, path)
    write_parquet(read_parquet(path), path)
    assert read_parquet(path).to_list() == dataset.to_list()


def test_reading_holds_one_row_group_at_a_time(tmp_path):
    rows = (
        {"id": "x", "language": "", "domain": "", "text": os.urandom(100).hex(), "entities": []} for _ in range(60_000)
    )
    write_parquet(writers.dataset_from_rows(rows), tmp_path / "c.parquet")
    before = pa.total_allocated_bytes()
    held = [pa.total_allocated_bytes() - before for _ in parquet_records(tmp_path / "c.parquet")]
    assert max(held) < (tmp_path / "c.parquet").stat().st_size / 2
