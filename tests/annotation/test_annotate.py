"""The annotator against a fake server over real HTTP: answers, faults, limits, costs and interruptions."""

import asyncio
import json
import os
import signal
import threading
import time
from dataclasses import replace

import datasets
import pytest
from typer.testing import CliRunner

from nerfound.annotation import (
    ANNOTATION_FEATURES,
    AnnotationInterruptedError,
    AnnotationStoppedError,
    AnnotationTask,
    Source,
    Traffic,
    annotate,
    estimate,
)
from nerfound.cli import app
from nerfound.corpus import read_corpus
from nerfound.fewshot import read_examples
from tests.fakes.openai_server import FakeOpenAI, good_entities

from .helpers import MODEL, QUICK, read_rejects, rejected_texts, run, sentences, write_lines

SECRET = "sk-this-must-not-leak"


@pytest.fixture(autouse=True)
def no_progress_bars(monkeypatch):
    datasets.disable_progress_bars()
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def source(tmp_path):
    return write_lines(tmp_path / "texts.txt", sentences(12))


def test_a_corpus_with_its_provenance(source, tmp_path):
    with FakeOpenAI() as server:
        report = run(server, source, tmp_path / "corpus", shard_rows=5)
    assert (report.outcome.texts, report.outcome.annotated, report.outcome.pending) == (12, 12, 0)
    assert report.requests == 12
    shards = sorted(path.name for path in (tmp_path / "corpus" / "data").iterdir())
    assert shards == [f"train-0000{number}-of-00003.parquet" for number in range(3)]
    dataset = datasets.load_dataset(str(tmp_path / "corpus"), split="train", cache_dir=str(tmp_path / "datasets"))
    assert dataset.features == ANNOTATION_FEATURES
    row = dataset[0]
    assert row["model"] == f"{MODEL}-2025-01-01"
    assert row["prompt"] == "open-lines.v1"
    assert row["annotated_at"].startswith("20")
    assert sum(dataset["prompt_tokens"]) == report.prompt_tokens > 0
    assert sum(dataset["completion_tokens"]) == report.completion_tokens > 0
    assert report.cost == pytest.approx((report.prompt_tokens * 0.15 + report.completion_tokens * 0.6) / 1e6)
    corpus = read_corpus(tmp_path / "corpus", cache_dir=str(tmp_path / "datasets"))
    assert corpus["text"] == sentences(12)
    assert [entity["text"] for entity in corpus[0]["entities"]] == [
        mention for mention, *_ in good_entities(sentences(1)[0], "")
    ]
    info = json.loads((tmp_path / "corpus" / "dataset_info.json").read_text())
    assert info["splits"]["train"]["num_examples"] == 12
    told = json.loads((tmp_path / "corpus" / "annotation.json").read_text())
    assert told["outcome"]["annotated"] == 12
    assert "-|-" in told["prompt"]["system"]


def test_nothing_is_asked_twice(source, tmp_path):
    with FakeOpenAI() as server:
        first = run(server, source, tmp_path / "one")
        again = run(server, source, tmp_path / "one")
        other = run(server, source, tmp_path / "two")
        assert len(server.log) == 12
        assert (again.requests, other.requests) == (12, 0)
        assert first.outcome == again.outcome == other.outcome
        run(server, source, tmp_path / "three", model="another")
        assert len(server.log) == 24


def test_every_fault_ends_in_a_row_or_in_a_reason(tmp_path):
    texts = sentences(13)
    kinds = ["rate_limit", "error", "hang", "cut", "garbage"]
    lasting = {
        "malformed": "no usable line",
        "other_text": "no usable line",
        "refusal": "refused",
        "empty": "empty answer",
        "bad_request": "request failed",
        "echo": "no usable line",
    }
    scripted = dict(zip(texts, [*kinds, *lasting, "length"], strict=False))
    source = write_lines(tmp_path / "texts.txt", texts)
    with FakeOpenAI(scripted=scripted) as server:
        report = run(server, source, tmp_path / "corpus")
        assert all(server.seen[text] == (2 if scripted.get(text) in kinds else 1) for text in texts)
        assert rejected_texts(tmp_path / "corpus") == dict(zip(texts[5:11], lasting.values(), strict=True))
        assert report.outcome.annotated == 7
        lines = [record["reason"] for record in read_rejects(tmp_path / "corpus") if record["what"] == "line"]
        assert {"truncated by length", "prompt echo", "mention not in text", "wrong field count"} <= set(lines)
        run(server, source, tmp_path / "corpus")
        assert sum(server.seen.values()) == 13 + len(kinds)  # a refused request is not sent again either


def test_a_fault_that_stays_is_a_reason_and_is_tried_anew_by_the_next_start(tmp_path):
    texts = sentences(2)
    source = write_lines(tmp_path / "texts.txt", texts)
    with FakeOpenAI(scripted={texts[0]: "error"}, repeats=QUICK.attempts) as server:
        report = run(server, source, tmp_path / "corpus")
        assert server.seen[texts[0]] == QUICK.attempts
        assert report.outcome.rejected == {"request failed": 1}
        (record,) = [record for record in read_rejects(tmp_path / "corpus") if record["what"] == "text"]
        assert "500" in record["detail"]
        assert run(server, source, tmp_path / "corpus").outcome.annotated == 2


def test_retry_after_is_obeyed(tmp_path):
    texts = sentences(1)
    with FakeOpenAI(scripted={texts[0]: "rate_limit"}, retry_after=0.7) as server:
        run(server, write_lines(tmp_path / "texts.txt", texts), tmp_path / "corpus")
    first, second = server.log
    assert second.received - first.received >= 0.7


def test_limits_of_rate_and_concurrency(tmp_path):
    source = write_lines(tmp_path / "texts.txt", sentences(30))
    with FakeOpenAI(latency=0.02) as server:
        run(server, source, tmp_path / "a", traffic=Traffic(concurrency=3))
        assert server.most_concurrent <= 3
        server.log.clear()
        run(server, source, tmp_path / "b", model="b", traffic=Traffic(concurrency=30, requests_per_minute=240))
        received = [entry.received for entry in server.log]
    assert received[-1] - received[0] >= 2.2  # twenty at once, then four a second


def test_a_server_that_is_down_ends_the_run_with_a_message(source, tmp_path):
    hasty = replace(QUICK, patience=0.01)
    with FakeOpenAI() as server:
        server.down = True
        with pytest.raises(AnnotationStoppedError, match=r"down or to refuse everything.*503.*Nothing is lost"):
            run(server, source, tmp_path / "corpus", traffic=hasty)
        server.down = False
        assert run(server, source, tmp_path / "corpus").outcome.annotated == 12
    with pytest.raises(AnnotationStoppedError, match="has not answered once"):
        run(server, source, tmp_path / "other", model="m", traffic=hasty)  # nobody listens there any more


def test_the_key_is_sent_and_kept_nowhere(source, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    caplog.set_level("DEBUG")
    with FakeOpenAI(keep_bodies=True) as server:
        run(server, source, tmp_path / "corpus")
    assert server.log[0].headers["Authorization"] == f"Bearer {SECRET}"
    told = {name for name in server.log[0].headers if name.startswith("X-Stainless")}
    assert not told & {"X-Stainless-OS", "X-Stainless-Arch", "X-Stainless-Runtime-Version"}
    assert SECRET not in caplog.text
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


def test_without_a_key_openai_is_not_asked(source, tmp_path):
    with pytest.raises(ValueError, match="OPENAI_API_KEY"):
        annotate(source, tmp_path / "corpus", model=MODEL, cache=tmp_path / "cache.sqlite")


def test_the_cost_limit_is_not_passed(tmp_path):
    source = write_lines(tmp_path / "texts.txt", sentences(40))
    options = {"parameters": {"max_completion_tokens": 100}, "max_cost": 0.001}
    with FakeOpenAI() as server:
        report = run(server, source, tmp_path / "corpus", **options)
        assert 0.0005 < report.cost <= 0.001
        assert report.over_budget
        assert report.outcome.annotated + report.outcome.pending == 40
        assert "not asked yet" in str(report)
        sent = len(server.log)
        assert run(server, source, tmp_path / "corpus", **options).cost <= 0.001  # of all invocations together
        assert len(server.log) - sent <= 2
        options["max_cost"] = 1
        assert run(server, source, tmp_path / "corpus", **options).outcome.annotated == 40
    with pytest.raises(ValueError, match="no price is known"):
        run(server, source, tmp_path / "other", model="home-made", max_cost=1)


def test_an_estimate_sends_nothing(source, tmp_path):
    task = AnnotationTask(Source(str(source)), MODEL)
    options = {"cache": tmp_path / "cache.sqlite"}
    before = estimate(task, tmp_path / "corpus", **options)
    assert (before.requests, before.finished) == (12, 0)
    with FakeOpenAI() as server:
        report = run(server, source, tmp_path / "corpus")
    assert before.prompt_tokens == pytest.approx(report.prompt_tokens, rel=0.15)
    assert before.completion_tokens == pytest.approx(report.completion_tokens, rel=0.6)
    assert estimate(task, tmp_path / "corpus", **options).finished == 12
    half = estimate(AnnotationTask(Source(str(source)), "gpt-4o"), tmp_path / "b", batch=True, **options)
    assert "$1.25 in and $5 out" in str(half)


def in_a_notebook(function):
    """Call a function in a running event loop, which leaves interrupts as they are."""

    async def cell():
        return function()

    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(cell())
    finally:
        loop.close()


def interrupt_once_asked(server, requests):
    """What Ctrl-C does, in the midst of the sending."""
    while len(server.log) < requests:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("where", [lambda function: function(), in_a_notebook])
def test_an_interrupt_keeps_what_is_under_way(tmp_path, where):
    source = write_lines(tmp_path / "texts.txt", sentences(300))
    with FakeOpenAI(latency=0.2) as server:
        threading.Thread(target=interrupt_once_asked, args=(server, 30), daemon=True).start()
        with pytest.raises(AnnotationInterruptedError, match="all of which are kept"):
            where(lambda: run(server, source, tmp_path / "corpus"))
        sent = len(server.log)
        assert 0 < sent < 300
        assert all(entry.completed for entry in server.log)
        run(server, source, tmp_path / "corpus")
        assert len(server.log) == 300  # none of those under way was lost


def test_a_users_own_concepts_give_examples_to_fit(tmp_path):
    (tmp_path / "concepts.yaml").write_text("traveller: Somebody on a journey.\nplace: Where one can be.\n")
    source = write_lines(tmp_path / "texts.txt", sentences(6))
    with FakeOpenAI(answers={sentences(1)[0]: "NONE"}) as server:
        report = run(server, source, tmp_path / "labelled", concepts=tmp_path / "concepts.yaml")
        assert report.outcome.annotated == 6
    (shard,) = (tmp_path / "labelled" / "data").iterdir()
    examples = read_examples(shard)
    assert examples.concepts == {"traveller": "Somebody on a journey.", "place": "Where one can be."}
    assert [len(example.entities) for example in examples.examples] == [0, 5, 5, 5, 5, 5]


def test_a_corpus_without_rows_says_where_the_texts_went(source, tmp_path):
    with FakeOpenAI(faults={"malformed": 1}) as server:
        options = ["--model", MODEL, "--base-url", server.url, "--cache", tmp_path / "c.sqlite"]
        result = CliRunner().invoke(app, ["annotate", str(source), str(tmp_path / "corpus"), *map(str, options)])
    assert (result.exit_code, "has no rows; see" in result.output) == (0, True), result.output
    result = CliRunner().invoke(app, ["corpus", "stats", str(tmp_path / "corpus")])
    assert result.exit_code == 1
    message = " ".join(result.output.split())
    assert "has no rows in split 'train'" in message
    assert "rejects.jsonl says why every text was rejected" in message


def test_settings_and_places(source, tmp_path):
    with FakeOpenAI() as server:
        run(server, source, tmp_path / "corpus")
        with pytest.raises(ValueError, match="another parameters"):
            run(server, source, tmp_path / "corpus", parameters={"temperature": 1})
        report = run(server, source, tmp_path / "corpus", parameters={"temperature": 1}, overwrite=True)
        assert report.requests == 12


def test_a_running_event_loop_is_no_obstacle(source, tmp_path):
    with FakeOpenAI() as server:
        assert in_a_notebook(lambda: run(server, source, tmp_path / "corpus")).outcome.annotated == 12


def test_the_command(source, tmp_path, monkeypatch):
    monkeypatch.setattr("nerfound.annotation.pacing._FIRST_PATIENCE", 0.5)

    def command(*arguments):
        options = ["--model", MODEL, "--base-url", server.url, "--cache", tmp_path / "c.sqlite", *arguments]
        return CliRunner().invoke(app, ["annotate", str(source), str(tmp_path / "corpus"), *map(str, options)])

    with FakeOpenAI(keep_bodies=True) as server:
        result = command("--estimate")
        assert "requests to send: 12" in result.output
        result = command("--estimate", "--overwrite")
        assert (result.exit_code, "leave --overwrite out" in result.output) == (1, True)
        result = command("--parameter", "seed=7", "--overwrite", "--structured")
        assert result.exit_code == 0, result.output
        assert "annotated: 12 of 12 texts" in result.output
        assert server.log[0].body["seed"] == 7
        assert server.log[0].body["response_format"]["type"] == "json_schema"
        result = command("--parameter", "seed")
        assert (result.exit_code, "not NAME=VALUE" in result.output) == (1, True)
        server.down = True
        result = command("--overwrite", "--deadline", 5)
        assert (result.exit_code, "stopped: the server seems to be down" in result.output) == (1, True)
