"""What the tests of annotation share."""

import json
from pathlib import Path

from nerfound.annotation import Traffic, annotate

MODEL = "gpt-4o-mini"
# Quick to try again, so that faults cost no time
QUICK = Traffic(concurrency=16, deadline=1.0, attempts=4, first_wait=0.01, longest_wait=0.05, patience=0.2)


def sentences(count):
    """Distinct sentences that pass all filters."""
    return [f"Number {index} of all travellers left Lisbon for the island of Madeira." for index in range(count)]


def write_lines(path, texts):
    """A file of one text per line."""
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return path


def read_rejects(output):
    """The records of the rejects file."""
    return [json.loads(line) for line in (Path(output) / "rejects.jsonl").read_text(encoding="utf-8").splitlines()]


def rejected_texts(output):
    """The reason by text."""
    return {record["text"]: record["reason"] for record in read_rejects(output) if record["what"] == "text"}


def run(server, source, output, **options):
    """Annotate by a fake server, with the cache beside the output."""
    options = {"model": MODEL, "traffic": QUICK, "cache": Path(output).parent / "cache.sqlite", **options}
    return annotate(source, output, base_url=server.url, **options)
