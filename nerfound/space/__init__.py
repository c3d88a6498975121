"""The Gradio Space: teach a recognizer in the browser, compare it, see the vectors, score concepts."""

from .app import build_app, launch

__all__ = ["build_app", "launch"]
