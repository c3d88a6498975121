"""Transfer to few-shot tasks: frozen encoder, linear head, k examples per concept, several draws of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from torch import Tensor

from ..decoding import decode_texts
from ..fewshot.embedding import EmbeddedExamples, embed_examples
from ..fewshot.fitting import fit_head, load_foundation
from ..fewshot.formats import Example, SupportSet, read_examples
from ..fewshot.heads import DEFAULT_L2, fit_linear_head
from ..fewshot.sampler import sample_k_shot
from ..fewshot.tags import OUTSIDE
from ..modeling_nuner import NuNerForTokenClassification
from ..spans import Entity, Span, segment_words
from .metrics import token_metrics
from .scoring import score_entities

METRICS = ("token_macro_f1", "entity_micro_f1", "bio_token_macro_f1")
"""What a row tells; see `transfer_scores`."""


@dataclass(frozen=True)
class Task:
    """A few-shot task: sentences to draw support sets from, and sentences to score on."""

    name: str
    train: SupportSet
    test: tuple[Example, ...]


def read_task(folder: Path, *, split: str = "test", test_limit: int | None = None, seed: int = 0) -> Task:
    """Read a task from a folder of `train` and `test` (or `dev`) files, `.jsonl` or `.txt`.

    Test sentences that occur verbatim in train are left out. Where `dev` is asked for and there is none, a tenth of
    `train` is carved out for it.

    Args:
        folder (`Path`): its name is the task's.
        split (`"test"` or `"dev"`): what to score on; choose anything only on `"dev"`.
        test_limit (`int`, *optional*): score on this many sentences only, drawn by `seed`.
        seed (`int`): of the draws above.
    """
    train = read_examples(_file(folder, "train"))
    examples = list(train.examples)
    if split == "dev" and not _find(folder, "dev"):
        random.Random(seed).shuffle(examples)
        tenth = len(examples) // 10
        scored, examples = examples[:tenth], examples[tenth:]
    else:
        scored = list(read_examples(_file(folder, split), concepts=train.concepts).examples)
    seen = {example.text.casefold() for example in examples}
    scored = [example for example in scored if example.text.casefold() not in seen]
    if test_limit is not None and len(scored) > test_limit:
        scored = random.Random(seed).sample(scored, test_limit)
    return Task(folder.name, SupportSet(tuple(examples), train.concepts), tuple(scored))


def transfer_scores(
    encoders: Mapping[str, str],
    tasks: Sequence[Task],
    *,
    shots: Sequence[int] = (1, 4, 16),
    repeats: int = 3,
    batch_size: int = 32,
    token_layers: tuple[int, ...] | None = None,
    l2: float | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Iterator[dict[str, Any]]:
    """Score encoders on few-shot tasks.

    The support sets are a function of task, k and repeat alone: the same for every encoder, and nested in k. Every
    sentence is embedded once per encoder.

    Args:
        encoders (`Mapping[str, str]`): name in the rows, and Hub id or folder.
        tasks (`Sequence[Task]`)
        shots (`Sequence[int]`): examples per concept.
        repeats (`int`): draws of the support set; their seeds are 0, 1, ….
        batch_size (`int`): sentences embedded at a time.
        token_layers (`tuple[int]`, *optional*): the same for every encoder; its own by default.
        l2 (`float`, *optional*): penalty of the heads; cross-validated on each support set by default.
        progress (`Callable`): is told what is going on.

    Yields:
        `dict`: `task`, `encoder`, `k`, `seed`, and, between 0 and 1: `token_macro_f1`, of the protocol of the NuNER
        blog post (a linear head over the concepts and outside, word by word); `entity_micro_f1` (strict) and
        `bio_token_macro_f1`, of the recognizer that [`nerfound.fit`] makes (BIO labels, legal decoding).
    """
    for name, path in encoders.items():
        model = load_foundation(path, token_layers=token_layers)
        for task in tasks:
            progress(f"{name} on {task.name}: embedding")
            concepts = list(task.train.concepts)
            draws = {
                (k, seed): sample_k_shot(task.train.examples, k, seed, concepts)
                for k in shots
                for seed in range(repeats)
            }
            drawn = sorted({index for draw in draws.values() for index in draw})
            support = embed_examples(model, [task.train.examples[i] for i in drawn], batch_size=batch_size)
            test = embed_examples(model, task.test, batch_size=batch_size)
            position = {index: i for i, index in enumerate(drawn)}
            for (k, seed), draw in draws.items():
                progress(f"{name} on {task.name}: k={k}, draw {seed + 1} of {repeats}")
                examples = support.select([position[index] for index in draw])
                fit_head(model, examples, task.train.concepts, l2=l2)
                scores = score_entities(task.test, predict_embedded(model, test), concepts)
                yield {
                    "task": task.name,
                    "encoder": name,
                    "k": k,
                    "seed": seed,
                    "token_macro_f1": blog_token_macro_f1(examples, test, concepts, l2=l2 or DEFAULT_L2),
                    "entity_micro_f1": scores["strict_micro_f1"],
                    "bio_token_macro_f1": scores["token_macro_f1"],
                }


@torch.no_grad()
def predict_embedded(
    recognizer: NuNerForTokenClassification, embedded: EmbeddedExamples, batch_size: int = 64
) -> list[list[Entity]]:
    """Entities of embedded examples: the head alone is run."""

    head = recognizer.classifier
    if head is None:
        raise ValueError("predict_embedded needs a recognizer with a head: fit one first.")

    def logits_of(batch: list[int]) -> Tensor:
        return head(torch.nn.utils.rnn.pad_sequence([embedded.vectors[i] for i in batch], batch_first=True))

    texts = [example.text for example in embedded.examples]
    return decode_texts(texts, embedded.windows, logits_of, recognizer.labels, batch_size=batch_size)


def blog_token_macro_f1(
    support: EmbeddedExamples, test: EmbeddedExamples, concepts: Sequence[str], *, l2: float = DEFAULT_L2
) -> float:
    """Token macro-F1 of the NuNER blog post: a multinomial logistic head over outside and the concepts, word by word.

    A word's class is the one of the highest mean log-probability over its tokens; nothing is decoded.
    """
    vectors, labels, _ = support.training_data(concepts)
    classes = 1 + len(concepts)
    head = fit_linear_head(vectors, (labels + 1) // 2, classes, l2=l2, factors=torch.eye(classes))
    found: list[dict[int, str]] = [{} for _ in test.examples]
    for window, hidden in zip(test.windows, test.vectors, strict=True):
        log_p = head(hidden).log_softmax(dim=-1)
        for (start, _), (first, end) in zip(window.words[window.owned], window.tokens[window.owned], strict=True):
            label = int(log_p[first:end].mean(0).argmax())
            found[window.text][int(start)] = f"I-{concepts[label - 1]}" if label else OUTSIDE
    gold, predicted = [], []
    for example, tags in zip(test.examples, found, strict=True):
        words = segment_words(example.text) if example.words is None else example.words
        predicted.append([tags.get(start, OUTSIDE) for start, _ in words])
        gold.append([_label_of(start, end, example.entities) for start, end in words])
    return token_metrics(gold, predicted, concepts)["token_macro_f1"]


def _label_of(start: int, end: int, entities: Sequence[Span]) -> str:
    return next((f"I-{span.label}" for span in entities if span.start < end and span.end > start), OUTSIDE)


def summarise(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Mean and standard deviation over the draws, a row per task, encoder and k, and per encoder and k over all tasks.

    The rows over all tasks (`task` is `"average"`) are the mean of the tasks' means; their standard deviation is that
    of the draws' averages.
    """
    summary = []
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    for encoder in dict.fromkeys(row["encoder"] for row in rows):
        for k in dict.fromkeys(row["k"] for row in rows):
            cell = [row for row in rows if row["encoder"] == encoder and row["k"] == k]
            by_draw = [[row for row in cell if row["seed"] == seed] for seed in dict.fromkeys(r["seed"] for r in cell)]
            for task in [*tasks, "average"] if len(tasks) > 1 else tasks:
                entry: dict[str, Any] = {"task": task, "encoder": encoder, "k": k}
                for metric in METRICS:
                    draws = [fmean(row[metric] for row in draw if task in {"average", row["task"]}) for draw in by_draw]
                    entry[metric] = fmean(draws)
                    entry[f"{metric}_std"] = stdev(draws) if len(draws) > 1 else 0.0
                summary.append(entry)
    return summary


def markdown_table(summary: Sequence[Mapping[str, Any]]) -> str:
    """The summary as a Markdown table in percent: token macro-F1 (blog protocol) / strict entity micro-F1."""
    shots = list(dict.fromkeys(row["k"] for row in summary))
    lines = ["| task | encoder | " + " | ".join(f"k={k}" for k in shots) + " |", "|---" * (2 + len(shots)) + "|"]
    cells = {(row["task"], row["encoder"], row["k"]): row for row in summary}
    for task in dict.fromkeys(row["task"] for row in summary):
        for encoder in dict.fromkeys(row["encoder"] for row in summary):
            values = [
                f"{100 * cell['token_macro_f1']:.1f} ± {100 * cell['token_macro_f1_std']:.1f} / "
                f"{100 * cell['entity_micro_f1']:.1f} ± {100 * cell['entity_micro_f1_std']:.1f}"
                for cell in (cells[task, encoder, k] for k in shots)
            ]
            lines.append(f"| {task} | {encoder} | " + " | ".join(values) + " |")
    return "\n".join(lines)


def _file(folder: Path, split: str) -> Path:
    found = _find(folder, split)
    if found is None:
        raise FileNotFoundError(f"{folder} has no {split}.jsonl or {split}.txt: a task is a folder of such files.")
    return found


def _find(folder: Path, split: str) -> Path | None:
    return next((path for suffix in ("jsonl", "txt") if (path := folder / f"{split}.{suffix}").is_file()), None)
