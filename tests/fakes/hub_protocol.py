"""The frame of the Hub's HTTP protocol: requests, answers, routes, errors, and who may do what."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from tests.fakes.repositories import HubError, Repository

if TYPE_CHECKING:
    from tests.fakes.hub import FakeHub, User


@dataclass
class Request:
    """A request, and once it is answered the status of the answer: 0 if the connection was cut."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)
    groups: dict[str, str | None] = field(default_factory=dict, repr=False)
    status: int = 0

    @property
    def token(self) -> str | None:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None

    def json(self) -> Any:
        try:
            return json.loads(self.body or b"{}")
        except ValueError as error:
            raise HubError(400, f"Invalid JSON: {error}") from error

    def flag(self, name: str) -> bool:
        return self.query.get(name, ["false"])[0].lower() in {"1", "true"}

    def __getitem__(self, name: str) -> str:
        return unquote(self.groups[name] or "")


@dataclass
class Response:
    """An answer. Its body is sent in full to GET, and not at all to HEAD, which sees the length."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


Answer = Callable[["FakeHub", Request], Response]
ROUTES: list[tuple[str, re.Pattern[str], Answer]] = []
REPOSITORY_ID = r"(?P<id>[^/]+(?:/[^/]+)??)"
API = rf"/api/(?P<type>model|dataset|space)s/{REPOSITORY_ID}"
GIT = rf"/(?:(?P<type>dataset|space)s/)?{REPOSITORY_ID}"
REVISION = r"(?P<revision>[^/]+)"


def answer(hub: FakeHub, request: Request) -> Response:
    """What the Hub answers to a request; an unknown one gets a 404 without a code."""
    try:
        for method, pattern, handler in ROUTES:
            match = pattern.fullmatch(request.path)
            if match and (request.method == method or (request.method, method) == ("HEAD", "GET")):
                request.groups = match.groupdict()
                return handler(hub, request)
        raise HubError(404, f"The fake Hub does not answer {request.method} {request.path}")
    except HubError as error:
        return error_response(error)


def error_response(error: HubError) -> Response:
    """An error as the client reads it: from headers, since an answer to HEAD has no body, and from JSON."""
    headers = {"X-Error-Message": str(error).splitlines()[0], **error.headers}
    if error.code:
        headers["X-Error-Code"] = error.code
    return as_json({"error": str(error)}, error.status, headers)


def route(method: str, pattern: str) -> Callable[[Answer], Answer]:
    """Register a handler; the first whose pattern is the whole path answers, and those of GET answer HEAD."""

    def register(handler: Answer) -> Answer:
        ROUTES.append((method, re.compile(pattern), handler))
        return handler

    return register


def as_json(data: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(json.dumps(data).encode(), status, {"Content-Type": "application/json", **(headers or {})})


def user_of(hub: FakeHub, request: Request) -> User | None:
    """Whose token the request carries; `None` for a stranger."""
    if request.token is None:
        return None
    if request.token not in hub.users:
        raise HubError(401, "Invalid credentials in Authorization header")
    return hub.users[request.token]


def known_user(hub: FakeHub, request: Request) -> User:
    user = user_of(hub, request)
    if user is None:
        raise HubError(401, "Invalid username or password.")
    return user


def repository_of(hub: FakeHub, request: Request) -> Repository:
    """The repository that a request names, if its user may know of it."""
    user = user_of(hub, request)
    repository = hub.repositories.get((request["type"] or "model", request["id"]))
    if repository is None or (repository.private and not (user and user.owns(repository.namespace))):
        # The real Hub tells a stranger 401, and the client takes that for a missing one only over https: hence a code
        status, message = (404, "Repository not found") if user else (401, "Invalid username or password.")
        raise HubError(status, message, "RepoNotFound")
    return repository


def readable(hub: FakeHub, request: Request) -> Repository:
    """The repository, if its user may read its files."""
    repository, user = repository_of(hub, request), user_of(hub, request)
    if repository.gated and not (user and (user.owns(repository.namespace) or user.name in repository.granted)):
        message = f"Access to {repository.type} {repository.id} is restricted"
        if user is None:
            raise HubError(
                401,
                f"{message}. You must have access to it and be authenticated to access it. Please log in.",
                "GatedRepo",
            )
        page = f"{hub.endpoint}/{repository.path}"
        raise HubError(
            403, f"{message} and you are not in the authorized list. Visit {page} to ask for access.", "GatedRepo"
        )
    return repository


def writable(hub: FakeHub, request: Request) -> Repository:
    """The repository, if its user may commit to it."""
    repository = repository_of(hub, request)
    if not known_user(hub, request).writes(repository.namespace):
        raise HubError(403, "Forbidden: pass `create_pr=1` as a query parameter to create a Pull Request")
    return repository


def storage_of(hub: FakeHub, request: Request) -> dict[str, bytes]:
    """The large files of a repository; like a signed address, this asks for no token."""
    repository = hub.repositories.get((request["type"] or "model", request["id"]))
    if repository is None or (request.method in {"GET", "HEAD"} and request["oid"] not in repository.objects):
        raise HubError(404, "NoSuchKey")
    return repository.objects
