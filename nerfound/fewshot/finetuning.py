"""Fine-tuning of a recognizer on its support set: all weights, or LoRA adapters; needs the extra `nerfound[train]`."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from transformers import EarlyStoppingCallback, PreTrainedTokenizerBase, Trainer, TrainingArguments

from ..modeling_nuner import IGNORED, NuNerForTokenClassification
from ..windows import Window, pad_windows
from .embedding import token_labels, windows_of
from .formats import SupportSet

_HELD_OUT_SHARE = 0.2
_FEWEST_HELD_OUT = 4
"""Fewer examples than this cannot tell when to stop: then all are trained on, for the given epochs."""


def finetune(
    recognizer: NuNerForTokenClassification,
    support: SupportSet,
    *,
    mode: Literal["full", "lora"],
    batch_size: int = 8,
    seed: int = 0,
    patience: int = 3,
    lora_rank: int = 16,
    **arguments: Any,
) -> NuNerForTokenClassification:
    """Fine-tune a recognizer whose head is fitted already, with early stopping on a fifth of the examples.

    Args:
        recognizer (`NuNerForTokenClassification`): with a head; it is copied, not changed.
        support (`SupportSet`)
        mode (`"full"` or `"lora"`): all weights, or adapters in every linear layer of the encoder and the head.
        batch_size (`int`): windows per step.
        seed (`int`): of the split, the order of the examples and dropout.
        patience (`int`): epochs without improvement before stopping.
        lora_rank (`int`)
        arguments: further fields of `transformers.TrainingArguments`.

    Returns:
        [`NuNerForTokenClassification`]: adapters merged; `config.fitted` says how it was trained.
    """
    model = copy.deepcopy(recognizer)
    tokenizer = recognizer.tokenizer
    concepts, nested = list(support.concepts), model.config.nested
    items = _labelled_windows(model, support, concepts, nested)
    train, held_out = _split(items, seed)
    defaults: dict[str, Any] = {
        "num_train_epochs": 20,
        "learning_rate": 2e-5 if mode == "full" else 2e-4,
        "warmup_steps": 0.1,
        "weight_decay": 0.01,
        "logging_strategy": "no",
        "disable_tqdm": None,
        "dataloader_pin_memory": False,  # gains nothing on so little data, and warns where there is no GPU
    }
    if held_out:
        defaults |= {
            "eval_strategy": "epoch",
            "save_strategy": "epoch",
            "save_total_limit": 1,
            "load_best_model_at_end": True,
            "metric_for_best_model": "eval_loss",
        }
    else:
        defaults |= {"save_strategy": "no"}
    with tempfile.TemporaryDirectory(prefix="nerfound-finetune-") as folder:
        args = TrainingArguments(
            **(
                {"output_dir": folder}
                | defaults
                | {"per_device_train_batch_size": batch_size, "seed": seed, "remove_unused_columns": False}
                | arguments
            )
        )
        trainer = Trainer(
            model=_with_lora(model, lora_rank) if mode == "lora" else model.requires_grad_(True),
            args=args,
            train_dataset=train,
            eval_dataset=held_out or None,
            data_collator=_WindowCollator(tokenizer),
            callbacks=[EarlyStoppingCallback(patience)] if held_out else None,
        )
        trainer.train()
        tuned = trainer.accelerator.unwrap_model(trainer.model)
        training = {
            "epochs": trainer.state.epoch,
            "learning_rate": args.learning_rate,
            "batch_size": args.per_device_train_batch_size,
            "seed": args.seed,
            "held_out_loss": trainer.state.best_metric,
        }
    tuned = tuned.merge_and_unload() if mode == "lora" else tuned
    tuned.tokenizer = tokenizer
    tuned.config.fitted = {"training": {name: value for name, value in training.items() if value is not None}}
    return tuned.requires_grad_(False).cpu().eval()


def _labelled_windows(
    model: NuNerForTokenClassification,
    support: SupportSet,
    concepts: list[str],
    nested: bool,
) -> list[tuple[Window, np.ndarray]]:
    windows = windows_of(model, support.examples)
    return [
        (window, token_labels(window, support.examples[window.text].entities, concepts, nested=nested))
        for window in windows
    ]


def _split(items: list[tuple[Window, np.ndarray]], seed: int) -> tuple[list[Any], list[Any]]:
    """Windows to train on, and those of a fifth of the texts, held out; none where there are too few texts."""
    texts = np.unique([window.text for window, _ in items])
    count = int(len(texts) * _HELD_OUT_SHARE)
    if count < _FEWEST_HELD_OUT:
        return items, []
    held_out = set(np.random.default_rng(seed).permutation(texts)[:count].tolist())
    return (
        [item for item in items if item[0].text not in held_out],
        [item for item in items if item[0].text in held_out],
    )


class _WindowCollator:
    """Batches of labelled windows, padded on the right."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer

    def __call__(self, items: Sequence[tuple[Window, np.ndarray]]) -> dict[str, Tensor]:
        labels = [torch.from_numpy(label) for _, label in items]
        return {
            **pad_windows([window for window, _ in items], self.tokenizer),
            "labels": torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=IGNORED),
        }


def _with_lora(model: NuNerForTokenClassification, rank: int) -> Any:
    from peft import LoraConfig, get_peft_model

    targets = [
        name
        for name, module in model.token_encoder.named_modules(prefix="token_encoder")
        if isinstance(module, torch.nn.Linear)
    ]
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets, modules_to_save=["classifier"])
    return get_peft_model(model, config)
