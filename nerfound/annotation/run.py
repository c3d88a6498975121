"""`annotate`: from raw text to a concept corpus, through every stage."""

from __future__ import annotations

import asyncio
import gc
import os
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..concepts import Concept
from .batches import BatchSender
from .cache import RequestCache, default_cache_path
from .costs import Budget, Estimate, TokenEstimate, price_of
from .inputs import Source
from .ontology import checked_ontology, read_ontology
from .pacing import AnnotationInterruptedError
from .parsing import AnswerReader
from .preparation import Selection, passages
from .progress import Progress
from .report import AnnotationReport, make_report, write_report
from .sending import Sender, Traffic
from .task import AnnotationTask, Question
from .workspace import UNSETTLED, Workspace
from .writing import write_corpus

PathLike = str | os.PathLike[str]


def annotate(
    source: PathLike | Source,
    output: PathLike,
    *,
    model: str,
    base_url: str | None = None,
    concepts: PathLike | Mapping[str, str] | Sequence[Any] | None = None,
    structured: bool = False,
    nested: bool = False,
    parameters: Mapping[str, Any] | None = None,
    selection: Selection | None = None,
    traffic: Traffic | None = None,
    cache: PathLike | None = None,
    prices: PathLike | None = None,
    max_cost: float | None = None,
    batch: bool = False,
    poll_seconds: float = 30.0,
    shard_rows: int = 100_000,
    overwrite: bool = False,
) -> AnnotationReport:
    """Let a language model annotate raw text, and write a concept corpus.

    It may be killed at any time: called again with the same arguments, it goes on. A request whose answer has come is
    never sent again, by this or any other run that uses the same cache. The key is read from `OPENAI_API_KEY`.

    Args:
        source (`str`, `os.PathLike` or `Source`): the raw text; see `Source`.
        output (`str` or `os.PathLike`): folder of the corpus, for `nerfound.read_corpus` and `datasets.load_dataset`.
        model (`str`): the name that the server knows.
        base_url (`str`, *optional*): of an OpenAI-compatible server, with `/v1`; by default OpenAI's.
        concepts (*optional*): a closed ontology: a YAML or JSON file (`read_ontology`), names mapped to descriptions,
            or names. By default the model invents concepts.
        structured (`bool`, *optional*, defaults to `False`): ask for JSON after a schema, where the server supports it.
        nested (`bool`, *optional*, defaults to `False`): with a closed ontology, entities may overlap.
        parameters (`Mapping[str, Any]`, *optional*): of the completion, such as `{"temperature": 0.2}`; `None` as a
            value leaves a default out.
        selection (`Selection`, *optional*): sentences or documents, filters, sample.
        traffic (`Traffic`, *optional*): concurrency, rate limits, deadlines, retries.
        cache (`str` or `os.PathLike`, *optional*): SQLite file of finished requests; by default one for all runs.
        prices (`str` or `os.PathLike`, *optional*): JSON file of prices; see `price_of`.
        max_cost (`float`, *optional*): dollars that the run must not pass, over all its invocations.
        batch (`bool`, *optional*, defaults to `False`): use the Batch API.
        poll_seconds (`float`, *optional*, defaults to 30): between two looks at batch jobs.
        shard_rows (`int`, *optional*, defaults to 100,000): rows of one Parquet file.
        overwrite (`bool`, *optional*, defaults to `False`): start afresh in a folder that holds another run.

    Returns:
        `AnnotationReport`: what was done; also in `annotation.json`.

    Raises:
        ValueError: if an argument or a record of the source is wrong; if the folder holds another run, or one with
            batch jobs under way that is to go on without them.
        AnnotationStoppedError: if the server does not let the run go on, or the user has interrupted it.
    """
    task = AnnotationTask(
        source if isinstance(source, Source) else Source(os.fspath(source)),
        model,
        _ontology(concepts),
        structured,
        nested,
        parameters or {},
        selection or Selection(),
    )
    return run_task(
        task,
        output,
        base_url=base_url,
        traffic=traffic,
        cache=cache,
        prices=prices,
        max_cost=max_cost,
        batch=batch,
        poll_seconds=poll_seconds,
        shard_rows=shard_rows,
        overwrite=overwrite,
    )


def run_task(
    task: AnnotationTask,
    output: PathLike,
    *,
    base_url: str | None = None,
    traffic: Traffic | None = None,
    cache: PathLike | None = None,
    prices: PathLike | None = None,
    max_cost: float | None = None,
    batch: bool = False,
    poll_seconds: float = 30.0,
    shard_rows: int = 100_000,
    overwrite: bool = False,
) -> AnnotationReport:
    """Carry out a task; see `annotate`, whose arguments and errors these are."""
    price = price_of(task.model, prices)
    if max_cost is not None and price is None:
        raise ValueError(f"no price is known for {task.model!r}, so no cost limit can be kept; name a file of prices")
    folder = Path(output)
    question = task.question()
    if max_cost is not None and question.max_output_tokens is None:
        raise ValueError(
            "no parameter limits the length of an answer, so no cost limit can be kept; give max_completion_tokens"
        )
    with _opened(task, folder, cache, overwrite=overwrite) as (workspace, requests):
        if not batch:
            workspace.forget_planned_jobs()
        workspace.forget_passing_failures()
        spent = price.of_usage(requests.usage_of_run(workspace.run)) if price else 0.0
        budget = Budget(
            price.for_batches() if price and batch else price,
            max_cost,
            spent,
            unsettled=workspace.fact(UNSETTLED) or 0.0,
        )
        finished = _finished(workspace, requests, question)
        with Progress(workspace.fact("counts")["taken"], finished, budget.spent) as progress:
            if batch:
                batches = BatchSender(question, workspace, requests, budget, progress, poll_seconds=poll_seconds)
                over_budget = _send_batches(batches, base_url)
            else:
                sender = Sender(question, workspace, requests, budget, traffic or Traffic(), progress)
                over_budget = _send(sender, base_url)
        reader = AnswerReader(question.prompt, nested=True if task.nested else None)
        outcome = write_corpus(folder, workspace, requests, question, reader, shard_rows=shard_rows)
        report = make_report(workspace, requests, outcome, price, over_budget=over_budget)
        write_report(folder, task, question, report)
    return report


def estimate(
    task: AnnotationTask,
    output: PathLike,
    *,
    cache: PathLike | None = None,
    prices: PathLike | None = None,
    batch: bool = False,
) -> Estimate:
    """What a run will take, before anything is sent. The passages are prepared, and the run itself goes on with them.

    Args:
        task (`AnnotationTask`): what to annotate.
        output (`str` or `os.PathLike`): folder of the corpus.
        cache, prices, batch: as in `annotate`.
    """
    question = task.question()
    with _opened(task, Path(output), cache) as (workspace, requests):
        tokens = TokenEstimate(question, requests.mean_completion_tokens(task.model, question.prompt.label))
        total = Estimate(price=price_of(task.model, prices, batch=batch))
        for page in workspace.pages():
            keys = [question.key(passage.text) for passage in page]
            done = requests.known(keys)
            for passage, key in zip(page, keys, strict=True):
                if key in done:
                    total.finished += 1
                    continue
                total.requests += 1
                total.prompt_tokens += tokens.prompt(passage.text)
                total.completion_tokens += tokens.completion(passage.text)
                total.most_completion_tokens += tokens.most_completion
    return total


@contextmanager
def _opened(
    task: AnnotationTask, output: Path, cache: PathLike | None, *, overwrite: bool = False
) -> Iterator[tuple[Workspace, RequestCache]]:
    """The state of a run, with its passages prepared, and the request cache."""
    workspace = Workspace(output, task.fingerprint(), overwrite=overwrite)
    try:
        if workspace.fact("counts") is None:
            counts: Counter[str] = Counter()
            texts = passages(task.source.read(), task.selection, counts)
            workspace.fill(texts, task.selection.sample, counts)
        requests = RequestCache(Path(cache) if cache else default_cache_path())
        try:
            yield workspace, requests
        finally:
            requests.close()
    finally:
        workspace.close()


def _ontology(concepts: PathLike | Mapping[str, str] | Sequence[Any] | None) -> tuple[Concept, ...]:
    if concepts is None:
        return ()
    if isinstance(concepts, str | os.PathLike):
        return read_ontology(concepts)
    return checked_ontology(concepts)


def _finished(workspace: Workspace, cache: RequestCache, question: Question) -> int:
    return sum(len(cache.known([question.key(passage.text) for passage in page])) for page in workspace.pages())


def _send(sender: Sender, base_url: str | None) -> bool:
    _run(sender.run(base_url), sender.interrupt)
    if sender.stopped:
        raise sender.stopped
    if sender.interrupted:
        raise AnnotationInterruptedError(
            f"interrupted after {sender.progress.answers:,} answers, all of which are kept; the same command goes on"
        )
    return sender.over_budget


def _send_batches(sender: BatchSender, base_url: str | None) -> bool:
    try:
        _run(sender.run(base_url), _raise_interrupt)
    except KeyboardInterrupt:
        raise AnnotationInterruptedError(
            "interrupted; the server goes on with its jobs, and the same command picks up their answers"
        ) from None
    return sender.over_budget


def _raise_interrupt() -> None:
    raise KeyboardInterrupt


def _new_event_loop() -> asyncio.AbstractEventLoop:
    """That of uvloop, which takes less time; it does not exist for Windows."""
    try:
        import uvloop
    except ModuleNotFoundError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Look for cycles of garbage more rarely: requests leave few, and looking took 6 % of the processor's time."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


@_rare_collections()
def _run(work: Coroutine[Any, Any, None], interrupt: Callable[[], None]) -> None:
    """Run to the end, also where an event loop is running already, as in a notebook: then in a thread beside it.

    Such a thread gets no signals: what the caller's thread gets, it hands on by calling `interrupt` in the event loop.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        with asyncio.Runner(loop_factory=_new_event_loop) as runner:
            runner.run(work)
        return
    loop = _new_event_loop()

    def target() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(work)

    with ThreadPoolExecutor(1) as thread:
        ended = thread.submit(target)
        while not ended.done():
            try:
                wait([ended])
            except KeyboardInterrupt:
                with suppress(RuntimeError):  # it has just ended
                    loop.call_soon_threadsafe(interrupt)
    ended.result()
