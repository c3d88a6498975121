"""A folder onto the Hub in one atomic commit, verified by downloading what arrived."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    RepoFile,
    constants,
    get_session,
    hf_hub_download,
)
from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled
from huggingface_hub.utils.sha import git_hash

from ..files import file_sha256
from ..provenance import versions

logger = logging.getLogger(__name__)

WAITS = (1.0, 4.0, 16.0)
"""Seconds before a commit that the Hub had no time for is tried again; a `Retry-After` of the Hub comes first."""
_LONGEST_WAIT = 300.0
SILENCE = 300.0
"""Seconds of a connection on which nothing comes or goes, after which it counts as cut."""
_BUSY = {429, 500, 502, 503, 504}

OWNED = {
    "model": ("*.safetensors", "*.safetensors.index.json", "*.py"),
    "dataset": ("data/*.parquet", "figures/*"),
    "space": ("*.py",),
}
"""What an earlier push may have left and a later one must not leave there, such as shards of a larger model."""


class PushError(OSError):
    """A push that did not take place, or not as it should: says what is on the Hub now, and the mend."""


class Pushed(NamedTuple):
    """Where a push arrived: the address of the repository or pull request, and the commit."""

    url: str
    oid: str
    files: int


class _Target(NamedTuple):
    """A repository and the branch that is pushed to."""

    api: HfApi
    repo_id: str
    repo_type: str
    revision: str | None

    @property
    def place(self) -> dict[str, Any]:
        return {"repo_id": self.repo_id, "repo_type": self.repo_type, "revision": self.revision}

    @property
    def url(self) -> str:
        kind = "" if self.repo_type == "model" else f"{self.repo_type}s/"
        return f"{self.api.endpoint}/{kind}{self.repo_id}"


def full_repo_id(repo_id: str, token: str | bool | None = None) -> str:
    """An id with its namespace: that of whom the token belongs to, if it has none."""
    if "/" in repo_id:
        return repo_id
    with _explained(repo_id):
        return f"{HfApi(token=token).whoami()['name']}/{repo_id}"


def push_folder(
    folder: Path,
    repo_id: str,
    repo_type: str = "model",
    *,
    private: bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    token: str | bool | None = None,
    commit_message: str | None = None,
    space_sdk: str | None = None,
) -> Pushed:
    """Push all files of a folder in one commit, download them again at that commit, and compare their hashes.

    The commit is atomic: either all files are there or none. Large files that were uploaded before a push failed are
    not uploaded again. A push of what is there already makes no commit.

    Args:
        folder (`Path`): whose files are pushed, with their paths; dot files too.
        repo_id (`str`): `namespace/name`, made if it is not there.
        repo_type (`str`): `"model"`, `"dataset"` or `"space"`.
        private (`bool`, *optional*): of a repository that is made now.
        revision (`str`, *optional*): the branch, made if it is not there; `main` by default.
        create_pr (`bool`): open a pull request instead of committing to the branch.
        token (`str`, *optional*): the one of `hf auth login` by default.
        commit_message (`str`, *optional*): names nerfound by default.
        space_sdk (`str`, *optional*): of a Space that is made now; it must have one.

    Raises:
        PushError: if nothing was pushed, or what arrived is not what was sent: what happened, and the mend.
    """
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    message = commit_message or f"Push with nerfound {versions()['nerfound']}"
    api = HfApi(token=token)
    with _explained(repo_id), _no_endless_wait():
        made = api.create_repo(repo_id, repo_type=repo_type, private=private, exist_ok=True, space_sdk=space_sdk)
        target = _Target(api, made.repo_id, repo_type, revision)
        if revision is not None and not revision.startswith("refs/"):
            api.create_branch(target.repo_id, repo_type=repo_type, branch=revision, exist_ok=True)
        url, oid = _commit(target, files, message, create_pr)
        try:
            verify(files, target.repo_id, repo_type, oid, token=token)
        except (HTTPError, FileNotFoundError) as error:  # the latter if the Hub cannot be reached at all
            raise PushError(
                f"{target.repo_id}: committed as {oid}, but not verified: it could not be downloaded "
                f"({_first_line(error)}). Run the same command again: it uploads nothing anew, and verifies."
            ) from error
    return Pushed(url, oid, len(files))


def verify(
    files: Mapping[str, Path], repo_id: str, repo_type: str, oid: str, *, token: str | bool | None = None
) -> None:
    """Download files at a commit, one at a time into a folder that is removed, and compare their SHA-256.

    Raises:
        PushError: naming the files that are not what was sent.
    """
    different = []
    for name, path in files.items():
        with tempfile.TemporaryDirectory(prefix="nerfound-verify-") as cache:
            fetched = hf_hub_download(repo_id, name, repo_type=repo_type, revision=oid, cache_dir=cache, token=token)
            if file_sha256(Path(fetched)) != file_sha256(path):
                different.append(name)
    if different:
        raise PushError(
            f"{repo_id} at {oid}: {', '.join(different)} came back other than sent. Push again; if it happens again, "
            "report it to the Hub's support."
        )


def _commit(target: _Target, files: Mapping[str, Path], message: str, create_pr: bool) -> tuple[str, str]:
    """Address and hash of a commit on the branch as it is; tried again if the Hub was busy, never over another's."""
    parent = target.api.repo_info(**target.place).sha
    for patience in (*WAITS, None):
        operations: list[CommitOperationAdd | CommitOperationDelete] = [*_additions(files), *_deletions(target, files)]
        try:
            info = target.api.create_commit(
                operations=operations,
                commit_message=message,
                create_pr=create_pr,
                # Of a pull request, the parent is where it branches off; its base may well move on
                parent_commit=None if create_pr else parent,
                **target.place,
            )
            return info.pr_url or target.url, info.oid
        except HTTPError as error:
            if not create_pr and (oid := _arrived(target, files, parent)):
                return target.url, oid
            refused = isinstance(error, HfHubHTTPError) and error.response.status_code
            # An answer that never came may have been a yes: another pull request would be one too many
            repeatable = refused in _BUSY or not (refused or create_pr)
            if patience is None or not repeatable:
                raise
            wait = _asked_to_wait(error, patience)
            logger.warning("%s: %s. Trying again in %.0f seconds.", target.repo_id, _first_line(error), wait)
            time.sleep(wait)
    raise AssertionError("the last try returns or raises")


def _arrived(target: _Target, files: Mapping[str, Path], parent: str | None) -> str | None:
    """The hash of a commit that was made although its answer was lost: the branch moved on and holds these files."""
    head = target.api.repo_info(**target.place).sha
    if head == parent:
        return None
    there = {
        entry.path: entry
        for entry in target.api.get_paths_info(paths=list(files), **target.place)
        if isinstance(entry, RepoFile)
    }
    if there.keys() != files.keys() or not all(_is_same(there[name], path) for name, path in files.items()):
        return None
    return head


def _is_same(entry: RepoFile, path: Path) -> bool:
    if entry.lfs is not None:
        return entry.lfs.sha256 == file_sha256(path)
    return entry.size == path.stat().st_size and entry.blob_id == git_hash(path.read_bytes())


def _additions(files: Mapping[str, Path]) -> Iterator[CommitOperationAdd]:
    for name, path in files.items():
        yield CommitOperationAdd(path_in_repo=name, path_or_fileobj=os.fspath(path))


def _deletions(target: _Target, files: Iterable[str]) -> Iterator[CommitOperationDelete]:
    for name in target.api.list_repo_files(**target.place):
        if name not in files and any(fnmatch(name, pattern) for pattern in OWNED[target.repo_type]):
            yield CommitOperationDelete(path_in_repo=name)


def _asked_to_wait(error: HTTPError, wait: float) -> float:
    asked = error.response.headers.get("Retry-After", "") if isinstance(error, HfHubHTTPError) else ""
    return min(max(wait, float(asked)), _LONGEST_WAIT) if asked.isdigit() else wait


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextmanager
def _no_endless_wait() -> Iterator[None]:
    """huggingface_hub waits without end for a server that took a request and has gone."""
    session = get_session()
    before, session.timeout = session.timeout, SILENCE
    try:
        yield
    finally:
        session.timeout = before


_AGAIN = "Run the same command again: large files that were uploaded are not sent again."


@contextmanager
def _explained(repo_id: str) -> Iterator[None]:
    """Say of an error of the Hub what it means for a push, and what to do."""
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise PushError(
            "HF_HUB_OFFLINE is set: unset it to push, or look at what would be pushed (--dry-run)."
        ) from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        raise PushError(f"{repo_id}: {_meaning(status, repo_id)} [{status}: {_first_line(error)}]") from error
    except HTTPError as error:
        raise PushError(
            f"{repo_id}: the connection to {constants.ENDPOINT} was cut ({_first_line(error)}). Whether the last "
            f"request took effect is not known. {_AGAIN}"
        ) from error


def _meaning(status: int, repo_id: str) -> str:
    if status in {401, 403, 404}:
        return (
            f"you may not write there. Log in with `hf auth login`, or set HF_TOKEN, to a token with write access to "
            f"{repo_id.split('/', maxsplit=1)[0]}."
        )
    if status == 412:
        return (
            "someone else committed to that branch during this push, and nothing of it was committed. Look at what "
            "they did, then run the same command again."
        )
    if status == 429:
        return f"the Hub asks for fewer requests; nothing was committed. Wait a few minutes. {_AGAIN}"
    if status >= 500:
        return f"the Hub is in trouble; nothing was committed. {_AGAIN}"
    return "the Hub refused the push."
