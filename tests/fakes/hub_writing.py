"""What the Hub answers to those who write: repositories, branches, commits, large files and pull requests."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from tests.fakes import card_metadata
from tests.fakes.hub_protocol import (
    API,
    GIT,
    REVISION,
    Request,
    Response,
    as_json,
    known_user,
    repository_of,
    route,
    storage_of,
    writable,
)
from tests.fakes.repositories import File, HubError, PullRequest, Repository

if TYPE_CHECKING:
    from tests.fakes.hub import FakeHub


@route("POST", r"/api/repos/create")
def _create_repository(hub: FakeHub, request: Request) -> Response:
    user, data = known_user(hub, request), request.json()
    namespace = data.get("organization") or user.name
    repo_type, repo_id = data.get("type") or "model", f"{namespace}/{data['name']}"
    if not user.writes(namespace):
        raise HubError(
            403, f"You don't have the rights to create a {repo_type} under the namespace {json.dumps(namespace)}"
        )
    if (repo_type, repo_id) in hub.repositories:
        url = f"{hub.endpoint}/{hub.repositories[repo_type, repo_id].path}"
        error = f"You already created this {repo_type} repo"
        return as_json({"error": error, "url": url}, HTTPStatus.CONFLICT, {"X-Error-Message": error})
    if repo_type == "space" and not data.get("sdk"):
        raise HubError(400, '"sdk" is required: one of gradio, docker, static')
    private = data.get("visibility") == "private" or bool(data.get("private"))
    repository = hub.add_repo(repo_id, repo_type, private=private, sdk=data.get("sdk"))
    return as_json({"url": f"{hub.endpoint}/{repository.path}", "name": repo_id, "id": repo_id})


@route("DELETE", r"/api/repos/delete")
def _delete_repository(hub: FakeHub, request: Request) -> Response:
    user, data = known_user(hub, request), request.json()
    request.groups = {
        "type": data.get("type") or "model",
        "id": f"{data.get('organization') or user.name}/{data['name']}",
    }
    repository = writable(hub, request)
    del hub.repositories[repository.type, repository.id]
    return as_json({})


@route("PUT", rf"{API}/settings")
def _settings(hub: FakeHub, request: Request) -> Response:
    repository, data = writable(hub, request), request.json()
    repository.gated = data.get("gated", repository.gated)
    if "visibility" in data:
        repository.private = data["visibility"] == "private"
    return as_json({"private": repository.private, "gated": repository.gated})


@route("POST", r"/api/validate-yaml")
def _validate_yaml(hub: FakeHub, request: Request) -> Response:
    data = request.json()
    errors, warnings = card_metadata.check(data["content"], data.get("repoType") or "model")
    issues = {"errors": [{"message": m} for m in errors], "warnings": [{"message": m} for m in warnings]}
    return as_json(issues, HTTPStatus.BAD_REQUEST if errors else HTTPStatus.OK)


@route("POST", rf"{API}/branch/{REVISION}")
def _create_branch(hub: FakeHub, request: Request) -> Response:
    repository, branch = writable(hub, request), request["revision"]
    if branch.startswith("refs/"):
        raise HubError(400, f"Invalid reference for a branch: {branch}")
    if branch in repository.heads:
        raise HubError(409, f"Reference already exists: {branch}")
    repository.heads[branch] = repository.at(request.json().get("startingPoint") or "main").oid
    return as_json({}, HTTPStatus.CREATED)


@route("DELETE", rf"{API}/branch/{REVISION}")
def _delete_branch(hub: FakeHub, request: Request) -> Response:
    repository, branch = writable(hub, request), request["revision"]
    if branch == "main":
        raise HubError(403, "Cannot delete the main branch")
    if repository.heads.pop(branch, None) is None:
        raise HubError(404, f"Invalid rev id: {branch}", "RevisionNotFound")
    return as_json({})


@route("POST", rf"{API}/tag/{REVISION}")
def _create_tag(hub: FakeHub, request: Request) -> Response:
    repository, tag = writable(hub, request), request.json()["tag"]
    if tag in repository.tags:
        raise HubError(409, f"Tag reference exists already: {tag}")
    repository.tags[tag] = repository.at(request["revision"]).oid
    return as_json({}, HTTPStatus.CREATED)


@route("DELETE", rf"{API}/tag/{REVISION}")
def _delete_tag(hub: FakeHub, request: Request) -> Response:
    if writable(hub, request).tags.pop(request["revision"], None) is None:
        raise HubError(404, f"Invalid rev id: {request['revision']}", "RevisionNotFound")
    return as_json({})


@route("POST", rf"{API}/preupload/{REVISION}")
def _preupload(hub: FakeHub, request: Request) -> Response:
    """Which files are large; the hash of a file that is there lets the client leave out what has not changed."""
    repository = repository_of(hub, request) if request.flag("create_pr") else writable(hub, request)
    known_user(hub, request)
    revision, files = request["revision"], request.json()["files"]
    present = repository.at(revision).files
    if len(files) > 256:
        raise HubError(413, f"At most 256 files, not {len(files)}")
    answers = []
    for file in files:
        large = repository.is_lfs(file["path"], base64.b64decode(file["sample"]), file["size"], revision)
        entry = {"path": file["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
        answers.append(entry | ({"oid": present[file["path"]].etag} if file["path"] in present else {}))
    return as_json({"files": answers})


@route("POST", rf"{API}/commit/{REVISION}")
def _commit(hub: FakeHub, request: Request) -> Response:
    user, repository, revision = known_user(hub, request), repository_of(hub, request), request["revision"]
    if not request.flag("create_pr"):
        writable(hub, request)
    hub.be_overtaken(repository, revision)
    lines = [json.loads(line) for line in request.body.splitlines() if line]
    header = next((line["value"] for line in lines if line["key"] == "header"), {})
    add, delete = _operations(repository, lines)
    options = {
        "delete": delete,
        "parent": header.get("parentCommit"),
        "description": header.get("description", ""),
        "author": user.name,
    }
    title, url = header.get("summary", ""), f"{hub.endpoint}/{repository.path}"
    if not request.flag("create_pr"):
        commit = repository.commit(title, add, revision=revision, **options)
        return as_json({"success": True, "commitUrl": f"{url}/commit/{commit.oid}", "commitOid": commit.oid})
    pull_request = repository.open_pull_request(title, options["description"], user.name, base=revision)
    commit = repository.commit(title, add, revision=pull_request.ref, **options)
    return as_json(
        {
            "success": True,
            "commitUrl": f"{url}/commit/{commit.oid}",
            "commitOid": commit.oid,
            "pullRequestUrl": f"{url}/discussions/{pull_request.num}",
        }
    )


def _operations(repository: Repository, lines: Iterable[dict[str, Any]]) -> tuple[dict[str, File], list[str]]:
    """The files that a commit adds, and the paths that it deletes: folders with a slash at their end."""
    add, delete = {}, []
    for line in lines:
        value = line["value"]
        path = value.get("path")
        if line["key"] == "file":
            add[path] = File(base64.b64decode(value["content"]))
        elif line["key"] == "lfsFile":
            if value["oid"] not in repository.objects:
                raise HubError(400, f"LFS pointer of {path} points to a file that was not uploaded: {value['oid']}")
            add[path] = File(repository.objects[value["oid"]], lfs=True)
        elif line["key"] == "deletedFile":
            delete.append(path)
        elif line["key"] == "deletedFolder":
            delete.append(path.rstrip("/") + "/")
    if "README.md" in add:
        errors, _ = card_metadata.check(add["README.md"].content.decode(errors="replace"), repository.type)
        if errors:
            raise HubError(400, "Invalid metadata in README.md: " + "; ".join(errors))
    return add, delete


# ------------------------------------------------------------------------------------------------------- large files


@route("POST", rf"{GIT}\.git/info/lfs/objects/batch")
def _lfs_batch(hub: FakeHub, request: Request) -> Response:
    """Where to upload large files: in one piece, or in parts above `hub.multipart_size`; nothing if it is there."""
    known_user(hub, request)
    repository, data = repository_of(hub, request), request.json()
    parts_allowed = "multipart" in data.get("transfers", [])
    objects, multipart = [], False
    for item in data["objects"]:
        entry = {"oid": item["oid"], "size": item["size"], "authenticated": True}
        if item["oid"] not in repository.objects:
            href, header = f"{hub.storage}/{repository.path}/{item['oid']}", {}
            if parts_allowed and item["size"] > hub.multipart_size:
                count = -(-item["size"] // hub.multipart_size)
                header = {str(n): f"{href}/{n}" for n in range(1, count + 1)}
                header["chunk_size"] = str(hub.multipart_size)
                href, multipart = f"{hub.endpoint}/{repository.path}.git/info/lfs/complete/{item['oid']}", True
            verify = f"{hub.endpoint}/{repository.path}.git/info/lfs/verify"
            entry["actions"] = {"upload": {"href": href, "header": header}, "verify": {"href": verify, "header": {}}}
        objects.append(entry)
    return as_json({"transfer": "multipart" if multipart else "basic", "objects": objects})


@route("PUT", rf"/storage{GIT}/(?P<oid>[0-9a-f]{{64}})")
def _store(hub: FakeHub, request: Request) -> Response:
    return _keep(storage_of(hub, request), request["oid"], request.body)


@route("PUT", rf"/storage{GIT}/(?P<oid>[0-9a-f]{{64}})/(?P<part>\d+)")
def _store_part(hub: FakeHub, request: Request) -> Response:
    storage_of(hub, request)[f"{request['oid']}/{request['part']}"] = request.body
    return Response(headers={"ETag": f'"{hashlib.md5(request.body).hexdigest()}"'})


@route("POST", rf"{GIT}\.git/info/lfs/complete/(?P<oid>[0-9a-f]{{64}})")
def _complete_parts(hub: FakeHub, request: Request) -> Response:
    storage, content = storage_of(hub, request), b""
    for part in sorted(request.json()["parts"], key=lambda part: part["partNumber"]):
        piece = storage.pop(f"{request['oid']}/{part['partNumber']}", None)
        if piece is None or part["etag"] != f'"{hashlib.md5(piece).hexdigest()}"':
            raise HubError(400, f"Part {part['partNumber']} of {request['oid']} was not uploaded")
        content += piece
    return _keep(storage, request["oid"], content)


@route("POST", rf"{GIT}\.git/info/lfs/verify")
def _verify(hub: FakeHub, request: Request) -> Response:
    repository, data = repository_of(hub, request), request.json()
    if len(repository.objects.get(data["oid"], b"")) != data["size"]:
        raise HubError(404, f"{data['oid']} was not uploaded")
    return as_json({})


def _keep(storage: dict[str, bytes], oid: str, content: bytes) -> Response:
    if hashlib.sha256(content).hexdigest() != oid:
        raise HubError(400, f"The SHA-256 of what was uploaded is not {oid}")
    storage[oid] = content
    return Response()


@route("GET", rf"{API}/xet-(?:read|write)-token/{REVISION}")
def _xet_token(hub: FakeHub, request: Request) -> Response:
    raise HubError(400, "The fake Hub has no Xet storage: set HF_HUB_DISABLE_XET=1")


# ----------------------------------------------------------------------------------------------------- pull requests


@route("POST", rf"{API}/discussions")
def _create_discussion(hub: FakeHub, request: Request) -> Response:
    user, data = known_user(hub, request), request.json()
    if not data.get("pullRequest"):
        raise HubError(400, "The fake Hub keeps pull requests, no discussions")
    opened = repository_of(hub, request).open_pull_request(data["title"], data.get("description", ""), user.name)
    return as_json({"num": opened.num, "pullRequest": True})


@route("GET", rf"{API}/discussions")
def _discussions(hub: FakeHub, request: Request) -> Response:
    repository = repository_of(hub, request)
    listed = [_discussion(repository, pull_request) for pull_request in repository.pull_requests.values()]
    return as_json({"discussions": listed, "count": len(listed), "start": 0})


@route("GET", rf"{API}/discussions/(?P<num>\d+)")
def _discussion_details(hub: FakeHub, request: Request) -> Response:
    repository = repository_of(hub, request)
    return as_json(_discussion(repository, _pull_request(repository, request)))


@route("POST", rf"{API}/discussions/(?P<num>\d+)/merge")
def _merge(hub: FakeHub, request: Request) -> Response:
    repository = writable(hub, request)
    pull_request = _pull_request(repository, request)
    repository.merge(pull_request, known_user(hub, request).name)
    return as_json({})


def _pull_request(repository: Repository, request: Request) -> PullRequest:
    if int(request["num"]) not in repository.pull_requests:
        raise HubError(404, f"Discussion {request['num']} not found")
    return repository.pull_requests[int(request["num"])]


def _discussion(repository: Repository, pull_request: PullRequest) -> dict[str, Any]:
    return {
        "num": pull_request.num,
        "title": pull_request.title,
        "author": {"name": pull_request.author},
        "createdAt": pull_request.date,
        "status": pull_request.status,
        "repo": {"name": repository.id, "type": repository.type},
        "isPullRequest": True,
        "events": [],
        "filesWithConflicts": [],
        "changes": {"base": "refs/heads/main", "mergeCommitId": pull_request.merge_commit},
        "diff": "",
    }
