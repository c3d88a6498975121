"""`nerfound push`: foundations, recognizers, corpora and Spaces onto the Hub."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from .errors import errors_as_messages

app = typer.Typer(
    no_args_is_help=True,
    help="Publish on the Hugging Face Hub: one commit with a card, verified by downloading what arrived.",
)

RepoOption = Annotated[str, typer.Argument(metavar="REPO_ID", help="namespace/name; made if it is not there.")]
PrivateOption = Annotated[bool, typer.Option("--private", help="Make a new repository private.")]
RevisionOption = Annotated[str | None, typer.Option(help="Branch to push to, made if it is not there.")]
PullRequestOption = Annotated[bool, typer.Option("--create-pr", help="Open a pull request instead.")]
LicenseOption = Annotated[str | None, typer.Option(help="As the Hub writes it: mit, apache-2.0, cc-by-4.0 …")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Write the folder that would be pushed, and push nothing.")
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="Where --dry-run writes [default: the repository's name].")
]


@app.command()
def foundation(
    source: Annotated[str, typer.Argument(metavar="FOUNDATION", help="Folder of nerfound pretrain, or Hub id.")],
    repo_id: RepoOption,
    token_encoder: Annotated[
        str | None, typer.Option(metavar="REPO_ID", help="Push its token encoder there too, for any AutoModel.")
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="Folder of nerfound benchmark; what it measured goes into the card.")
    ] = None,
    license: LicenseOption = None,
    private: PrivateOption = False,
    revision: RevisionOption = None,
    create_pr: PullRequestOption = False,
    dry_run: DryRunOption = False,
    output: OutputOption = None,
) -> None:
    """Push a foundation: weights, tokenizers, card; with --token-encoder, its plain encoder as a second repository.

    Examples:

        nerfound push foundation foundation me/foundation --token-encoder me/encoder --results results

        nerfound push foundation foundation me/foundation --dry-run -o look-at-this
    """
    with errors_as_messages():
        facts: dict[str, Any] = {"license": license, "results": results}
        if dry_run:
            from ..hub.staging import stage_foundation, stage_token_encoder

            folder = _write(
                lambda path: stage_foundation(source, path, repo_id, token_encoder=token_encoder, **facts),
                repo_id,
                output,
            )
            if token_encoder is not None:
                other = token_encoder
                _write(
                    lambda path: stage_token_encoder(source, path, other, foundation=repo_id, **facts),
                    other,
                    folder.with_name(f"{folder.name}-token-encoder"),
                )
            return
        _refuse_output(output)
        from ..hub import push_foundation

        options = _options(private, revision, create_pr)
        _tell(*push_foundation(source, repo_id, token_encoder=token_encoder, **facts, **options))


@app.command()
def recognizer(
    source: Annotated[str, typer.Argument(metavar="RECOGNIZER", help="Folder of nerfound fit, or Hub id.")],
    repo_id: RepoOption,
    data: Annotated[
        str | None, typer.Option(help="Labelled texts; what the recognizer scores on them goes into the card.")
    ] = None,
    license: LicenseOption = None,
    private: PrivateOption = False,
    revision: RevisionOption = None,
    create_pr: PullRequestOption = False,
    dry_run: DryRunOption = False,
    output: OutputOption = None,
) -> None:
    """Push a recognizer that loads by its id: with nerfound, and with transformers alone.

    Examples:

        nerfound push recognizer my-recognizer me/my-recognizer --data test.jsonl

        nerfound push recognizer my-recognizer me/my-recognizer --private --revision v2
    """
    with errors_as_messages():
        facts: dict[str, Any] = {"license": license, "data": data}
        if dry_run:
            from ..hub.staging import stage_recognizer

            _write(lambda path: stage_recognizer(source, path, repo_id, **facts), repo_id, output)
            return
        _refuse_output(output)
        from ..hub import push_recognizer

        _tell(push_recognizer(source, repo_id, **facts, **_options(private, revision, create_pr)))


@app.command()
def corpus(
    source: Annotated[
        str, typer.Argument(metavar="CORPUS", help="As of nerfound corpus; 'default': the packaged one, all languages.")
    ],
    repo_id: RepoOption,
    held_out: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of the passages that becomes the split 'test'.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of that share.")] = 0,
    license: LicenseOption = None,
    private: PrivateOption = False,
    revision: RevisionOption = None,
    create_pr: PullRequestOption = False,
    dry_run: DryRunOption = False,
    output: OutputOption = None,
) -> None:
    """Push a concept corpus as a data set: Parquet files by split, statistics and figures in its card.

    Examples:

        nerfound push corpus corpus.parquet me/corpus --license cc-by-4.0

        nerfound push corpus default me/corpus --held-out 0.05 --dry-run
    """
    with errors_as_messages():
        facts: dict[str, Any] = {"license": license, "held_out": held_out, "seed": seed}
        facts["command"] = _corpus_command(source, repo_id, held_out, seed, license)
        if dry_run:
            from ..hub.staging import stage_corpus

            _write(lambda path: stage_corpus(source, path, repo_id, **facts), repo_id, output)
            return
        _refuse_output(output)
        from ..hub import push_corpus

        _tell(push_corpus(source, repo_id, **facts, **_options(private, revision, create_pr)))


@app.command()
def space(
    source: Annotated[Path, typer.Argument(metavar="SPACE", help="Its folder: README.md, requirements.txt, the app.")],
    repo_id: RepoOption,
    private: PrivateOption = False,
    revision: RevisionOption = None,
    create_pr: PullRequestOption = False,
    dry_run: DryRunOption = False,
    output: OutputOption = None,
) -> None:
    """Push the folder of a Space as it lies, without hidden files; its metadata and pinned requirements are checked.

    Examples:

        nerfound push space spaces/few-shot-ner me/few-shot-ner

        nerfound push space spaces/few-shot-ner me/few-shot-ner --dry-run -o look-at-this
    """
    with errors_as_messages():
        if dry_run:
            from ..hub.spaces import stage_space

            _write(lambda path: stage_space(source, path), repo_id, output)
            return
        _refuse_output(output)
        from ..hub import push_space

        _tell(push_space(source, repo_id, **_options(private, revision, create_pr)))


def _options(private: bool, revision: str | None, create_pr: bool) -> dict[str, Any]:
    return {"private": private or None, "revision": revision, "create_pr": create_pr}


def _corpus_command(source: str, repo_id: str, held_out: float | None, seed: int, license: str | None) -> str:
    """The command that makes this data set again, whatever it was pushed with."""
    from ..provenance import public_name

    options = ["--held-out", str(held_out), "--seed", str(seed)] if held_out is not None else []
    options += ["--license", license] if license else []
    return shlex.join(["nerfound", "push", "corpus", public_name(source), repo_id, *options])


def _write(stage: Callable[[Path], object], repo_id: str, output: Path | None) -> Path:
    """Write what would be pushed, whole or not at all."""
    from ..files import atomic_folder

    folder = output or Path(repo_id.rpartition("/")[2])
    if folder.exists():
        raise ValueError(f"{folder} is there already: remove it, or give another folder (-o).")
    with atomic_folder(folder) as partial:
        stage(partial)
    files = [path for path in folder.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    typer.echo(f"{folder}: {len(files)} files, {size / 1e6:.1f} MB, as they would be pushed to {repo_id}")
    return folder


def _refuse_output(output: Path | None) -> None:
    if output is not None:
        raise ValueError(f"--output {output} is where --dry-run writes: add --dry-run, or leave it out.")


def _tell(*pushed: Any) -> None:
    for push in pushed:
        typer.echo(f"{push.url}: {push.files} files at {push.oid}, downloaded again and found equal")
