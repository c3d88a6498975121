"""What leaves the house: recognizers and foundations in the formats of others, and what is published on the Hub."""

from .export import export_native
from .push import push_corpus, push_foundation, push_model, push_recognizer, push_space
from .upload import Pushed, PushError, push_folder

__all__ = [
    "PushError",
    "Pushed",
    "export_native",
    "push_corpus",
    "push_folder",
    "push_foundation",
    "push_model",
    "push_recognizer",
    "push_space",
]
