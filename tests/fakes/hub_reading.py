"""What the Hub answers to those who read: repositories, trees, history, and files, whole or in ranges."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote

from tests.fakes import card_metadata
from tests.fakes.hub_protocol import (
    API,
    GIT,
    REVISION,
    Request,
    Response,
    as_json,
    known_user,
    readable,
    repository_of,
    route,
    storage_of,
    user_of,
    writable,
)
from tests.fakes.repositories import Commit, File, HubError, Repository, folders

if TYPE_CHECKING:
    from tests.fakes.hub import FakeHub


@route("GET", r"/api/whoami-v2")
def _whoami(hub: FakeHub, request: Request) -> Response:
    user = known_user(hub, request)
    access = {"displayName": "fake", "role": user.role}
    orgs = [{"type": "org", "name": org, "roleInOrg": "admin"} for org in user.orgs]
    fields = {"type": "user", "id": user.name, "name": user.name, "fullname": user.name, "orgs": orgs}
    return as_json({**fields, "auth": {"type": "access_token", "accessToken": access}})


@route("GET", rf"{API}/auth-check(?P<write>/write)?")
def _auth_check(hub: FakeHub, request: Request) -> Response:
    (writable if request["write"] else readable)(hub, request)
    return as_json({})


@route("GET", r"/api/telemetry/.*")
def _telemetry(hub: FakeHub, request: Request) -> Response:
    return Response()


@route("GET", r"/api/(?P<type>model|dataset|space)s")
def _list_repositories(hub: FakeHub, request: Request) -> Response:
    author, search = (request.query.get(name, [""])[0] for name in ("author", "search"))
    user = user_of(hub, request)
    found = [
        _info(repository, repository.at(), {})
        for repository in hub.repositories.values()
        if repository.type == request["type"]
        and author in {"", repository.namespace}
        and search.lower() in repository.id.lower()
        and not (repository.private and not (user and user.owns(repository.namespace)))
    ]
    return as_json(found[: int(request.query.get("limit", [len(found)])[0])])


@route("GET", rf"{API}(?<!/refs)(?<!/discussions)(?<!/auth-check)(?:/revision/{REVISION})?")
def _repository_info(hub: FakeHub, request: Request) -> Response:
    repository = repository_of(hub, request)
    return as_json(_info(repository, repository.at(request["revision"] or "main"), request.query))


def _info(repository: Repository, commit: Commit, query: Mapping[str, list[str]]) -> dict[str, Any]:
    readme = commit.files.get("README.md", File(b"")).content.decode(errors="replace")
    try:
        card = card_metadata.metadata(readme)
    except ValueError:  # seeded so: a commit over HTTP is refused
        card = {}
    siblings: list[dict[str, Any]] = [{"rfilename": path} for path in commit.files]
    if "blobs" in query:
        for sibling, file in zip(siblings, commit.files.values(), strict=True):
            sibling |= {"size": file.size, "blobId": file.oid}
            if file.lfs:
                sibling["lfs"] = {"sha256": file.sha256, "size": file.size, "pointerSize": len(file.pointer)}
    info = {
        "_id": repository.id,
        "id": repository.id,
        "author": repository.namespace,
        "sha": commit.oid,
        "private": repository.private,
        "gated": repository.gated,
        "disabled": False,
        "createdAt": repository.created,
        "lastModified": commit.date,
        "downloads": 0,
        "likes": 0,
        "tags": card_metadata.tags(card),
        "cardData": card,
        "siblings": siblings,
    }
    if repository.type == "model":
        names = ("library_name", "pipeline_tag")
        info |= {"modelId": repository.id, "model-index": card.get("model-index")}
        info |= {name: card[name] for name in names if name in card}
    if repository.type == "space":
        started = bool({"app.py", "Dockerfile", "index.html", card.get("app_file")} & set(commit.files))
        info |= {"sdk": card.get("sdk", repository.sdk), "runtime": {"stage": "RUNNING" if started else "NO_APP_FILE"}}
    expand = [*query.get("expand", []), *query.get("expand[]", [])]
    return {k: v for k, v in info.items() if k in {"_id", "id", *expand}} if expand else info


@route("GET", rf"{API}/tree/{REVISION}(?:/(?P<path>.+))?")
def _tree(hub: FakeHub, request: Request) -> Response:
    repository = repository_of(hub, request)
    commit = repository.at(request["revision"])
    prefix = f"{request['path'].strip('/')}/" if request["path"] else ""
    below = [path for path in sorted({*commit.files, *folders(commit.files)}) if path.startswith(prefix)]
    if prefix and not below:
        raise HubError(404, f'"{request["path"]}" does not exist on "{request["revision"]}"', "EntryNotFound")
    if not request.flag("recursive"):
        below = [path for path in below if "/" not in path[len(prefix) :]]
    start = int(request.query.get("cursor", ["0"])[0])
    page, rest = below[start : start + hub.page_size], below[start + hub.page_size :]
    headers = {}
    if rest:  # as on GitHub: the next page is a link
        query = {"recursive": request.flag("recursive"), "expand": request.flag("expand"), "cursor": start + len(page)}
        encoded = "&".join(f"{name}={str(value).lower()}" for name, value in query.items())
        headers["Link"] = f'<{hub.endpoint}{request.path}?{encoded}>; rel="next"'
    return as_json(_entries(repository, request["revision"], page, request.flag("expand")), headers=headers)


@route("POST", rf"{API}/paths-info/{REVISION}")
def _paths_info(hub: FakeHub, request: Request) -> Response:
    repository, form = repository_of(hub, request), parse_qs(request.body.decode())
    paths = [path.strip("/") for path in form.get("paths", [])]
    expand = form.get("expand", ["false"])[0].lower() == "true"
    return as_json(_entries(repository, request["revision"], paths, expand))


def _entries(repository: Repository, revision: str, paths: Iterable[str], expand: bool) -> list[dict[str, Any]]:
    """Files and folders as the Hub lists them; paths that do not exist are left out."""
    files = repository.at(revision).files
    trees, entries = folders(files), []
    for path in paths:
        entry: dict[str, Any] = {"path": path}
        if file := files.get(path):
            entry |= {"type": "file", "size": file.size, "oid": file.oid}
            if file.lfs:
                entry["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": len(file.pointer)}
        elif path in trees:
            entry |= {"type": "directory", "size": 0, "oid": trees[path]}
        else:
            continue
        if expand:
            commit = repository.last_change(revision, path)
            entry["lastCommit"] = {"id": commit.oid, "title": commit.title, "date": commit.date}
        entries.append(entry)
    return entries


@route("GET", rf"{API}/refs")
def _refs(hub: FakeHub, request: Request) -> Response:
    repository = repository_of(hub, request)
    branches = {name: oid for name, oid in repository.heads.items() if not name.startswith("refs/pr/")}
    pulls = {name: oid for name, oid in repository.heads.items() if name.startswith("refs/pr/")}

    def listed(refs: Mapping[str, str], prefix: str) -> list[dict[str, str]]:
        return [{"name": name, "ref": prefix + name, "targetCommit": oid} for name, oid in refs.items()]

    refs = {"branches": listed(branches, "refs/heads/"), "converts": [], "tags": listed(repository.tags, "refs/tags/")}
    return as_json({**refs, **({"pullRequests": listed(pulls, "")} if request.flag("include_prs") else {})})


@route("GET", rf"{API}/commits/{REVISION}")
def _commits(hub: FakeHub, request: Request) -> Response:
    commits = repository_of(hub, request).history(request["revision"])
    return as_json(
        [
            {"id": c.oid, "title": c.title, "message": c.description, "date": c.date, "authors": [{"user": c.author}]}
            for c in commits
        ]
    )


@route("GET", rf"{GIT}/resolve/{REVISION}/(?P<path>.+)")
def _resolve(hub: FakeHub, request: Request) -> Response:
    """A file: a small one itself, a large one as a redirect to the storage, another host that knows no tokens."""
    repository = readable(hub, request)
    commit = repository.at(request["revision"])
    of_commit = {"X-Repo-Commit": commit.oid}
    file = commit.files.get(request["path"])
    if file is None:
        raise HubError(404, "Entry not found", "EntryNotFound", of_commit)
    if not file.lfs:
        return _content(request, file, of_commit)
    href = f"{hub.storage}/{repository.path}/{file.sha256}?filename={quote(request['path'])}"
    linked = {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(file.size), "Location": href}
    return Response(f"Redirecting to {href}".encode(), HTTPStatus.FOUND, {**of_commit, **linked})


@route("GET", rf"/storage{GIT}/(?P<oid>[0-9a-f]{{64}})")
def _stored(hub: FakeHub, request: Request) -> Response:
    return _content(request, File(storage_of(hub, request)[request["oid"]], lfs=True), {})


def _content(request: Request, file: File, headers: Mapping[str, str]) -> Response:
    headers = {
        "Content-Type": "application/octet-stream" if file.lfs else "text/plain; charset=utf-8",
        "ETag": f'"{file.etag}"',
        "Accept-Ranges": "bytes",
        **headers,
    }
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("Range") or "")
    if not asked or not any(asked.groups()):
        return Response(file.content, headers=headers)
    first, last = asked.groups()
    start = int(first) if first else max(file.size - int(last), 0)
    end = min(int(last) + 1, file.size) if first and last else file.size
    if start >= end:
        raise HubError(416, "Range Not Satisfiable", headers={"Content-Range": f"bytes */{file.size}"})
    partial = {**headers, "Content-Range": f"bytes {start}-{end - 1}/{file.size}"}
    return Response(file.content[start:end], HTTPStatus.PARTIAL_CONTENT, partial)
