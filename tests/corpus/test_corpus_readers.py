"""Every reader: round trips, known-bad rows, hostile input, and never a stale row."""

import gzip
import json
import logging
import multiprocessing
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict, load_dataset

from nerfound.corpus import (
    CORPUS_FEATURES,
    AlignmentReport,
    read_blocks,
    read_corpus,
    read_hub_dataset,
    read_jsonl,
    read_parquet,
    validate_row,
    write_parquet,
)
from nerfound.corpus.records import passage_id


def found(dataset):
    return [[(entity["text"], entity["concept"]) for entity in row["entities"]] for row in dataset]


# Every source that can hold the same three records, as a function from records to what `read_corpus` is given.
def jsonl(records, folder):
    (folder / "c.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder / "c.jsonl"


def jsonl_gz(records, folder):
    path = jsonl(records, folder)
    Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes()))
    return f"{path}.gz"


def jsonl_zst(records, folder):
    path = jsonl(records, folder)
    Path(f"{path}.zst").write_bytes(pa.compress(path.read_bytes(), "zstd", asbytes=True))
    return f"{path}.zst"


def source_parquet(records, folder):
    pq.write_table(pa.Table.from_pylist(records), folder / "source.parquet")
    return folder / "source.parquet"


def saved_dataset(records, folder):
    Dataset.from_list(records).save_to_disk(folder / "saved")
    return folder / "saved"


def saved_dataset_dict(records, folder):
    DatasetDict(train=Dataset.from_list(records), test=Dataset.from_list(records[:1])).save_to_disk(folder / "splits")
    return folder / "splits"


def data_folder(records, folder):
    (folder / "data").mkdir()
    jsonl(records, folder).rename(folder / "data" / "train.jsonl")
    return folder / "data"


@pytest.fixture
def expected(write_jsonl, records):
    return read_jsonl(write_jsonl(*records, name="expected.jsonl")).to_list()


@pytest.mark.parametrize(
    "store", [jsonl, jsonl_gz, jsonl_zst, source_parquet, saved_dataset, saved_dataset_dict, data_folder]
)
def test_every_source_gives_the_same_rows_and_report(store, records, tmp_path, expected, caplog):
    source = store(records, tmp_path)
    report = AlignmentReport()
    with caplog.at_level(logging.INFO, logger="nerfound"):
        dataset = read_corpus(source, report=report)
    assert dataset.features == CORPUS_FEATURES
    assert dataset.to_list() == expected
    assert (report.passages, report.given, report.aligned, report.propagated) == (3, 6, 5, 1)
    assert report.dropped == {"inside a word": 1}
    assert str(report) in caplog.text
    for row in dataset:
        validate_row(row, "row")


def test_the_expected_rows(expected):
    assert [row["id"] for row in expected] == ["r1", "r2", "r3"]
    assert found(expected) == [
        [("September 1", "date"), ("September", "month"), ("Rome", "city"), ("Rome", "city")],
        [("İzmir", "city"), ("a <> b", "expression")],
        [],
    ]


def test_propagation_can_be_switched_off(write_jsonl, records):
    report = AlignmentReport()
    dataset = read_corpus(write_jsonl(*records), propagate=False, report=report)
    assert report.propagated == 0
    assert found(dataset)[0] == [("September 1", "date"), ("September", "month"), ("Rome", "city")]


def test_aligned_rows_make_the_round_trip(write_jsonl, records, expected, tmp_path):
    write_parquet(read_jsonl(write_jsonl(*records)), tmp_path / "c.parquet")
    report = AlignmentReport()
    assert read_parquet(tmp_path / "c.parquet", report=report).to_list() == expected
    assert (report.passages, report.given, report.aligned, report.propagated) == (3, 6, 6, 0)
    assert read_jsonl(write_jsonl(*expected, name="again.jsonl")).to_list() == expected
    assert load_dataset("parquet", data_files=str(tmp_path / "c.parquet"), split="train").to_list() == expected


def test_a_changed_file_never_gives_stale_rows(write_jsonl):
    """The same path, size and time: what a cache would key on stays, the rows must not."""
    path = write_jsonl({"text": "Rome", "annotations": [["Rome", "city"]]})
    stamp = path.stat()
    assert found(read_jsonl(path)) == [[("Rome", "city")]]
    write_jsonl({"text": "Oslo", "annotations": [["Oslo", "city"]]})
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert path.stat().st_size == stamp.st_size
    assert found(read_jsonl(path)) == [[("Oslo", "city")]]


def test_the_report_is_right_on_every_call_and_adds_up_over_calls(write_jsonl, records):
    path = write_jsonl(*records)
    first, second = AlignmentReport(), AlignmentReport()
    read_jsonl(path, report=first)
    read_jsonl(path, report=second)
    assert first == second
    read_jsonl(path, report=second)
    assert second.given == 2 * first.given


def test_mapping_a_reread_file_gives_fresh_rows_too(write_jsonl):
    path = write_jsonl({"id": "a", "text": "Rome", "annotations": []})
    assert list(read_jsonl(path).map(lambda row: {"size": len(row["text"])})["size"]) == [4]
    write_jsonl({"id": "a", "text": "Istanbul", "annotations": []})
    assert list(read_jsonl(path).map(lambda row: {"size": len(row["text"])})["size"]) == [8]


def _first_text(dataset):
    return dataset[0]["text"]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_can_open_the_dataset_and_leave_it_in_place(method, write_jsonl, records):
    dataset = read_jsonl(write_jsonl(*records))
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply(_first_text, (dataset,)) == records[0]["text"]
    assert _first_text(pickle.loads(pickle.dumps(dataset))) == records[0]["text"]


def test_the_scratch_files_are_gone_when_the_process_ends(write_jsonl, records, tmp_path):
    path = write_jsonl(*records)
    script = (
        "import sys; from nerfound.corpus import read_jsonl; dataset = read_jsonl(sys.argv[1]); "
        "print(dataset.cache_files[0]['filename'])"
    )
    environment = {**os.environ, "HF_DATASETS_CACHE": str(tmp_path / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(
        [sys.executable, "-c", script, str(path)], env=environment, capture_output=True, text=True, check=True
    )
    scratch = Path(run.stdout.strip())
    assert scratch.parent.parent == tmp_path / "cache"
    assert not scratch.parent.exists()


def test_an_empty_file_is_an_empty_corpus(tmp_path):
    (tmp_path / "empty.jsonl").touch()
    dataset = read_jsonl(tmp_path / "empty.jsonl")
    assert len(dataset) == 0
    assert dataset.features == CORPUS_FEATURES


# JSON lines


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "corpus.jsonl:3 is not JSON"),
        ("[" * 100_000, "corpus.jsonl:3 is not JSON"),
        ('{"start": ' + "9" * 5000 + "}", "corpus.jsonl:3 is not JSON"),
        ("[1]", "corpus.jsonl:3 is '[1]'; it must be an object"),
        ('{"annotations": []}', "corpus.jsonl:3: 'text' is None"),
        ('{"text": "", "annotations": []}', "corpus.jsonl:3: 'text' is empty"),
        ('{"text": "a"}', "corpus.jsonl:3: neither of 'annotations' and 'entities'"),
        ('{"text": "a", "annotations": [], "entities": []}', "corpus.jsonl:3: both of"),
        ('{"text": "a", "annotations": {"a": "b"}}', "corpus.jsonl:3: 'annotations' is {'a': 'b'}"),
        ('{"text": "a", "annotations": [["a"]]}', "corpus.jsonl:3: annotation 1 is ['a']"),
        ('{"text": "a", "annotations": ["abc"]}', "corpus.jsonl:3: annotation 1 is 'abc'"),
        ('{"text": "a", "annotations": [["a", null]]}', "corpus.jsonl:3: annotation 1 is ['a', None]"),
        ('{"text": "a", "annotations": [["a", "b", "c", "d"]]}', "corpus.jsonl:3: annotation 1"),
        ('{"text": "a\\ud800", "annotations": []}', "corpus.jsonl:3: 'text' holds"),
        ('{"text": "a", "id": 3, "annotations": []}', "corpus.jsonl:3: 'id' is 3"),
        ('{"text": "a", "domain": 0, "annotations": []}', "corpus.jsonl:3: 'domain' is 0"),
        ('{"text": "a", "entities": 0}', "corpus.jsonl:3: 'entities' is 0"),
        ('{"text": "a", "entities": [0]}', "corpus.jsonl:3: entity 1 is 0"),
        ('{"text": "a", "entities": [{"start": 0}]}', "corpus.jsonl:3: entity 1: end, text, concept missing"),
        (
            '{"text": "ab", "entities": [{"start": 0, "end": 1, "text": "b", "concept": "c"}]}',
            "corpus.jsonl:3: entity 1: 'text' is 'b', but the passage reads 'a'",
        ),
    ],
)
def test_a_malformed_line_is_named_with_file_and_line(line, message, tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"text": "a", "annotations": []}\n\n' + line + "\n")
    with pytest.raises(ValueError, match=re.escape(message)):
        read_jsonl(path)


def test_a_failed_reading_leaves_no_file_and_no_counts(write_jsonl):
    report = AlignmentReport()
    scratch = Path(read_jsonl(write_jsonl()).cache_files[0]["filename"]).parent
    before = set(scratch.iterdir())
    with pytest.raises(ValueError, match="neither"):
        read_jsonl(write_jsonl({"text": "a", "annotations": []}, {"text": "b"}), report=report)
    assert set(scratch.iterdir()) == before
    assert report == AlignmentReport()


def test_aligned_entities_are_sorted_completed_and_freed_of_duplicates(write_jsonl):
    rome = {"start": 0, "end": 4, "text": "Rome", "concept": "city", "score": 0.5}
    entities = [{"start": 5, "end": 9, "text": "fell", "concept": "event"}, rome, {**rome, "concept": "City"}]
    report = AlignmentReport()
    (row,) = read_jsonl(write_jsonl({"text": "Rome fell", "entities": entities, "note": 1}), report=report)
    assert [(entity["text"], entity["concept"]) for entity in row["entities"]] == [("Rome", "city"), ("fell", "event")]
    assert {entity["description"] for entity in row["entities"]} == {""}
    assert (report.given, report.aligned, dict(report.dropped)) == (3, 2, {"duplicate": 1})


def test_passages_without_an_id_get_one_from_their_text(write_jsonl):
    passages = [{"text": text, "annotations": []} for text in ("a", "b", "a")]
    ids = read_jsonl(write_jsonl(*passages))["id"]
    assert list(ids) == [passage_id("a"), passage_id("b"), passage_id("a")]
    assert ids[0] != ids[1]


def test_bytes_that_are_no_text_are_an_error(tmp_path):
    path = tmp_path / "latin.jsonl"
    path.write_bytes('{"text": "café", "annotations": []}'.encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin\.jsonl is not UTF-8"):
        read_jsonl(path)


@pytest.mark.parametrize(
    ("name", "compressed"),
    [
        ("cut.jsonl.gz", gzip.compress(os.urandom(50_000))[:-100]),
        ("cut.jsonl.zst", pa.compress(b"{}\n" * 50_000, "zstd", asbytes=True)[:-20]),
    ],
)
def test_a_truncated_archive_is_an_error(name, compressed, tmp_path):
    (tmp_path / name).write_bytes(compressed)
    with pytest.raises(ValueError, match=name):
        read_jsonl(tmp_path / name)


def test_a_byte_order_mark_is_no_text(tmp_path):
    path = tmp_path / "bom.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b'{"text": "Rome", "annotations": [["Rome", "city"]]}\r\n')
    assert found(read_jsonl(path)) == [[("Rome", "city")]]


# The block format

BLOCKS = """\

S: World War II started on September 1 1939.
World War II -|- historical event -|- Significant event that shaped history.
September 1 -|- date -|- Specific day of the calendar.
September -|- month
1939 -|-  -|- Nameless.

  \t
S: The pattern a -|- b matches; S: stays\u2028in.
a -|- b -|- pattern -|- Text - with -|- dashes.
S: stays -|- phrase -|- Words.

S: no entities here
"""


def test_blocks(tmp_path):
    path = tmp_path / "passages.txt"
    path.write_text(BLOCKS, encoding="utf-8")
    report = AlignmentReport()
    dataset = read_blocks(path, report=report)
    assert list(dataset["text"]) == [
        "World War II started on September 1 1939.",
        "The pattern a -|- b matches; S: stays\u2028in.",
        "no entities here",
    ]
    assert found(dataset) == [
        [("World War II", "historical event"), ("September 1", "date"), ("September", "month")],
        [("a -|- b", "pattern"), ("S: stays", "phrase")],
        [],
    ]
    assert dataset[1]["entities"][0]["description"] == "Text - with -|- dashes."
    assert report.dropped == {"empty concept": 1}
    assert report.examples[0].where == f"{path}:2"
    assert read_corpus(path).to_list() == dataset.to_list()


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ("Rome -|- city -|- Town.\n", ":1: 'Rome -|- city -|- Town.' begins a block"),
        ("S: \n", ":1: 'S: ' begins a block; its first line must be 'S: ' and the passage"),
        ("S: Rome\nRome - city\n", ":2: 'Rome - city' is no annotation"),
        ("S: Rome\nS: Oslo\n", ":2: 'S: Oslo' is no annotation; write"),
    ],
)
def test_a_malformed_block_is_named_with_file_and_line(blocks, message, tmp_path):
    path = tmp_path / "passages.txt"
    path.write_text(blocks)
    with pytest.raises(ValueError, match=re.escape(f"{path}{message}")):
        read_blocks(path)


# Parquet and data sets


def test_what_is_no_parquet_is_an_error(tmp_path):
    path = tmp_path / "c.parquet"
    path.write_text("PAR1 no")
    with pytest.raises(ValueError, match="is no Parquet file"):
        read_parquet(path)


def test_a_wrong_row_of_a_parquet_file_is_named(tmp_path):
    path = source_parquet([{"text": "a", "annotations": [["a", "b"]]}, {"text": "b", "annotations": [["b"]]}], tmp_path)
    with pytest.raises(ValueError, match=r"source\.parquet: row 1: annotation 1 is \['b'\]"):
        read_parquet(path)


def test_splits_of_a_folder(records, tmp_path):
    folder = saved_dataset_dict(records, tmp_path)
    assert len(read_hub_dataset(folder, split="test")) == 1
    with pytest.raises(ValueError, match=r"has no split 'dev'; give one of \['train', 'test'\]"):
        read_hub_dataset(folder, split="dev")
    with pytest.raises(ValueError, match="without splits; leave out split='test'"):
        read_hub_dataset(saved_dataset(records, tmp_path), split="test")
    with pytest.raises(ValueError, match="takes no revision"):
        read_hub_dataset(folder, revision="main")
    assert len(read_hub_dataset(data_folder(records, tmp_path), split="train[:2]")) == 2
    assert len(read_hub_dataset(tmp_path / "data", streaming=True)) == 3


def test_a_formatted_dataset_reads_as_python_values(records, expected, tmp_path):
    Dataset.from_list(records).with_format("numpy").save_to_disk(tmp_path / "numpy")
    assert read_corpus(tmp_path / "numpy").to_list() == expected


def test_a_changed_data_folder_never_gives_stale_rows(tmp_path):
    folder = data_folder([{"text": "Rome", "annotations": [["Rome", "city"]]}], tmp_path)
    assert found(read_corpus(folder)) == [[("Rome", "city")]]
    jsonl([{"text": "Oslo", "annotations": [["Oslo", "city"]]}], tmp_path).replace(folder / "train.jsonl")
    assert found(read_corpus(folder)) == [[("Oslo", "city")]]


# Choosing a reader


@pytest.mark.parametrize("source", ["corpus.tsv", "a/b/c.json", "corpus", "x.parquet.gz", "../corpus", "c.jsonl.bz2"])
def test_a_source_that_fits_no_rule_is_refused(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where none of them is a file or folder
    with pytest.raises(ValueError, match=re.escape(f"cannot tell how to read {source!r}; give 'default', a file")):
        read_corpus(source)


def test_an_existing_file_is_no_dataset_id(tmp_path, monkeypatch):
    (tmp_path / "corpora").mkdir()
    (tmp_path / "corpora" / "c.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"cannot tell how to read 'corpora/c\.json'"):
        read_corpus("corpora/c.json")


def test_a_missing_file_is_missing(tmp_path):
    for name in ("no.jsonl", "no.parquet", "no.csv.zst", "no.txt"):
        with pytest.raises(FileNotFoundError, match="no"):
            read_corpus(tmp_path / name)


def test_arguments_without_use_are_refused(write_jsonl, records):
    with pytest.raises(ValueError, match="takes no split, revision"):
        read_corpus(write_jsonl(*records), split="train", revision="main")
    with pytest.raises(ValueError, match="default takes no split"):
        read_corpus("default", split="test")


def test_a_dataset_id_goes_to_the_hub(monkeypatch, records):
    calls = []

    def load(*arguments, **options):
        calls.append((arguments, options))
        return Dataset.from_list(records)

    monkeypatch.setattr("nerfound.corpus.sources.load_dataset", load)
    dataset = read_corpus("someone/corpus", split="full", name="en", revision="abc")
    assert calls == [(("someone/corpus",), {"split": "full", "name": "en", "revision": "abc"})]
    assert list(dataset["id"]) == ["r1", "r2", "r3"]
    read_corpus("someone/corpus")
    assert calls[-1] == (("someone/corpus",), {"split": "train"})
