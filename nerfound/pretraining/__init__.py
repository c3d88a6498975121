"""Pre-training: the concept contrast, from a concept corpus to a foundation model."""

from .arguments import PretrainingArguments
from .collator import ConceptContrastCollator
from .run import pretrain
from .trainer import ConceptContrastTrainer

__all__ = ["ConceptContrastCollator", "ConceptContrastTrainer", "PretrainingArguments", "pretrain"]
