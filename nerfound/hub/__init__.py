"""What leaves the house: recognizers and foundations in the formats of others, and on the Hub."""

from .export import export_native
from .push import push_corpus, push_foundation, push_model, push_recognizer
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
]
