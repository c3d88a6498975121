"""A Hugging Face Hub on the loopback interface, in memory: the real clients talk to it over real HTTP.

In a test, the fixture `hub` is a running one:

```python
def test_it(hub, tmp_path):
    hub.add_repo("owner/model", files={"config.json": "{}", "model.safetensors": weights})   # there without a push
    hub.api().upload_folder(repo_id="owner/model", folder_path=folder)                       # a client in this process
    hub.run("from transformers import AutoModel; AutoModel.from_pretrained('owner/model')", tmp_path)  # a new process
    assert hub.repositories["model", "owner/model"].at("main").files["config.json"].content == b"{}"
    hub.fail("/commit/", status=500)                                   # the next commit fails, the one after succeeds
    assert [request.status for request in hub.requests if "/commit/" in request.path] == [500, 200]
```

`hub.connect(monkeypatch, home)` makes it the Hub of this process, also for functions that take no endpoint
(`from_pretrained`, `load_dataset`, `push_to_hub`). By hand: `python -m tests.fakes.hub`, which prints what to export.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

from tests.fakes import hub_reading, hub_writing  # noqa: F401 (they register their routes)
from tests.fakes.hub_protocol import Request, Response, answer, error_response
from tests.fakes.repositories import HubError, Repository

OWNER, READER, GUEST = "hf_owner", "hf_reader", "hf_guest"
"""Tokens: of `owner`, to write and to read only, and of `guest`, who owns nothing that `owner` has."""


@dataclass(frozen=True)
class User:
    """Whom a token stands for."""

    name: str
    orgs: tuple[str, ...] = ()
    role: str = "write"

    def owns(self, namespace: str) -> bool:
        return namespace in {self.name, *self.orgs}

    def writes(self, namespace: str) -> bool:
        return self.owns(namespace) and self.role == "write"


@dataclass
class Fault:
    """What goes wrong with requests of `method` (any if `None`) whose address `pattern` is found in, `times` times."""

    pattern: re.Pattern[str]
    method: str | None
    times: int
    error: HubError | None = None
    cut_upload: int | None = None
    cut_download: int | None = None
    silence: float = 0

    def strikes(self, method: str, address: str) -> bool:
        return self.times > 0 and self.method in {None, method} and bool(self.pattern.search(address))


@dataclass
class FakeHub:
    """The state of the Hub, and the server that shows it.

    Attributes:
        repositories (`dict[tuple[str, str], Repository]`): by type (`model`, `dataset`, `space`) and id.
        users (`dict[str, User]`): by token.
        requests (`list[Request]`): the log. A connection that was cut has status 0.
        page_size (`int`): entries in an answer that lists files; the rest is on further pages.
        multipart_size (`int`): bytes above which a large file is uploaded in parts of that size.
    """

    port: int = 0
    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    users: dict[str, User] = field(
        default_factory=lambda: {
            OWNER: User("owner", ("acme",)),
            READER: User("owner", ("acme",), "read"),
            GUEST: User("guest"),
        }
    )
    requests: list[Request] = field(default_factory=list)
    page_size: int = 1000
    multipart_size: int = 5_000_000
    verbose: bool = False

    def __post_init__(self):
        self.lock = threading.RLock()
        self._faults: list[Fault] = []
        self._races: dict[tuple[str, str], dict[str, bytes | str]] = {}
        self._server = _Server(("127.0.0.1", self.port), _Handler)
        self._server.hub = self
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self) -> FakeHub:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def storage(self) -> str:
        """Where large files lie: to the client another host, as the real storage is, to which it sends no token."""
        return f"http://localhost:{self.port}/storage"

    # -------------------------------------------------------------------------------------------------------- content

    def add_repo(
        self,
        repo_id: str,
        repo_type: str = "model",
        *,
        files: Mapping[str, bytes | str] | None = None,
        folder: Path | None = None,
        private: bool = False,
        gated: str | bool = False,
        sdk: str | None = None,
        oid: str | None = None,
    ) -> Repository:
        """Put a repository on the Hub without a request: of `files`, or of the files below `folder`.

        Args:
            gated (`str` or `bool`): `"auto"` or `"manual"`, to let in no one but its owner and who is in `granted`.
            oid (`str`, *optional*): the hash of the commit of these files, for code that pins a revision.
        """
        repository = Repository(repo_type, repo_id, private=private, gated=gated, sdk=sdk)
        if folder is not None:
            paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
            files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
        if files:
            repository.commit("Add files", files, oid=oid)
        self.repositories[repo_type, repo_id] = repository
        return repository

    # --------------------------------------------------------------------------------------------------------- faults

    def fail(
        self,
        pattern: str,
        *,
        status: int = 500,
        method: str | None = None,
        times: int = 1,
        message: str = "Internal Error - We're working hard to fix this as soon as possible!",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Answer the next `times` requests whose address has `pattern` with an error."""
        error = HubError(status, message, headers=headers)
        self._faults.append(Fault(re.compile(pattern), method, times, error=error))

    def rate_limit(self, pattern: str, *, retry_after: int = 0, times: int = 1) -> None:
        """Answer 429; the client waits for `retry_after` seconds and one more."""
        headers = {"Retry-After": str(retry_after)}
        self.fail(pattern, status=429, times=times, message="Too Many Requests", headers=headers)

    def cut_upload(self, pattern: str, *, after: int = 0, method: str | None = None, times: int = 1) -> None:
        """Cut the connection when `after` bytes of the request's body have been read; nothing of it counts."""
        self._faults.append(Fault(re.compile(pattern), method, times, cut_upload=after))

    def fall_silent(self, pattern: str, *, seconds: float, times: int = 1) -> None:
        """Take the request, and say nothing for so long; then cut the connection, and nothing of it counts."""
        self._faults.append(Fault(re.compile(pattern), None, times, cut_upload=sys.maxsize, silence=seconds))

    def cut_download(self, pattern: str, *, after: int = 0, times: int = 1) -> None:
        """Cut the connection after `after` bytes of the answer's body, of a length that its header promised."""
        self._faults.append(Fault(re.compile(pattern), "GET", times, cut_download=after))

    def cut_answer(self, pattern: str, *, times: int = 1) -> None:
        """Do what is asked, and cut the connection instead of saying so."""
        self._faults.append(Fault(re.compile(pattern), None, times, cut_download=0))

    def race(self, repo_id: str, repo_type: str = "model", *, files: Mapping[str, bytes | str] | None = None) -> None:
        """Let someone else commit `files` just before the next commit: with a parent commit, it then gets 412."""
        self._races[repo_type, repo_id] = dict(files or {"race.txt": "someone else was faster"})

    def be_overtaken(self, repository: Repository, revision: str) -> None:
        """The other commit of a race, if there is to be one."""
        files = self._races.pop((repository.type, repository.id), None)
        if files:
            repository.commit("Overtake", files, revision=revision, author="someone-else")

    def strike(self, method: str, address: str) -> Fault | None:
        """The fault that the next request meets, if any."""
        with self.lock:
            fault = next((fault for fault in self._faults if fault.strikes(method, address)), None)
            if fault:
                fault.times -= 1
            return fault

    # -------------------------------------------------------------------------------------------------------- clients

    def api(self, token: str | bool = OWNER):
        """A client in this process. `token=False` is a stranger."""
        from huggingface_hub import HfApi

        return HfApi(endpoint=self.endpoint, token=token)

    def environment(self, home: Path, *, token: str | None = OWNER, offline: bool = False) -> dict[str, str]:
        """The environment of a process whose Hub this is and whose caches lie in `home`."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING", "TRANSFORMERS_"))}
        return kept | {
            **({"HF_TOKEN": token} if token else {}),
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home),
            "HF_HUB_OFFLINE": str(int(offline)),
            "HF_HUB_DISABLE_XET": "1",  # there is no Xet storage here, and a client that has hf_xet insists on it
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",  # `datasets` would count downloads on a host that is not the Hub's
            "DISABLE_SAFETENSORS_CONVERSION": "1",  # nor shall transformers ask a Space to convert pickled weights
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }

    def run(
        self, code: str, home: Path, *, check: bool = True, python: Path | None = None, **environment: str | None
    ) -> str:
        """Run Python code in a new process whose Hub this is, and return what it printed.

        Args:
            check (`bool`): whether an exit code other than 0 is an error; if not, what went to stderr is returned too.
            python (`Path`, *optional*): of another environment, isolated from this repository.
            environment: `token` and `offline` as of `FakeHub.environment`, and variables to set on top.
        """
        options = {name: environment.pop(name) for name in ("token", "offline") if name in environment}
        command = [sys.executable] if python is None else [os.fspath(python), "-I"]
        result = subprocess.run(
            [*command, "-c", textwrap.dedent(code)],
            env=self.environment(home, **options) | environment,
            cwd=Path(__file__).parents[2],
            stdin=subprocess.DEVNULL,  # nobody is there to answer whether code is to be trusted
            capture_output=True,
            text=True,
            timeout=600,  # in a test suite that shares its processors, importing torch alone may take a minute
            check=False,
        )
        if check and result.returncode:
            raise AssertionError(f"exit code {result.returncode}\n{result.stdout}\n{result.stderr}")
        return result.stdout if check else result.stdout + result.stderr

    def connect(self, monkeypatch, home: Path, *, token: str | None = OWNER, offline: bool = False) -> None:
        """Make this the Hub of the present process, until `monkeypatch` undoes it; `home` takes the caches.

        The libraries read their environment when imported, so what they made of it is replaced.
        """
        import huggingface_hub
        from huggingface_hub import constants

        # no `setattr` by name: whichever of these a new version drops must show here
        monkeypatch.setattr(constants, "ENDPOINT", self.endpoint)
        template = self.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
        monkeypatch.setattr(constants, "HF_HOME", str(home))
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
        monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(home / "assets"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
        monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", self.endpoint)
        if datasets := sys.modules.get("datasets"):
            config = datasets.config
            monkeypatch.setattr(config, "HF_ENDPOINT", self.endpoint)
            hub_url = self.endpoint + "/datasets/{repo_id}/resolve/{revision}/{path}"
            monkeypatch.setattr(config, "HUB_DATASETS_URL", hub_url)
            monkeypatch.setattr(config, "HF_HUB_OFFLINE", offline)
            monkeypatch.setattr(config, "HF_UPDATE_DOWNLOAD_COUNTS", False)
            monkeypatch.setattr(config, "HF_DATASETS_CACHE", home / "datasets")
            monkeypatch.setattr(config, "DOWNLOADED_DATASETS_PATH", home / "datasets" / "downloads")
        if "transformers" in sys.modules:
            from transformers import dynamic_module_utils
            from transformers.utils import hub as transformers_hub

            monkeypatch.setattr(transformers_hub, "_hf_api", None)
            monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(home / "modules"))
        variables = {"HF_TOKEN": token, "DISABLE_SAFETENSORS_CONVERSION": "1", "HUGGING_FACE_HUB_TOKEN": None}
        for name, value in variables.items():
            monkeypatch.delenv(name, raising=False)
            if value is not None:
                monkeypatch.setenv(name, value)
        huggingface_hub.close_session()


# ------------------------------------------------------------------------------------------------------------- server


class _Server(ThreadingHTTPServer):
    """A thread for every connection; `server_close` ends those that clients keep open."""

    hub: FakeHub

    def __init__(self, *args):
        self._open: set[socket.socket] = set()
        super().__init__(*args)

    def get_request(self):
        connection, address = super().get_request()
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request):
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self):
        super().server_close()
        for connection in list(self._open):
            _hang_up(connection)

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):  # a client that went away is no error
            super().handle_error(request, client_address)


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _handle(self) -> None:
        hub = self.server.hub
        path, _, query = self.path.partition("?")
        request = Request(self.command, path, parse_qs(query, keep_blank_values=True), self.headers)
        fault = hub.strike(self.command, self.path)
        with hub.lock:
            hub.requests.append(request)
        if fault and fault.cut_upload is not None:
            request.body = self._read(fault.cut_upload)
            time.sleep(fault.silence)
            self._cut()
            return
        request.body = self._read()
        if fault and fault.error:
            response = error_response(fault.error)
        else:
            with hub.lock:
                response = answer(hub, request)
        cut = fault.cut_download if fault else None
        request.status = response.status if cut is None else 0
        self._send(response, cut)
        if hub.verbose:
            print(request.method, self.path, request.status, flush=True)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815

    def _read(self, limit: int | None = None) -> bytes:
        """The body, or its first `limit` bytes."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            size = int(self.headers.get("Content-Length") or 0)
            return self.rfile.read(size if limit is None else min(size, limit))
        body = b""
        while (size := int(self.rfile.readline().split(b";")[0], 16)) and (limit is None or len(body) < limit):
            body += self.rfile.read(size)
            self.rfile.readline()
        if not size:
            self.rfile.readline()
        return body[:limit]

    def _send(self, response: Response, cut: int | None) -> None:
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body[:cut])
        if cut is not None:
            self._cut()

    def _cut(self) -> None:
        self.close_connection = True
        _hang_up(self.connection)

    def log_message(self, *args: object) -> None:
        """Quiet: the log is `FakeHub.requests`."""


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.hub", description="A Hugging Face Hub in memory.")
    parser.add_argument("--port", type=int, default=0, help="0 for a free one")
    with FakeHub(port=parser.parse_args().port, verbose=True) as hub:
        print("A Hub in memory. In another shell, with a cache of its own:\n")
        print(f"export HF_ENDPOINT={hub.endpoint} HF_TOKEN={OWNER} HF_HUB_DISABLE_XET=1 HF_HUB_DISABLE_TELEMETRY=1")
        print("export HF_HUB_OFFLINE=0 HF_HOME=$(mktemp -d)\n", flush=True)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
