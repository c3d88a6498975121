"""Annotation and extraction over large corpora, as steps of a datatrove pipeline: on one machine, on Slurm, on Ray."""

try:
    import datatrove  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError(f"{error}: it comes with pip install 'nerfound[scale]'") from error

from .annotator import AnnotatorStep
from .extractor import ExtractorStep

__all__ = ["AnnotatorStep", "ExtractorStep"]
