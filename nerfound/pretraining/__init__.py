"""Pre-training: from a concept corpus to a foundation model, by the concept contrast or, as its baseline, by labels."""

from .arguments import PretrainingArguments
from .collator import ConceptContrastCollator
from .fixed_ontology import FixedOntologyCollator
from .run import pretrain
from .trainer import ConceptContrastTrainer, FoundationTrainer

__all__ = [
    "ConceptContrastCollator",
    "ConceptContrastTrainer",
    "FixedOntologyCollator",
    "FoundationTrainer",
    "PretrainingArguments",
    "pretrain",
]
