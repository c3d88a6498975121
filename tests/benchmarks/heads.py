"""`python -m tests.benchmarks.heads DATA --foundation F`: what each part of the few-shot head is worth, on dev splits.

One frozen foundation, embedded once; token macro-F1 and strict entity micro-F1 of decoded entities, mean over the draws
and tasks. Never on a test split.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from nerfound import spans
from nerfound.evaluation.probes import SupportVectors, TestVectors, untouched_head
from nerfound.evaluation.tasks import Task, natural_concepts, read_task
from nerfound.fewshot.embedding import embed_examples
from nerfound.fewshot.fitting import fit_few_shot_head, load_foundation, load_prior
from nerfound.fewshot.heads import DEFAULT_L2, LinearHead, fit_linear_head, trust_prior
from nerfound.fewshot.priors import HeadPrior
from nerfound.fewshot.sampler import sample_k_shot
from nerfound.markdown import markdown_table
from tests.benchmarks.ablations import TASKS

SHOTS = (0, 1, 4, 16, 64)
Fit = Callable[[Tensor, Tensor, Tensor, HeadPrior], LinearHead]


def with_prior(change: Callable[[HeadPrior], HeadPrior] = lambda prior: prior) -> Fit:
    return lambda vectors, labels, groups, prior: fit_few_shot_head(
        vectors, labels, groups, len(prior.bias), prior=change(prior)
    )


def trusted(confidence: float) -> Fit:
    """A prior whose confidence does not depend on the examples."""

    def fit(vectors: Tensor, labels: Tensor, groups: Tensor, prior: HeadPrior) -> LinearHead:
        _, l2 = trust_prior(prior, labels, groups)
        return fit_linear_head(vectors, labels, len(prior.bias), l2=l2, prior=prior.trusted(confidence))

    return fit


def without_prior(vectors: Tensor, labels: Tensor, groups: Tensor, prior: HeadPrior) -> LinearHead:
    return fit_linear_head(vectors, labels, len(prior.bias), l2=DEFAULT_L2)


def cross_validated(vectors: Tensor, labels: Tensor, groups: Tensor, prior: HeadPrior) -> LinearHead:
    """The penalty by cross-validation around the same prior, from a grid around ours."""
    prior, default = trust_prior(prior, labels, groups)
    grid = (4 * default, 2 * default, default, default / 2, default / 4)
    losses = torch.zeros(len(grid))
    examples = groups.unique()
    if len(examples) < 8:
        return fit_linear_head(vectors, labels, len(prior.bias), l2=default, prior=prior)
    fold = torch.searchsorted(examples, groups) % 4
    for part in range(4):
        held = fold == part
        for i, l2 in enumerate(grid):
            head = fit_linear_head(vectors[~held], labels[~held], len(prior.bias), l2=l2, prior=prior, tolerance=1e-4)
            losses[i] += torch.nn.functional.cross_entropy(head(vectors[held]), labels[held], reduction="sum")
    return fit_linear_head(vectors, labels, len(prior.bias), l2=grid[int(losses.argmin())], prior=prior)


def with_prototypes(share: float) -> Fit:
    """Our head plus a share of the class-mean classifier in whitened space (a nearest-prototype ensemble)."""

    def fit(vectors: Tensor, labels: Tensor, groups: Tensor, prior: HeadPrior) -> LinearHead:
        head = fit_few_shot_head(vectors, labels, groups, len(prior.bias), prior=prior)
        metric = prior.axes @ prior.axes
        outside = vectors[labels == 0].mean(0)
        weight, bias = head.weight.clone(), head.bias.clone()
        for concept in range(len(prior.bias) // 2):
            mentioned = (labels + 1) // 2 == 1 + concept
            if mentioned.any():
                mean = vectors[mentioned].mean(0)
                direction = share * metric @ (mean - outside) / vectors.shape[1]
                rows = [1 + 2 * concept, 2 + 2 * concept]
                weight[rows] += direction
                bias[rows] -= direction @ (mean + outside) / 2
        return LinearHead(weight, bias, head.l2, head.factors)

    return fit


NO_PRIOR_ALONE, PRIOR_ALONE = (f"{head}, nothing but legal BIO decoding" for head in ("no prior", "prior"))
HEADS: dict[str, Fit] = {
    NO_PRIOR_ALONE: without_prior,
    "no prior": without_prior,
    "**prior (ours)**": with_prior(),
    PRIOR_ALONE: with_prior(),
    "prior without whitening": with_prior(lambda prior: replace(prior, axes=torch.eye(len(prior.axes)))),
    "prior, trust always 1": trusted(1.0),
    "prior, trust always 2": trusted(2.0),
    "prior, penalty cross-validated": cross_validated,
    "prior + class means × 4": with_prototypes(4.0),
    "prior + class means × 16": with_prototypes(16.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help=f"folder with {', '.join(TASKS)}")
    parser.add_argument("--foundation", default="nerfound-mini")
    parser.add_argument("--draws", type=int, default=3)
    args = parser.parse_args()
    if not args.data.is_dir():
        print(f"skipped: there is no {args.data}")
        return
    tasks = [read_task(args.data / name, split="dev", test_limit=400) for name in TASKS]
    figures = {name: np.zeros((len(tasks), len(SHOTS), 2)) for name in [*HEADS, "blog's head", "prior by names alone"]}
    model, make_prior = load_foundation(args.foundation), load_prior(args.foundation)
    for number, task in enumerate(tasks):
        measure(task, number, model, make_prior, figures, args.draws)
    header = ["head", *(f"{name} k={k}" for name in ("token", "strict") for k in SHOTS)]
    body = [
        [name, *(f"{100 * value:.1f}" if value else "" for value in values.mean(0).T.flatten())]
        for name, values in figures.items()
    ]
    print(markdown_table(header, body))


def measure(task: Task, number: int, model, make_prior, figures: dict[str, np.ndarray], draws: int) -> None:
    concepts = task.train.concepts
    drawn = {k: [sample_k_shot(task.train.examples, k, s, concepts) for s in range(draws)] for k in SHOTS if k}
    union = sorted({index for of_k in drawn.values() for indices in of_k for index in indices})
    position = {index: i for i, index in enumerate(union)}
    support = SupportVectors(embed_examples(model, [task.train.examples[i] for i in union]), list(concepts))
    test = TestVectors(embed_examples(model, task.test), list(concepts))
    named = natural_concepts(task)
    prior, by_name = make_prior(named), make_prior(dict.fromkeys(named, ""))

    def figures_of(head: LinearHead, protocol: str = "entity", alone: bool = False) -> tuple[float, float]:
        with mock.patch.multiple(spans, CONTINUES=0.0, ADJOINS=0.0) if alone else nullcontext():
            *_, micro, macro = test.score(head, protocol)
        return macro["token_f1"], micro.get("strict_f1", 0.0)

    for column, k in enumerate(SHOTS):
        if not k:
            figures["**prior (ours)**"][number, column] = figures_of(untouched_head(prior))
            figures[PRIOR_ALONE][number, column] = figures_of(untouched_head(prior), alone=True)
            figures["prior by names alone"][number, column] = figures_of(untouched_head(by_name))
            continue
        rows = [[position[index] for index in indices] for indices in drawn[k]]
        fits = HEADS | {"prior by names alone": with_prior()}
        for name, fit in fits.items():
            scores = []
            for of_draw in rows:
                tokens = support.tokens_of(of_draw)
                given = by_name if name == "prior by names alone" else prior
                head = fit(support.vectors[tokens], support.labels[tokens], support.groups[tokens], given)
                scores.append(figures_of(head, alone=name in {NO_PRIOR_ALONE, PRIOR_ALONE}))
            figures[name][number, column] = np.mean(scores, axis=0)
        blogs = [figures_of(support.fit(of_draw, "blog", DEFAULT_L2), "blog") for of_draw in rows]
        figures["blog's head"][number, column] = np.mean(blogs, axis=0)


if __name__ == "__main__":
    main()
