"""Arguments of pre-training: `transformers.TrainingArguments` and what its objectives add."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import torch
from transformers import TrainingArguments
from transformers.utils import strtobool

from ..offline import DEFAULT_ENCODER
from .augmentation import Augmentation


def bf16_is_fast(use_cpu: bool) -> bool:
    """Whether this machine multiplies bfloat16 matrices in hardware (a recent GPU, or a CPU with AMX)."""
    if not use_cpu and torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_amx_tile_supported()


BLOG_RECIPE: dict[str, Any] = {
    "score": "dot",
    "description_share": 1.0,
    "near_duplicate_cosine": None,
    "boundary_weight": 0.0,
    "retention_weight": 0.0,
    "crop_share": 0.0,
    "plain_share": 0.0,
}
"""Where the recipe of the NuNER blog post differs from our defaults."""


@dataclass
class PretrainingArguments(TrainingArguments):
    """Arguments of `accelerate launch -m nerfound.pretraining` and `nerfound pretrain`.

    Every field of `transformers.TrainingArguments` is one too; the defaults that differ are redefined here.
    """

    objective: Literal["contrast", "fixed-ontology"] = field(
        default="contrast",
        metadata={
            "help": "'contrast': token and concept encoder; 'fixed-ontology': the baseline, a token classifier for the "
            "most frequent concepts, which has no use for concept_encoder, score, projection_dim, description_share "
            "and near_duplicate_cosine."
        },
    )
    num_concepts: int = field(
        default=315,
        metadata={"help": "Concepts that the fixed-ontology objective learns, the most frequent ones."},
    )
    recipe: Literal["nerfound", "blog"] = field(
        default="nerfound",
        metadata={
            "help": "'blog': the recipe of the NuNER blog post, namely --score dot --description_share 1, no near "
            "duplicates, augmentation, boundary or retention loss; an argument given beside it wins."
        },
    )
    corpus: str = field(
        default="default",
        metadata={"help": "'default' (the packaged corpus), a .txt, .jsonl, .parquet or .csv file, or a datasets id."},
    )
    languages: list[str] = field(
        default_factory=lambda: ["English"],
        metadata={"help": "Languages of the passages to train on; 'all' for every language of the corpus."},
    )
    token_encoder: str = field(
        default=DEFAULT_ENCODER, metadata={"help": "Hub id or folder of the encoder that becomes the foundation."}
    )
    concept_encoder: str = field(
        default=DEFAULT_ENCODER, metadata={"help": "Hub id or folder of the encoder of concept names."}
    )
    token_layers: list[int] = field(
        default_factory=lambda: [-1], metadata={"help": "Hidden states that make a token vector, e.g. -1 -7."}
    )
    score: Literal["cosine", "dot"] = field(
        default="cosine",
        metadata={"help": "'cosine': normalised, with learned scale and bias; 'dot': the blog's raw product."},
    )
    projection_dim: int | None = field(
        default=None, metadata={"help": "Size of the common space; none by default (the encoders' own)."}
    )
    trainable_layers: int | None = field(
        default=None, metadata={"help": "Layers trained at the top of each encoder; by default the top half."}
    )
    dropout: float = field(
        default=0.0, metadata={"help": "Dropout while training; drawing it doubles the time of a step on a CPU."}
    )
    lora_rank: int = field(default=0, metadata={"help": "Train LoRA adapters of this rank instead of whole layers."})
    description_share: float = field(
        default=0.7, metadata={"help": "Share of concepts shown with their description; the others by name alone."}
    )
    near_duplicate_cosine: float | None = field(
        default=0.75,
        metadata={
            "help": "Concepts of a batch whose names' vectors are at least this close are no negatives of each other. "
            "A value above 1 switches it off."
        },
    )
    boundary_weight: float = field(
        default=0.5,
        metadata={
            "help": "Weight of the boundary loss beside the contrast (where mentions of any concept begin), or 0."
        },
    )
    retention_weight: float = field(
        default=0.5,
        metadata={
            "help": "Weight of the retention loss (what the last layer forgets of the middle one) while training, or 0."
        },
    )
    crop_share: float = field(
        default=0.5, metadata={"help": "Share of passages of which only a random piece is shown, anew in every epoch."}
    )
    plain_share: float = field(default=0.3, metadata={"help": "Share of passages that are shown without punctuation."})
    held_out: float = field(default=0.05, metadata={"help": "Share of the passages held out for evaluation."})
    max_tokens: int = field(default=256, metadata={"help": "Most tokens of a passage; longer ones are cut, counted."})
    limit: int | None = field(default=None, metadata={"help": "Train on this many passages only (a seeded sample)."})

    output_dir: str = field(default="foundation", metadata={"help": "Folder of checkpoints and the trained model."})
    per_device_train_batch_size: int = field(default=32, metadata={"help": "Passages per step and process."})
    per_device_eval_batch_size: int = field(default=64, metadata={"help": "Passages per evaluation step."})
    num_train_epochs: float = field(default=3.0, metadata={"help": "Passes over the corpus."})
    learning_rate: float = field(default=4e-4, metadata={"help": "Peak learning rate."})
    warmup_steps: float = field(default=0.1, metadata={"help": "Warm-up steps; below 1 a share of all steps."})
    weight_decay: float = field(default=0.01, metadata={"help": "Weight decay."})
    bf16: bool | None = field(
        default=None, metadata={"help": "bfloat16 mixed precision; by default wherever the hardware is fast at it."}
    )
    logging_steps: float = field(default=20, metadata={"help": "Steps between two log lines."})
    eval_strategy: str = field(default="epoch", metadata={"help": "When to evaluate: no, steps or epoch."})
    save_strategy: str = field(default="epoch", metadata={"help": "When to save: no, steps or epoch."})
    save_total_limit: int | None = field(default=2, metadata={"help": "Checkpoints kept."})
    use_cpu: bool = field(default=False, metadata={"help": "Train on CPUs; by default where there is no accelerator."})
    disable_tqdm: bool | None = field(default=None, metadata={"help": "No progress bar; by default none in a pipe."})
    hub_strategy: str = field(
        default="end", metadata={"help": "With --push_to_hub: when to push; 'end' is one commit of the trained model."}
    )
    remove_unused_columns: bool = field(default=False, metadata={"help": "Leave as it is."})

    def __post_init__(self) -> None:
        # Without `use_cpu`, transformers refuses bfloat16 on a machine that has no accelerator
        launched_on_cpu = strtobool(os.environ.get("ACCELERATE_USE_CPU", "False"))
        self.use_cpu = self.use_cpu or bool(launched_on_cpu) or not torch.accelerator.is_available()
        if self.bf16 is None:
            self.bf16 = not self.fp16 and bf16_is_fast(self.use_cpu)
        if self.disable_tqdm is None:
            self.disable_tqdm = not sys.stderr.isatty()
        super().__post_init__()
        self._check("recipe", self.recipe in {"nerfound", "blog"}, "nerfound or blog")
        if self.recipe == "blog":
            self._follow_blog()
        self._check("objective", self.objective in {"contrast", "fixed-ontology"}, "contrast or fixed-ontology")
        self._check("description_share", 0 <= self.description_share <= 1, "a share from 0 to 1")
        self._check("crop_share", 0 <= self.crop_share <= 1, "a share from 0 to 1")
        self._check("plain_share", 0 <= self.plain_share <= 1, "a share from 0 to 1")
        self._check("held_out", 0 < self.held_out < 1, "a share above 0 and below 1")
        self._check("dropout", 0 <= self.dropout < 1, "a share from 0, below 1")
        self._check("boundary_weight", self.boundary_weight >= 0, "a weight from 0")
        self._check("retention_weight", self.retention_weight >= 0, "a weight from 0")
        self._check("max_tokens", self.max_tokens >= 3, "at least 3, special tokens included")
        self._check("lora_rank", self.lora_rank >= 0, "a rank above 0, or 0 to train whole layers")
        for name in ("limit", "num_concepts", "projection_dim"):
            value = getattr(self, name)
            self._check(name, value is None or value >= 1, "at least 1")

    @property
    def augmentation(self) -> Augmentation:
        """What is done to the passages that are trained on."""
        return Augmentation(self.crop_share, self.plain_share)

    def _follow_blog(self) -> None:
        defaults = {field.name: field.default for field in fields(self)}
        for name, value in BLOG_RECIPE.items():
            if getattr(self, name) == defaults[name]:
                setattr(self, name, value)

    def _check(self, name: str, fits: bool, mend: str) -> None:
        if not fits:
            raise ValueError(f"--{name} {getattr(self, name)}: give {mend}.")
