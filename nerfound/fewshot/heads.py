"""The linear head of a recognizer: logistic regression on frozen token vectors, and the choice of its penalty.

Labels are those of [`NuNerForTokenClassification`]: 0 outside, `1 + 2c` begin and `2 + 2c` inside of concept `c`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..modeling_nuner import nested_logits
from .priors import HeadPrior

L2_GRID = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3)
"""Penalties tried by cross-validation, strongest first."""

_SMALL_PROBLEM = 40_000_000

_CURVATURE = 0.25
"""Typical second derivative of the loss by a logit; the best of 0.02 to 1 in number of steps."""

OWN_FACTOR = 0.3
"""Prior standard deviation of what a label has for itself, beside what it shares with others (1.0)."""

DEFAULT_L2 = 1e-2
"""The penalty where the support set is too small for cross-validation."""


PRIOR_L2 = 0.2
"""The penalty for leaving a prior with a single example; see `trust_prior`."""


@dataclass(frozen=True)
class LinearHead:
    """A fitted linear head: `logits = vectors @ weight.T + bias`.

    Args:
        weight (`torch.Tensor` of shape `(labels, hidden_size)`): float32.
        bias (`torch.Tensor` of shape `(labels,)`): float32.
        l2 (`float`): the penalty it was fitted with.
        factors (`torch.Tensor` of shape `(factors, hidden_size + 1)`): what the weights (of scaled vectors) and,
            in the last column, the biases were made of.
    """

    weight: Tensor
    bias: Tensor
    l2: float
    factors: Tensor

    def __call__(self, vectors: Tensor) -> Tensor:
        """Logits `(tokens, labels)` of vectors `(tokens, hidden_size)`."""
        return F.linear(vectors, self.weight, self.bias)


def fit_linear_head(
    vectors: Tensor,
    labels: Tensor,
    num_labels: int,
    *,
    l2: float = DEFAULT_L2,
    nested: bool = False,
    initial: LinearHead | None = None,
    factors: Tensor | None = None,
    prior: HeadPrior | None = None,
    tolerance: float = 5e-5,
) -> LinearHead:
    """Fit a linear head on frozen token vectors, by L-BFGS, to its unique optimum.

    Minimises the mean cross-entropy per token plus `l2 / 2` times the squared norm of the factors that the weights are
    made of (see `label_factors`), where vectors are centred and scaled to unit variance on average, so that one `l2`
    means the same for every encoder. In other words, the maximum a posteriori under a Gaussian prior that knows how
    the labels are related.

    Args:
        vectors (`torch.Tensor` of shape `(tokens, hidden_size)`): float32.
        labels (`torch.Tensor`): flat: `(tokens,)`, int64 label ids; nested: `(tokens, concepts)`, int64, 0 outside,
            1 begin, 2 inside.
        num_labels (`int`): `1 + 2 × concepts`.
        l2 (`float`): weight of the penalty.
        nested (`bool`): fit every concept on its own: (O, B, I) with the logit of O fixed at 0.
        initial (`LinearHead`, *optional*): where to start, such as the head of a stronger penalty.
        factors (`torch.Tensor` of shape `(num_labels, factors)`, *optional*): what the weights of the labels have in
            common: `label_factors`, those of BIO labels, by default; an identity for labels that have nothing.
        prior (`HeadPrior`, *optional*): the head that the penalty draws towards, instead of none at all.
        tolerance (`float`): largest gradient, by a parameter of unit curvature, at which the search may stop.

    Raises:
        ValueError: if there is no token, or the penalty is not positive.
    """
    if not len(vectors):
        raise ValueError("no token to fit a head on: the support set has no text.")
    if not l2 > 0:
        raise ValueError(f"l2={l2}: the penalty must be positive, such as {DEFAULT_L2}.")
    mean = vectors.mean(0)
    features = vectors - mean if prior is None else (vectors - mean) @ prior.axes
    scale = features.square().mean().sqrt() + 1e-12
    features = features / scale
    factors = label_factors(num_labels, nested=nested) if factors is None else factors
    with _threads_for(features):
        start = initial.factors if initial else None
        offsets = torch.zeros(1) if prior is None else F.linear(vectors, prior.weight, prior.bias)
        solution = _minimise(features, labels, offsets, factors, start, l2, nested, tolerance)
    values = factors @ solution
    weight = values[:, :-1] / scale
    if prior is None:
        return LinearHead(weight, values[:, -1] - weight @ mean, l2, solution)
    weight = weight @ prior.axes
    return LinearHead(prior.weight + weight, prior.bias + values[:, -1] - weight @ mean, l2, solution)


def label_factors(num_labels: int, *, nested: bool = False) -> Tensor:
    """What the weights of the labels have in common, as a matrix that makes them from independent factors.

    The weights of `B-c` are a factor of the concept c, plus one of all beginnings, plus one of its own; those of `I-c`
    likewise. So the first and the further tokens of a concept's few mentions are evidence for one another, and every
    concept learns from the others what a beginning looks like. A nested head has no weights for O.

    Returns:
        `torch.Tensor` of shape `(num_labels, factors)`: weights are `label_factors(…) @ factors`; each entry is the
        prior standard deviation of a factor's share.
    """
    concepts = num_labels // 2
    outside = torch.zeros(num_labels, 1)
    outside[0] = 0.0 if nested else 1.0
    of_concept = F.pad(torch.eye(concepts).repeat_interleave(2, dim=0), (0, 0, 1, 0))
    of_position = F.pad(torch.eye(2).repeat(concepts, 1), (0, 0, 1, 0))
    own = F.pad(torch.eye(2 * concepts), (0, 0, 1, 0)) * OWN_FACTOR
    return torch.cat([outside, of_concept, of_position, own], dim=1)


@contextlib.contextmanager
def _threads_for(features: Tensor) -> Iterator[None]:
    """One thread for a small problem: on a busy machine, waiting for a second one took eight times as long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(threads if features.numel() > _SMALL_PROBLEM else 1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _minimise(
    features: Tensor,
    labels: Tensor,
    offsets: Tensor,
    factors: Tensor,
    start: Tensor | None,
    l2: float,
    nested: bool,
    tolerance: float,
) -> Tensor:
    """The optimal values of the factors, and of the biases (not penalised) in the last column.

    `offsets`, the logits of the prior, are added to those of the factors.

    The search runs in the principal axes of the features, each scaled to about unit curvature of the objective: half
    the steps, and with fewer tokens than dimensions, smaller ones.
    """
    basis, variance = _principal_axes(features)
    axes = F.pad((_CURVATURE * variance + l2).rsqrt(), (0, 1), value=_CURVATURE**-0.5)
    penalty = F.pad(l2 * axes[:-1].square(), (0, 1))
    inputs = torch.cat([features @ basis, torch.ones(len(features), 1)], dim=1) * axes
    target = F.one_hot(labels, 3 if nested else len(factors)).to(features.dtype)
    parameters = torch.zeros(factors.shape[1], len(axes), requires_grad=True)
    if start is not None:
        parameters.data = torch.cat([start[:, :-1] @ basis, start[:, -1:]], dim=1) / axes
    optimizer = torch.optim.LBFGS(
        [parameters],
        max_iter=500,
        tolerance_grad=tolerance,
        tolerance_change=1e-9,
        history_size=5,
        line_search_fn="strong_wolfe",
    )

    @torch.no_grad()
    def objective() -> Tensor:
        """Value; the gradient is written by hand, which is twice as fast as autograd here."""
        logits = offsets + F.linear(inputs, factors @ parameters)
        log_p = F.log_softmax(nested_logits(logits) if nested else logits, dim=-1)
        residual = (log_p.exp() - target) / len(inputs)
        if nested:  # O has the logit 0, whatever its parameters
            residual = F.pad(residual[..., 1:].flatten(1), (1, 0))
        parameters.grad = factors.T @ (residual.T @ inputs) + penalty * parameters
        return -(target * log_p).sum() / len(inputs) + 0.5 * (penalty * parameters.square()).sum()

    optimizer.step(objective)
    solution = parameters.detach() * axes
    return torch.cat([solution[:, :-1] @ basis.T, solution[:, -1:]], dim=1)


def _principal_axes(features: Tensor) -> tuple[Tensor, Tensor]:
    """An orthonormal basis `(hidden_size, rank)` in which features are uncorrelated, and their mean squares in it."""
    tokens, size = features.shape
    if tokens >= size:
        variance, basis = torch.linalg.eigh(features.T @ features / tokens)
        return basis, variance.clamp_min(0)
    squares, directions = torch.linalg.eigh(features @ features.T)
    present = squares > 1e-6 * squares[-1]
    squares, directions = squares[present], directions[:, present]
    return features.T @ (directions / squares.sqrt()), squares / tokens


def choose_l2(
    vectors: Tensor,
    labels: Tensor,
    groups: Tensor,
    num_labels: int,
    *,
    nested: bool = False,
    grid: Sequence[float] = L2_GRID,
    folds: int = 4,
) -> float:
    """Choose the penalty by cross-validation on the support set: the smallest held-out cross-entropy.

    Args:
        vectors, labels, num_labels, nested: as for `fit_linear_head`.
        groups (`torch.Tensor` of shape `(tokens,)`): the example that each token comes from; examples are never split.
        grid (`Sequence[float]`): penalties to try.
        folds (`int`): parts the examples are split into.

    Returns:
        `float`: [`DEFAULT_L2`] where there are fewer than two examples per fold, or than two per concept.
    """
    examples = groups.unique()
    if len(examples) < max(2 * folds, num_labels - 1):
        return DEFAULT_L2
    fold_of = torch.empty(int(examples.max()) + 1, dtype=torch.long)
    fold_of[examples] = torch.arange(len(examples)) % folds  # examples come in no order of concepts
    token_fold = fold_of[groups]
    losses = torch.zeros(len(grid))
    for fold in range(folds):
        held_out = token_fold == fold
        head = None
        for i, l2 in enumerate(grid):
            head = fit_linear_head(
                vectors[~held_out], labels[~held_out], num_labels, l2=l2, nested=nested, initial=head, tolerance=1e-4
            )
            losses[i] += _cross_entropy(head(vectors[held_out]), labels[held_out], nested)
    return grid[int(losses.argmin())]


def trust_prior(prior: HeadPrior, labels: Tensor, groups: Tensor) -> tuple[HeadPrior, float]:
    """How far a prior is trusted, and the penalty for leaving it, given the evidence.

    The confidence, 2 with one mention per concept, falls with the fourth root of the mentions, and the penalty per
    token with that of the examples. Cross-validation of the penalty on the support set was hardly better on dev
    splits (`docs/method.md`), and took 20 more fits.

    Args:
        prior (`HeadPrior`)
        labels, groups (`torch.Tensor`): of the support set's tokens, as for `choose_l2`.

    Returns:
        `tuple[HeadPrior, float]`: the prior with its logits scaled by the confidence, and the penalty.
    """
    concepts = len(prior.bias) // 2
    begins = (labels == 1) if labels.dim() == 2 else (labels % 2 == 1)
    mentions = max(float(begins.sum()) / concepts, 1.0)
    return prior.trusted(2 * mentions**-0.25), PRIOR_L2 * len(groups.unique()) ** -0.25


def _cross_entropy(logits: Tensor, labels: Tensor, nested: bool) -> Tensor:
    if nested:
        logits, labels = nested_logits(logits).flatten(0, 1), labels.flatten()
    return F.cross_entropy(logits, labels, reduction="sum")
