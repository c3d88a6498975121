"""The data-efficiency benchmark: F1 against examples per concept, for any encoders on any tasks; resumable."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from filelock import FileLock, Timeout

from ..fewshot.fitting import load_foundation
from ..fewshot.heads import DEFAULT_L2, LinearHead
from ..fewshot.sampler import sample_k_shot
from ..files import atomic_path
from .probes import PROTOCOLS, SupportVectors, TestVectors, untouched_head
from .recipes import NERFOUND, RECIPES, Setting, TaskPrior, line_of, load_priors, settings_of
from .summary import AVERAGE
from .tasks import Task
from .vectors import VectorCache

_WORTH_A_WORKER = 300_000
"""Tokens × dimensions from which heads are fitted at once: with less, the workers wait for the interpreter."""

SHOTS = (0, 1, 2, 4, 8, 16, 32, 64)
REPEATS = 10

_METHOD = 3
"""Raised when the same input would get other scores: finished cells of an earlier method are computed anew."""
_PRIOR_METHOD = 2
"""The same for heads with a prior alone: raise it when the recipe `nerfound` gives other heads."""

Progress = Callable[[str, int, int], None]
"""Is told what is going on, and how many of how many heads are fitted and scored."""


@dataclass
class Timing:
    """Wall seconds of the phases of a run."""

    embedding: float = 0.0
    fitting: float = 0.0
    scoring: float = 0.0

    @contextmanager
    def add_to(self, phase: str) -> Iterator[None]:
        """Add the time of a block to a phase."""
        started = time.perf_counter()
        yield
        setattr(self, phase, getattr(self, phase) + time.perf_counter() - started)


@dataclass
class BenchmarkResult:
    """What `run_benchmark` returns.

    Args:
        frame (`pandas.DataFrame`): a row per task, encoder, protocol, k, seed and class, and rows of averages. An
            encoder's heads with a prior are an encoder of their own there, `<name> + prior`.
        weights, data (`dict[str, str]`): hash of each encoder's weights and layers, and of each task's sentences.
        timing (`Timing`): of this call; what was finished before costs nothing.
    """

    frame: pd.DataFrame
    weights: dict[str, str] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)
    timing: Timing = field(default_factory=Timing)


def run_benchmark(
    encoders: Mapping[str, str],
    tasks: Sequence[Task],
    output: Path,
    *,
    shots: Sequence[int] | None = None,
    repeats: int = REPEATS,
    protocols: Sequence[str] = PROTOCOLS,
    recipes: Sequence[str] = RECIPES,
    token_layers: tuple[int, ...] | None = None,
    l2: float = DEFAULT_L2,
    batch_size: int = 64,
    vectors: Path | None = None,
    progress: Progress = lambda what, done, total: None,
) -> BenchmarkResult:
    """Score frozen encoders on few-shot tasks.

    The support sets are a function of data, k and seed alone: the same for every encoder, and nested in k. A sentence
    is embedded once per encoder, ever. What is finished is appended to `cells.jsonl` in the output folder: started
    again, after a kill or with more encoders, tasks, k or repeats, a run computes only what is not there.

    Args:
        encoders (`Mapping[str, str]`): name in the rows, and Hub id or folder.
        tasks (`Sequence[Task]`): from `read_task`.
        output (`Path`): gets `cells.jsonl`, `support_sets.parquet`, `results.parquet` and the folder `vectors`.
        shots (`Sequence[int]`, *optional*): examples per concept; `SHOTS` by default. k = 0 is for heads with a prior
            alone.
        repeats (`int`): draws of the support set; their seeds are 0, 1, ….
        protocols (`Sequence[str]`): of `PROTOCOLS`.
        recipes (`Sequence[str]`): of `RECIPES`. `"nerfound"` is for dual encoders that were trained with a boundary
            loss; others have no prior, and nor has any with `token_layers`, which are not those it was trained for.
        token_layers (`tuple[int]`, *optional*): the same for every encoder; its own by default.
        l2 (`float`): penalty of every head of the recipe `"blog"`; that of the others follows from the support set.
        batch_size (`int`): sentences embedded at a time.
        vectors (`Path`, *optional*): folder of token vectors, if other runs are to share them.
        progress (`Progress`): is told what is going on.

    Raises:
        ValueError: if there is no encoder, task, k or repeat, or a protocol or recipe is unknown, or two tasks have
            one name; or what is asked for needs a prior, and no encoder has one.
    """
    ks = SHOTS if shots is None else shots
    _check(encoders, tasks, ks, repeats, protocols, recipes, l2)
    priors = load_priors(encoders, tasks) if NERFOUND in recipes and token_layers is None else {}
    _check_lines(encoders, recipes, priors, without_examples=shots is not None and 0 in shots)
    plans = {encoder: settings_of(recipes, protocols, ks, repeats, has_prior=encoder in priors) for encoder in encoders}
    output.mkdir(parents=True, exist_ok=True)
    with _alone_in(output):
        return _run(encoders, tasks, output, plans, priors, protocols, token_layers, l2, batch_size, vectors, progress)


@contextmanager
def _alone_in(output: Path) -> Iterator[None]:
    """Refuse a second run in the same folder while this one is writing."""
    lock = FileLock(output / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise ValueError(f"another run is writing to {output}: wait for its end, or give another folder.") from error
    try:
        yield
    finally:
        lock.release()


def _run(
    encoders: Mapping[str, str],
    tasks: Sequence[Task],
    output: Path,
    plans: Mapping[str, Sequence[Setting]],
    priors: Mapping[str, Mapping[str, TaskPrior]],
    protocols: Sequence[str],
    token_layers: tuple[int, ...] | None,
    l2: float,
    batch_size: int,
    vectors: Path | None,
    progress: Progress,
) -> BenchmarkResult:
    """`run_benchmark`, alone in its folder."""
    drawn = sorted({(setting.k, setting.seed) for plan in plans.values() for setting in plan})
    draws = {task.name: _draw(task, drawn) for task in tasks}
    _write_frame(_support_sets(tasks, draws), output / "support_sets.parquet")
    cells = _Cells(output / "cells.jsonl")
    result = BenchmarkResult(pd.DataFrame(), data={task.name: hash_task(task) for task in tasks})
    total = len(tasks) * sum(map(len, plans.values()))
    rows: list[dict[str, Any]] = []
    done = 0
    for encoder, path in encoders.items():
        progress(f"{encoder}: loading", done, total)
        model = load_foundation(path, token_layers=token_layers)
        cache = VectorCache(vectors or output / "vectors", model)
        result.weights[encoder] = cache.fingerprint
        reader = hashlib.sha256(model.tokenizer.backend_tokenizer.to_str().encode()).hexdigest()
        for task in tasks:
            prior = priors.get(encoder, {}).get(task.name)
            read = cache.fingerprint, reader, result.data[task.name]
            wanted = {setting: _cell_key(*read, *_made_by(setting, l2, prior)) for setting in plans[encoder]}
            missing = [setting for setting, key in wanted.items() if key not in cells]
            if missing:
                progress(f"{encoder} on {task.name}: embedding", done, total)
                done += len(wanted) - len(missing)
                # Closed, so that an interrupt restores the number of threads, however long its traceback is kept
                probe = _probe(cache, task, draws[task.name], missing, l2, prior, batch_size, result.timing)
                with closing(probe) as fitted:
                    for setting, scores in fitted:
                        cells.add(wanted[setting], scores)
                        done += 1
                        progress(f"{line_of(encoder, setting.recipe)} on {task.name}: k={setting.k}", done, total)
            else:
                done += len(wanted)
            rows += [
                row
                for setting, key in wanted.items()
                for row in _frame_rows(task.name, encoder, setting, cells[key])
                if row["protocol"] in protocols
            ]
    progress("done", done, total)
    result.frame = pd.DataFrame(rows)
    _write_frame(result.frame, output / "results.parquet")
    return result


def _made_by(setting: Setting, l2: float, prior: TaskPrior | None) -> tuple[Any, ...]:
    """What makes a head, for the key of its cell."""
    if setting.recipe == NERFOUND and prior is not None:
        return NERFOUND, _PRIOR_METHOD, setting.k, setting.seed, prior.fingerprint
    return setting.protocol, setting.k, setting.seed, l2


def _frame_rows(
    task: str, encoder: str, setting: Setting, scores: Iterable[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """The rows of a cell as rows of the frame; those of a head that is scored in all protocols name theirs."""
    line = line_of(encoder, setting.recipe)
    of_setting = {"task": task, "encoder": line, "protocol": setting.protocol, "k": setting.k, "seed": setting.seed}
    return (of_setting | row for row in scores)


def _probe(
    cache: VectorCache,
    task: Task,
    draws: Mapping[tuple[int, int], list[int]],
    settings: Sequence[Setting],
    l2: float,
    prior: TaskPrior | None,
    batch_size: int,
    timing: Timing,
) -> Generator[tuple[Setting, list[dict[str, Any]]], None, None]:
    """Fit and score the heads of some settings."""
    concepts = list(task.train.concepts)
    drawn = sorted({index for setting in settings for index in draws[setting.k, setting.seed]})
    position = {index: i for i, index in enumerate(drawn)}
    with timing.add_to("embedding"):
        embedded = cache.embed([task.train.examples[i] for i in drawn], batch_size=batch_size)
        support = SupportVectors(embedded, concepts) if drawn else None
        test = TestVectors(cache.embed(task.test, batch_size=batch_size), concepts)

    def fit(setting: Setting) -> LinearHead:
        sentences = [position[i] for i in draws[setting.k, setting.seed]]
        if setting.protocol is not None:
            assert support is not None
            return support.fit(sentences, setting.protocol, l2)
        assert prior is not None
        if support is None or not sentences:
            return untouched_head(prior.head)
        return support.fit_from(prior.head, sentences)

    def score(head: LinearHead, setting: Setting) -> list[dict[str, Any]]:
        return test.score_in_all(head) if setting.protocol is None else test.score(head, setting.protocol)

    def features(setting: Setting) -> int:
        sentences = [position[i] for i in draws[setting.k, setting.seed]]
        return 0 if support is None else int(support.tokens_of(sentences).sum()) * support.vectors.shape[1]

    workers = torch.get_num_threads()
    with _one_thread_each(workers) as pool:
        for group in _grouped(settings, size=4 * workers):
            with timing.add_to("fitting"):
                at_once = max(map(features, group)) > _WORTH_A_WORKER
                heads = list(pool.map(fit, group) if at_once else map(fit, group))
            with timing.add_to("scoring"):
                scores = list(pool.map(score, heads, group))
            yield from zip(group, scores, strict=True)


@contextmanager
def _one_thread_each(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Workers with one thread each: several heads at once are faster than one after another on all cores."""
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(workers) as pool:
            yield pool
    finally:
        torch.set_num_threads(workers)


def _grouped(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


class _Cells:
    """Finished scores, a line each, in a file that only grows; a line that a killed writer cut off is no line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, list[dict[str, Any]]] = {}
        whole = 0
        if path.exists():
            with path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    if not line.endswith(b"\n"):
                        break
                    try:
                        cell = json.loads(line)
                    except ValueError as error:
                        raise ValueError(f"{path}:{number} is damaged ({error}): remove that line.") from error
                    self.rows[cell["cell"]] = cell["rows"]
                    whole += len(line)
            with path.open("r+b") as file:
                file.truncate(whole)

    def __contains__(self, key: str) -> bool:
        return key in self.rows

    def __getitem__(self, key: str) -> list[dict[str, Any]]:
        return self.rows[key]

    def add(self, key: str, rows: list[dict[str, Any]]) -> None:
        self.rows[key] = rows
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"cell": key, "rows": rows}) + "\n")


def _cell_key(*setting: Any) -> str:
    return hashlib.sha256(json.dumps([_METHOD, *setting]).encode()).hexdigest()[:32]


def hash_task(task: Task) -> str:
    """Hash of a task's sentences, entities and concepts, in their order."""
    digest = hashlib.sha256(json.dumps(list(task.train.concepts)).encode())
    for example in (*task.train.examples, *task.test):
        digest.update(json.dumps([example.text, example.entities, example.words]).encode())
    digest.update(str(len(task.test)).encode())
    return digest.hexdigest()[:32]


def _draw(task: Task, drawn: Iterable[tuple[int, int]]) -> dict[tuple[int, int], list[int]]:
    return {(k, seed): sample_k_shot(task.train.examples, k, seed, task.train.concepts) for k, seed in drawn}


def _support_sets(tasks: Iterable[Task], draws: Mapping[str, Mapping[tuple[int, int], list[int]]]) -> pd.DataFrame:
    """A row per task, k, seed and sentence: its index among the training sentences, and its text."""
    return pd.DataFrame(
        [
            {"task": task.name, "k": k, "seed": seed, "index": index, "text": task.train.examples[index].text}
            for task in tasks
            for (k, seed), indices in draws[task.name].items()
            for index in indices
        ],
        columns=["task", "k", "seed", "index", "text"],
    )


def _write_frame(frame: pd.DataFrame, path: Path) -> None:
    with atomic_path(path) as partial:
        frame.to_parquet(partial, index=False, compression="zstd")


def _check(
    encoders: Mapping[str, str],
    tasks: Sequence[Task],
    shots: Sequence[int],
    repeats: int,
    protocols: Sequence[str],
    recipes: Sequence[str],
    l2: float,
) -> None:
    given = {"encoder": encoders, "task": tasks, "k": shots, "protocol": protocols, "recipe": recipes}
    for name, values in given.items():
        if not values:
            raise ValueError(f"no {name} is given: a benchmark needs at least one.")
    if repeats < 1 or min(shots) < 0:
        raise ValueError(f"repeats={repeats}, k={min(shots)}: give at least 1 repeat, and k from 0.")
    for name, values, known in (("protocol", protocols, PROTOCOLS), ("recipe", recipes, RECIPES)):
        unknown = set(values) - set(known)
        if unknown:
            raise ValueError(f"{name} {', '.join(sorted(unknown))} is unknown: choose from {', '.join(known)}.")
    if not l2 > 0:
        raise ValueError(f"l2={l2}: the penalty must be positive, such as {DEFAULT_L2}.")
    names = [task.name for task in tasks]
    if AVERAGE in names:
        raise ValueError(f"a task is called {AVERAGE!r}, which is what the mean over tasks is called: rename it.")
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"two tasks are called {', '.join(sorted(twice))}: name them with NAME=SOURCE.")


def _check_lines(
    encoders: Iterable[str], recipes: Sequence[str], priors: Iterable[str], *, without_examples: bool
) -> None:
    """Refuse what no encoder can do, and two lines of one name."""
    only_prior = set(recipes) == {NERFOUND}
    lacking = [encoder for encoder in encoders if encoder not in priors]
    if not priors and (only_prior or without_examples):
        raise ValueError(
            f"{'k=0' if without_examples else f'recipe {NERFOUND}'} needs an encoder that brings a prior, and none of "
            f"{', '.join(lacking)} does: give a dual encoder that was trained with --boundary_weight above 0, with its "
            f"own token layers and the recipe {NERFOUND}."
        )
    if only_prior and lacking:
        warnings.warn(f"no line for {', '.join(lacking)}, without a prior: add the recipe blog", stacklevel=3)
    taken = {line_of(encoder, NERFOUND) for encoder in priors} & set(encoders)
    if taken:
        raise ValueError(f"{', '.join(sorted(taken))} is what the line of another encoder is called: rename it.")
