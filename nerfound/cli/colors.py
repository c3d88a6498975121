"""`nerfound colors`: a text's words in the colours of their vectors."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from .errors import errors_as_messages


def colors(
    text: Annotated[str, typer.Argument(metavar="TEXT|FILE|-", help="A text, a text file, or - for standard input.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="What to write: a .html page or a .png picture.")],
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            help="Hub id or folder of a foundation or plain encoder; several times: side by side. By default "
            "all-MiniLM-L6-v2 beside nerfound-mini."
        ),
    ] = None,
) -> None:
    """Colour every word of a text by three dimensions of its vector: near vectors have near colours.

    Examples:

        nerfound colors "Marie Curie moved from Warsaw to Paris" --encoder foundation -o words.html

        nerfound colors text.txt --encoder all-MiniLM-L6-v2 --encoder foundation -o base_beside_foundation.png
    """
    with errors_as_messages():
        if output.suffix not in {".html", ".png"}:
            raise ValueError(f"-o {output}: give a name that ends in .html or .png.")
        content = _read(text)
        from ..color_pictures import render_html, render_png
        from ..colors import DEFAULT_ENCODERS, color_panels
        from ..files import write_text_atomically

        panels = color_panels(content, encoder or DEFAULT_ENCODERS)
        if output.suffix == ".png":
            render_png(content, panels, output)
        else:
            write_text_atomically(output, render_html(content, panels))
    typer.echo(f"{output}: {len(panels[0].words):,} words, {' beside '.join(panel.title for panel in panels)}")


def _read(text: str) -> str:
    """The text that is meant: what is no file is the text itself."""
    if text == "-":
        content = sys.stdin.buffer.read().decode("utf-8-sig", "replace")
    elif os.path.isfile(text):
        content = Path(text).read_bytes().decode("utf-8-sig", "replace")
    else:
        content = text
    if not content.strip():
        raise ValueError(f"{text!r:.60} holds no word to colour.")
    return content
