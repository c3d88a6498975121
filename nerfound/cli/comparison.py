"""The run of `nerfound benchmark`: encoders on few-shot tasks, and everything that is written about it."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..corpus import load_packaged_corpus, read_corpus
from ..corpus.readers import PACKAGED_NAME
from ..evaluation.benchmark import run_benchmark
from ..evaluation.label_overlap import label_overlap, overlap_lines, overlap_markdown
from ..evaluation.outputs import write_reports
from ..evaluation.summary import summarise
from ..evaluation.tasks import Task, read_task
from ..files import write_text_atomically
from ..pretraining.contrast import concept_names
from ..pretraining.ranking import concept_name_encoder
from .tables import transfer_table


def compare_encoders(
    encoders: Mapping[str, str],
    sources: Sequence[tuple[str | None, str]],
    output: Path,
    *,
    split: Literal["test", "dev"],
    test_limit: int | None,
    corpus: str | None,
    **settings: Any,
) -> None:
    """Score encoders on tasks, and write and print everything that is to be said about it.

    Args:
        encoders (`Mapping[str, str]`): name, and Hub id or folder; the others are compared with the first.
        sources (`Sequence[tuple[str | None, str]]`): name of each task, where it is not to have its own, and source.
        output (`Path`): folder of the results.
        split, test_limit: of [`~nerfound.evaluation.tasks.read_task`].
        corpus (`str`, *optional*): where to look up the types of the tasks.
        settings: of [`~nerfound.evaluation.benchmark.run_benchmark`].
    """
    started = time.monotonic()
    tasks = [read_task(source, name=name, split=split, test_limit=test_limit) for name, source in sources]
    overlap = None if corpus is None else overlap_with(corpus, tasks)  # first: a wrong corpus is known at once
    with progress_bar() as progress:
        result = run_benchmark(encoders, tasks, output, progress=progress, **settings)
    lines, ks = (sorted(result.frame[key].unique().tolist()) for key in ("encoder", "k"))
    run = {
        "command": shlex.join(["nerfound", *sys.argv[1:]]),
        "encoders": dict(encoders),
        "data": {task.name: source for task, (_, source) in zip(tasks, sources, strict=True)},
        "settings": {"split": split, "test_limit": test_limit, **settings, "shots": ks},
        "seconds": time.monotonic() - started,
    }
    write_reports(result, output, run)
    Console().print(transfer_table(summarise(result.frame)))
    if overlap is not None:
        write_text_atomically(output / "label_overlap.md", overlap_markdown(overlap, f"`{corpus}`"))
        typer.echo("\n".join(overlap_lines(overlap)))
    tables = "results.md, efficiency.md" if len(lines) > 1 and any(ks) else "results.md"
    typer.echo(f"{output}: {tables}, curve_*.png and .svg, results.parquet, run.json")


def overlap_with(corpus: str, tasks: Sequence[Task]) -> pd.DataFrame:
    """`label_overlap` of tasks with a concept corpus, by vectors of the default sentence encoder."""
    passages = load_packaged_corpus() if corpus == PACKAGED_NAME else read_corpus(corpus)
    return label_overlap(
        {task.name: list(task.train.concepts) for task in tasks},
        list(concept_names(passages).values()),
        concept_name_encoder(),
    )


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on a terminal; in a log, a line for every new thing that is done."""
    console = Console(stderr=True)
    if not console.is_terminal:
        said = ""

        def say(what: str, done: int, total: int) -> None:
            nonlocal said
            if what != said:
                typer.echo(f"{done:,} of {total:,}: {what}", err=True)
                said = what

        yield say
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        bar = progress.add_task("")
        yield lambda what, done, total: progress.update(bar, description=what, completed=done, total=total)
