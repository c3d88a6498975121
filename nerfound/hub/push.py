"""Publishing foundations, recognizers, corpora and Spaces: staged in a folder, pushed in one commit, verified."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..modeling_nuner import NuNerForConceptContrast, NuNerForTokenClassification, NuNerPreTrainedModel
from .spaces import stage_space
from .staging import Source, stage_corpus, stage_foundation, stage_recognizer, stage_token_encoder
from .upload import Pushed, full_repo_id, push_folder


def push_foundation(
    source: Source | NuNerForConceptContrast,
    repo_id: str,
    *,
    token_encoder: str | None = None,
    license: str | None = None,
    results: Path | None = None,
    **options: Any,
) -> list[Pushed]:
    """Push a foundation and, with `token_encoder`, its token encoder as a plain encoder repository beside it.

    Args:
        source (`str`, `os.PathLike` or [`NuNerForConceptContrast`]): folder or Hub id of pre-training's outcome.
        repo_id (`str`): `namespace/name`, made if it is not there.
        token_encoder (`str`, *optional*): id of the second repository.
        license (`str`, *optional*): as the Hub writes it, such as `"mit"`.
        results (`Path`, *optional*): folder of `nerfound benchmark`, for the card.
        options: `private`, `revision`, `create_pr`, `token`, `commit_message`: of `push_folder`.

    Returns:
        `list[Pushed]`: of the foundation, then of its token encoder.

    Raises:
        ValueError: if the source is no foundation, or the results are another's; nothing was pushed then.
        PushError: if a push failed.
    """
    repo_id = full_repo_id(repo_id, options.get("token"))
    other = full_repo_id(token_encoder, options.get("token")) if token_encoder else None
    facts: dict[str, Any] = {"license": license, "results": results}
    stages: dict[str, Callable[[Path], None]] = {
        repo_id: lambda folder: stage_foundation(source, folder, repo_id, token_encoder=other, **facts)
    }
    if other is not None:
        stages[other] = lambda folder: stage_token_encoder(source, folder, other, foundation=repo_id, **facts)
    with tempfile.TemporaryDirectory(prefix="nerfound-push-") as scratch:
        folders = {name: Path(scratch) / str(number) for number, name in enumerate(stages)}
        for name, stage in stages.items():  # all are checked before the first is pushed
            stage(folders[name])
        return [push_folder(folder, name, **options) for name, folder in folders.items()]


def push_recognizer(
    source: Source | NuNerForTokenClassification,
    repo_id: str,
    *,
    license: str | None = None,
    data: Source | None = None,
    **options: Any,
) -> Pushed:
    """Push a recognizer that loads by its id, with and without nerfound; see `stage_recognizer` and `push_folder`."""
    repo_id = full_repo_id(repo_id, options.get("token"))
    return _push(
        lambda folder: stage_recognizer(source, folder, repo_id, license=license, data=data), repo_id, **options
    )


def push_corpus(
    source: Source,
    repo_id: str,
    *,
    license: str | None = None,
    held_out: float | None = None,
    seed: int = 0,
    command: str | None = None,
    **options: Any,
) -> Pushed:
    """Push a concept corpus as a data set of Parquet files; see `stage_corpus` and `push_folder`."""
    repo_id = full_repo_id(repo_id, options.get("token"))
    facts: dict[str, Any] = {"license": license, "held_out": held_out, "seed": seed, "command": command}
    return _push(lambda folder: stage_corpus(source, folder, repo_id, **facts), repo_id, repo_type="dataset", **options)


def push_space(source: Source, repo_id: str, **options: Any) -> Pushed:
    """Push the folder of a Space, as it lies; see `stage_space` and `push_folder`."""
    repo_id = full_repo_id(repo_id, options.get("token"))
    with tempfile.TemporaryDirectory(prefix="nerfound-push-") as scratch:
        folder = Path(scratch) / "repository"
        sdk = stage_space(source, folder).sdk
        return push_folder(folder, repo_id, repo_type="space", space_sdk=sdk, **options)


def push_model(model: NuNerPreTrainedModel, repo_id: str, **options: Any) -> Pushed:
    """Push a model that is in memory: what `model.push_to_hub` does."""
    if isinstance(model, NuNerForConceptContrast):
        return push_foundation(model, repo_id, **options)[0]
    if isinstance(model, NuNerForTokenClassification):
        return push_recognizer(model, repo_id, **options)
    raise TypeError(f"{type(model).__name__} is no NuNER model: push it with its own push_to_hub.")


def _push(stage: Callable[[Path], None], repo_id: str, **options: Any) -> Pushed:
    with tempfile.TemporaryDirectory(prefix="nerfound-push-") as scratch:
        folder = Path(scratch) / "repository"
        stage(folder)
        return push_folder(folder, repo_id, **options)
