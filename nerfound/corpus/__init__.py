"""Reading, aligning, writing and splitting concept corpora; the corpus that ships with the package."""

from .alignment import Annotation, align_annotations
from .markup import mark_entities, printable
from .packaged import load_packaged_corpus
from .readers import (
    read_blocks,
    read_corpus,
    read_hub_dataset,
    read_jsonl,
    read_nuner_csv,
    read_parquet,
)
from .report import AlignmentReport, DropReason
from .schema import CORPUS_FEATURES, CorpusEntity, CorpusRow, validate_row
from .splits import split_held_out
from .writers import write_parquet

__all__ = [
    "CORPUS_FEATURES",
    "AlignmentReport",
    "Annotation",
    "CorpusEntity",
    "CorpusRow",
    "DropReason",
    "align_annotations",
    "load_packaged_corpus",
    "mark_entities",
    "printable",
    "read_blocks",
    "read_corpus",
    "read_hub_dataset",
    "read_jsonl",
    "read_nuner_csv",
    "read_parquet",
    "split_held_out",
    "validate_row",
    "write_parquet",
]
