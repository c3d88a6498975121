"""The app: one page with a tab per question, and how it is served."""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported

import gradio as gr
import torch

from ..offline import DEFAULT_ENCODER, DEFAULT_FOUNDATION
from .compare import build_compare
from .components import head
from .concepts import build_concepts
from .engine import Engine
from .limits import MAX_UPLOAD_BYTES
from .see import build_see
from .teach import SESSION_SECONDS, build_teach

TITLE = "nerfound: teach an entity recognizer with a handful of examples"

_HEAD = """
<h1>Teach an entity recognizer with a handful of examples</h1>
<p>Say what you are looking for, mark it in <b>a few sentences instead of hundreds of documents</b>, press Fit, try it
on new text, correct it, fit again. It learns quickly because the foundation below it has been trained on thousands of
concepts: it knows already what kinds of things there are.</p>
"""
_FOOT = """
Your texts stay in the memory of this server for your session, at most {minutes} minutes after your last fit; they
are not stored, logged or sent anywhere, and the page asks nothing of any other server. The example texts are
invented.
"""
_QUEUE = 100
_THREADS = 40
_DELETE_EVERY, _DELETE_AGE = 300, 1800  # seconds: files to download


def build_app(engine: Engine) -> gr.Blocks:
    """Build the page around the encoders of this process."""
    # As many fits at a time as there are cores, each with a thread of its own: less waiting than taking turns at all
    # cores. Reading a text takes a twentieth of a fit's time: it never waits for one
    fitting: dict[str, Any] = {"concurrency_limit": _cores(), "concurrency_id": "fit"}
    reading: dict[str, Any] = {"concurrency_limit": 2 * _cores(), "concurrency_id": "read"}
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(_DELETE_EVERY, _DELETE_AGE)) as app:
        gr.HTML(_HEAD, elem_classes="nf-head", apply_default_css=False)
        with gr.Tab("Teach", id="teach"):
            teach = build_teach(engine, fitting, reading)
        with gr.Tab("Compare", id="compare"):
            build_compare(engine, teach, fitting)
        with gr.Tab("See", id="see") as see:
            build_see(engine, see, reading)
        with gr.Tab("Concepts", id="concepts"):
            build_concepts(engine, reading)
        gr.HTML(_FOOT.format(minutes=SESSION_SECONDS // 60), elem_classes="nf-foot", apply_default_css=False)
    return app.queue(max_size=_QUEUE, default_concurrency_limit=_THREADS)


def launch(
    foundation: str = DEFAULT_FOUNDATION,
    *,
    base: str = DEFAULT_ENCODER,
    port: int | None = None,
    host: str | None = None,
    block: bool = True,
) -> gr.Blocks:
    """Load the encoders and serve the page.

    Args:
        foundation (`str`): name, Hub id or folder of a dual encoder.
        base (`str`, *optional*, defaults to all-MiniLM-L6-v2): Hub id or folder of the plain encoder to compare with.
        port (`int`, *optional*): 7860 or the next free one by default.
        host (`str`, *optional*): `GRADIO_SERVER_NAME`, or this machine alone, by default.
        block (`bool`, *optional*, defaults to `True`): serve until interrupted, else return at once.

    Returns:
        `gr.Blocks`: serving at its `local_url`; `close()` ends it.
    """
    torch.set_num_threads(1)
    app = build_app(Engine(foundation, base))
    app.launch(
        server_name=host,
        server_port=port,
        share=False,
        prevent_thread_lock=not block,
        quiet=not block,
        max_file_size=MAX_UPLOAD_BYTES,
        max_threads=_THREADS,
        state_session_capacity=500,
        enable_monitoring=False,
        run_history=False,  # else the browser keeps what visitors wrote
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        footer_links=["api", "settings"],
        theme=_theme(),
        head=head(),
    )
    return app


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _theme() -> gr.themes.Base:
    """System fonts, since a page that fetches fonts tells others of its visitors; colours of sufficient contrast."""
    return gr.themes.Default(
        primary_hue="indigo",
        secondary_hue="indigo",
        neutral_hue="slate",
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
        font_mono=["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"],
    ).set(
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_500",
        button_primary_text_color="white",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
    )
