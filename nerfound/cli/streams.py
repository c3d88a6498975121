"""The stream of `nerfound extract`: lines in, entities out."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

import rich.progress
from transformers import pipeline

from ..fewshot.tags import spans_to_tags
from ..spans import Span, segment_words

Found = tuple[str, list[dict[str, Any]]]


def extract_stream(
    recognizer: str, source: str, output_format: str, output: Path | None, *, threshold: float, batch_size: int
) -> None:
    """Read texts from a file or standard input, write their entities; a file appears only when it is complete."""
    pipe = pipeline("few-shot-ner", model=recognizer, threshold=threshold, batch_size=batch_size)
    with _opened(source) as lines, _written(output) as sink:
        texts = _progress(_texts(lines, source), source)
        _WRITERS[output_format](_extracted(pipe, texts), sink)


def _extracted(pipe: Any, texts: Iterable[str]) -> Iterator[Found]:
    """Each text with its entities; only the texts that the pipeline has read ahead are kept."""
    ahead: list[str] = []

    def remembered() -> Iterator[str]:
        for text in texts:
            ahead.append(text)
            yield text

    for entities in pipe(remembered()):
        yield ahead.pop(0), entities


def _texts(lines: Iterable[str], source: str) -> Iterator[str]:
    if not source.endswith(".jsonl"):
        yield from (line.rstrip("\r\n") for line in lines)
        return
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            text = json.loads(line)["text"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{source}:{number}: {line.strip()!r:.60}: give an object with a field text.") from error
        if not isinstance(text, str):
            raise ValueError(f"{source}:{number}: the field text is {text!r:.60}, no string.")
        yield text


def _write_jsonl(found: Iterable[Found], sink: TextIO) -> None:
    for text, entities in found:
        sink.write(json.dumps({"text": text, "entities": entities}, ensure_ascii=False) + "\n")


def _write_csv(found: Iterable[Found], sink: TextIO) -> None:
    writer = csv.writer(sink)
    writer.writerow(["line", "start", "end", "entity_group", "score", "word"])
    for number, (_, entities) in enumerate(found, start=1):
        for entity in entities:
            score = f"{entity['score']:.4f}"
            writer.writerow([number, entity["start"], entity["end"], entity["entity_group"], score, entity["word"]])


def _write_conll(found: Iterable[Found], sink: TextIO) -> None:
    for text, entities in found:
        words = segment_words(text)
        starts = {start: i for i, (start, _) in enumerate(words)}
        ends = {end: i + 1 for i, (_, end) in enumerate(words)}
        spans = [Span(starts[entity["start"]], ends[entity["end"]], entity["entity_group"]) for entity in entities]
        for (start, end), tag in zip(words, spans_to_tags(spans, len(words)), strict=True):
            sink.write(f"{text[start:end]}\t{tag}\n")
        sink.write("\n")


_WRITERS: dict[str, Callable[[Iterable[Found], TextIO], None]] = {
    "jsonl": _write_jsonl,
    "csv": _write_csv,
    "conll": _write_conll,
}


@contextlib.contextmanager
def _opened(source: str) -> Iterator[TextIO]:
    if source == "-":
        yield sys.stdin
        return
    with open(source, encoding="utf-8", errors="replace", newline="\n") as lines:
        yield lines


@contextlib.contextmanager
def _written(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    partial = output.with_name(f"{output.name}.part")
    try:
        with partial.open("w", encoding="utf-8", newline="") as sink:
            yield sink
        os.replace(partial, output)
    finally:
        partial.unlink(missing_ok=True)


def _progress(texts: Iterable[str], source: str) -> Iterable[str]:
    """A progress bar on a terminal, nothing in a pipe."""
    if not sys.stderr.isatty():
        return texts
    console = rich.progress.Console(stderr=True)
    return rich.progress.track(texts, description=f"extracting from {source}", console=console)
