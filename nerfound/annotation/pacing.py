"""How fast to ask, and when to stop asking."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from aiolimiter import AsyncLimiter

_MINUTE = 60.0
# What may be sent at once after a pause: a full minute's worth would let two be sent within one minute.
_BURST_SECONDS = 5.0
_FAILURES_IN_A_ROW = 10
_FIRST_PATIENCE = 15.0
_LIMITED_PATIENCE = 5


class AnnotationStoppedError(RuntimeError):
    """The run cannot go on now; what was answered is safe, and the same command goes on from there."""


class AnnotationInterruptedError(AnnotationStoppedError):
    """The user has ended the run before its end."""


class Pace:
    """Token buckets for requests and tokens per minute, and the pauses that the server asks for.

    Args:
        requests_per_minute (`float`, *optional*): limit of requests.
        tokens_per_minute (`float`, *optional*): limit of prompt and answer tokens, as estimated.
    """

    def __init__(self, requests_per_minute: float | None = None, tokens_per_minute: float | None = None) -> None:
        self._requests = _bucket(requests_per_minute)
        self._tokens = _bucket(tokens_per_minute)
        self._paused_until = 0.0

    async def wait(self, tokens: int) -> None:
        """Wait until a request of so many tokens may be sent."""
        if self._requests:
            await self._requests.acquire()
        if self._tokens:
            await self._acquire_tokens(self._tokens, tokens)
        while (delay := self._paused_until - time.monotonic()) > 0:
            await asyncio.sleep(delay)

    def pause(self, seconds: float) -> None:
        """Send nothing for a while: the server has asked for it."""
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    @staticmethod
    async def _acquire_tokens(bucket: AsyncLimiter, tokens: float) -> None:
        while tokens > 0:  # a request larger than the bucket takes it several times
            await bucket.acquire(min(tokens, bucket.max_rate))
            tokens -= bucket.max_rate


def _bucket(per_minute: float | None) -> AsyncLimiter | None:
    if per_minute is None:
        return None
    capacity = max(1.0, per_minute * _BURST_SECONDS / _MINUTE)
    return AsyncLimiter(capacity, capacity * _MINUTE / per_minute)


class CircuitBreaker:
    """Stops the run when the server is down, instead of failing every text one by one.

    It opens when no request has been answered for a while and at least ten failed since. A server that has never
    answered in this run gets at most 15 seconds: most likely the address is wrong. One that asks for fewer requests is
    up, and gets five times as long.

    Args:
        patience (`float`): seconds.
        stop (`Callable[[AnnotationStoppedError], None]`): called when it opens.
    """

    def __init__(self, patience: float, stop: Callable[[AnnotationStoppedError], None]) -> None:
        self._patience = patience
        self._stop = stop
        self._last_answer = time.monotonic()  # or the start
        self._answered = False
        self._failures = 0
        self._limited = 0

    def answered(self) -> None:
        """An answer came."""
        self._last_answer = time.monotonic()
        self._answered = True
        self._failures = self._limited = 0

    def failed(self, detail: str) -> None:
        """A request failed."""
        self._failures += 1
        patience = self._patience if self._answered else min(self._patience, _FIRST_PATIENCE)
        if self._failures >= _FAILURES_IN_A_ROW and self._silent(patience):
            self._open("seems to be down or to refuse everything", self._failures, detail)

    def limited(self, detail: str) -> None:
        """The server has had enough requests for now."""
        self._limited += 1
        if self._limited >= _FAILURES_IN_A_ROW and self._silent(self._patience * _LIMITED_PATIENCE):
            self._open("answers nothing for all its limits", self._limited, detail)

    def _silent(self, seconds: float) -> bool:
        return time.monotonic() - self._last_answer >= seconds

    def _open(self, what: str, failures: int, detail: str) -> None:
        silence = f"no answer for {time.monotonic() - self._last_answer:.0f} s"
        since = silence if self._answered else "it has not answered once"
        self._stop(
            AnnotationStoppedError(
                f"the server {what} ({since}, {failures} failures in a row, the last: {detail}). Nothing is lost: mend "
                "it, and the same command goes on"
            )
        )
