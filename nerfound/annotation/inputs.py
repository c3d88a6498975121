"""Where raw text comes from: files, data sets and standard input, one document at a time."""

from __future__ import annotations

import hashlib
import itertools
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, NamedTuple

from datasets import load_dataset

from ..corpus.lines import numbered_lines
from ..corpus.sources import json_records, parquet_records

STANDARD_INPUT = "-"


class Document(NamedTuple):
    """A raw text; language and domain are empty where the source names none."""

    text: str
    language: str = ""
    domain: str = ""


@dataclass(frozen=True)
class Source:
    """What to annotate.

    Args:
        name (`str`): a file of text lines (`.txt`), JSON lines (`.jsonl`; both also `.gz`, `.zst`) or `.parquet`, `-`
            for lines from standard input, or a folder or id that `datasets.load_dataset` takes: `allenai/c4`.
        column (`str`, *optional*, defaults to `"text"`): where JSON lines, Parquet and data sets hold the text.
        config (`str`, *optional*): configuration of the data set: `en`.
        split (`str`, *optional*, defaults to `"train"`): split of the data set.
        documents (`int`, *optional*): how many documents to read at most.
    """

    name: str
    column: str = "text"
    config: str | None = None
    split: str = "train"
    documents: int | None = None

    def fingerprint(self) -> str:
        """What the source is, with size and date of its files, so that a changed one is told from the same one."""
        path = Path(self.name)
        if self.name == STANDARD_INPUT:
            return f"{self!r}, SHA-256 {self._standard_input[1]}"
        if path.is_dir():
            states = sorted(f"{file.relative_to(path)}, {_state(file)}" for file in path.rglob("*") if file.is_file())
            return f"{self!r}, files of SHA-256 {hashlib.sha256(repr(states).encode()).hexdigest()}"
        return f"{self!r}, {_state(path)}" if path.is_file() else repr(self)

    def read(self) -> Iterator[Document]:
        """The documents in their order.

        Raises:
            ValueError: if a record has no such column or is no text, naming the place and the mend.
        """
        return itertools.islice(self._documents(), self.documents)

    def _documents(self) -> Iterator[Document]:
        path = Path(self.name)
        name = self.name.removesuffix(".gz").removesuffix(".zst")
        if self.name == STANDARD_INPUT:
            return (Document(line.rstrip("\r\n")) for line in self._standard_input[0])
        if name.endswith(".txt"):
            return (Document(line) for _, line in numbered_lines(path))
        if name.endswith(".jsonl"):
            return self._from_records(json_records(path))
        if name.endswith(".parquet"):
            return self._from_records(parquet_records(path))
        if path.is_file():
            raise ValueError(f"{path}: unknown kind of file; name it .txt, .jsonl (also .gz, .zst) or .parquet")
        return self._from_records(self._rows())

    @cached_property
    def _standard_input(self) -> tuple[IO[str], str]:
        """Standard input, put into a file, and its SHA-256: it can be read but once, and must be known before."""
        file = tempfile.TemporaryFile("w+", encoding="utf-8", errors="surrogatepass")  # noqa: SIM115 - closed with self
        digest = hashlib.sha256()
        for line in sys.stdin:
            file.write(line)
            digest.update(line.encode("utf-8", "surrogatepass"))
        file.seek(0)
        return file, digest.hexdigest()

    def _rows(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        rows = load_dataset(os.fspath(self.name), self.config, split=self.split, streaming=True)
        return ((f"{self.name}: row {number}", row) for number, row in enumerate(rows))

    def _from_records(self, records: Iterator[tuple[str, Mapping[str, Any]]]) -> Iterator[Document]:
        for where, record in records:
            if self.column not in record:
                raise ValueError(f"{where}: no column {self.column!r}; choose one of {', '.join(map(str, record))}")
            text = record[self.column]
            if not isinstance(text, str):
                raise ValueError(f"{where}: column {self.column!r} is {text!r:.80}; it must be a string")
            yield Document(text, *(_string(record.get(key)) for key in ("language", "domain")))


def _state(file: Path) -> str:
    stat = file.stat()
    return f"{stat.st_size} bytes of {stat.st_mtime_ns}"


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""
