"""A server that refuses: what ends the run, what is tried anew, and what the message says."""

import json
import math
from dataclasses import replace

import pytest
from aiohttp import web

from nerfound.annotation import AnnotationStoppedError, Traffic
from tests.fakes.openai_server import FakeOpenAI

from .helpers import QUICK, run, sentences, write_lines


@pytest.fixture
def source(tmp_path):
    return write_lines(tmp_path / "texts.txt", sentences(30))


def answering(monkeypatch, status=200, *, after=0, headers=None, text=None, **error):
    """Let a fake server answer a raw error or body, after so many good answers."""
    well = FakeOpenAI._answer

    async def answer(server, request, entry, body):
        if len(server.log) <= after:
            return await well(server, request, entry, body)
        content = json.dumps({"error": {"message": "refused", **error}}) if text is None else text
        return web.Response(text=content, status=status, headers=headers, content_type="application/json")

    monkeypatch.setattr(FakeOpenAI, "_answer", answer)


@pytest.mark.parametrize(("status", "message"), [(402, "no credit; top it up"), (403, "may not use this model")])
def test_no_text_is_lost_when_credit_or_access_ends(source, tmp_path, monkeypatch, status, message):
    with FakeOpenAI() as server:
        with monkeypatch.context() as patch:
            answering(patch, status, after=5)
            with pytest.raises(AnnotationStoppedError, match=message):
                run(server, source, tmp_path / "corpus", traffic=Traffic(concurrency=1))
        assert run(server, source, tmp_path / "corpus").outcome.annotated == 30


def test_refusals_by_a_server_that_answers_nothing_are_tried_anew(source, tmp_path, monkeypatch):
    error = {"message": "Unsupported value: 0", "code": "unsupported_value", "param": "temperature"}
    with FakeOpenAI() as server:
        with monkeypatch.context() as patch:
            answering(patch, 400, **error)
            with pytest.raises(AnnotationStoppedError, match=r"Unsupported value.*--parameter temperature=null"):
                run(server, source, tmp_path / "corpus", traffic=replace(QUICK, patience=0.0))
        assert run(server, source, tmp_path / "corpus").outcome.annotated == 30


def test_a_burst_of_failures_at_the_start_does_not_end_a_run(source, tmp_path):
    with FakeOpenAI(scripted=dict.fromkeys(sentences(16), "error"), latency=0.01) as server:
        assert run(server, source, tmp_path / "corpus", traffic=replace(QUICK, patience=30)).outcome.annotated == 30


def test_to_be_told_to_wait_takes_no_attempt(source, tmp_path):
    with FakeOpenAI(scripted=dict.fromkeys(sentences(3), "rate_limit"), repeats=4, retry_after=0.01) as server:
        report = run(server, source, tmp_path / "corpus", traffic=replace(QUICK, attempts=2, patience=30))
    assert report.outcome.annotated == 30


def test_a_server_that_only_ever_tells_to_wait_ends_the_run(source, tmp_path):
    fake = FakeOpenAI(scripted=dict.fromkeys(sentences(30), "rate_limit"), repeats=10**6, retry_after=0.01)
    with fake as server, pytest.raises(AnnotationStoppedError, match=r"all its limits.*429"):
        run(server, source, tmp_path / "corpus", traffic=replace(QUICK, patience=0.05))


@pytest.mark.parametrize("seconds", [math.inf, 86_400])
def test_a_long_retry_after_ends_the_run(source, tmp_path, seconds):
    fake = FakeOpenAI(scripted={sentences(1)[0]: "rate_limit"}, retry_after=seconds)
    with fake as server, pytest.raises(AnnotationStoppedError, match="takes no request for"):
        run(server, source, tmp_path / "corpus")


def test_json_without_bottom_is_a_failure_of_its_text(source, tmp_path, monkeypatch):
    answering(monkeypatch, after=20, text='{"choices": ' + "[" * 200_000)
    with FakeOpenAI() as server:
        report = run(
            server, source, tmp_path / "corpus", traffic=replace(QUICK, concurrency=1, attempts=1, patience=30)
        )
    assert report.outcome.annotated == 20
    assert report.outcome.rejected == {"request failed": 10}


def test_a_key_that_the_server_repeats_is_kept_nowhere(source, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-this-must-not-leak\n")
    answering(monkeypatch, 400, after=20, message="refused: Authorization: Bearer sk-this-must-not-leak")
    with FakeOpenAI() as server:
        report = run(server, source, tmp_path / "corpus", traffic=replace(QUICK, concurrency=1, patience=30))
    assert report.outcome.rejected == {"request failed": 10}
    contents = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert any(b"Bearer ***" in content for content in contents)
    assert not any(b"must-not-leak" in content for content in contents)


def test_what_is_no_key_is_not_sent(source, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "schlüssel")
    with FakeOpenAI() as server, pytest.raises(ValueError, match="OPENAI_API_KEY holds characters"):
        run(server, source, tmp_path / "corpus")
