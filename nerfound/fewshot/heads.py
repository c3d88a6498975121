"""The linear head of a recognizer: logistic regression on frozen token vectors, and the choice of its penalty.

Labels are those of [`NuNerForTokenClassification`]: 0 outside, `1 + 2c` begin and `2 + 2c` inside of concept `c`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..modeling_nuner import nested_logits

L2_GRID = (3e-1, 1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4)
"""Penalties tried by cross-validation, strongest first."""

DEFAULT_L2 = 1e-2
"""The penalty where the support set is too small for cross-validation."""


@dataclass(frozen=True)
class LinearHead:
    """A fitted linear head: `logits = vectors @ weight.T + bias`.

    Args:
        weight (`torch.Tensor` of shape `(labels, hidden_size)`): float32.
        bias (`torch.Tensor` of shape `(labels,)`): float32.
        l2 (`float`): the penalty it was fitted with.
    """

    weight: Tensor
    bias: Tensor
    l2: float

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
) -> LinearHead:
    """Fit a BIO head on frozen token vectors, by L-BFGS, to its unique optimum.

    Minimises the mean cross-entropy per token plus `l2 / 2` times the squared norm of the weights, where vectors are
    centred and scaled to unit variance on average, so that one `l2` means the same for every encoder.

    Args:
        vectors (`torch.Tensor` of shape `(tokens, hidden_size)`): float32.
        labels (`torch.Tensor`): flat: `(tokens,)`, int64 label ids; nested: `(tokens, concepts)`, int64, 0 outside,
            1 begin, 2 inside.
        num_labels (`int`): `1 + 2 × concepts`.
        l2 (`float`): weight of the penalty.
        nested (`bool`): fit every concept on its own: (O, B, I) with the logit of O fixed at 0.
        initial (`LinearHead`, *optional*): where to start, such as the head of a stronger penalty.

    Raises:
        ValueError: if there is no token.
    """
    if not len(vectors):
        raise ValueError("no token to fit a head on: the support set has no text.")
    mean, scale = vectors.mean(0), vectors.std(unbiased=False) + 1e-12
    features = (vectors - mean) / scale
    start_weight = torch.zeros(num_labels, features.shape[1])
    start_bias = torch.zeros(num_labels)
    if initial is not None:
        start_weight, start_bias = initial.weight * scale, initial(mean[None])[0]
    weight, bias = _minimise(features, labels, start_weight, start_bias, l2, nested)
    weight = weight / scale
    return LinearHead(weight, bias - weight @ mean, l2)


def _minimise(
    features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, l2: float, nested: bool
) -> tuple[Tensor, Tensor]:
    if nested:  # the row of O has no gradient: it stays at zero, and with it its logit
        weight[0], bias[0] = 0.0, 0.0
    parameters = torch.cat([weight, bias[:, None]], dim=1).requires_grad_()
    inputs = torch.cat([features, features.new_ones(len(features), 1)], dim=1)
    penalised = torch.ones_like(parameters)
    penalised[:, -1] = 0.0
    optimizer = torch.optim.LBFGS(
        [parameters], max_iter=200, tolerance_grad=1e-5, tolerance_change=1e-8, line_search_fn="strong_wolfe"
    )
    with torch.no_grad():
        target = F.one_hot(labels, 3 if nested else len(weight)).to(features.dtype)

    def objective() -> Tensor:
        """Value; the gradient is written by hand, which is twice as fast as autograd here."""
        with torch.no_grad():
            logits = inputs @ parameters.T
            log_p = F.log_softmax(nested_logits(logits) if nested else logits, dim=-1)
            residual = log_p.exp() - target
            if nested:
                residual = F.pad(residual[..., 1:].flatten(1), (1, 0))
            penalty = l2 * parameters * penalised
            parameters.grad = residual.T @ inputs / len(inputs) + penalty
            return -(target * log_p).sum() / len(inputs) + 0.5 * (penalty * parameters).sum()

    optimizer.step(objective)
    solution = parameters.detach()
    return solution[:, :-1].contiguous(), solution[:, -1].contiguous()


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
                vectors[~held_out], labels[~held_out], num_labels, l2=l2, nested=nested, initial=head
            )
            losses[i] += _cross_entropy(head(vectors[held_out]), labels[held_out], nested)
    return grid[int(losses.argmin())]


def _cross_entropy(logits: Tensor, labels: Tensor, nested: bool) -> Tensor:
    if nested:
        logits, labels = nested_logits(logits).flatten(0, 1), labels.flatten()
    return F.cross_entropy(logits, labels, reduction="sum")
