"""What a dual encoder knows of concepts before any example: the prior of a few-shot head.

The head of a recognizer is linear in the token vectors, and so is the contrast: the score of a token for a concept is
its product with the concept vector f(name + description), which therefore is a head already. Fitted on examples, the
head is the maximum a posteriori around it: with no example it is the prior, and each example moves it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ..concepts import Concept
from ..modeling_nuner import NuNerForConceptContrast
from ..pretraining.ranking import encode_concept_texts

FEWER_CONCEPTS = 0.5
"""Added to the contrast's bias: a task has a few concepts, a batch had hundreds, so that each is more likely here."""

ENTITY_SHARE = 0.75
"""How much of the boundary head's evidence for any mention at all is added to that for a concept."""

SHRINKAGE = 0.3
"""Share of the covariance that is replaced by an equal variance in all directions."""


@dataclass(frozen=True)
class HeadPrior:
    """A head before any example, and the directions in which examples may move it.

    Args:
        weight (`torch.Tensor` of shape `(1 + 2 × concepts, hidden_size)`): rows O, B-first, I-first, B-second, ….
        bias (`torch.Tensor` of shape `(1 + 2 × concepts,)`)
        axes (`torch.Tensor` of shape `(hidden_size, hidden_size)`): symmetric; `vectors @ axes` have the same variance
            in all directions within a concept, so that a penalty on weights there spares what tells concepts apart.
    """

    weight: Tensor
    bias: Tensor
    axes: Tensor

    def trusted(self, confidence: float) -> HeadPrior:
        """The same with logits `confidence` times as large."""
        return replace(self, weight=self.weight * confidence, bias=self.bias * confidence)


class ConceptPrior:
    """Makes the prior of a head from the names and descriptions of its concepts.

    Args:
        model (`NuNerForConceptContrast`): with a `mention_prior`.
        tokenizer (`PreTrainedTokenizerBase`): of its concept encoder.

    Raises:
        ValueError: if the model was trained without boundary loss, and so has no `mention_prior`.
    """

    def __init__(self, model: NuNerForConceptContrast, tokenizer: PreTrainedTokenizerBase) -> None:
        if model.mention_prior is None:
            raise ValueError(f"{model.name_or_path} has no mention_prior: train it with --boundary_weight above 0.")
        self.model = model
        self.tokenizer = tokenizer
        self.axes = _whitening(model.mention_prior.covariance.float().cpu())

    @torch.no_grad()
    def __call__(self, concepts: Mapping[str, str]) -> HeadPrior:
        """The prior of a head for concepts, given by their names and descriptions (which may be empty)."""
        mention_prior = self.model.mention_prior
        assert mention_prior is not None
        texts = [Concept(name, description).text for name, description in concepts.items()]
        vectors = encode_concept_texts(self.model, self.tokenizer, texts)
        weight, bias = self.model.scorer.linear(vectors, mention_prior.norm.cpu())
        projection = self.model.token_projection
        if isinstance(projection, torch.nn.Linear):
            weight = weight @ projection.weight.float().cpu()
        (outside, begin, inside), offsets = (part.float().cpu() for part in mention_prior.boundary.parameters())
        entity, border = (begin + inside) / 2 - outside, (begin - inside) / 2
        entity_bias, border_bias = (offsets[1] + offsets[2]) / 2 - offsets[0], (offsets[1] - offsets[2]) / 2
        weight = weight + ENTITY_SHARE * entity
        bias = bias + FEWER_CONCEPTS + ENTITY_SHARE * entity_bias
        # Rows of B and I alternate: the two of a concept differ by what tells a beginning from a continuation
        pairs = torch.stack([weight + border, weight - border], dim=1).flatten(0, 1)
        pair_biases = torch.stack([bias + border_bias, bias - border_bias], dim=1).flatten()
        return HeadPrior(
            torch.cat([torch.zeros_like(pairs[:1]), pairs]), torch.cat([torch.zeros(1), pair_biases]), self.axes
        )


def _whitening(covariance: Tensor) -> Tensor:
    """The inverse root of a covariance, shrunk towards an equal variance in all directions."""
    variance, directions = torch.linalg.eigh(covariance)
    variance = (1 - SHRINKAGE) * variance.clamp_min(0) + SHRINKAGE * variance.mean()
    return (directions * variance.rsqrt()) @ directions.T
