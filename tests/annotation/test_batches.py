"""The Batch API: build, upload, wait, merge, and go on after a kill at any stage."""

import pytest
from aiohttp import web

from nerfound.annotation import batches
from tests.fakes.openai_server import FakeOpenAI

from .helpers import rejected_texts, run, sentences, write_lines

BATCH = {"batch": True, "poll_seconds": 0.02}


@pytest.fixture
def source(tmp_path):
    return write_lines(tmp_path / "texts.txt", sentences(10))


def test_answers_come_by_jobs(source, tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "MAX_BYTES", 4_500)
    with FakeOpenAI() as server:
        report = run(server, source, tmp_path / "corpus", **BATCH)
        assert len(server.batches) > 1
        assert report.outcome.annotated == 10
        assert report.cost == pytest.approx((report.prompt_tokens * 0.075 + report.completion_tokens * 0.3) / 1e6)
        assert run(server, source, tmp_path / "online").requests == 0  # the cache is the same
        assert len(server.log) == 10


def test_faults_of_lines(tmp_path):
    texts = sentences(8)
    scripted = dict(zip(texts, ["hang", "error", "cut", "bad_request", "refusal"], strict=False))
    source = write_lines(tmp_path / "texts.txt", texts)
    with FakeOpenAI(scripted=scripted) as server:
        report = run(server, source, tmp_path / "corpus", **BATCH)
    assert rejected_texts(tmp_path / "corpus") == {texts[3]: "request failed", texts[4]: "refused"}
    assert report.outcome.annotated == 6
    assert [server.seen[text] for text in texts] == [2, 2, 2, 1, 1, 1, 1, 1]


class Killed(BaseException):
    """Ends the process's work on the spot, as far as one process can play that."""


@pytest.mark.parametrize("stage", ["_create", "submit_job", "_wait_and_merge", "_commit", "finish_job"])
def test_a_killed_run_goes_on(source, tmp_path, monkeypatch, stage):
    owner = batches.Workspace if hasattr(batches.Workspace, stage) else batches.BatchSender

    def killed(*_):
        raise Killed

    with FakeOpenAI() as server:
        with monkeypatch.context() as patch:
            patch.setattr(owner, stage, killed)
            with pytest.raises(Killed):
                run(server, source, tmp_path / "corpus", **BATCH)
        report = run(server, source, tmp_path / "corpus", **BATCH)
        assert report.outcome.annotated == 10
        assert len(server.batches) == 1
        assert set(server.seen.values()) == {1}


def test_the_cost_limit(source, tmp_path):
    options = {**BATCH, "parameters": {"max_completion_tokens": 100}}
    with FakeOpenAI() as server:
        report = run(server, source, tmp_path / "corpus", max_cost=0.0003, **options)
        assert report.over_budget
        assert 0 < report.cost <= 0.0003
        assert run(server, source, tmp_path / "corpus", **options).outcome.annotated == 10


def test_what_the_limit_holds_back_is_sent_when_answers_cost_less(source, tmp_path):
    options = {**BATCH, "parameters": {"max_completion_tokens": 100}}
    with FakeOpenAI() as server:
        report = run(server, source, tmp_path / "corpus", max_cost=0.0006, **options)
        assert len(server.batches) > 1
        assert report.outcome.annotated == 10
        assert not report.over_budget
        assert report.cost < 0.0006


def test_answers_without_usage_cost_what_they_can_have(source, tmp_path, monkeypatch):
    completion = FakeOpenAI.completion
    monkeypatch.setattr(FakeOpenAI, "completion", lambda *told: {**completion(*told), "usage": None})
    options = {**BATCH, "parameters": {"max_completion_tokens": 100}, "max_cost": 0.0006}
    with FakeOpenAI() as server:
        report = run(server, source, tmp_path / "corpus", **options)
        assert report.over_budget
        assert 0.0004 < report.unsettled <= 0.0006
        sent = len(server.log)
        assert run(server, source, tmp_path / "corpus", **options).unsettled == pytest.approx(report.unsettled)
        assert len(server.log) == sent < 10


@pytest.mark.parametrize("life", [60.0, 0.0])
def test_an_outage_shorter_than_a_jobs_life_is_waited_for(source, tmp_path, monkeypatch, life):
    retrieve, polls = FakeOpenAI._retrieve_batch, iter(range(10))

    async def out_of_reach(server, request):
        poll = next(polls, 10)
        if poll == 1:
            return web.json_response({"error": {"message": "down for a while"}}, status=503)
        if poll < 6:
            request.transport.abort()
        return await retrieve(server, request)

    monkeypatch.setattr(FakeOpenAI, "_retrieve_batch", out_of_reach)
    monkeypatch.setattr(batches, "_LIFE_SECONDS", life)
    with FakeOpenAI() as server:
        if not life:
            with pytest.raises(batches.AnnotationStoppedError, match=r"(503|cannot be reached).*Nothing is lost"):
                run(server, source, tmp_path / "corpus", **BATCH)
            assert list(polls)  # the outage would have gone on
        assert run(server, source, tmp_path / "corpus", **BATCH).outcome.annotated == 10
        assert len(server.batches) == 1


def test_a_refused_job_is_told(source, tmp_path, monkeypatch):
    def fail(server, batch):
        batch["status"] = "failed"
        batch["errors"] = {"object": "list", "data": [{"code": "token_limit", "message": "too many enqueued tokens"}]}

    with FakeOpenAI() as server:
        with monkeypatch.context() as patch:
            patch.setattr(FakeOpenAI, "_run_batch", fail)
            with pytest.raises(
                batches.AnnotationStoppedError, match=r"too many enqueued tokens.*smaller --sample.*anew"
            ):
                run(server, source, tmp_path / "corpus", **BATCH)
        assert run(server, source, tmp_path / "corpus", **BATCH).outcome.annotated == 10


def test_jobs_under_way_are_neither_sent_online_nor_forgotten(source, tmp_path, monkeypatch):
    def killed(*_):
        raise Killed

    with FakeOpenAI() as server:
        with monkeypatch.context() as patch:
            patch.setattr(batches.BatchSender, "_wait_and_merge", killed)
            with pytest.raises(Killed):
                run(server, source, tmp_path / "corpus", **BATCH)
        for options in ({}, {"overwrite": True}, {"overwrite": True, **BATCH}):
            with pytest.raises(ValueError, match="batch jobs under way, which are paid for; go on with --batch"):
                run(server, source, tmp_path / "corpus", **options)
        assert run(server, source, tmp_path / "corpus", **BATCH).outcome.annotated == 10
        assert run(server, source, tmp_path / "corpus").outcome.annotated == 10
        assert set(server.seen.values()) == {1}


def test_a_server_without_batches_leaves_the_way_online_open(source, tmp_path, monkeypatch):
    async def unknown(*_):
        return web.json_response({"error": {"message": "no such address"}}, status=404)

    monkeypatch.setattr(FakeOpenAI, "_list_batches", unknown)
    with FakeOpenAI() as server:
        with pytest.raises(batches.AnnotationStoppedError, match="no such address"):
            run(server, source, tmp_path / "corpus", **BATCH)
        assert run(server, source, tmp_path / "corpus").outcome.annotated == 10


def test_each_answer_has_the_price_it_was_paid_at(source, tmp_path, monkeypatch):
    """Half of the answers by a job, the others online: each class at its own price, whoever sums up."""
    with FakeOpenAI(scripted=dict.fromkeys(sentences(5), "cut"), repeats=3) as server:
        halved = run(server, source, tmp_path / "corpus", **BATCH)
        assert halved.outcome.annotated == 5
        both = run(server, source, tmp_path / "corpus")
        assert both.outcome.annotated == 10
        tokens = both.prompt_tokens - halved.prompt_tokens, both.completion_tokens - halved.completion_tokens
        assert both.cost == pytest.approx(halved.cost + (tokens[0] * 0.15 + tokens[1] * 0.6) / 1e6)
        assert run(server, source, tmp_path / "corpus", **BATCH).cost == pytest.approx(both.cost)
