"""How token and concept vectors become logits."""

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
