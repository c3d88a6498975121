"""An OpenAI-compatible server on loopback that answers as told: well, or with every fault of a real one.

In a test, `with FakeOpenAI(faults={"overloaded": 0.1}) as server: ... server.url ... server.log`; on a command line,
`python -m tests.fakes.openai_server --port 8000 --latency 0.05`. What happens to a request is decided by its text and
the seed alone, never by chance or order, so that a test can say beforehand what every text must become.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

# Faults that go away when the request is sent again, and faults of the answer itself, which stay.
TRANSIENT = ("rate_limit", "error", "hang", "cut", "garbage")
LASTING = ("malformed", "other_text", "refusal", "length", "empty", "bad_request", "echo")
_CLOSED_CONCEPT = re.compile(r"^- (.+?)(?:: .*)?$", re.MULTILINE)
_WORD = re.compile(r"\w{3,}")


@dataclass
class Entry:
    """One request as the server saw it; `completed` says whether the last byte of a 200 answer was handed over."""

    text: str
    outcome: str
    received: float
    completed: bool = False
    headers: dict = field(default_factory=dict)
    body: dict = field(default_factory=dict)


class FakeOpenAI:
    """The server, in a thread of its own.

    Args:
        latency (`float`): seconds before an answer.
        faults (`dict[str, float]`): the share of texts that meet each kind of `TRANSIENT` or `LASTING` fault.
        scripted (`dict[str, str]`): the fault of particular texts; goes before `faults`.
        answers (`dict[str, str]`): the recorded answer of particular texts.
        repeats (`int`): how often a transient fault happens to a text before it is answered.
        retry_after (`float`): seconds, in the header of 429.
        down (`bool`): whether every request gets 503; may be changed while the server runs.
        keep_bodies (`bool`): whether the log keeps headers and bodies.
    """

    def __init__(
        self,
        *,
        latency=0.0,
        faults=None,
        scripted=None,
        answers=None,
        repeats=1,
        retry_after=0.05,
        seed=0,
        port=0,
        keep_bodies=False,
        batch_steps=2,
    ):
        self.latency = latency
        self.faults = faults or {}
        self.scripted = scripted or {}
        self.answers = answers or {}
        self.repeats = repeats
        self.retry_after = retry_after
        self.seed = seed
        self.port = port
        self.keep_bodies = keep_bodies
        self.batch_steps = batch_steps
        self.down = False
        self.log = []
        self.seen = Counter()
        self.concurrent = 0
        self.most_concurrent = 0
        self.files = {}
        self.batches = {}
        self._ready = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self):
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _serve(self):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, backlog=1024)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    def application(self):
        """The routes: chat completions, files and batches."""
        application = web.Application(client_max_size=1 << 30)
        application.router.add_post("/v1/chat/completions", self._chat)
        application.router.add_post("/v1/files", self._upload)
        application.router.add_get("/v1/files/{id}/content", self._download)
        application.router.add_post("/v1/batches", self._create_batch)
        application.router.add_get("/v1/batches", self._list_batches)
        application.router.add_get("/v1/batches/{id}", self._retrieve_batch)
        return application

    def outcome(self, text, attempt):
        """What happens to the `attempt`th request (from 0) for a text."""
        fault = self.scripted.get(text)
        if fault is None and self.faults:
            draw = int.from_bytes(hashlib.sha256(f"{self.seed} {text}".encode()).digest()[:8], "big") / 2**64
            for kind, share in self.faults.items():
                if draw < share:
                    fault = kind
                    break
                draw -= share
        if fault is None or (fault in TRANSIENT and attempt >= self.repeats):
            return "well"
        return fault

    async def _chat(self, request):
        body = await request.json()
        text = body["messages"][-1]["content"]
        outcome = "down" if self.down else self.outcome(text, self.seen[text])
        self.seen[text] += 1
        entry = Entry(text, outcome, time.time())
        if self.keep_bodies:
            entry.headers, entry.body = dict(request.headers), body
        self.log.append(entry)
        self.concurrent += 1
        self.most_concurrent = max(self.most_concurrent, self.concurrent)
        try:
            if self.latency:
                await asyncio.sleep(self.latency)
            return await self._answer(request, entry, body)
        finally:
            self.concurrent -= 1

    async def _answer(self, request, entry, body):
        if entry.outcome == "hang":
            await asyncio.sleep(3600)
        if entry.outcome in ("down", "error", "rate_limit", "bad_request"):
            return _error(entry.outcome, self.retry_after)
        if entry.outcome == "garbage":
            return web.Response(text="<html>502 from a proxy</html>", content_type="text/html")
        payload = json.dumps(self.completion(entry.text, body, entry.outcome)).encode()
        headers = {"Content-Type": "application/json", "x-request-id": "req-fake"}
        if entry.outcome == "cut":
            response = web.StreamResponse(headers={**headers, "Content-Length": str(len(payload))})
            await response.prepare(request)
            await response.write(payload[: len(payload) // 2])
            request.transport.abort()
            return response
        response = web.Response(body=payload, headers=headers)
        await response.prepare(request)
        await response.write_eof()
        entry.completed = True
        return response

    def completion(self, text, body, outcome):
        """The body of a chat completion."""
        content = self._content(text, body, outcome)
        finish = {"length": "length", "refusal": "stop"}.get(outcome, "stop")
        message = {"role": "assistant", "content": content, "refusal": None}
        if outcome == "refusal":
            message = {"role": "assistant", "content": None, "refusal": "I cannot help with that."}
        prompt_tokens = sum(len(m["content"]) for m in body["messages"]) // 4
        completion_tokens = len(content) // 4
        return {
            "id": "chatcmpl-fake",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": f"{body['model']}-2025-01-01",
            "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}],
            "usage": {
                "prompt_tokens": prompt_tokens,
                "completion_tokens": completion_tokens,
                "total_tokens": prompt_tokens + completion_tokens,
            },
        }

    def _content(self, text, body, outcome):
        if outcome == "malformed":
            return "Here are the entities:\n- nothing useful | at all\n\n{{{"
        if outcome == "empty":
            return ""
        if outcome == "echo":
            return body["messages"][0]["content"]
        if outcome == "other_text":
            text = "Zanzibar belongs neither here nor to Quetzalcoatl."
        elif text in self.answers:
            return self.answers[text]
        entities = good_entities(text, body["messages"][0]["content"])
        content = _written(entities, "response_format" in body)
        return content[: len(content) - 8] if outcome == "length" else content

    # The Batch API: a batch stays `in_progress` for `batch_steps` polls, then completes.

    async def _upload(self, request):
        form = await request.post()
        identifier = f"file-{len(self.files)}"
        self.files[identifier] = form["file"].file.read()
        return web.json_response(
            {
                "id": identifier,
                "object": "file",
                "bytes": len(self.files[identifier]),
                "created_at": int(time.time()),
                "filename": "batch.jsonl",
                "purpose": form["purpose"],
                "status": "processed",
            }
        )

    async def _download(self, request):
        return web.Response(body=self.files[request.match_info["id"]], content_type="application/jsonl")

    async def _create_batch(self, request):
        body = await request.json()
        identifier = f"batch_{len(self.batches)}"
        self.batches[identifier] = {
            "id": identifier,
            "object": "batch",
            "endpoint": body["endpoint"],
            "input_file_id": body["input_file_id"],
            "completion_window": body["completion_window"],
            "metadata": body.get("metadata"),
            "created_at": int(time.time()),
            "status": "validating",
            "polls": 0,
        }
        return web.json_response(self._shown(identifier))

    async def _list_batches(self, request):
        data = [self._shown(identifier) for identifier in reversed(self.batches)]
        return web.json_response({"object": "list", "data": data, "has_more": False})

    async def _retrieve_batch(self, request):
        batch = self.batches[request.match_info["id"]]
        batch["polls"] += 1
        if batch["polls"] >= self.batch_steps and batch["status"] != "completed":
            self._run_batch(batch)
        return web.json_response(self._shown(batch["id"]))

    def _shown(self, identifier):
        return {key: value for key, value in self.batches[identifier].items() if key != "polls"}

    def _run_batch(self, batch):
        answers, errors = [], []
        for line in self.files[batch["input_file_id"]].decode().splitlines():
            request = json.loads(line)
            text = request["body"]["messages"][-1]["content"]
            outcome = self.outcome(text, self.seen[text])
            self.seen[text] += 1
            self.log.append(Entry(text, outcome, time.time(), completed=outcome not in TRANSIENT))
            record = {"id": f"r-{len(answers)}", "custom_id": request["custom_id"], "response": None, "error": None}
            if outcome == "hang":
                errors.append({**record, "error": {"code": "batch_expired", "message": "not run in time"}})
            elif outcome in ("error", "rate_limit", "bad_request"):
                status = {"error": 500, "rate_limit": 429, "bad_request": 400}[outcome]
                body = {"error": {"message": f"a {outcome}", "type": outcome, "code": outcome}}
                errors.append({**record, "response": {"status_code": status, "body": body}})
            elif outcome in ("cut", "garbage"):
                pass  # a line that never came
            else:
                completion = self.completion(text, request["body"], outcome)
                answers.append({**record, "response": {"status_code": 200, "body": completion}})
        batch["status"] = "completed"
        for name, lines in (("output_file_id", answers), ("error_file_id", errors)):
            if lines:
                batch[name] = f"file-{len(self.files)}"
                self.files[batch[name]] = "".join(json.dumps(line) + "\n" for line in lines).encode()


def good_entities(text, system):
    """Mentions of a text with invented concepts, or with those that a closed prompt lists; no two overlap."""
    concepts = _CLOSED_CONCEPT.findall(system) or ["Abstract Idea", "Everyday Thing", "Named Place"]
    words = list(dict.fromkeys(_WORD.findall(text)))[:5]
    return [(word, concepts[place % len(concepts)], f"Something of kind {place}.") for place, word in enumerate(words)]


def _written(entities, structured):
    if structured:
        keys = ("entity", "concept", "description")
        return json.dumps({"entities": [dict(zip(keys, entity, strict=True)) for entity in entities]})
    return "\n".join(" -|- ".join(entity) for entity in entities)


def _error(outcome, retry_after):
    status = {"rate_limit": 429, "bad_request": 400, "error": 500, "down": 503}[outcome]
    headers = {"retry-after": f"{retry_after}"} if outcome == "rate_limit" else {}
    body = {"error": {"message": f"a {outcome} of the fake server", "type": outcome, "param": None, "code": outcome}}
    return web.json_response(body, status=status, headers=headers)


def main():
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds")
    parser.add_argument("--faults", type=json.loads, default={}, help='such as {"error": 0.05, "hang": 0.01}')
    parser.add_argument("--answers", type=Path, help="JSON lines of text and answer")
    arguments = parser.parse_args()
    answers = {}
    if arguments.answers:
        records = map(json.loads, arguments.answers.read_text(encoding="utf-8").splitlines())
        answers = {record["text"]: record["answer"] for record in records}
    server = FakeOpenAI(port=arguments.port, latency=arguments.latency, faults=arguments.faults, answers=answers)
    print(f"listening on http://127.0.0.1:{arguments.port}/v1", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(server._serve())


if __name__ == "__main__":
    main()
