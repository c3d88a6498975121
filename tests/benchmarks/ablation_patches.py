"""`python -m tests.benchmarks.ablation_patches NAME ARGUMENTS`: `nerfound pretrain`, one part of the method replaced.

What was tried and not kept has no argument in the library; here it can be measured again.
"""

from __future__ import annotations

import copy
import sys
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nerfound import losses_nuner
from nerfound.modeling_nuner import NuNerForConceptContrast
from nerfound.pretraining import run

FOCUS = 2.0
"""Exponent of the focal loss, its authors' choice."""

SAMPLED_SHARE = 0.1
"""Share of the unlabelled tokens that are kept as negatives."""


def focal_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy that counts little where the model is sure and right (Lin et al., 2017)."""
    target = (labels == 1).to(logits.dtype)
    losses = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    missed = (logits.sigmoid() - target).abs()
    return (losses * missed**FOCUS)[labels != losses_nuner.IGNORED].sum()


def softmax_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy over the concepts of the batch and "none", whose logit is 0."""
    logits = logits.masked_fill(labels == losses_nuner.IGNORED, torch.finfo(logits.dtype).min)
    target = (labels == 1).to(logits.dtype)
    target = torch.cat([(target.sum(-1, keepdim=True) == 0).to(logits.dtype), target], dim=-1)
    log_p = F.log_softmax(F.pad(logits, (1, 0)), dim=-1)
    return -(target / target.sum(-1, keepdim=True) * log_p).sum()


def sampled_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of labelled tokens and of a sample of the unlabelled ones, which may be missed mentions."""
    kept = (labels == 1).any(-1) | (torch.rand(len(labels), device=labels.device) < SAMPLED_SHARE)
    return PAIRS_LOSS(logits[kept], labels[kept])


PAIRS_LOSS = losses_nuner.pairs_loss
LOSSES = {"focal": focal_loss, "softmax": softmax_loss, "sampled": sampled_loss}


def tie_encoders() -> None:
    """One encoder for tokens and concepts, until it is saved."""
    build, save = NuNerForConceptContrast.from_encoders, run.save_foundation

    def build_tied(*args: Any, **kwargs: Any) -> NuNerForConceptContrast:
        model = build(*args, **kwargs)
        model.concept_encoder = model.token_encoder
        return model

    def save_untied(trainer: Any, args: Any) -> Any:
        trainer.model.concept_encoder = copy.deepcopy(trainer.model.token_encoder)
        return save(trainer, args)

    NuNerForConceptContrast.from_encoders = build_tied
    run.save_foundation = save_untied


def main() -> None:
    name, *arguments = sys.argv[1:]
    if name == "tied":
        tie_encoders()
    else:
        losses_nuner.pairs_loss = LOSSES[name]
    run.main(arguments)


if __name__ == "__main__":
    main()
