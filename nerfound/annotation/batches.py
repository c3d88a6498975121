"""The Batch API: half the price, an answer within a day, and a process that may end in between.

Passages without an answer are planned as jobs, ranges of at most 50,000 requests. A plan is on disk before its file is
uploaded, and the name that the server gives the job right after. A kill between the two is mended by the server's own
list of jobs, which carry the run's name and the number of the plan: no job is ever created twice. While jobs run, the
server may be out of reach for as long as they may take.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

import httpx2
import openai
from openai.types import Batch

from .cache import Answer, RequestCache
from .client import ChatClient, LastingError, PassingError, answer_from_completion, is_lasting
from .costs import Budget, TokenEstimate
from .pacing import AnnotationStoppedError
from .progress import Progress
from .task import Question
from .workspace import UNSETTLED, Job, StoredPassage, Workspace

ENDPOINT: Final = "/v1/chat/completions"
MAX_REQUESTS = 50_000
MAX_BYTES = 190_000_000  # the limit is 200 MB
_ROUNDS = 3
_PAGE = 500
_OVER = frozenset(("completed", "failed", "expired", "cancelled"))
_UPLOAD_SECONDS = 600.0
_LIFE_SECONDS = 24 * 3600.0  # of a job
_RESUBMITTED = (
    "mend what it says (if too much is queued: wait until the account's other batches are done, or take a smaller "
    "--sample), and the same command sends its requests anew"
)
_NOTHING_IS_LOST = "Nothing is lost: the same command goes on"


class BatchSender:
    """Sends the unanswered requests of a run as batch jobs, and merges their answers.

    Args:
        question (`Question`): what is asked.
        workspace (`Workspace`): the passages, and the jobs.
        cache (`RequestCache`): receives the answers.
        budget (`Budget`): is not passed: no job is created whose answers might.
        progress (`Progress`): is told what happens.
        poll_seconds (`float`, *optional*, defaults to 30): between two looks at the jobs.
        max_requests (`int`, *optional*, defaults to 50,000): of one job.
    """

    def __init__(
        self,
        question: Question,
        workspace: Workspace,
        cache: RequestCache,
        budget: Budget,
        progress: Progress,
        *,
        poll_seconds: float = 30.0,
        max_requests: int = MAX_REQUESTS,
    ) -> None:
        self.question = question
        self.workspace = workspace
        self.cache = cache
        self.budget = budget
        self.progress = progress
        self.over_budget = False
        self._poll_seconds = poll_seconds
        self._max_requests = max_requests
        self._estimate = TokenEstimate(question)
        self._reserved: dict[int, float] = {}  # dollars, by job
        self._faults: dict[int, str] = {}

    async def run(self, base_url: str | None, *, deadline: float = _UPLOAD_SECONDS) -> None:
        """Plan, submit, wait and merge until every request is answered, refused, or has failed three times.

        Where the budget holds back a part, the next round sends of it what the last one has left over.
        """
        self._chat = ChatClient(base_url, deadline=deadline, connections=4)
        self._client = self._chat.openai.with_options(max_retries=5)  # where nothing else tries again
        rounds = 0
        try:
            while rounds < _ROUNDS:
                self._plan()
                if not self._open_jobs():
                    break
                answers = self.progress.answers
                await self._submit()
                await self._wait_and_merge()
                rounds += not self.over_budget or self.progress.answers == answers
        except openai.APIStatusError as error:
            raise AnnotationStoppedError(f"{self._chat.fault_of_status(error)}. {_NOTHING_IS_LOST}") from None
        except (openai.APIConnectionError, httpx2.TransportError) as error:
            reason = error.__cause__ or error
            raise AnnotationStoppedError(f"the server cannot be reached ({reason}). {_NOTHING_IS_LOST}") from None
        finally:
            await self._chat.close()
        for position, detail in self._faults.items():
            self.workspace.add_failure(position, detail, lasting=False)
            self.progress.failed()

    def _open_jobs(self) -> list[Job]:
        return [job for job in self.workspace.jobs() if not job.merged]

    def _plan(self) -> None:
        """Put every unanswered passage that no open job covers into a job, as far as the budget goes."""
        if self._open_jobs():  # of an earlier invocation, which planned all there was
            return
        self.over_budget = False
        first = last = count = size = 0
        reserved = 0.0
        for passage, key in self._unanswered():
            line = len(self._line(passage, key))
            if count and (count == self._max_requests or size + line > MAX_BYTES):
                self._reserved[self.workspace.add_job(first, last).part] = reserved
                count = size = 0
                reserved = 0.0
            most = self.budget.reserve(*self._estimate.most(passage.text))
            if most is None:
                self.over_budget = True
                break
            reserved += most
            first = first if count else passage.position
            last, count, size = passage.position, count + 1, size + line
        if count:
            self._reserved[self.workspace.add_job(first, last).part] = reserved

    def _unanswered(self, first: int = 1, last: int | None = None) -> Iterator[tuple[StoredPassage, bytes]]:
        for page in self.workspace.pages(first, last):
            yield from self.workspace.unanswered(page, self.question, self.cache)

    def _line(self, passage: StoredPassage, key: bytes) -> bytes:
        told = json.dumps({"custom_id": key.hex(), "method": "POST", "url": ENDPOINT}).encode()
        return told[:-1] + b', "body": ' + self.question.body(passage.text) + b"}\n"

    async def _submit(self) -> None:
        """Create those jobs that the server does not know yet."""
        waiting = [job for job in self._open_jobs() if not job.batch]
        if not waiting:
            return
        known = await self._known_jobs()
        for job in waiting:
            batch = known.get(str(job.part)) or await self._create(job)
            self.workspace.submit_job(job.part, batch)

    async def _known_jobs(self) -> dict[str, str]:
        """The jobs of this run that the server has, by the number of their plan."""
        known = {}
        async for batch in self._client.batches.list(limit=100):
            metadata = batch.metadata or {}
            if metadata.get("nerfound_run") == self.workspace.run:
                known[metadata.get("part", "")] = batch.id
        return known

    async def _create(self, job: Job) -> str:
        with tempfile.TemporaryFile() as file:
            for passage, key in self._unanswered(job.first, job.last):
                file.write(self._line(passage, key))
            file.seek(0)
            uploaded = await self._client.files.create(
                file=(f"nerfound-{job.part}.jsonl", file), purpose="batch", timeout=_UPLOAD_SECONDS
            )
        self.workspace.creating_job(job.part)
        # Not retried here: a request that timed out may have created the job, which the next start finds in the list
        batch = await self._client.with_options(max_retries=0).batches.create(
            input_file_id=uploaded.id,
            endpoint=ENDPOINT,
            completion_window="24h",
            metadata={"nerfound_run": self.workspace.run, "part": str(job.part)},
        )
        return batch.id

    async def _wait_and_merge(self) -> None:
        """Look at the jobs until all are merged. A server out of reach for less than a job's life is waited for."""
        self._faults.clear()
        seen = time.monotonic()
        while self._open_jobs():
            try:
                await self._look()
                seen = time.monotonic()
            except (openai.APIConnectionError, openai.APIStatusError, httpx2.TransportError) as error:
                away = time.monotonic() - seen
                if away > _LIFE_SECONDS or not self._may_pass(error):
                    raise
                self.progress.say(f"the server has been out of reach for {away:,.0f} s ({error!s:.200}); still trying")
            if self._open_jobs():
                await asyncio.sleep(self._poll_seconds)

    def _may_pass(self, error: Exception) -> bool:
        if isinstance(error, openai.APIStatusError):
            return isinstance(self._chat.fault_of_status(error), PassingError)
        return True

    async def _look(self) -> None:
        """Merge those jobs that are over."""
        for job in self._open_jobs():
            assert job.batch is not None
            batch = await self._chat.openai.batches.retrieve(job.batch)
            if batch.status in _OVER:
                await self._merge(job, batch)

    async def _merge(self, job: Job, batch: Batch) -> None:
        """Put a job's answers into the cache. Merging twice does no harm: the first answer to a request counts."""
        if batch.status == "failed" and batch.errors and batch.errors.data:
            self.workspace.finish_job(job.part)  # the next start plans its passages anew
            raise AnnotationStoppedError(
                f"the server refuses batch {batch.id}: {batch.errors.data[0].message}; {_RESUBMITTED}"
            )
        missing = {key: passage for passage, key in self._unanswered(job.first, job.last)}
        with tempfile.TemporaryDirectory() as folder:
            for file_id in filter(None, (batch.output_file_id, batch.error_file_id)):
                path = Path(folder) / file_id
                async with self._chat.openai.files.with_streaming_response.content(file_id) as response:
                    await response.stream_to_file(path)
                with path.open("rb") as file:
                    self._merge_file(file, missing)
        for passage in missing.values():
            self._faults.setdefault(passage.position, f"batch {batch.id} ended ({batch.status}) without an answer")
        self.budget.release(self._reserved.pop(job.part, 0.0), lost=False)  # each answer was charged on its own
        self.workspace.finish_job(job.part)

    def _merge_file(self, file: IO[bytes], missing: dict[bytes, StoredPassage]) -> None:
        page: list[tuple[bytes, Answer, float]] = []
        for line in file:
            key, result = _result(line)
            passage = missing.get(key)
            if passage is None:
                continue  # no request of this job, or answered already
            if isinstance(result, Answer):
                page.append((key, result, self.budget.most(*self._estimate.most(passage.text))))
                del missing[key]
            elif isinstance(result, LastingError):
                self.workspace.add_failure(passage.position, str(result), lasting=True)
                self.progress.failed()
                del missing[key]
            else:
                self._faults[passage.position] = result
            if len(page) == _PAGE:
                self._commit(page)
                page = []
        self._commit(page)

    def _commit(self, page: list[tuple[bytes, Answer, float]]) -> None:
        for _, answer, most in page:
            self.budget.charge(most, answer.prompt_tokens, answer.completion_tokens)
        self.workspace.note(UNSETTLED, self.budget.unsettled)  # before a kill can leave the answers without it
        answers = [(key, answer) for key, answer, _ in page]
        self.cache.add(self.workspace.run, self.question.model, self.question.prompt.label, answers, batch=True)
        self.progress.answered(len(page), self.budget.spent)


def _result(line: bytes) -> tuple[bytes, Answer | LastingError | str]:
    """The key of a request and what became of it, from a line of an output or error file; untrusted."""
    try:
        record: dict[str, Any] = json.loads(line)
        key = bytes.fromhex(record["custom_id"])
        response = record.get("response") or {}
        status = response.get("status_code")
    except (ValueError, KeyError, TypeError, AttributeError):
        return b"", "unreadable line"
    if status == 200:
        try:
            return key, answer_from_completion(response.get("body"))
        except ValueError as error:
            return key, str(error)
    detail = f"{status}: {json.dumps(record.get('error') or response.get('body'))[:300]}"
    return key, LastingError(detail) if isinstance(status, int) and is_lasting(status) else detail
