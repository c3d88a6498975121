"""Answers that cannot be written at once: none of them is dropped."""

import sqlite3

import pytest

from nerfound.annotation import AnnotationStoppedError, Traffic
from nerfound.annotation.cache import RequestCache
from tests.fakes.openai_server import FakeOpenAI

from .helpers import run, sentences, write_lines


def test_one_failed_write_loses_no_answer(tmp_path, monkeypatch):
    source = write_lines(tmp_path / "texts.txt", sentences(40))
    add, failures = RequestCache.add, [sqlite3.OperationalError("database or disk is full")]

    def add_but_once(*arguments, **options):
        if failures:
            raise failures.pop()
        add(*arguments, **options)

    monkeypatch.setattr(RequestCache, "add", add_but_once)
    with FakeOpenAI(latency=0.1) as server:
        with pytest.raises(AnnotationStoppedError, match=r"disk is full.*Make room on the disk"):
            run(server, source, tmp_path / "corpus", traffic=Traffic(concurrency=8))
        assert 0 < len(server.log) < 40
        assert all(entry.completed for entry in server.log)
        assert run(server, source, tmp_path / "corpus").outcome.annotated == 40
        assert set(server.seen.values()) == {1}
