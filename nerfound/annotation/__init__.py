"""Annotation: a language model reads raw text and writes down entities, concepts and descriptions."""

from .inputs import Source
from .ontology import read_ontology
from .pacing import AnnotationInterruptedError, AnnotationStoppedError
from .preparation import Selection
from .report import AnnotationReport
from .run import annotate, estimate, run_task
from .sending import Traffic
from .task import AnnotationTask
from .writing import ANNOTATION_FEATURES

__all__ = [
    "ANNOTATION_FEATURES",
    "AnnotationInterruptedError",
    "AnnotationReport",
    "AnnotationStoppedError",
    "AnnotationTask",
    "Selection",
    "Source",
    "Traffic",
    "annotate",
    "estimate",
    "read_ontology",
    "run_task",
]
