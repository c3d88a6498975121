"""Git repositories as the Hub keeps them, in memory: commits, branches, tags, pull requests and large files."""

from __future__ import annotations

import fnmatch
import hashlib
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

GIT_ATTRIBUTES = "".join(
    f"{pattern} filter=lfs diff=lfs merge=lfs -text\n"
    for pattern in (
        *("*.7z", "*.arrow", "*.bin", "*.bz2", "*.ckpt", "*.gz", "*.h5", "*.msgpack", "*.npy", "*.npz", "*.onnx"),
        *("*.parquet", "*.pickle", "*.pkl", "*.pt", "*.pth", "*.safetensors", "saved_model/**/*", "*.tar.*", "*.tar"),
        *("*.tflite", "*.xz", "*.zip", "*.zst", "*tfevents*"),
    )
)
"""What the Hub's initial commit of a repository holds: which files are large files."""
REGULAR_SIZE = 10_000_000
"""Bytes above which every file is a large file."""


class HubError(Exception):
    """An answer other than success: its status, its message, and the code by which the client picks an exception."""

    def __init__(self, status: int, message: str, code: str | None = None, headers: Mapping[str, str] | None = None):
        super().__init__(message)
        self.status, self.code, self.headers = status, code, dict(headers or {})


@dataclass(frozen=True)
class File:
    """A file of a commit. A large file (`lfs`) is a pointer in git, and its content lies in the storage beside it."""

    content: bytes
    lfs: bool = False

    @property
    def size(self) -> int:
        return len(self.content)

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def pointer(self) -> bytes:
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n".encode()

    @cached_property
    def oid(self) -> str:
        """The hash that git gives the file, or its pointer."""
        blob = self.pointer if self.lfs else self.content
        return hashlib.sha1(b"blob %d\0" % len(blob) + blob).hexdigest()

    @property
    def etag(self) -> str:
        """What the client compares its own file with."""
        return self.sha256 if self.lfs else self.oid


@dataclass(frozen=True)
class Commit:
    """A state of all files, by path."""

    oid: str
    parent: str | None
    files: Mapping[str, File]
    title: str
    description: str
    author: str
    date: str


@dataclass
class PullRequest:
    """A pull request: a branch `refs/pr/{num}` that may be merged into `main`."""

    num: int
    title: str
    description: str
    author: str
    date: str
    status: str = "draft"
    merge_commit: str | None = None

    @property
    def ref(self) -> str:
        return f"refs/pr/{self.num}"


def now() -> str:
    """The time as the Hub writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass
class Repository:
    """A model, data set or Space.

    Attributes:
        heads (`dict[str, str]`): the last commit of every branch, and of `refs/pr/{num}` of every pull request.
        objects (`dict[str, bytes]`): content of uploaded large files by SHA-256, committed or not.
        granted (`set[str]`): users outside the namespace that may read a gated repository.
    """

    type: str
    id: str
    private: bool = False
    gated: str | bool = False
    sdk: str | None = None
    created: str = field(default_factory=now)
    commits: dict[str, Commit] = field(default_factory=dict)
    heads: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    pull_requests: dict[int, PullRequest] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    granted: set[str] = field(default_factory=set)

    def __post_init__(self):
        files = {".gitattributes": File(GIT_ATTRIBUTES.encode())}
        if self.type == "space":
            files["README.md"] = File(f"---\ntitle: {self.id.split('/')[-1]}\nsdk: {self.sdk}\n---\n".encode())
        self._record("main", None, files, "initial commit", "", "system")

    @property
    def namespace(self) -> str:
        return self.id.split("/")[0] if "/" in self.id else ""

    @property
    def path(self) -> str:
        """Where the repository lies below the endpoint."""
        return self.id if self.type == "model" else f"{self.type}s/{self.id}"

    def at(self, revision: str = "main") -> Commit:
        """The commit that a branch, tag, `refs/pr/{num}` or (abbreviated) hash names."""
        name = revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        oid = self.heads.get(name) or self.tags.get(name)
        if oid is None and len(revision) >= 7:
            oid = next((oid for oid in self.commits if oid.startswith(revision)), None)
        if oid is None:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[oid]

    def history(self, revision: str = "main") -> Iterable[Commit]:
        """Commits, the last one first."""
        oid: str | None = self.at(revision).oid
        while oid is not None:
            yield (commit := self.commits[oid])
            oid = commit.parent

    def last_change(self, revision: str, path: str) -> Commit:
        """The commit that gave a file, or the files of a folder, their present content."""

        def below(commit: Commit) -> dict[str, str]:
            return {p: f.oid for p, f in commit.files.items() if p == path or p.startswith(f"{path}/")}

        history = list(self.history(revision))
        pairs = itertools.pairwise(history)
        return next((new for new, old in pairs if below(new) != below(old)), history[-1])

    def is_lfs(self, path: str, sample: bytes, size: int, revision: str = "main") -> bool:
        """Whether a file is to be a large file: by `.gitattributes`, by its size, or because it is not text."""
        attributes = self.at(revision).files.get(".gitattributes", File(b"")).content.decode()
        patterns = [line.split()[0] for line in attributes.splitlines() if "filter=lfs" in line]
        name = path.rsplit("/", 1)[-1]
        if any(fnmatch.fnmatchcase(path if "/" in p else name, p) for p in patterns) or size > REGULAR_SIZE:
            return True
        return b"\0" in sample or not _is_text(sample)

    def commit(
        self,
        title: str,
        add: Mapping[str, File | bytes | str],
        *,
        delete: Iterable[str] = (),
        revision: str = "main",
        parent: str | None = None,
        description: str = "",
        author: str = "owner",
        oid: str | None = None,
    ) -> Commit:
        """Put a commit on a branch: all of it, or an error and nothing.

        Args:
            add (`Mapping[str, File | bytes | str]`): files by path; content that is no `File` becomes one.
            delete (`Iterable[str]`): files, and folders with a slash at their end.
            parent (`str`, *optional*): the commit that the branch must still be at.
            oid (`str`, *optional*): the hash of the commit, for tests that pin a revision; else it is computed.

        Raises:
            HubError: 404 for an unknown branch or file, 412 if the branch has moved on from `parent`.
            ValueError: if `oid` is not a hash, or that of another commit.
        """
        if oid is not None and (oid in self.commits or not re.fullmatch("[0-9a-f]{40}", oid)):
            raise ValueError(f"{oid!r} cannot be the hash of a new commit of {self.id}: give 40 hexadecimal digits")
        head = self.at(revision)
        if revision.removeprefix("refs/heads/") not in self.heads:
            raise HubError(400, f"{revision} is not a branch: commits go to branches and refs/pr/N")
        if parent is not None and not head.oid.startswith(parent):
            raise HubError(412, "A commit has happened since. Please refresh and try again.")
        files = dict(head.files)
        for path in delete:
            gone = [p for p in files if p == path or (path.endswith("/") and p.startswith(path))]
            if not gone:
                raise HubError(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
            for p in gone:
                del files[p]
        for path, content in add.items():
            files[path] = content if isinstance(content, File) else self._file(path, content, revision)
        return self._record(revision.removeprefix("refs/heads/"), head.oid, files, title, description, author, oid)

    def open_pull_request(self, title: str, description: str, author: str, base: str = "main") -> PullRequest:
        """A draft pull request without changes."""
        pull_request = PullRequest(len(self.pull_requests) + 1, title, description, author, now())
        self.heads[pull_request.ref] = self.at(base).oid
        self.pull_requests[pull_request.num] = pull_request
        return pull_request

    def merge(self, pull_request: PullRequest, author: str) -> None:
        """Put the files that a pull request changed on `main`."""
        base = {commit.oid for commit in self.history()}
        fork = next(commit for commit in self.history(pull_request.ref) if commit.oid in base)
        new = self.at(pull_request.ref).files
        changed = {path: file for path, file in new.items() if fork.files.get(path) != file}
        gone = [path for path in fork.files if path not in new]
        title = f"{pull_request.title} (#{pull_request.num})"
        pull_request.merge_commit = self.commit(title, changed, delete=gone, author=author).oid
        pull_request.status = "merged"

    def _file(self, path: str, content: bytes | str, revision: str) -> File:
        content = content.encode() if isinstance(content, str) else content
        return File(content, lfs=bool(content) and self.is_lfs(path, content[:512], len(content), revision))

    def _record(
        self,
        branch: str,
        parent: str | None,
        files: Mapping[str, File],
        title: str,
        description: str,
        author: str,
        oid: str | None = None,
    ) -> Commit:
        state = [self.type, self.id, branch, parent, title, len(self.commits), *((p, f.oid) for p, f in files.items())]
        oid = oid or hashlib.sha1(repr(state).encode()).hexdigest()
        self.commits[oid] = Commit(oid, parent, dict(sorted(files.items())), title, description, author, now())
        self.heads[branch] = oid
        self.objects |= {file.sha256: file.content for file in files.values() if file.lfs}
        return self.commits[oid]


def folders(files: Mapping[str, File]) -> dict[str, str]:
    """The hash of every folder that holds files, by path."""
    parents = {"/".join(parts[:n]) for path in files for parts in [path.split("/")] for n in range(1, len(parts))}
    return {
        folder: hashlib.sha1(
            "".join(itertools.chain(*((p, f.oid) for p, f in files.items() if p.startswith(f"{folder}/")))).encode()
        ).hexdigest()
        for folder in sorted(parents)
    }


def _is_text(sample: bytes) -> bool:
    try:
        sample.decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"  # the sample may end within a character
    return True
