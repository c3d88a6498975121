"""The request cache: every finished request with its answer, on disk, so that none is ever paid twice.

One SQLite file serves all runs. It is append-only: triggers refuse changes and deletions. An answer counts as finished
when its transaction is on the disk, and not before; so a process may be killed at any instant.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from .pacing import AnnotationStoppedError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    key BLOB NOT NULL PRIMARY KEY,
    run TEXT NOT NULL,
    asked_model TEXT NOT NULL,
    prompt TEXT NOT NULL,
    content TEXT NOT NULL,
    refusal TEXT NOT NULL,
    finish_reason TEXT NOT NULL,
    model TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    answered_at TEXT NOT NULL,
    batch INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS answers_of_a_run ON answers (run, batch, prompt_tokens, completion_tokens);
CREATE INDEX IF NOT EXISTS answers_to_a_prompt ON answers (asked_model, prompt, completion_tokens);
CREATE TRIGGER IF NOT EXISTS answers_do_not_change BEFORE UPDATE ON answers
BEGIN SELECT RAISE(ABORT, 'the request cache is append-only'); END;
CREATE TRIGGER IF NOT EXISTS answers_do_not_vanish BEFORE DELETE ON answers
BEGIN SELECT RAISE(ABORT, 'the request cache is append-only'); END;
"""
_LOOKUP = 500
_SAMPLE = 1_000
_MOST_UNSAVED = 16


class Answer(NamedTuple):
    """A finished request: everything that its answer can be read from again, without asking again.

    `finish_reason` is the server's (`"stop"`, `"length"`, `"content_filter"`), `model` the one that the server says
    has answered, `answered_at` an ISO date and time in UTC. Token counts are 0 where the server gives none.
    """

    content: str
    refusal: str
    finish_reason: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    answered_at: str


def default_cache_path() -> Path:
    """`annotations.sqlite` in `$NERFOUND_CACHE`, else in `nerfound` below `$XDG_CACHE_HOME` or `~/.cache`."""
    own = os.environ.get("NERFOUND_CACHE")
    folder = Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nerfound"
    return folder / "annotations.sqlite"


def connect(path: Path, schema: str) -> sqlite3.Connection:
    """Open an SQLite file that survives a kill at any instant, and create its tables."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=60, check_same_thread=False, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(schema)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise ValueError(f"{path} cannot be used ({error}); name another file, or move it away") from error
    return connection


class Usage(NamedTuple):
    """What a run has paid for: requests and their tokens, either through the Batch API or not."""

    batch: bool
    requests: int
    prompt_tokens: int
    completion_tokens: int


class RequestCache:
    """Finished requests by key.

    Args:
        path (`Path`): the SQLite file; created if absent. Runs may share it, also at the same time.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = connect(path, _SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def add(
        self, run: str, asked_model: str, prompt: str, answers: Iterable[tuple[bytes, Answer]], *, batch: bool = False
    ) -> None:
        """Commit answers in one transaction; of two with one key the first counts. `batch`: paid at its price."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany(
                f"INSERT OR IGNORE INTO answers VALUES ({', '.join('?' * 12)})",
                ((key, run, asked_model, prompt, *answer, int(batch)) for key, answer in answers),
            )
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Answer]:
        """The answers of those requests that are finished."""
        columns = ", ".join(Answer._fields)
        return {row[0]: Answer(*row[1:]) for row in self._select(f"key, {columns}", keys)}

    def known(self, keys: Sequence[bytes]) -> set[bytes]:
        """Those of the requests that are finished."""
        return {row[0] for row in self._select("key", keys)}

    def usage_of_run(self, run: str) -> list[Usage]:
        """What a run has paid for, by the price that it was paid at."""
        query = (
            "SELECT batch, count(*), total(prompt_tokens), total(completion_tokens) FROM answers "
            "WHERE run = ? GROUP BY batch ORDER BY batch"
        )
        rows = self._connection.execute(query, (run,))
        return [Usage(bool(batch), count, int(prompt), int(completion)) for batch, count, prompt, completion in rows]

    def mean_completion_tokens(self, asked_model: str, prompt: str) -> float | None:
        """What answers to a prompt cost on average so far; `None` if there are none to go by."""
        query = (
            "SELECT avg(completion_tokens) FROM (SELECT completion_tokens FROM answers "
            "WHERE asked_model = ? AND prompt = ? AND completion_tokens > 0 LIMIT ?)"
        )
        return self._connection.execute(query, (asked_model, prompt, _SAMPLE)).fetchone()[0]

    def _select(self, columns: str, keys: Sequence[bytes]) -> Iterable[tuple]:
        for first in range(0, len(keys), _LOOKUP):
            page = keys[first : first + _LOOKUP]
            marks = ", ".join("?" * len(page))
            yield from self._connection.execute(f"SELECT {columns} FROM answers WHERE key IN ({marks})", page)


class Committer:
    """Writes answers behind the requests: those that come while a transaction is under way go into the next one.

    So an answer waits for the disk, but no request waits for an earlier one's answer, unless the disk falls behind: a
    kill loses, beyond the requests under way, no more than sixteen answers.

    Args:
        write (`Callable[[list[tuple[bytes, Answer]]], None]`): commits answers; returns when they are on the disk.
        written (`Callable[[int], None]`): told how many answers have become finished.
    """

    def __init__(self, write: Callable[[list[tuple[bytes, Answer]]], None], written: Callable[[int], None]) -> None:
        self._write = write
        self._written = written
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="annotation-database")
        self._waiting: list[tuple[bytes, Answer]] = []
        self._writing = 0
        self._writer: asyncio.Task[None] | None = None

    async def add(self, key: bytes, answer: Answer) -> None:
        """Take an answer over. Waits only if the disk falls behind; raises what the writing of earlier ones raised."""
        self._waiting.append((key, answer))
        if self._writer is None or self._writer.done():
            await self._check()
            self._writer = asyncio.create_task(self._write_waiting())
        if len(self._waiting) + self._writing > _MOST_UNSAVED:
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
            self._writing = len(batch)
            try:
                await self.in_thread(self._write, batch)
            except BaseException:
                self._waiting = batch + self._waiting  # they are paid for
                raise
            finally:
                self._writing = 0
            self._written(len(batch))
