"""`nerfound corpus`: convert and look at concept corpora."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .errors import errors_as_messages

app = typer.Typer(no_args_is_help=True, help="Read, convert and look at concept corpora.")

_SOURCE_HELP = (
    "'default' (the packaged corpus), a file (.txt blocks, .jsonl, .parquet, .csv of numind/NuNER; text also .gz or "
    ".zst), a folder, or a data set id on the Hub."
)
SplitOption = Annotated[str | None, typer.Option(help="Split of a data set or folder; by default 'train'.")]


@app.command()
def convert(
    source: Annotated[str, typer.Argument(metavar="INPUT", help=_SOURCE_HELP)],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT.parquet", help="Where to write; replaced if it exists.")],
    split: SplitOption = None,
    propagate: Annotated[
        bool, typer.Option(help="Annotate further occurrences of an annotated mention in its passage too.")
    ] = True,
    compression_level: Annotated[int, typer.Option(min=1, max=22, help="Of zstd: higher is smaller, slower.")] = 9,
) -> None:
    """Align a corpus and write it as Parquet; print what was aligned, propagated and dropped.

    Examples:

        nerfound corpus convert passages.txt corpus.parquet

        nerfound corpus convert concepts.jsonl corpus.parquet --no-propagate

        nerfound corpus convert numind/NuNER nuner.parquet --split full
    """
    if output.suffix != ".parquet":
        raise typer.BadParameter(f"{output} must end in .parquet", param_hint="OUTPUT.parquet")
    from ..corpus import AlignmentReport, read_corpus, write_parquet

    report = AlignmentReport()
    with errors_as_messages():
        dataset = read_corpus(source, split=split, propagate=propagate, report=report)
        write_parquet(dataset, output, compression_level=compression_level)
    typer.echo(report)
    typer.echo(f"{output}: {output.stat().st_size:,} bytes")


@app.command()
def show(
    source: Annotated[str, typer.Argument(metavar="CORPUS", help=_SOURCE_HELP)],
    limit: Annotated[int, typer.Option(min=1, help="How many passages to print.")] = 10,
    split: SplitOption = None,
) -> None:
    """Print passages, each mention in brackets and its concept in parentheses after it.

    Examples:

        nerfound corpus show default --limit 3

        nerfound corpus show corpus.parquet
    """
    from ..corpus import mark_entities, printable, read_corpus

    with errors_as_messages():
        dataset = read_corpus(source, split=split)
    for row in dataset.take(min(limit, len(dataset))):
        typer.echo(f"{printable(row['id'])}: {mark_entities(row['text'], row['entities'])}\n")


@app.command()
def stats(
    source: Annotated[str, typer.Argument(metavar="CORPUS", help=_SOURCE_HELP)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the figures, pictures and map.")
    ] = None,
    split: SplitOption = None,
    draw_map: Annotated[bool, typer.Option("--map/--no-map", help="Draw the concept map, with -o.")] = True,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Of the map: a foundation, by its concept encoder, or any encoder [default: all-MiniLM-L6-v2]."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the sample of rare concepts, and of the map.")] = 0,
) -> None:
    """Count a corpus, beside the corpus of the NuNER blog post: annotations, concepts, how common and rare they are.

    With -o, also statistics.json and .md, pictures (PNG and SVG) and the concept map (PNG, SVG and a web page that
    works offline). Needs `pip install 'nerfound[plots]'`.

    Examples:

        nerfound corpus stats default

        nerfound corpus stats corpus.parquet -o statistics --encoder foundation
    """
    with errors_as_messages():
        from ..offline import DEFAULT_ENCODER
        from .corpus_report import report_corpus

        report_corpus(source, output, split=split, draw_map=draw_map, encoder=encoder or DEFAULT_ENCODER, seed=seed)
