"""The baseline objective: the corpus's most frequent concepts as an ordinary, fixed set of labels.

This is what the NuNER blog post calls the naive approach, and how its NER Corpus baseline is trained: a linear layer on
the token encoder, one softmax per token. Concepts that are not among the labels teach nothing.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from transformers import AutoTokenizer, EvalPrediction

from ..concepts import concept_key
from ..encoders_nuner import train_top_layers
from ..modeling_nuner import IGNORED, NuNerForTokenClassification
from ..offline import resolve_encoder
from .arguments import PretrainingArguments
from .collator import PassageCollator, covered_tokens
from .preparation import prepare, with_lora
from .trainer import FoundationTrainer

logger = logging.getLogger(__name__)


def fixed_ontology_trainer(args: PretrainingArguments, train: Dataset, held_out: Dataset) -> FoundationTrainer:
    """The Trainer of a token classifier for the `args.num_concepts` most frequent concepts of these passages.

    Raises:
        ValueError: if the passages to train on have no entities.
    """
    counts = Counter(entity["concept"] for row in train.select_columns("entities") for entity in row["entities"])
    ontology = most_frequent_concepts(counts, args.num_concepts)
    if not ontology:
        raise ValueError(f"--corpus {args.corpus}: its passages have no entities, so that there are no concepts.")
    learned = sum(count for name, count in counts.items() if concept_key(name) in ontology)
    logger.info(
        f"{len(train):,} passages to train on, {len(held_out):,} held out; their {len(ontology):,} most frequent "
        f"concepts, with {learned / counts.total():.0%} of the mentions, are the labels"
    )
    token_encoder = resolve_encoder(args.token_encoder)
    tokenizer = AutoTokenizer.from_pretrained(token_encoder)
    model = NuNerForTokenClassification.from_pretrained(token_encoder, token_layers=tuple(args.token_layers))
    labels = 1 + 2 * len(ontology)
    # From zero, as every new head: its own gradient is not zero, so that the encoder learns from the second step on
    head = torch.zeros(labels, model.config.hidden_size), torch.zeros(labels)
    model.set_head(*head, dict.fromkeys(ontology.values(), ""))
    train_top_layers(model.token_encoder, args.trainable_layers)
    prepare(model, args)
    args.batch_eval_metrics = True  # TokenMicroF1 counts batch by batch, so that no predictions are kept
    return FoundationTrainer(
        model=with_lora(model, args.lora_rank) if args.lora_rank else model,
        args=args,
        data_collator=FixedOntologyCollator(
            tokenizer,
            list(ontology),
            max_tokens=min(args.max_tokens, model.config.max_input_tokens),
            augmentation=args.augmentation,
            seed=args.seed,
        ),
        train_dataset=train,
        eval_dataset=held_out,
        processing_class=tokenizer,
        compute_metrics=TokenMicroF1(),
        preprocess_logits_for_metrics=lambda logits, labels: logits.argmax(-1),
    )


def most_frequent_concepts(counts: Mapping[str, int], count: int) -> dict[str, str]:
    """The most frequent concepts, most frequent first; those equally frequent in the order of their keys.

    Args:
        counts (`Mapping[str, int]`): mentions of each concept name, spellings apart.
        count (`int`): concepts wanted; all where there are fewer.

    Returns:
        `dict[str, str]`: `concept_key` and label of each, the label being its most frequent spelling.
    """
    totals: Counter[str] = Counter()
    spellings: dict[str, str] = {}
    for name, mentions in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        totals[concept_key(name)] += mentions
        spellings.setdefault(concept_key(name), name)
    ranked = sorted(totals, key=lambda key: (-totals[key], key))
    return {key: spellings[key] for key in ranked[:count]}


@dataclass
class FixedOntologyCollator(PassageCollator):
    """Turns rows of a concept corpus into a batch for [`NuNerForTokenClassification`], with BIO labels.

    A mention of any other concept is no evidence of "outside": its tokens are ignored (-100), as are special tokens,
    unless they lie in a mention of a known concept too. Of several known mentions a token takes the shortest, and of
    equally long ones that of the most frequent concept. The first token of a mention is B, all further ones are I.

    Args:
        tokenizer (`PreTrainedTokenizerBase`): fast tokenizer of the token encoder.
        keys (`Sequence[str]`): `concept_key` of the known concepts, in the order of the labels, most frequent first.
        max_tokens, augmentation, seed: as for [`PassageCollator`].
    """

    keys: Sequence[str]

    def __post_init__(self) -> None:
        self._ranks = {key: rank for rank, key in enumerate(self.keys)}

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """Collate rows with `id`, `text` and `entities` (see `CORPUS_FEATURES`)."""
        rows = self.augment(rows, self.generator(rows))
        tokens, offsets = self.tokenize(rows)
        special = tokens.pop("special_tokens_mask").bool() | ~tokens["attention_mask"].bool()
        labels = torch.from_numpy(
            np.stack([self._label(row["entities"], where) for row, where in zip(rows, offsets, strict=True)])
        )
        labels[special] = IGNORED
        if (labels == IGNORED).all():
            labels[:, 0] = 0  # the mean loss of no token at all is not a number: a special token is "outside" here
        return {**tokens, "labels": labels}

    def _label(self, entities: Iterable[dict[str, Any]], offsets: np.ndarray) -> np.ndarray:
        """int64 labels `(tokens,)`: 0 outside, `1 + 2 × rank` begin, `2 + 2 × rank` inside."""
        labels = np.zeros(len(offsets), dtype=np.int64)
        for entity in sorted(entities, key=self._precedence):
            inside = np.flatnonzero(covered_tokens(offsets, entity))
            rank = self._ranks.get(concept_key(entity["concept"]))
            if rank is None:
                labels[inside] = IGNORED
            else:
                labels[inside] = 2 + 2 * rank
                labels[inside[:1]] = 1 + 2 * rank  # none, if the mention was cut off
        return labels

    def _precedence(self, entity: dict[str, Any]) -> tuple[bool, int, int]:
        """Sorts the mention that a token is to take behind the others, which it overwrites."""
        rank = self._ranks.get(concept_key(entity["concept"]))
        return rank is not None, entity["start"] - entity["end"], -(rank or 0)


class TokenMicroF1:
    """Micro-F1 over the tokens of all concepts, B and I of a concept being the same; counted batch by batch."""

    def __init__(self) -> None:
        self._right = self._positive = 0

    def __call__(self, batch: EvalPrediction, compute_result: bool) -> dict[str, float]:
        """Count a batch of label ids `(batch, tokens)`; the score of all batches where `compute_result` says so."""
        scored = batch.label_ids != IGNORED
        predicted, true = ((ids[scored] + 1) // 2 for ids in (batch.predictions, batch.label_ids))
        self._right += int(((predicted == true) & (true > 0)).sum())
        self._positive += int((predicted > 0).sum()) + int((true > 0).sum())
        if not compute_result:
            return {}
        f1 = 2 * self._right / self._positive if self._positive else 0.0
        self._right = self._positive = 0
        return {"token_micro_f1": f1}
