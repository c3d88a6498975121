"""The corpus on disk: answers read, aligned and written as Parquet shards, and what was rejected beside them.

```
OUTPUT/data/train-00000-of-00003.parquet   the corpus
OUTPUT/dataset_info.json                   its columns and size
OUTPUT/rejects.jsonl                       every text and every line of an answer that is not in it, with the reason
OUTPUT/annotation.json                     what was done: settings, counts, cost
OUTPUT/.annotation/run.sqlite              the state of the run
```

All of it is made anew from passages and answers each time, and put in place whole.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import DatasetInfo, Features, List, SplitDict, SplitInfo, Value

from ..corpus import CORPUS_FEATURES
from ..files import atomic_path
from .cache import Answer, RequestCache
from .parsing import AnswerReader, Reading
from .proposals import RejectReason
from .task import Question
from .workspace import StoredPassage, Workspace

SPLIT = "train"
ANNOTATION_FEATURES = Features(
    {
        **{name: feature for name, feature in CORPUS_FEATURES.items() if name != "entities"},
        "entities": List({**CORPUS_FEATURES["entities"].feature, "raw_concept": Value("string")}),
        "model": Value("string"),
        "prompt": Value("string"),
        "annotated_at": Value("string"),
        "prompt_tokens": Value("int32"),
        "completion_tokens": Value("int32"),
        "request": Value("string"),
    }
)
"""The columns of a corpus, and where each row comes from: the model that answered, name and version of the prompt, date
and time in UTC, tokens billed, and the key of the request in the cache, in hexadecimal digits."""

_BATCH_ROWS = 1_000


@dataclass
class Outcome:
    """What became of the texts of a run: `annotated + rejected.total() + pending == texts`, always.

    Args:
        texts (`int`): texts of the run.
        annotated (`int`): rows of the corpus.
        entities (`int`): entities on them.
        pending (`int`): texts not answered yet, and neither in the corpus nor in the rejects.
        rejected (`Counter[str]`): texts without a row, by reason.
        rejected_lines (`Counter[str]`): lines of answers without an entity, by reason.
    """

    texts: int = 0
    annotated: int = 0
    entities: int = 0
    pending: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    rejected_lines: Counter[str] = field(default_factory=Counter)


def write_corpus(
    output: Path,
    workspace: Workspace,
    cache: RequestCache,
    question: Question,
    reader: AnswerReader,
    *,
    shard_rows: int = 100_000,
) -> Outcome:
    """Write corpus and rejects from the answers that are there.

    Args:
        output (`Path`): the output folder.
        workspace (`Workspace`): the passages.
        cache (`RequestCache`): the answers.
        question (`Question`): what was asked.
        reader (`AnswerReader`): how answers are read.
        shard_rows (`int`, *optional*, defaults to 100,000): rows of one Parquet file.

    Returns:
        `Outcome`: the counts.
    """
    _clear(output)
    outcome = Outcome()
    unfinished = output / f".data.{uuid.uuid4().hex[:8]}.partial"
    unfinished.mkdir()
    try:
        with atomic_path(output / "rejects.jsonl") as path, path.open("w", encoding="utf-8") as rejects:
            rows = _rows(workspace, cache, question, reader, rejects, outcome)
            size = _write_shards(unfinished, rows, shard_rows)
        _replace_folder(unfinished, output / "data")
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    _write_info(output, outcome.annotated, size)
    return outcome


def _rows(
    workspace: Workspace,
    cache: RequestCache,
    question: Question,
    reader: AnswerReader,
    rejects: IO[str],
    outcome: Outcome,
) -> Iterator[dict[str, Any]]:
    for page in workspace.pages():
        keys = [question.key(passage.text) for passage in page]
        answers = cache.get(keys)
        failures = workspace.failures(page[0].position, page[-1].position)
        for passage, key in zip(page, keys, strict=True):
            outcome.texts += 1
            answer = answers.get(key)
            if answer is not None:
                reading = reader.read(passage.text, answer)
                _note_rejected(reading, passage, answer, rejects, outcome)
                if reading.reason is None:
                    outcome.annotated += 1
                    outcome.entities += len(reading.entities)
                    yield _row(passage, key, answer, reading, question)
            elif passage.position in failures:
                _reject(rejects, outcome, passage, RejectReason.FAILED, failures[passage.position])
            else:
                outcome.pending += 1


def _note_rejected(
    reading: Reading, passage: StoredPassage, answer: Answer, rejects: IO[str], outcome: Outcome
) -> None:
    for rejected in reading.rejected:
        outcome.rejected_lines[rejected.reason] += 1
        _dump(rejects, {"id": passage.id, "what": "line", "reason": rejected.reason, "line": rejected.line})
    if reading.reason is not None:
        _reject(rejects, outcome, passage, reading.reason, answer.refusal or answer.content)


def _reject(rejects: IO[str], outcome: Outcome, passage: StoredPassage, reason: RejectReason, detail: str) -> None:
    outcome.rejected[reason] += 1
    _dump(rejects, {"id": passage.id, "what": "text", "reason": reason, "text": passage.text, "detail": detail})


def _dump(file: IO[str], record: dict[str, Any]) -> None:
    file.write(json.dumps(record, ensure_ascii=False) + "\n")


def _row(passage: StoredPassage, key: bytes, answer: Answer, reading: Reading, question: Question) -> dict[str, Any]:
    return {
        "id": passage.id,
        "language": passage.language,
        "domain": passage.domain,
        "text": passage.text,
        "entities": reading.entities,
        "model": answer.model or question.model,
        "prompt": question.prompt.label,
        "annotated_at": answer.answered_at,
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "request": key.hex(),
    }


def _write_shards(folder: Path, rows: Iterator[dict[str, Any]], shard_rows: int) -> int:
    """Write all rows; an empty corpus is one file without rows. Returns the size in bytes."""
    schema = ANNOTATION_FEATURES.arrow_schema
    shards: list[Path] = []
    exhausted = False
    while not exhausted:
        path = folder / f"{len(shards)}.parquet"
        left = shard_rows
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            while left:
                batch = list(itertools.islice(rows, min(left, _BATCH_ROWS)))
                if not batch:
                    exhausted = True
                    break
                writer.write_batch(pa.RecordBatch.from_pylist(batch, schema))
                left -= len(batch)
        if left == shard_rows and shards:
            path.unlink()  # the rows ended with the shard before
        else:
            shards.append(path)
    for number, path in enumerate(shards):
        path.rename(folder / f"{SPLIT}-{number:05d}-of-{len(shards):05d}.parquet")
    return sum(path.stat().st_size for path in folder.iterdir())


def _replace_folder(new: Path, place: Path) -> None:
    """Put a folder in place of an older one. Between the two renames neither is there; the next run mends that."""
    if place.exists():
        old = new.with_suffix(".old")
        os.replace(place, old)
        os.replace(new, place)
        shutil.rmtree(old)
    else:
        os.replace(new, place)


def _write_info(output: Path, rows: int, size: int) -> None:
    splits = SplitDict()
    splits.add(SplitInfo(SPLIT, num_bytes=size, num_examples=rows))
    info = DatasetInfo(features=ANNOTATION_FEATURES, splits=splits, download_size=size, dataset_size=size)
    with tempfile.TemporaryDirectory(prefix=".info.", dir=output) as folder:
        info.write_to_directory(folder, pretty_print=True)
        os.replace(Path(folder) / "dataset_info.json", output / "dataset_info.json")


def _clear(output: Path) -> None:
    """Remove what killed runs have left half-written."""
    for leftover in itertools.chain(output.glob(".data.*"), output.glob(".info.*")):
        shutil.rmtree(leftover)
    for leftover in output.glob(".*.partial"):
        leftover.unlink()
