"""Few-shot recognition: from a handful of examples to a recognizer."""

from .fitting import fit
from .formats import Example, SupportSet, parse_examples, read_concepts, read_examples, to_inline
from .sampler import sample_k_shot

__all__ = [
    "Example",
    "SupportSet",
    "fit",
    "parse_examples",
    "read_concepts",
    "read_examples",
    "sample_k_shot",
    "to_inline",
]
