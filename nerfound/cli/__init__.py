"""The command line: one Typer app, one module per command group. Nothing here imports torch before a command runs."""

from __future__ import annotations

import typer

from . import corpus, models, recognizers

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Few-shot entity recognition on a concept-contrastive foundation model.",
)
app.add_typer(corpus.app, name="corpus")
app.command(**models.PASS_ALL_ARGUMENTS)(models.pretrain)
app.command()(models.export)
app.command()(models.benchmark)
app.command()(models.demo)
app.command()(recognizers.fit)
app.command()(recognizers.extract)
app.command()(recognizers.evaluate)


def main() -> None:
    """Entry of the `nerfound` command."""
    app()
