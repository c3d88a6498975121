"""Markdown of results: tables, and text of others in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_MARKS = re.compile(r"([\\`*_\[\]<>&#~$])")


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, with a newline at its end; bars in the cells are escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def markdown_literal(text: str) -> str:
    """Text that came from a file, on one line and with its Markdown and HTML escaped: it is shown as it is written."""
    return _MARKS.sub(r"\\\1", " ".join(text.split()))
