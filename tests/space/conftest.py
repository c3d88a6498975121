"""One server with a tiny random model, one browser; every test has a page, or a client, of its own."""

import os
import shutil
import socket

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import pytest

pytest.importorskip("gradio", reason="the page needs gradio: pip install 'nerfound[space]'")

from nerfound.pretraining.ranking import CONCEPT_TOKENIZER_FOLDER
from tests.factories import make_contrast, tokenizer_of

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="session")
def foundation(encoders, tmp_path_factory):
    """A saved dual encoder with both tokenizers."""
    folder = make_contrast(tmp_path_factory.mktemp("space"), encoders["bert"], encoders["bert"])
    tokenizer_of("bert").save_pretrained(folder / CONCEPT_TOKENIZER_FOLDER)
    return folder


@pytest.fixture(scope="session")
def engine(foundation, encoders):
    """The encoders of the page."""
    from nerfound.space.engine import Engine

    return Engine(str(foundation), str(encoders["roberta"]))


@pytest.fixture(scope="session")
def server(foundation, encoders, tmp_path_factory):
    """The page, served at this address; at the end, the server has asked nothing of any other machine."""
    from nerfound.space import launch

    outside, connect = [], socket.socket.connect

    def watched(self, address):
        if self.family != socket.AF_UNIX and address[0] not in {"127.0.0.1", "localhost", "::1"}:
            outside.append(address)
        return connect(self, address)

    socket.socket.connect = watched
    before = os.environ.get("GRADIO_TEMP_DIR")
    os.environ["GRADIO_TEMP_DIR"] = str(tmp_path_factory.mktemp("gradio"))
    app = launch(str(foundation), base=str(encoders["roberta"]), block=False)
    yield app.local_url
    app.close()
    socket.socket.connect = connect
    if before is None:
        del os.environ["GRADIO_TEMP_DIR"]
    else:
        os.environ["GRADIO_TEMP_DIR"] = before
    assert outside == []


@pytest.fixture(scope="session")
def browser():
    """A real Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
    if CHROMIUM is None:
        pytest.skip("the browser tests need chromium on the PATH")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser, server):
    """Open the page in a browser of its own; at the end, no request has left this machine and no script has failed."""
    contexts, outside, failures = [], [], []

    def open_(width=1280, height=1000, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("request", lambda request: outside.append(request.url) if not is_local(request.url) else None)
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.on("dialog", lambda dialog: (failures.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.goto(server)
        page.wait_for_selector(".nf-example")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert outside == []
    assert failures == []


@pytest.fixture
def page(open_page):
    """The page at the size of a desktop."""
    return open_page()


def is_local(url):
    """Whether an address is of this machine."""
    return url.startswith(("http://127.0.0.1:", "http://localhost:", "data:", "blob:", "about:"))
