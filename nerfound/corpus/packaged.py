"""The concept corpus that ships with the package."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib import resources
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import Dataset, DatasetInfo

from .report import AlignmentReport
from .schema import CORPUS_FEATURES

logger = logging.getLogger(__name__)

_PATH = "data/concept-corpus.parquet"


def load_packaged_corpus(
    languages: Sequence[str] | Literal["all"] = ("English",), *, report: AlignmentReport | None = None
) -> Dataset:
    """Load the packaged corpus: 13,717 passages of an open ontology, written and annotated by an LLM (MIT licence).

    Of these 13,117 are English, and 60 each are German, French, Spanish, Italian, Portuguese, Polish, Dutch, Turkish,
    Russian and Chinese (simplified), with English concepts. The passages are invented: nothing in them is a fact.

    Args:
        languages (`Sequence[str]` or `"all"`, *optional*, defaults to `("English",)`): the languages to keep.
        report (`AlignmentReport`, *optional*): receives the counts, in place.

    Returns:
        `datasets.Dataset`: with the columns of `CORPUS_FEATURES`, in memory (some ten megabytes).

    Raises:
        ValueError: if a language is not in the corpus.
    """
    with resources.as_file(resources.files("nerfound") / _PATH) as path:
        table = pq.read_table(path, schema=CORPUS_FEATURES.arrow_schema)
    if languages != "all":
        known = pc.unique(table["language"]).to_pylist()
        if isinstance(languages, str) or not set(languages) <= set(known) or not languages:
            raise ValueError(f'languages is {languages!r}; give "all" or some of {known}, as a list')
        table = table.filter(pc.is_in(table["language"], pa.array(list(languages))))
    entities = pc.sum(pc.list_value_length(table["entities"])).as_py()
    counts = AlignmentReport(passages=table.num_rows, given=entities, aligned=entities)
    logger.info("packaged corpus: %s", counts)
    if report is not None:
        report.merge(counts)
    return Dataset(table, info=DatasetInfo(features=CORPUS_FEATURES))
