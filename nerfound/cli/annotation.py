"""`nerfound annotate`: from raw text to a concept corpus."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer

from .errors import errors_as_messages

_INPUT_HELP = (
    "Raw text: .txt (a document per line), .jsonl (both also .gz, .zst), .parquet, - for standard input, or the id of "
    "a datasets data set, which is streamed."
)
_INTERRUPTED = 130


def annotate(
    source: Annotated[str, typer.Argument(metavar="INPUT", help=_INPUT_HELP)],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Folder of the corpus.")],
    model: Annotated[str, typer.Option(help="Name of the language model, as the server knows it.")],
    base_url: Annotated[
        str | None, typer.Option(help="Of an OpenAI-compatible server, with /v1; else OpenAI's.")
    ] = None,
    concepts: Annotated[
        Path | None, typer.Option(help="YAML or JSON file of your own concepts; else the model invents concepts.")
    ] = None,
    structured: Annotated[bool, typer.Option("--structured", help="Ask for JSON after a schema.")] = False,
    nested: Annotated[bool, typer.Option("--nested", help="With --concepts: entities may overlap.")] = False,
    parameter: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE of the completion, in JSON; null leaves a default out.")
    ] = None,
    column: Annotated[str, typer.Option(help="Where JSON lines, Parquet and data sets hold the text.")] = "text",
    config: Annotated[str | None, typer.Option(help="Configuration of the data set, such as en.")] = None,
    split: Annotated[str, typer.Option(help="Split of the data set.")] = "train",
    documents: Annotated[int | None, typer.Option(min=1, help="Documents to read at most.")] = None,
    sentences: Annotated[
        bool, typer.Option("--sentences/--whole", help="Split documents into sentences, or take them as they are.")
    ] = True,
    language: Annotated[str, typer.Option(help="Code of the documents' language.")] = "en",
    min_words: Annotated[int, typer.Option(min=1, help="Leave out shorter texts.")] = 3,
    max_characters: Annotated[int, typer.Option(min=1, help="Leave out longer texts.")] = 1_000,
    min_letters: Annotated[float, typer.Option(min=0, max=1, help="Leave out texts with fewer letters.")] = 0.5,
    sample: Annotated[int | None, typer.Option(min=1, help="How many texts to take at random.")] = None,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 0,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests at once.")] = 16,
    requests_per_minute: Annotated[float | None, typer.Option(min=0.01)] = None,
    tokens_per_minute: Annotated[float | None, typer.Option(min=1)] = None,
    deadline: Annotated[float, typer.Option(min=0.1, help="Seconds for one request.")] = 120.0,
    attempts: Annotated[int, typer.Option(min=1, help="How often to send a request that fails.")] = 8,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Print requests, tokens and cost; send nothing.")
    ] = False,
    max_cost: Annotated[float | None, typer.Option(min=0, help="Dollars not to be passed.")] = None,
    prices: Annotated[
        Path | None, typer.Option(help='JSON file: {"MODEL": {"input": 0.15, "output": 0.6}}, per million tokens.')
    ] = None,
    batch: Annotated[bool, typer.Option("--batch", help="Use the Batch API: half the price, within a day.")] = False,
    poll_seconds: Annotated[float, typer.Option(min=1, help="With --batch: between two looks at the jobs.")] = 30.0,
    cache: Annotated[Path | None, typer.Option(help="SQLite file of finished requests, for all runs.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start afresh where another run lies.")] = False,
) -> None:
    """Let a language model annotate raw text, and write a concept corpus. The key is read from OPENAI_API_KEY.

    Stop it or let it be killed at any time: the same command goes on, and nothing is paid twice.

    Examples:

        nerfound annotate passages.txt corpus --model gpt-4o-mini --estimate

        nerfound annotate allenai/c4 corpus --config en --documents 100000 --sample 160000 --model gpt-4o-mini --batch

        nerfound annotate tickets.jsonl labelled --concepts concepts.yaml --model qwen --base-url http://localhost:8000/v1
    """
    with errors_as_messages():
        annotation = _annotation()
        task = annotation.AnnotationTask(
            annotation.Source(source, column, config, split, documents),
            model,
            annotation.read_ontology(concepts) if concepts else (),
            structured,
            nested,
            _parameters(parameter or []),
            annotation.Selection(sentences, language, min_words, max_characters, min_letters, sample, seed),
        )
        shared: dict[str, Any] = {"cache": cache, "prices": prices, "batch": batch}
        if estimate:
            if overwrite:
                raise ValueError("an estimate forgets no run: leave --overwrite out, or name another folder")
            typer.echo(annotation.estimate(task, output, **shared))
            return
        traffic = annotation.Traffic(concurrency, requests_per_minute, tokens_per_minute, deadline, attempts)
        try:
            report = annotation.run_task(
                task,
                output,
                base_url=base_url,
                traffic=traffic,
                max_cost=max_cost,
                poll_seconds=poll_seconds,
                overwrite=overwrite,
                **shared,
            )
        except annotation.AnnotationStoppedError as reason:
            typer.echo(f"stopped: {reason}", err=True)
            interrupted = isinstance(reason, annotation.AnnotationInterruptedError)
            raise typer.Exit(_INTERRUPTED if interrupted else 1) from reason
    typer.echo(report)
    if report.outcome.annotated:
        typer.echo(f"{output}: look at it with nerfound corpus show {output}")
    else:
        typer.echo(f"{output} has no rows; see {output / 'rejects.jsonl'}", err=True)


def _annotation() -> ModuleType:
    """The room of annotation, whose libraries are an extra."""
    try:
        from .. import annotation
    except ModuleNotFoundError as error:
        raise ImportError(f"{error}: it comes with pip install 'nerfound[annotate]'") from error
    return annotation


def _parameters(pairs: list[str]) -> dict[str, Any]:
    """`NAME=VALUE` as a mapping; a value that is no JSON is a string."""
    parameters = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise ValueError(f"--parameter {pair!r} is not NAME=VALUE, such as temperature=0.2")
        try:
            parameters[name] = json.loads(value)
        except ValueError:
            parameters[name] = value
    return parameters
