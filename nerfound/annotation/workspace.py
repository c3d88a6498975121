"""The state of one run on disk: its passages, which of them failed, and its batch jobs.

It lies in the output folder, in `.annotation/run.sqlite`. The passages are written once, in one go; what is answered
stands in the request cache. So a run that was killed goes on where it was.
"""

from __future__ import annotations

import itertools
import json
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from .cache import RequestCache, connect
from .preparation import Passage
from .task import Question

FOLDER = ".annotation"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS passages (
    position INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    text TEXT NOT NULL,
    language TEXT NOT NULL,
    domain TEXT NOT NULL,
    priority INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS failures (
    position INTEGER PRIMARY KEY,
    detail TEXT NOT NULL,
    lasting INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS jobs (
    part INTEGER PRIMARY KEY,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    batch TEXT,
    merged INTEGER NOT NULL DEFAULT 0
);
"""
_PAGE = 1_000


class StoredPassage(NamedTuple):
    """A passage of the run."""

    position: int
    id: str
    text: str
    language: str
    domain: str


class Job(NamedTuple):
    """A batch job: the passages from `first` to `last` that had no answer when it was planned.

    `batch` is the server's name for it: `None` before the server is asked for it, empty until the server has named it.
    """

    part: int
    first: int
    last: int
    batch: str | None
    merged: int


UNSETTLED = "unsettled"  # a fact: dollars perhaps spent on requests whose answer, or its usage, is not in the cache


class Workspace:
    """The state of a run. One process at a time holds it.

    Args:
        output (`Path`): the output folder.
        fingerprint (`dict[str, str]`): the settings that make the run what it is; it goes on with no others.
        overwrite (`bool`, *optional*, defaults to `False`): forget the run that the folder holds, if any.

    Raises:
        ValueError: if another process holds the folder, if the folder holds a run with other settings, or if the run to
            forget has batch jobs under way.
    """

    def __init__(self, output: Path, fingerprint: dict[str, str], *, overwrite: bool = False) -> None:
        self._output = output
        output.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(output / f"{FOLDER}.lock")  # not in the folder, which `overwrite` removes
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise ValueError(f"{output} is being written by another process; wait for it, or choose another") from None
        self._connection = connect(output / FOLDER / "run.sqlite", _SCHEMA)
        try:
            if overwrite:
                self._forget()
            self._claim(output, fingerprint)
        except BaseException:
            self.close()
            raise
        self.run = self.fact("run")

    def close(self) -> None:
        """Close the files and let others in."""
        self._connection.close()
        self._lock.release()

    def fact(self, name: str) -> Any:
        """What was noted under a name; `None` if nothing was."""
        row = self._connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def note(self, name: str, value: Any) -> None:
        """Note a fact."""
        self._connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, json.dumps(value)))

    def fill(self, passages: Iterable[Passage], sample: int | None, counts: Counter[str]) -> None:
        """Store the passages of the run, each text once, in one transaction; a killed filling leaves nothing.

        Args:
            passages (`Iterable[Passage]`): in order.
            sample (`int` or `None`): how many to keep, those of lowest priority.
            counts (`Counter[str]`): receives the copies left out and the passages kept, in place. Written with them.
        """
        connection = self._connection
        if sample is not None:
            connection.execute("CREATE INDEX IF NOT EXISTS passages_by_priority ON passages (priority)")
        connection.execute("BEGIN IMMEDIATE")
        try:
            stored = 0
            remaining = iter(passages)
            while page := list(itertools.islice(remaining, _PAGE)):
                added = connection.executemany(
                    "INSERT OR IGNORE INTO passages (id, text, language, domain, priority) VALUES (?, ?, ?, ?, ?)", page
                ).rowcount
                stored += added
                counts["left out, text seen before"] += len(page) - added
                if sample is not None and stored > 2 * sample + _PAGE:
                    counts["left out, not in the sample"] += (dropped := self._keep(sample))
                    stored -= dropped
            if sample is not None:
                counts["left out, not in the sample"] += (dropped := self._keep(sample))
                stored -= dropped
            counts["taken"] = stored
            self.note("counts", counts)
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def page(self, after: int, limit: int = _PAGE) -> list[StoredPassage]:
        """The next passages after a position, in order."""
        query = "SELECT position, id, text, language, domain FROM passages WHERE position > ? ORDER BY position LIMIT ?"
        return [StoredPassage(*row) for row in self._connection.execute(query, (after, limit))]

    def pages(self, first: int = 1, last: int | None = None) -> Iterator[list[StoredPassage]]:
        """All passages from one position to another, page by page."""
        after = first - 1
        while page := self.page(after):
            within = [passage for passage in page if last is None or passage.position <= last]
            if within:
                yield within
            if len(within) < len(page):
                return
            after = page[-1].position

    def add_failure(self, position: int, detail: str, *, lasting: bool) -> None:
        """Note that a request got no answer; a lasting failure is not tried again by this run."""
        self._connection.execute("INSERT OR REPLACE INTO failures VALUES (?, ?, ?)", (position, detail, int(lasting)))

    def forget_passing_failures(self) -> None:
        """Let the requests whose failure may pass be tried again."""
        self._connection.execute("DELETE FROM failures WHERE NOT lasting")

    def failures(self, first: int, last: int) -> dict[int, str]:
        """The failures of the passages from one position to another, by position."""
        query = "SELECT position, detail FROM failures WHERE position BETWEEN ? AND ?"
        return dict(self._connection.execute(query, (first, last)).fetchall())

    def unanswered(
        self, page: Sequence[StoredPassage], question: Question, cache: RequestCache
    ) -> list[tuple[StoredPassage, bytes]]:
        """The passages of a page without answer or failure, and the keys of their requests."""
        keys = [question.key(passage.text) for passage in page]
        done = cache.known(keys)
        failed = self.failures(page[0].position, page[-1].position)
        return [
            (passage, key)
            for passage, key in zip(page, keys, strict=True)
            if key not in done and passage.position not in failed
        ]

    def jobs(self) -> list[Job]:
        """The batch jobs of the run, in order."""
        return [Job(*row) for row in self._connection.execute("SELECT * FROM jobs ORDER BY part")]

    def add_job(self, first: int, last: int) -> Job:
        """Plan a batch job."""
        cursor = self._connection.execute("INSERT INTO jobs (first, last) VALUES (?, ?)", (first, last))
        return Job(int(cursor.lastrowid or 0), first, last, None, 0)

    def creating_job(self, part: int) -> None:
        """Note that the server is asked for a job: from here on it may be paid for."""
        self._connection.execute("UPDATE jobs SET batch = '' WHERE part = ? AND batch IS NULL", (part,))

    def forget_planned_jobs(self) -> None:
        """Forget the jobs that no server was asked for, so that their passages may be sent otherwise.

        Raises:
            ValueError: if the run has jobs that a server was asked for and whose answers are not merged.
        """
        if any(job.batch is not None and not job.merged for job in self.jobs()):
            raise ValueError(
                f"{self._output} has batch jobs under way, which are paid for; go on with --batch until they are "
                f"merged, or remove {self._output / FOLDER} to give them up"
            )
        self._connection.execute("DELETE FROM jobs WHERE batch IS NULL")

    def submit_job(self, part: int, batch: str) -> None:
        """Note the server's name for a job."""
        self._connection.execute("UPDATE jobs SET batch = ? WHERE part = ?", (batch, part))

    def finish_job(self, part: int) -> None:
        """Note that a job's answers are in the request cache."""
        self._connection.execute("UPDATE jobs SET merged = 1 WHERE part = ?", (part,))

    def _forget(self) -> None:
        """Forget the run, whole or not at all."""
        self.forget_planned_jobs()
        self._connection.executescript(
            "BEGIN IMMEDIATE; DELETE FROM facts; DELETE FROM passages; DELETE FROM failures; DELETE FROM jobs; COMMIT"
        )

    def _claim(self, output: Path, fingerprint: dict[str, str]) -> None:
        stored = self.fact("fingerprint")
        if stored is None:
            self.note("run", uuid.uuid4().hex)
            self.note("fingerprint", fingerprint)
        elif changed := [name for name in fingerprint if stored.get(name) != fingerprint[name]]:
            name = changed[0]
            raise ValueError(
                f"{output} holds a run with another {', '.join(changed)} ({name} was {stored.get(name)}, now it is "
                f"{fingerprint[name]}); choose another folder, or start afresh with --overwrite (answers that the "
                "request cache holds are not asked for again)"
            )

    def _keep(self, sample: int) -> int:
        return self._connection.execute(
            "DELETE FROM passages WHERE position IN "
            "(SELECT position FROM passages ORDER BY priority LIMIT -1 OFFSET ?)",
            (sample,),
        ).rowcount
