"""Sending what is not answered yet: many requests at once, each retried, each answer on disk before it counts."""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .cache import Answer, Committer, RequestCache
from .client import ChatClient, LastingError, PassingError
from .costs import Budget, TokenEstimate
from .pacing import AnnotationStoppedError, CircuitBreaker, Pace
from .progress import Progress
from .task import Question
from .workspace import UNSETTLED, StoredPassage, Workspace

_SETTLING_SECONDS = 0.05
_Item = tuple[StoredPassage, bytes]


@dataclass(frozen=True)
class Traffic:
    """How to treat the server.

    Args:
        concurrency (`int`, *optional*, defaults to 16): requests at once.
        requests_per_minute (`float`, *optional*): limit.
        tokens_per_minute (`float`, *optional*): limit, of prompts and answers, as estimated.
        deadline (`float`, *optional*, defaults to 120): seconds for one request.
        attempts (`int`, *optional*, defaults to 8): how often to send a request that fails before the text is rejected.
        first_wait (`float`, *optional*, defaults to 1): seconds before the second attempt, at most; they double each
            time. The wait itself is random below that, and never shorter than the server's `Retry-After`.
        longest_wait (`float`, *optional*, defaults to 60): seconds up to which waits double.
        patience (`float`, *optional*, defaults to 120): seconds without any answer, after which the server counts as
            down.
    """

    concurrency: int = 16
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    deadline: float = 120.0
    attempts: int = 8
    first_wait: float = 1.0
    longest_wait: float = 60.0
    patience: float = 120.0


class Sender:
    """Sends the unanswered requests of a run.

    Args:
        question (`Question`): what is asked.
        workspace (`Workspace`): the passages.
        cache (`RequestCache`): receives the answers.
        budget (`Budget`): is not passed.
        traffic (`Traffic`): how to treat the server.
        progress (`Progress`): is told what happens.
    """

    def __init__(
        self,
        question: Question,
        workspace: Workspace,
        cache: RequestCache,
        budget: Budget,
        traffic: Traffic,
        progress: Progress,
    ) -> None:
        self.question = question
        self.workspace = workspace
        self.cache = cache
        self.budget = budget
        self.traffic = traffic
        self.progress = progress
        self.stopped: AnnotationStoppedError | None = None
        self.interrupted = False
        self.over_budget = False
        self._ended = False
        self._estimate = TokenEstimate(question)
        self._workers: set[asyncio.Task[None]] = set()
        self._asking: set[asyncio.Task[Any]] = set()
        self._noted_risk = 0.0
        self._refused: list[tuple[int, str]] = []  # position and reason, until another request is answered

    async def run(self, base_url: str | None) -> None:
        """Send everything, or as much as can be; `stopped`, `interrupted` and `over_budget` tell how it ended."""
        self._pace = Pace(self.traffic.requests_per_minute, self.traffic.tokens_per_minute)
        self._breaker = CircuitBreaker(self.traffic.patience, self._stop)
        self._committer = Committer(self._write, self._count)
        self._client = ChatClient(base_url, deadline=self.traffic.deadline, connections=self.traffic.concurrency)
        self._feed = self._unanswered()
        self._feed_lock = asyncio.Lock()
        try:
            with _signals(self.interrupt):
                async with asyncio.TaskGroup() as workers:
                    for _ in range(self.traffic.concurrency):
                        self._workers.add(workers.create_task(self._work()))
        except ExceptionGroup as group:  # one is enough to tell what is wrong, such as a full disk
            raise group.exceptions[0] from None
        finally:
            await self._client.close()
            await self._committer.close()
            self.workspace.note(UNSETTLED, self.budget.unsettled)

    def _end(self) -> None:
        """Send nothing more: workers that wait for their turn end at once, those that wait for an answer take it."""
        self._ended = True
        for worker in self._workers - self._asking - {asyncio.current_task()}:
            worker.cancel()

    def _stop(self, reason: AnnotationStoppedError) -> None:
        self.stopped = self.stopped or reason
        self._end()

    def interrupt(self) -> None:
        """End in good order at the first interrupt, and at once at the second. Called in the event loop."""
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
        self._end()
        self.progress.say(f"waiting for {len(self._asking)} answers; interrupt again to stop at once")

    async def _unanswered(self) -> AsyncIterator[_Item]:
        """The passages without answer or lasting failure, in order."""
        position = 0
        while page := await self._committer.in_thread(self.workspace.page, position):
            for item in await self._committer.in_thread(self.workspace.unanswered, page, self.question, self.cache):
                yield item
            position = page[-1].position

    async def _work(self) -> None:
        more = True
        while more and not self._ended:
            try:
                more = await self._finish_next()
            except AnnotationStoppedError as reason:
                self._stop(reason)
            except _Ended:
                return

    async def _finish_next(self) -> bool:
        """Get the next passage annotated, or its failure noted; `False` if there was none."""
        async with self._feed_lock:
            item = await anext(self._feed, None)
        if item is None:
            return False
        passage, key = item
        try:
            await self._ask(passage, key)
        except (LastingError, PassingError) as fault:
            await self._committer.in_thread(self._note_failure, passage.position, fault)
            self.progress.failed()
        return True

    async def _ask(self, passage: StoredPassage, key: bytes) -> None:
        """Ask for the annotation of a passage, again and again if need be. To be told to wait takes no attempt."""
        attempts = 0
        for waits in itertools.count():
            try:
                await self._attempt(passage, key)
                break
            except PassingError as fault:
                attempts += not fault.limited
                if attempts >= self.traffic.attempts:
                    raise
                delay = self._delay(waits, fault.retry_after)
            await asyncio.sleep(delay)

    async def _attempt(self, passage: StoredPassage, key: bytes) -> None:
        if self._ended:
            raise _Ended
        await self._pace.wait(self._estimate.prompt(passage.text) + round(self._estimate.completion(passage.text)))
        most = self._estimate.most(passage.text)
        while (reserved := self.budget.reserve(*most)) is None:
            if not self._asking:
                self.over_budget = True
                self._end()
                raise _Ended
            await asyncio.sleep(_SETTLING_SECONDS)  # answers under way may cost less than they reserve
        worker = asyncio.current_task()
        assert worker is not None
        self._asking.add(worker)
        try:
            await self._note_risk()
            answer = await self._client.ask(self.question.body(passage.text))
            await self._committer.add(key, answer)
        except BaseException as error:
            self.budget.release(reserved, lost=getattr(error, "perhaps_billed", not isinstance(error, Exception)))
            if isinstance(error, PassingError | LastingError):
                self._observe(error)
            if self._ended and isinstance(error, PassingError):
                raise _Ended from None  # there will be no further attempt to wait for
            raise
        finally:
            self._asking.discard(worker)
        self.budget.settle(reserved, answer.prompt_tokens, answer.completion_tokens)
        self._breaker.answered()

    async def _note_risk(self) -> None:
        """Note on disk what is lost if the process is killed now, wherever it is more than what was noted before."""
        if self.budget.at_risk > self._noted_risk:
            self._noted_risk = self.budget.at_risk
            await self._committer.in_thread(self.workspace.note, UNSETTLED, self._noted_risk)

    def _observe(self, fault: PassingError | LastingError) -> None:
        """Let a fault of one request slow down or stop the others."""
        self.progress.fault()
        if isinstance(fault, PassingError) and fault.limited:
            self._pace.pause(fault.retry_after or 0.0)
            self._breaker.limited(str(fault))
        else:
            self._breaker.failed(str(fault))

    def _delay(self, waits: int, retry_after: float | None) -> float:
        """Seconds before the next attempt: random, below a bound that doubles, and no less than the server asks for."""
        bound = self.traffic.first_wait * 2.0 ** min(waits, 100)
        backoff = random.uniform(0, min(bound, self.traffic.longest_wait))
        if retry_after is None:
            return backoff
        return retry_after + min(backoff, 1.0)  # not all at the very same instant

    def _write(self, answers: list[tuple[bytes, Answer]]) -> None:
        self.cache.add(self.workspace.run, self.question.model, self.question.prompt.label, answers)
        while self._refused:
            self.workspace.add_failure(*self._refused.pop(), lasting=True)

    def _count(self, answers: int) -> None:
        self.progress.answered(answers, self.budget.spent)

    def _note_failure(self, position: int, fault: Exception) -> None:
        """Note a failure, as a lasting one only once another request is answered: the server may refuse them all."""
        self.workspace.add_failure(position, str(fault), lasting=False)
        if isinstance(fault, LastingError):
            self._refused.append((position, str(fault)))


class _Ended(Exception):  # noqa: N818 - no error: the run ends before this request is sent
    pass


@contextmanager
def _signals(interrupt: Callable[[], None]) -> Iterator[None]:
    """Take SIGINT and SIGTERM as a request to end in good order, where the event loop can be told of them."""
    loop = asyncio.get_running_loop()
    taken = []
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, interrupt)
            taken.append(number)
        except (NotImplementedError, RuntimeError, ValueError):  # Windows, or a thread that gets no signals
            pass
    try:
        yield
    finally:
        for number in taken:
            loop.remove_signal_handler(number)
