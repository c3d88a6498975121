"""A tiny dual encoder that brings a prior, which finds entities without any example."""

from pathlib import Path

import torch
from transformers import AutoTokenizer

from nerfound.modeling_nuner import NuNerForConceptContrast
from tests.factories import make_contrast


def make_dual(folder: Path, encoder: Path) -> Path:
    """Save a dual encoder on a saved encoder, with random boundaries and a high bias, and return its folder."""
    make_contrast(folder, encoder, encoder, boundary_weight=0.5)
    model = NuNerForConceptContrast.from_pretrained(folder)
    torch.manual_seed(1)
    with torch.no_grad():
        model.mention_prior.boundary.weight.normal_(std=0.3)
        model.mention_prior.norm.fill_(3.0)
        model.scorer.bias.fill_(-3.0)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(encoder).save_pretrained(folder / "concept_tokenizer")
    return folder
