"""The request cache: every finished request with its answer, on disk, so that none is ever paid twice.

One SQLite file serves all runs. It is append-only: triggers refuse changes and deletions. An answer counts as finished
when its transaction is on the disk, and not before; so a process may be killed at any instant.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from .answers import Answer

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
