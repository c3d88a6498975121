"""The run of `nerfound corpus stats`: a corpus's figures, pictures and concept map."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..corpus import read_corpus
from ..corpus.concept_map import FEWEST_CONCEPTS, draw_concept_map, make_concept_map, write_concept_map_page
from ..corpus.markup import printable
from ..corpus.plots import plot_statistics
from ..corpus.statistics import CorpusStatistics, Group, corpus_statistics, statistics_markdown
from ..files import write_text_atomically

_LISTED = 10


def report_corpus(
    source: str, output: Path | None, *, split: str | None, draw_map: bool, encoder: str, seed: int
) -> None:
    """Print the statistics of a corpus; with `output`, write them there with their pictures."""
    statistics = corpus_statistics(read_corpus(source, split=split))
    Console().print(*statistics_tables(statistics))
    if output is None:
        return
    output.mkdir(parents=True, exist_ok=True)
    command = shlex.join(["nerfound", *sys.argv[1:]])
    figures = json.dumps({"command": command} | statistics.to_dict(), indent=2, ensure_ascii=False)
    write_text_atomically(output / "statistics.json", figures + "\n")
    write_text_atomically(output / "statistics.md", statistics_markdown(statistics, source, command))
    plot_statistics(statistics, output, seed=seed)
    if draw_map and len(statistics.concepts) >= FEWEST_CONCEPTS:
        _write_map(statistics, source, output, encoder, seed)
    elif draw_map:
        typer.echo(f"no map: {len(statistics.concepts)} concepts, it needs {FEWEST_CONCEPTS}", err=True)
    typer.echo(f"{output}: {', '.join(sorted(path.name for path in output.iterdir() if path.suffix != '.svg'))}")


def statistics_tables(statistics: CorpusStatistics) -> list[Table]:
    """What a terminal shows: the figures, the most common concepts, the languages and domains."""
    figures = Table("", "here", "blog")
    for title, here, blog in statistics.table():
        figures.add_row(title, here, blog)
    concepts = Table("most common concepts", "annotations")
    for name, count in list(statistics.concepts.items())[:_LISTED]:
        concepts.add_row(Text(name), f"{count:,}")
    tables = [figures, concepts]
    for title, groups in (("languages", statistics.languages), ("domains", statistics.domains)):
        if set(groups) != {""}:
            tables.append(_group_table(title, groups))
    for table in tables:
        for column in table.columns[1:]:
            column.justify = "right"
    return tables


def _group_table(title: str, groups: dict[str, Group]) -> Table:
    table = Table(f"{title} ({len(groups):,})", "passages", "annotations")
    for name, group in list(groups.items())[:_LISTED]:
        table.add_row(Text(printable(name)), f"{group.passages:,}", f"{group.annotations:,}")
    if len(groups) > _LISTED:
        table.add_row(f"… and {len(groups) - _LISTED:,} more", "", "")
    return table


def _write_map(statistics: CorpusStatistics, source: str, output: Path, encoder: str, seed: int) -> None:
    from ..pretraining.ranking import concept_name_encoder

    with Console(stderr=True).status("drawing the concept map"):
        concept_map = make_concept_map(statistics.concepts, concept_name_encoder(encoder), seed=seed)
        draw_concept_map(concept_map, output)
        write_concept_map_page(concept_map, output / "concept_map.html", f"Concept map of {source}")
