"""A step that extracts entities with a recognizer."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator

from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep


class ExtractorStep(PipelineStep):
    """Adds `entities` to the metadata of documents, as `pipeline("few-shot-ner")` finds them. Texts are not cut.

    On Slurm, with a GPU for each task:

    ```python
    from datatrove.executor import SlurmPipelineExecutor
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.writers import ParquetWriter
    from nerfound.scale import ExtractorStep

    SlurmPipelineExecutor(
        [
            ParquetReader("/shared/documents"),
            ExtractorStep("/shared/recognizer", batch_size=128),
            ParquetWriter("/shared/entities"),
        ],
        tasks=256,
        workers=16,
        gpus_per_task=1,
        time="12:00:00",
        partition="gpu",
        logging_dir="/shared/logs/extract",
    ).run()
    ```

    On Ray, in place of the executor: `RayPipelineExecutor(pipeline, tasks=256, gpus_per_task=1, logging_dir=…)` from
    `datatrove.executor`, after `ray.init()`. Where several tasks share the cores of a machine, set `OMP_NUM_THREADS` to
    the cores of one.

    Args:
        recognizer (`str` or `os.PathLike`): folder or Hub id, which every task loads for itself.
        threshold (`float`, *optional*, defaults to 0.0): entities with a lower score are left out.
        batch_size (`int`, *optional*, defaults to 32): windows read at a time.
    """

    type = "🔎 - EXTRACTOR"
    name = "nerfound"

    def __init__(self, recognizer: str | os.PathLike[str], *, threshold: float = 0.0, batch_size: int = 32) -> None:
        super().__init__()
        self.recognizer = os.fspath(recognizer)
        self.threshold = threshold
        self.batch_size = batch_size

    def run(self, data: Iterable[Document] | None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """Extract the entities of a task's documents, as a stream.

        Args:
            data (`Iterable[Document]`): the documents.
            rank (`int`): number of the task; tasks do not depend on one another.
            world_size (`int`): how many tasks there are.

        Yields:
            `Document`: each document, with a list of `entity_group`, `score`, `word`, `start`, `end` as `entities`.
        """
        from transformers import pipeline

        recognize = pipeline(
            "few-shot-ner", model=self.recognizer, threshold=self.threshold, batch_size=self.batch_size
        )
        read_ahead, documents = itertools.tee(data or ())  # holds those that the pipeline has read ahead
        found = recognize(document.text for document in read_ahead)
        for document, entities in zip(documents, found, strict=True):
            document.metadata["entities"] = entities
            self.stat_update("entities", value=len(entities))
            self.update_doc_stats(document)
            yield document
