"""Killed at any moment, by a server with every fault: nothing is lost, nothing is paid twice."""

import itertools
import json
import multiprocessing
import random
import time
from collections import Counter

import pyarrow.parquet as pq

from nerfound.annotation import Traffic, annotate
from nerfound.annotation.cache import RequestCache
from nerfound.annotation.prompts import load_prompt
from nerfound.annotation.task import Question
from tests.fakes.openai_server import TRANSIENT, FakeOpenAI

from .helpers import MODEL, read_rejects, sentences, write_lines

REQUESTS = 2_000
KILLS = 5
CONCURRENCY = 32
FAULTS = {
    **dict.fromkeys(("rate_limit", "error", "cut", "garbage"), 0.025),
    **dict.fromkeys(("malformed", "other_text", "refusal", "length", "empty", "bad_request"), 0.015),
    "hang": 0.01,
}
TRAFFIC = Traffic(concurrency=CONCURRENCY, deadline=3.0, attempts=6, first_wait=0.05, longest_wait=0.2, patience=60)


def test_killed_five_times(tmp_path):
    assert abs(sum(FAULTS.values()) - 0.2) < 1e-9
    texts = sentences(REQUESTS)
    source = write_lines(tmp_path / "texts.txt", texts)
    options = {"model": MODEL, "cache": tmp_path / "cache.sqlite", "traffic": TRAFFIC}
    # Children are forked from a process that has imported everything: what is killed is the annotator, not its imports
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["nerfound.annotation"])
    chance = random.Random(0)
    moments = sorted(chance.sample(range(100, REQUESTS - 100), KILLS))
    question = Question(MODEL, load_prompt())
    keys = {question.key(text): text for text in texts}
    finished_at_kills = []

    with FakeOpenAI(latency=0.01, faults=FAULTS, retry_after=0.05) as server:
        arguments = {**options, "base_url": server.url}
        for moment in moments:
            process = context.Process(target=annotate, args=(source, tmp_path / "corpus"), kwargs=arguments)
            process.start()
            while process.is_alive() and len(server.seen) < moment:
                time.sleep(0.002)
            assert process.is_alive(), f"the annotator ended by itself, with {process.exitcode}"
            process.kill()
            process.join()
            time.sleep(0.1)  # what the dead process had sent arrives
            cache = RequestCache(tmp_path / "cache.sqlite")
            finished_at_kills.append((len(server.log), {keys[key] for key in cache.known(list(keys))}))
            cache.close()
        process = context.Process(target=annotate, args=(source, tmp_path / "corpus"), kwargs=arguments)
        process.start()
        process.join()
        assert process.exitcode == 0
        log = list(server.log)

        annotated = Counter(
            row["text"]
            for shard in (tmp_path / "corpus" / "data").iterdir()
            for row in pq.read_table(shard, columns=["text"]).to_pylist()
        )
        rejects = read_rejects(tmp_path / "corpus")
        rejected = Counter(record["text"] for record in rejects if record["what"] == "text")
        assert annotated + rejected == Counter(texts)  # exactly once, as a row or with a reason
        assert all(record["reason"] for record in rejects)
        outcomes = {text: server.outcome(text, 99) for text in texts}
        assert {text for text, outcome in outcomes.items() if outcome in ("well", "length")} == set(annotated)

    # A request whose answer was on disk at a kill is not sent after it
    for position, finished in finished_at_kills:
        assert not finished & {entry.text for entry in log[position:]}
    # Nor is one sent twice that was answered, unless a kill came between: then it was under way
    answered = Counter(entry.text for entry in log if entry.outcome not in TRANSIENT)
    again = sum(count - 1 for count in answered.values())
    assert again <= KILLS * (CONCURRENCY + 16)
    bounds = [0, *(position for position, _ in finished_at_kills), len(log)]
    for first, last in itertools.pairwise(bounds):
        within = Counter(entry.text for entry in log[first:last] if entry.outcome not in TRANSIENT)
        assert not [text for text, count in within.items() if count > 1]
    report = json.loads((tmp_path / "corpus" / "annotation.json").read_text())
    assert report["outcome"]["annotated"] == len(annotated)
