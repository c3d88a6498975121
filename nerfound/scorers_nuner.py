"""How token and concept vectors become logits, and what is known of mentions whatever their concept."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .configuration_nuner import NuNerConfig


class DotScorer(nn.Module):
    """The raw dot product of the NuNER blog post."""

    def prepare(self, vectors: Tensor) -> Tensor:
        """Vectors as they are compared, float32."""
        return vectors.float()

    def forward(self, tokens: Tensor, concepts: Tensor) -> Tensor:
        """Logits of token vectors `(..., dim)` against concept vectors `(concepts, dim)`: `(..., concepts)`."""
        return tokens @ concepts.T

    def linear(self, concepts: Tensor, norm: Tensor) -> tuple[Tensor, Tensor]:
        """The scores as a linear head: `weight` `(concepts, dim)` and `bias` `(concepts,)` for raw token vectors.

        Args:
            concepts (`torch.Tensor` of shape `(concepts, dim)`): as prepared.
            norm (`torch.Tensor`, scalar): the length of a token vector.
        """
        return concepts, concepts.new_zeros(len(concepts))


class CosineScorer(DotScorer):
    """The cosine, with a learned scale and bias."""

    def __init__(self, config: NuNerConfig) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(config.initial_scale)))
        self.bias = nn.Parameter(torch.tensor(config.initial_bias))

    def prepare(self, vectors: Tensor) -> Tensor:
        """Vectors of length 1, float32."""
        return F.normalize(vectors.float(), dim=-1)

    def forward(self, tokens: Tensor, concepts: Tensor) -> Tensor:
        """Logits of token vectors `(..., dim)` against concept vectors `(concepts, dim)`: `(..., concepts)`."""
        return super().forward(tokens, concepts) * self.log_scale.exp() + self.bias

    def linear(self, concepts: Tensor, norm: Tensor) -> tuple[Tensor, Tensor]:
        """As for [`DotScorer`]; exact for token vectors of length `norm`."""
        return concepts * (self.log_scale.exp() / norm).cpu(), self.bias.detach().cpu().expand(len(concepts))


class MentionPrior(nn.Module):
    """What pre-training knows of the mentions of any concept: where they begin and end, and how their tokens vary.

    A few-shot head starts from it (see `nerfound.fewshot.priors`).

    Args:
        hidden_size (`int`): of a token vector.

    Attributes:
        boundary (`torch.nn.Linear`): logits of (O, B, I) of a token; trained beside the contrast.
        covariance (`torch.Tensor` of shape `(hidden_size, hidden_size)`): of token vectors around the mean of their
            concept; measured once the encoder is trained, until then an identity.
        norm (`torch.Tensor`, scalar): root of the mean squared length of token vectors in the common space; measured
            likewise.
    """

    covariance: Tensor
    norm: Tensor

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.boundary = nn.Linear(hidden_size, 3)
        self.register_buffer("covariance", torch.eye(hidden_size))
        self.register_buffer("norm", torch.ones(()))

    def forward(self, states: Tensor) -> Tensor:
        """Logits `(..., 3)` of (O, B, I) for token vectors `(..., hidden_size)`."""
        return self.boundary(states.to(self.boundary.weight.dtype))
