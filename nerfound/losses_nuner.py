"""The losses that the dual encoder is trained with: contrast, boundary and retention."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .scorers_nuner import DotScorer

IGNORED = -100
"""Label of a (token, concept) pair, or of a token, that is neither positive nor negative."""


def contrast_loss(scorer: DotScorer, tokens: Tensor, concepts: Tensor, labels: Tensor, chunk_size: int) -> Tensor:
    """Binary cross-entropy, summed over concepts and averaged over tokens, in chunks that bound its memory.

    Args:
        scorer: makes logits of the vectors.
        tokens (`torch.Tensor` of shape `(tokens, dim)`): as the scorer prepared them.
        concepts (`torch.Tensor` of shape `(concepts, dim)`): likewise.
        labels (`torch.Tensor` of shape `(tokens, concepts)`): 1 positive, 0 negative, -100 neither.
        chunk_size (`int`): concepts scored at a time.
    """
    chunks = concepts.split(chunk_size)

    def chunk_loss(chunk: Tensor, target: Tensor) -> Tensor:
        return pairs_loss(scorer(tokens, chunk), target)

    total = tokens.new_zeros(())
    for chunk, target in zip(chunks, labels.split(chunk_size, dim=-1), strict=True):
        if len(chunks) == 1:
            total = total + chunk_loss(chunk, target)
        else:  # scores of a chunk are recomputed in the backward pass instead of kept
            total = total + checkpoint(chunk_loss, chunk, target, use_reentrant=False)
    return total / max(len(tokens), 1)


def pairs_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Summed binary cross-entropy of (token, concept) pairs; both arguments are `(tokens, concepts)`."""
    weight = (labels != IGNORED).to(logits.dtype)
    target = (labels == 1).to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, target, weight, reduction="sum")


def boundary_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of (O, B, I) logits `(tokens, 3)`; 0, not NaN, for no token at all."""
    return F.cross_entropy(logits, labels, reduction="sum") / max(len(labels), 1)


class Retention(nn.Module):
    """Keeps in the last layer what the middle one knows, by a linear decoder that is dropped after training.

    The contrast asks for nothing but concepts, so that the trained layers forget what it has no use for: word forms,
    positions, the kinds of distinctions that a task with many examples is about.

    Args:
        hidden_size (`int`): of a token vector.
        kept_size (`int`): of a hidden state of the middle layer.
    """

    def __init__(self, hidden_size: int, kept_size: int) -> None:
        super().__init__()
        self.decoder = nn.Linear(hidden_size, kept_size)

    def forward(self, states: Tensor, kept: Tensor) -> Tensor:
        """The share of the middle layer's variance that is not decoded from the token vectors: 0 is all kept.

        Args:
            states (`torch.Tensor` of shape `(tokens, hidden_size)`): token vectors.
            kept (`torch.Tensor` of shape `(tokens, kept_size)`): the target, which is not trained by it.
        """
        kept = kept.detach().float()
        lost = (self.decoder(states.to(self.decoder.weight.dtype)).float() - kept).square().sum()
        return lost / (kept - kept.mean(0)).square().sum().clamp_min(1.0)  # a single token has no variance
