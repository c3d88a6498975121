"""The stream of `nerfound extract`: lines in, entities out."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

import rich.progress
from transformers import pipeline

from ..fewshot.tags import spans_to_tags
from ..pages import PAGE_END, page_start
from ..rendering_nuner import STYLE, Entities, render_entities
from ..spans import Span, segment_words

Found = tuple[int, str, Entities]
"""The number of a text's line, the text, its entities."""


def extract_stream(
    recognizer: str, source: str, output_format: str, output: Path | None, *, threshold: float, batch_size: int
) -> None:
    """Read texts from a file or standard input, write their entities; a file appears only when it is complete."""
    pipe = pipeline("few-shot-ner", model=recognizer, threshold=threshold, batch_size=batch_size)
    if output_format == "conll" and pipe.model.config.nested:
        raise ValueError(f"{recognizer} finds entities that overlap, which --format conll cannot hold: give jsonl.")
    with _opened(source) as lines, _written(output) as sink:
        texts = _progress(_texts(lines, source), source)
        _WRITERS[output_format](_extracted(pipe, texts), sink)


def _extracted(pipe: Any, texts: Iterable[tuple[int, str]]) -> Iterator[Found]:
    """Each text with its entities; only the texts that the pipeline has read ahead are kept."""
    ahead: deque[tuple[int, str]] = deque()

    def remembered() -> Iterator[str]:
        for number, text in texts:
            ahead.append((number, text))
            yield text

    for entities in pipe(remembered()):
        yield *ahead.popleft(), entities


def _texts(lines: Iterable[str], source: str) -> Iterator[tuple[int, str]]:
    """The texts of a file, each with the number of its line."""
    for number, line in enumerate(lines, start=1):
        if not source.endswith(".jsonl"):
            yield number, line.rstrip("\r\n")
        elif line.strip():
            yield number, _json_text(line, f"{source}:{number}")


def _json_text(line: str, where: str) -> str:
    try:
        text = json.loads(line)["text"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{where}: {line.strip()!r:.60}: give an object with a field text.") from error
    if not isinstance(text, str) or re.search("[\ud800-\udfff]", text):
        raise ValueError(f"{where}: the field text is {text!r:.60}: give a string of Unicode characters.")
    return text


def _write_jsonl(found: Iterable[Found], sink: TextIO) -> None:
    for _, text, entities in found:
        sink.write(json.dumps({"text": text, "entities": entities}, ensure_ascii=False) + "\n")


def _write_csv(found: Iterable[Found], sink: TextIO) -> None:
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(["line", "start", "end", "entity_group", "score", "word"])
    for number, _, entities in found:
        for entity in entities:
            score = f"{entity['score']:.4f}"
            writer.writerow([number, entity["start"], entity["end"], entity["entity_group"], score, entity["word"]])


def _write_conll(found: Iterable[Found], sink: TextIO) -> None:
    for _, text, entities in found:
        words = segment_words(text)
        starts = {start: i for i, (start, _) in enumerate(words)}
        ends = {end: i + 1 for i, (_, end) in enumerate(words)}
        spans = [Span(starts[entity["start"]], ends[entity["end"]], entity["entity_group"]) for entity in entities]
        for (start, end), tag in zip(words, spans_to_tags(spans, len(words)), strict=True):
            sink.write(f"{text[start:end]}\t{tag}\n")
        sink.write("\n")


def _write_html(found: Iterable[Found], sink: TextIO) -> None:
    sink.write(page_start("Entities", "Rest on one to see its score and place.", _PAGE_STYLE + STYLE))
    for _, text, entities in found:
        if text.strip():
            sink.write(render_entities(text, entities, entities.concepts, style=False) + "\n")
    sink.write(PAGE_END)


_PAGE_STYLE = """\
body { max-width: 50rem; }
.nerfound-text + .nerfound-text { margin-top: 0.8rem; padding-top: 0.8rem;
  border-top: 1px solid light-dark(#ddd, #333); }
"""
_WRITERS: dict[str, Callable[[Iterable[Found], TextIO], None]] = {
    "jsonl": _write_jsonl,
    "csv": _write_csv,
    "conll": _write_conll,
    "html": _write_html,
}


@contextlib.contextmanager
def _opened(source: str) -> Iterator[TextIO]:
    if source == "-":
        yield _utf8(sys.stdin, errors="replace", newline="\n")
        return
    with open(source, encoding="utf-8-sig", errors="replace", newline="\n") as lines:
        yield lines


def _utf8(stream: Any, **options: Any) -> TextIO:
    """A standard stream in UTF-8, whatever the locale says."""
    stream.reconfigure(encoding="utf-8", **options)
    return stream


@contextlib.contextmanager
def _written(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        yield _utf8(sys.stdout, line_buffering=True)  # so that a reader at the end of a pipe sees what is there
        return
    partial = output.with_name(f"{output.name}.part")
    try:
        with partial.open("w", encoding="utf-8", newline="") as sink:
            yield sink
        os.replace(partial, output)
    finally:
        partial.unlink(missing_ok=True)


def _progress(texts: Iterable[tuple[int, str]], source: str) -> Iterable[tuple[int, str]]:
    """A progress bar on a terminal, nothing in a pipe."""
    if not sys.stderr.isatty():
        return texts
    console = rich.progress.Console(stderr=True)
    return rich.progress.track(texts, description=f"extracting from {source}", console=console)
