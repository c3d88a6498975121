"""Answers on their way to the disk, many in one transaction, while requests go on."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .answers import Answer
from .pacing import AnnotationStoppedError

_BACKLOG = 1_000


class Committer:
    """Writes answers behind the requests: those that come while a transaction is under way go into the next one.

    So an answer waits for the disk, but no request waits for an earlier one's answer.

    Args:
        write (`Callable[[list[tuple[bytes, Answer]]], None]`): commits answers; returns when they are on the disk.
        written (`Callable[[int], None]`): told how many answers have become finished.
    """

    def __init__(self, write: Callable[[list[tuple[bytes, Answer]]], None], written: Callable[[int], None]) -> None:
        self._write = write
        self._written = written
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="annotation-database")
        self._waiting: list[tuple[bytes, Answer]] = []
        self._writer: asyncio.Task[None] | None = None

    async def add(self, key: bytes, answer: Answer) -> None:
        """Take an answer over. Waits only if the disk falls behind; raises what the writing of earlier ones raised."""
        self._waiting.append((key, answer))
        if self._writer is None or self._writer.done():
            await self._check()
            self._writer = asyncio.create_task(self._write_waiting())
        if len(self._waiting) > _BACKLOG:
            await asyncio.shield(self._writer)

    async def in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run another use of the databases in the one thread that writes.

        Raises:
            AnnotationStoppedError: if a database fails, such as on a full disk.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)
        except sqlite3.Error as error:
            raise AnnotationStoppedError(
                f"the databases of the run cannot be used ({error}). Make room on the disk, or end the process that "
                "locks them, and the same command goes on"
            ) from error

    async def close(self) -> None:
        """Wait until everything is on the disk. What could not be written before is tried once more."""
        try:
            if self._writer is not None:
                await asyncio.gather(self._writer, return_exceptions=True)
            if self._waiting:
                await self._write_waiting()
        finally:
            self._thread.shutdown()

    async def _check(self) -> None:
        """Wait for the running transactions, and raise what they raised."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            await writer

    async def _write_waiting(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await self.in_thread(self._write, batch)
            except BaseException:
                self._waiting = batch + self._waiting  # they are paid for
                raise
            self._written(len(batch))
