"""Few-shot recipes that a benchmark compares: the blog's heads, and this library's, which start from a prior."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..fewshot.fitting import load_prior
from ..fewshot.priors import ConceptPrior, HeadPrior
from .summary import line_with_prior
from .tasks import Task, natural_concepts
from .vectors import weights_digest

BLOG, NERFOUND = "blog", "nerfound"
RECIPES = (BLOG, NERFOUND)
"""`"blog"`: heads that know nothing before the first example; `"nerfound"`: one BIO head that starts from the concept
vectors (see `nerfound.fewshot.priors`), for encoders that bring them."""


class Setting(NamedTuple):
    """One head: its recipe, the protocol it is made for (`None`: one head for all), k and the seed of the draw."""

    recipe: str
    protocol: str | None
    k: int
    seed: int


@dataclass(frozen=True)
class TaskPrior:
    """The prior of one encoder's heads for one task, and a hash of what it was made of."""

    head: HeadPrior
    fingerprint: str


def line_of(encoder: str, recipe: str) -> str:
    """What the line of an encoder and a recipe is called in results."""
    return encoder if recipe == BLOG else line_with_prior(encoder)


def settings_of(
    recipes: Iterable[str], protocols: Sequence[str], shots: Sequence[int], repeats: int, *, has_prior: bool
) -> list[Setting]:
    """The heads of one encoder on one task, line by line. k = 0 is for heads with a prior, and has no draw."""
    settings: list[Setting] = []
    if BLOG in recipes:
        settings += [Setting(BLOG, p, k, seed) for k in shots if k for seed in range(repeats) for p in protocols]
    if NERFOUND in recipes and has_prior:
        settings += [Setting(NERFOUND, None, k, seed) for k in shots for seed in range(repeats if k else 1)]
    return settings


def load_priors(encoders: Mapping[str, str], tasks: Sequence[Task]) -> dict[str, dict[str, TaskPrior]]:
    """The priors of those encoders that bring one, by name of the encoder and the task.

    Raises:
        ValueError: if two labels of a task have the same natural name.
    """
    priors: dict[str, dict[str, TaskPrior]] = {}
    for encoder, path in encoders.items():
        prior = load_prior(path)
        if prior is not None:
            made_of = _fingerprint(prior)
            priors[encoder] = {task.name: _prior_of(task, prior, made_of) for task in tasks}
    return priors


def _prior_of(task: Task, prior: ConceptPrior, made_of: str) -> TaskPrior:
    concepts = natural_concepts(task)
    fingerprint = hashlib.sha256(json.dumps([made_of, list(concepts.items())]).encode()).hexdigest()[:32]
    return TaskPrior(prior(concepts), fingerprint)


def _fingerprint(prior: ConceptPrior) -> str:
    """Hash of the dual encoder and of how its concept encoder reads."""
    config = prior.model.config
    settings = [config.score, config.concept_pooling, prior.tokenizer.backend_tokenizer.to_str()]
    return weights_digest(prior.model, config.concept_config, settings).hexdigest()
