"""From sources to passages: reading, splitting, filters, copies, samples; and the state of a run on disk."""

import io
import json
import sqlite3
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nerfound.annotation import Selection, Source
from nerfound.annotation.cache import Answer, RequestCache
from nerfound.annotation.inputs import Document
from nerfound.annotation.preparation import passages
from nerfound.annotation.workspace import Workspace

from .helpers import sentences, write_lines

ANSWER = Answer("content", "", "stop", "m", 1, 2, "2025-01-01T00:00:00+00:00")


def texts(documents, **selection):
    counts = Counter()
    return [passage.text for passage in passages(documents, Selection(**selection), counts)], counts


def test_documents_become_sentences():
    document = Document("Dr. Smith went to Rome.  He met\nthe U.S. envoy there!\n\nThey talked for hours.")
    found, _ = texts([document])
    assert found == ["Dr. Smith went to Rome.", "He met the U.S. envoy there!", "They talked for hours."]
    assert texts([document], sentences=False)[0] == [document.text]


def test_filters_are_counted():
    documents = [
        Document("Too short."),
        Document("12 345 67 89 10 11 12 : : : :"),
        Document("word " * 500),
        Document("a broken \ud800 sentence is left out"),
        Document("Ein Satz auf Deutsch ist das.", "de"),
        Document("A sentence in British English it is.", "en-GB"),
        Document("A sentence of a named language it is.", "English"),
    ]
    found, counts = texts(documents)
    assert found == [documents[5].text, documents[6].text]
    assert counts == {
        "documents": 7,
        "passages": 5,
        "left out, too short": 1,
        "left out, too few letters": 1,
        "left out, too long": 1,
        "left out, document with damaged characters": 1,
        "left out, document in another language": 1,
    }


def test_sources(tmp_path):
    expected = [Document("one text"), Document("another, \N{LINE SEPARATOR} in one line")]
    write_lines(tmp_path / "a.txt", [document.text for document in expected])
    records = [{"body": document.text} for document in expected]
    write_lines(tmp_path / "a.jsonl", map(json.dumps, records))
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "a.parquet")
    folder = tmp_path / "dataset"
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(records), folder / "train.parquet")
    assert list(Source(str(tmp_path / "a.txt")).read()) == expected
    for name in ("a.jsonl", "a.parquet", "dataset"):
        assert list(Source(str(tmp_path / name), column="body").read()) == expected
        assert list(Source(str(tmp_path / name), column="body", documents=1).read()) == expected[:1]
    with pytest.raises(ValueError, match=r"a.jsonl:1: no column 'text'; choose one of body"):
        list(Source(str(tmp_path / "a.jsonl")).read())
    (tmp_path / "a.doc").touch()
    with pytest.raises(ValueError, match="unknown kind of file"):
        Source(str(tmp_path / "a.doc")).read()


def filled(output, texts, **selection):
    """The texts that a run takes."""
    workspace = Workspace(output, {})
    chosen, counts = Selection(**selection), Counter()
    workspace.fill(passages(map(Document, texts), chosen, counts), chosen.sample, counts)
    found = [passage.text for page in workspace.pages() for passage in page]
    workspace.close()
    return found, counts


def test_each_text_is_taken_once(tmp_path):
    found, counts = filled(tmp_path, sentences(1_500) + sentences(1_500))
    assert found == sentences(1_500)
    assert counts["left out, text seen before"] == 1_500
    assert counts["taken"] == 1_500


def test_a_sample_depends_on_seed_and_texts_alone(tmp_path):
    found, counts = filled(tmp_path / "a", sentences(3_000), sample=50)
    backwards, _ = filled(tmp_path / "b", sentences(3_000)[::-1] + sentences(10), sample=50)
    other, _ = filled(tmp_path / "c", sentences(3_000), sample=50, seed=1)
    assert len(found) == counts["taken"] == 50
    assert sorted(found) == sorted(backwards) != sorted(other)
    assert counts["left out, not in the sample"] == 2_950


def test_a_run_is_held_by_one_process_and_goes_on_with_the_same_settings(tmp_path):
    workspace = Workspace(tmp_path, {"model": "a"})
    with pytest.raises(ValueError, match="another process"):
        Workspace(tmp_path, {"model": "a"})
    workspace.close()
    with pytest.raises(ValueError, match=r"another model \(model was a, now it is b\)"):
        Workspace(tmp_path, {"model": "b"})
    Workspace(tmp_path, {"model": "a"}).close()


def test_the_cache_is_append_only(tmp_path):
    cache = RequestCache(tmp_path / "cache.sqlite")
    cache.add("run", "m", "p", [(b"a", ANSWER), (b"b", ANSWER)])
    cache.add("other", "m", "p", [(b"a", ANSWER._replace(content="later"))])
    assert cache.get([b"a", b"d"]) == {b"a": ANSWER}
    assert cache.known([b"a", b"b", b"d"]) == {b"a", b"b"}
    cache.add("run", "m", "p", [(b"c", ANSWER)], batch=True)
    assert cache.usage_of_run("run") == [(False, 2, 2, 4), (True, 1, 1, 2)]
    assert cache.usage_of_run("other") == []
    assert cache.mean_completion_tokens("m", "p") == 2
    assert cache.mean_completion_tokens("n", "p") is None
    cache.close()
    with sqlite3.connect(tmp_path / "cache.sqlite") as connection:
        for statement in ("DELETE FROM answers", "UPDATE answers SET content = ''"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)


def test_what_is_no_cache_is_named(tmp_path):
    path = write_lines(tmp_path / "cache.sqlite", ["this is no database, " * 100])
    with pytest.raises(ValueError, match=r"cache.sqlite cannot be used"):
        RequestCache(path)


def test_a_run_under_way_is_not_forgotten(tmp_path):
    workspace = Workspace(tmp_path, {"model": "a"})
    with pytest.raises(ValueError, match="another process"):
        Workspace(tmp_path, {"model": "b"}, overwrite=True)
    workspace.note("counts", {})
    workspace.close()
    workspace = Workspace(tmp_path, {"model": "b"}, overwrite=True)
    assert workspace.fact("counts") is None
    workspace.close()


def test_standard_input_and_folders_are_told_from_others(tmp_path, monkeypatch):
    def piped(content):
        monkeypatch.setattr("sys.stdin", io.StringIO(content))
        source = Source("-")
        return source.fingerprint(), [document.text for document in source.read()]

    assert piped("one\ntwo\n") == piped("one\ntwo\n")
    assert piped("one\ntwo\n")[1] == ["one", "two"]
    assert piped("one\ntwo\n")[0] != piped("other\n")[0]
    write_lines(tmp_path / "a.txt", ["one"])
    before = Source(str(tmp_path)).fingerprint()
    assert Source(str(tmp_path)).fingerprint() == before
    write_lines(tmp_path / "b.txt", ["two"])
    assert Source(str(tmp_path)).fingerprint() != before
