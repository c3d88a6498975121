"""What a run of pre-training leaves about itself beside the model, for its card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from datasets import Dataset

from ..files import write_text_atomically
from ..provenance import RECORD_FILE, public_name, recorded
from .arguments import PretrainingArguments

_TRAINED_WITH = (
    *("score", "projection_dim", "token_layers", "trainable_layers", "lora_rank", "dropout", "max_tokens"),
    *("description_share", "near_duplicate_cosine", "boundary_weight", "retention_weight", "crop_share", "plain_share"),
    "num_concepts",
    *("num_train_epochs", "learning_rate", "warmup_steps", "weight_decay", "per_device_train_batch_size"),
    *("gradient_accumulation_steps", "bf16", "fp16", "seed"),
)
_OF_CONTRAST = {
    *("score", "projection_dim", "description_share", "near_duplicate_cosine", "boundary_weight", "retention_weight"),
}


def write_record(args: PretrainingArguments, train: Dataset, held_out: Dataset) -> None:
    """Write `training.json` into the output folder: encoders, corpus and arguments, none of them a path."""
    contrast = args.objective == "contrast"
    unused = {"num_concepts"} if contrast else _OF_CONTRAST
    arguments: dict[str, Any] = {name: getattr(args, name) for name in _TRAINED_WITH if name not in unused}
    record = recorded(
        objective=args.objective,
        token_encoder=public_name(args.token_encoder),
        concept_encoder=public_name(args.concept_encoder) if contrast else None,
        corpus=public_name(args.corpus),
        languages=sorted(set(train.unique("language")) - {""}),
        passages=len(train),
        held_out_passages=len(held_out),
        processes=args.world_size,
        arguments={name: value for name, value in arguments.items() if value is not None},
    )
    write_text_atomically(Path(args.output_dir) / RECORD_FILE, json.dumps(record, indent=1) + "\n")
