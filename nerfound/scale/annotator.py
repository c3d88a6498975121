"""A step that lets a language model annotate the documents of its task, and passes the annotated texts on."""

from __future__ import annotations

import filecmp
import inspect
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep

from ..corpus.sources import parquet_records
from ..files import atomic_path

if TYPE_CHECKING:
    from ..annotation import AnnotationReport


class AnnotatorStep(PipelineStep):
    """Annotates documents as [`nerfound.annotation.annotate`] does, every task in a folder of its own below `output`.

    Each folder (`00000`, `00001`, …) is a concept corpus, with its rejects, report and request cache; all of them
    together are one too, for `nerfound.read_corpus(output)` and `nerfound pretrain --corpus output`. A task that was
    killed, or has failed, goes on when the same pipeline is started again: no finished request is sent again. Tasks
    share nothing, not even a database, which network file systems would damage; so a text that two tasks have is
    asked for twice: de-duplicate before this step.

    On Slurm, with eight tasks at a time:

    ```python
    from datatrove.executor import SlurmPipelineExecutor
    from datatrove.pipeline.readers import ParquetReader
    from nerfound.annotation import Traffic
    from nerfound.scale import AnnotatorStep

    SlurmPipelineExecutor(
        [
            ParquetReader("/shared/documents"),
            AnnotatorStep("/shared/corpus", model="qwen", base_url="http://llm/v1", traffic=Traffic(concurrency=32)),
        ],
        tasks=64,
        workers=8,
        time="24:00:00",
        partition="cpu",
        logging_dir="/shared/logs/annotate",
    ).run()
    ```

    On Ray, in place of the executor: `RayPipelineExecutor(pipeline, tasks=64, workers=8, logging_dir=…)` from
    `datatrove.executor`, after `ray.init()`. The key, if the server wants one, must stand in `OPENAI_API_KEY` where the
    tasks run: Slurm hands the submitter's environment on, on Ray set it where `ray start` is called.

    Args:
        output (`str` or `os.PathLike`): a folder that all tasks reach.
        max_cost (`float`, *optional*): dollars that all tasks together must not pass; each may spend an equal share.
        options: further arguments of `annotate`, such as `model`, `base_url`, `concepts`, `selection` and `batch`.
            `traffic` is that of one task: divide the server's limits by the number of tasks that run at a time.

    Raises:
        TypeError: if an option is no argument of `annotate`.
    """

    type = "🏷 - ANNOTATOR"
    name = "nerfound"

    def __init__(self, output: str | os.PathLike[str], *, max_cost: float | None = None, **options: Any) -> None:
        super().__init__()
        from ..annotation import annotate

        inspect.signature(annotate).bind(None, output, max_cost=max_cost, cache=None, **options)
        self.output = os.fspath(output)
        self.max_cost = max_cost
        self.options = options

    def run(self, data: Iterable[Document] | None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """Annotate the documents of a task.

        Args:
            data (`Iterable[Document]`): the documents; `language` and `domain` in their metadata are kept.
            rank (`int`): number of the task.
            world_size (`int`): how many tasks there are.

        Yields:
            `Document`: a text of the corpus, with the other columns of `ANNOTATION_FEATURES` as metadata.

        Raises:
            AnnotationStoppedError: if the server or the cost limit ended the task; what was answered is kept.
            SystemExit: if the process was told to end; also then what was answered is kept.
            ValueError: if the folder holds the same task with other documents or settings.
        """
        from ..annotation import AnnotationInterruptedError, AnnotationStoppedError, annotate

        folder = Path(self.output) / f"{rank:05d}"
        folder.mkdir(parents=True, exist_ok=True)
        source = folder / "documents.jsonl"
        _write_documents(data or (), source)
        try:
            report = annotate(
                source,
                folder,
                cache=folder / "requests.sqlite",
                max_cost=None if self.max_cost is None else self.max_cost / world_size,
                **self.options,
            )
        except AnnotationInterruptedError as reason:
            # The signal was meant for the process. An executor that ends its workers waits for them to be gone, for
            # ever if this one took its SIGTERM as the end of one task only.
            raise SystemExit(f"task {rank}: {reason}") from reason
        self._count(report)
        if report.outcome.pending:  # or datatrove would count the task as done, and never come back to it
            raise AnnotationStoppedError(
                f"task {rank} has spent its share of max_cost={self.max_cost}, with {report.outcome.pending:,} texts "
                "to go; raise it, and the same pipeline goes on"
            )
        for shard in sorted((folder / "data").glob("*.parquet")):
            for _, row in parquet_records(shard):
                metadata = {name: value for name, value in row.items() if name not in ("id", "text")}
                yield Document(text=row["text"], id=row["id"], metadata=metadata)

    def _count(self, report: AnnotationReport) -> None:
        outcome = report.outcome
        self.stat_update("texts", value=outcome.texts)
        self.stat_update("annotated", value=outcome.annotated)
        self.stat_update("entities", value=outcome.entities)
        self.stat_update("rejected", value=outcome.rejected.total())
        self.stat_update("requests", value=report.requests)
        if report.cost is not None:
            self.stat_update("dollars", value=report.cost)


def _write_documents(documents: Iterable[Document], path: Path) -> None:
    """Write documents as JSON lines. A file with the same ones is left as it is: a run goes on by its date and size."""
    with atomic_path(path) as partial:
        with partial.open("w", encoding="utf-8") as file:
            for document in documents:
                kept = {key: document.metadata[key] for key in ("language", "domain") if key in document.metadata}
                file.write(json.dumps({"text": document.text, **kept}) + "\n")
        if path.exists() and filecmp.cmp(partial, path, shallow=False):
            stat = path.stat()
            os.utime(partial, ns=(stat.st_atime_ns, stat.st_mtime_ns))
