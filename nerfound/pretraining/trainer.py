"""The Trainers: what all objectives share, and that of the concept contrast."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Set
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase, Trainer
from transformers.trainer import TRAINING_ARGS_NAME

from .collator import PassageCollator
from .ranking import CONCEPT_TOKENIZER_FOLDER, concept_ranking


class FoundationTrainer(Trainer):
    """`transformers.Trainer` that evaluates on passages as they are, and writes no pickle into models' folders."""

    data_collator: PassageCollator

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """The held-out passages, not augmented."""
        training = self.data_collator
        self.data_collator = dataclasses.replace(training, augmentation=None)
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.data_collator = training

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        super()._save(output_dir, state_dict)
        if self.args.should_save:
            os.remove(os.path.join(output_dir or self.args.output_dir, TRAINING_ARGS_NAME))  # nothing reads it


class ConceptContrastTrainer(FoundationTrainer):
    """[`FoundationTrainer`] that adds the concept ranking to every evaluation and saves both tokenizers.

    Args:
        concept_tokenizer (`PreTrainedTokenizerBase`): of the concept encoder; saved beside the token encoder's.
        seen_concepts (`Set[str]`): `concept_key` of every concept in the training passages.
    """

    def __init__(
        self, *args: Any, concept_tokenizer: PreTrainedTokenizerBase, seen_concepts: Set[str], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.concept_tokenizer = concept_tokenizer
        self.seen_concepts = seen_concepts

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool = False, **kwargs: Any
    ) -> Any:
        """The contrast loss; all scores at once are never needed."""
        output = model(**inputs, return_logits=False)
        return (output.loss, {"loss": output.loss}) if return_outputs else output.loss

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[Tensor, None, None]:
        """Loss only: every batch has concepts of its own, so that scores of batches cannot be gathered."""
        with torch.no_grad(), self.compute_loss_context_manager():
            loss = self.compute_loss(model, self._prepare_inputs(inputs))
        return loss.detach(), None, None

    def evaluate(self, eval_dataset: Any = None, metric_key_prefix: str = "eval", **kwargs: Any) -> dict[str, float]:
        """Loss of the held-out passages, and the ranking of their concepts (`eval_map`, `eval_map_unseen`)."""
        metrics = super().evaluate(eval_dataset, metric_key_prefix=metric_key_prefix, **kwargs)
        model = self.accelerator.unwrap_model(self.model)
        training = model.training
        model.eval()
        with self.compute_loss_context_manager():
            ranking = concept_ranking(
                model,
                self.processing_class,
                self.concept_tokenizer,
                self.eval_dataset if eval_dataset is None else eval_dataset,
                self.seen_concepts,
            )
        model.train(training)
        ranking = {f"{metric_key_prefix}_{name}": value for name, value in ranking.items()}
        self.log(ranking)
        return metrics | ranking

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        super()._save(output_dir, state_dict)
        if self.args.should_save:
            folder = output_dir or self.args.output_dir
            self.concept_tokenizer.save_pretrained(os.path.join(folder, CONCEPT_TOKENIZER_FOLDER))
