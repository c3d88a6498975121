"""What a visitor may ask of the page, and how it says no."""

from __future__ import annotations

import functools
import html
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import gradio as gr

MAX_CONCEPTS = 12
"""As many as there are colours that can be told apart."""
MAX_NAME = 60
MAX_DESCRIPTION = 300
MAX_EXAMPLES = 100
MAX_EXAMPLE_CHARACTERS = 2_000
MAX_CHARACTERS = 20_000
"""Of all examples together: what is fitted in seconds."""
MAX_TEXT = 5_000
"""Characters of a text to extract from."""
MAX_FILE_BYTES = 1_000_000
MAX_UPLOAD_BYTES = 4_000_000
"""What the server takes in at all; what lies between is refused with a message."""
MAX_ARCHIVE_BYTES = 500_000_000
MAX_ARCHIVES = 6
"""Archives kept on disk for download, of all visitors together; the oldest go first."""

ON_YOUR_MACHINE = "For more, fit on your own machine: pip install nerfound, then nerfound fit."

P = ParamSpec("P")
R = TypeVar("R")


class RefusedError(ValueError):
    """Input that the page does not take; the message is for the visitor, as plain text."""


def told(function: Callable[P, R]) -> Callable[P, R]:
    """Show what a handler refuses as a message on the page, and to API clients as an error: never a stack trace."""

    @functools.wraps(function)
    def handler(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except RefusedError as refusal:
            # Gradio renders messages as HTML, and ours quote what visitors wrote
            message = html.escape(str(refusal), quote=False)
            raise gr.Error(message, title="Please check", print_exception=False) from refusal

    return handler


def checked_text(text: object, what: str = "text", most: int = MAX_TEXT) -> str:
    """A text of the visitor.

    Raises:
        RefusedError: if it is empty, too long or no text.
    """
    if not isinstance(text, str) or not text.strip():
        raise RefusedError(f"The {what} is empty: write or paste some text first.")
    if len(text) > most:
        raise RefusedError(
            f"The {what} has {len(text):,} characters; this page reads at most {most:,}. Shorten it. {ON_YOUR_MACHINE}"
        )
    return text
