"""`nerfound space`: the page on which a recognizer is taught, on this machine."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from ..offline import DEFAULT_ENCODER, DEFAULT_FOUNDATION
from .errors import errors_as_messages


def space(
    port: Annotated[int | None, typer.Option(help="Port; 7860 or the next free one by default.")] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen at; 127.0.0.1, this machine alone, by default.")
    ] = None,
    foundation: Annotated[
        str, typer.Option(help="A dual encoder: name, Hub id or folder, such as one from nerfound pretrain.")
    ] = DEFAULT_FOUNDATION,
    base: Annotated[str, typer.Option(help="Plain encoder to compare it with.")] = DEFAULT_ENCODER,
) -> None:
    """Serve the page on which a recognizer is taught, compared and looked into.

    Examples:

        nerfound space --port 7860

        nerfound space --foundation my-foundation --host 0.0.0.0
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    with errors_as_messages():
        try:
            from ..space import launch
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(f"the page needs {error.name}: pip install 'nerfound[space]'") from error
        launch(foundation, base=base, port=port, host=host)
