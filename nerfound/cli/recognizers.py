"""`nerfound fit`, `nerfound extract`, `nerfound evaluate`: what a user does with a few examples."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .errors import errors_as_messages

ENCODER_HELP = "Hub id or folder of a foundation, or of any plain encoder; by default nerfound-mini."
EXAMPLES_HELP = (
    "Labelled examples: .txt with inline markup, .jsonl, .conll/.bio/.tsv, .parquet, or the id of a datasets data set."
)


class OutputFormat(StrEnum):
    """How `extract` writes entities."""

    jsonl = "jsonl"
    csv = "csv"
    conll = "conll"
    html = "html"


class FitRecipe(StrEnum):
    """What a head starts from."""

    nerfound = "nerfound"
    blog = "blog"


class FitMode(StrEnum):
    """What `fit` trains."""

    head = "head"
    full = "full"
    lora = "lora"


def fit(
    examples: Annotated[
        str | None, typer.Argument(help=EXAMPLES_HELP + " None with --concepts: names and descriptions alone.")
    ] = None,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the recognizer.")],
    foundation: Annotated[str | None, typer.Option(help=ENCODER_HELP)] = None,
    concepts: Annotated[Path | None, typer.Option(help="JSON file: concept to description.")] = None,
    nested: Annotated[bool, typer.Option(help="Entities may overlap.")] = False,
    mode: Annotated[FitMode, typer.Option(help="Train the head alone, or all weights, or LoRA.")] = FitMode.head,
    recipe: Annotated[
        FitRecipe,
        typer.Option(help="'nerfound': start from the concepts' names and descriptions; 'blog': from nothing."),
    ] = FitRecipe.nerfound,
    l2: Annotated[float | None, typer.Option(help="Penalty of the head; chosen by the examples by default.")] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    seed: Annotated[int, typer.Option(help="Of fine-tuning.")] = 0,
) -> None:
    """Fit a recognizer on a few examples and save it.

    Examples:

        nerfound fit examples.txt --foundation foundation -o recognizer

        nerfound fit --concepts concepts.json -o recognizer

        nerfound fit train.jsonl --foundation FacebookAI/roberta-base --mode lora -o recognizer
    """
    with errors_as_messages():
        from ..fewshot import fit as fit_recognizer
        from ..fewshot import read_concepts, read_examples
        from ..fewshot.formats import SupportSet
        from ..offline import DEFAULT_FOUNDATION

        if examples is not None:
            support = read_examples(examples, concepts=concepts, nested=nested)
        elif concepts is not None:
            support = SupportSet((), read_concepts(concepts))
        else:
            raise ValueError("nothing to fit on: give examples, or the names of concepts with --concepts.")
        recognizer = fit_recognizer(
            support,
            foundation=foundation or DEFAULT_FOUNDATION,
            nested=nested,
            mode=mode.value,
            recipe=recipe.value,
            l2=l2,
            batch_size=batch_size,
            seed=seed,
        )
        recognizer.save_pretrained(output)
    typer.echo(f"{output}: {len(support.concepts)} concepts from {len(support.examples)} examples")
    typer.echo(f'try: echo "a text" | nerfound extract {output} -')


def extract(
    recognizer: Annotated[str, typer.Argument(help="Folder or Hub id of a recognizer.")],
    source: Annotated[str, typer.Argument(metavar="FILE|-", help="A text per line, or .jsonl with a field text.")],
    output_format: Annotated[OutputFormat, typer.Option("--format", help="What to write.")] = OutputFormat.jsonl,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write, else stdout.")] = None,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Leave out entities with a lower score.")] = 0.0,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
) -> None:
    """Extract entities from texts, as a stream: memory does not grow with the input.

    Examples:

        nerfound extract recognizer reviews.txt --format csv -o entities.csv

        nerfound extract recognizer reviews.txt --format html -o entities.html

        tail -f log.txt | nerfound extract recognizer -
    """
    with errors_as_messages():
        from .streams import extract_stream

        extract_stream(recognizer, source, output_format.value, output, threshold=threshold, batch_size=batch_size)


def evaluate(
    recognizer: Annotated[str, typer.Argument(help="Folder or Hub id of a recognizer.")],
    data: Annotated[str, typer.Argument(help=EXAMPLES_HELP)],
    as_json: Annotated[bool, typer.Option("--json", help="Print all figures as JSON.")] = False,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
) -> None:
    """Score a recognizer: strict, exact and partial entity F1 per concept and on average, and token macro-F1.

    Examples:

        nerfound evaluate recognizer test.jsonl

        nerfound evaluate recognizer test.txt --json > scores.json
    """
    with errors_as_messages():
        from ..evaluation.scoring import evaluate_recognizer
        from ..fewshot import read_examples
        from ..modeling_nuner import NuNerForTokenClassification

        with Console(stderr=True).status("loading") as status:
            model = NuNerForTokenClassification.from_pretrained(recognizer)
            examples = read_examples(data, nested=model.config.nested)
            status.update(f"scoring {len(examples.examples):,} texts")
            scores = evaluate_recognizer(model, examples, batch_size=batch_size)
    if as_json:
        typer.echo(json.dumps(scores, indent=2))
        return
    from .tables import score_table

    score_table(scores)
