"""The command line: one Typer app, one module per command group. Nothing here imports torch before a command runs."""

from __future__ import annotations

import os
import sys

import typer

from . import annotation, colors, corpus, hub, models, recognizers, space
from .options import ListOptions

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Few-shot entity recognition on a concept-contrastive foundation model.",
)
app.add_typer(corpus.app, name="corpus")
app.add_typer(hub.app, name="push")
app.command()(annotation.annotate)
app.command(**models.PASS_ALL_ARGUMENTS)(models.pretrain)
app.command()(models.export)
app.command()(models.shrink)
app.command(cls=ListOptions)(models.benchmark)
app.command()(models.demo)
app.command()(recognizers.fit)
app.command()(recognizers.extract)
app.command()(recognizers.evaluate)
app.command()(colors.colors)
app.command()(space.space)


def main() -> None:
    """Entry of the `nerfound` command."""
    if not sys.stderr.isatty():  # bars are for people; this one variable speaks for transformers too
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    app()
