"""The objective of NuNER: every token of a batch against every concept of the batch, by two encoders."""

from __future__ import annotations

import logging

from datasets import Dataset
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from ..concepts import concept_key
from ..modeling_nuner import NuNerForConceptContrast
from ..offline import resolve_encoder
from .arguments import PretrainingArguments
from .collator import ConceptContrastCollator, NearDuplicates
from .preparation import prepare, with_lora
from .ranking import encode_concept_texts
from .trainer import ConceptContrastTrainer

logger = logging.getLogger(__name__)


def contrast_trainer(args: PretrainingArguments, train: Dataset, held_out: Dataset) -> ConceptContrastTrainer:
    """The Trainer of a new dual encoder on these passages."""
    token_encoder, concept_encoder = resolve_encoder(args.token_encoder), resolve_encoder(args.concept_encoder)
    tokenizer, concept_tokenizer = (AutoTokenizer.from_pretrained(name) for name in (token_encoder, concept_encoder))
    model = NuNerForConceptContrast.from_encoders(
        token_encoder,
        concept_encoder,
        trainable_layers=args.trainable_layers,
        token_layers=tuple(args.token_layers),
        score=args.score,
        projection_dim=args.projection_dim,
        boundary_weight=args.boundary_weight,
        retention_weight=args.retention_weight,
    )
    prepare(model, args)
    names = concept_names(train)
    collator = ConceptContrastCollator(
        tokenizer,
        concept_tokenizer,
        description_share=args.description_share,
        max_tokens=min(args.max_tokens, model.config.max_input_tokens),
        augmentation=args.augmentation,
        near_duplicates=near_duplicates(model, concept_tokenizer, names, args.near_duplicate_cosine),
        seed=args.seed,
    )
    logger.info(f"{len(train):,} passages with {len(names):,} concepts to train on; {len(held_out):,} held out")
    return ConceptContrastTrainer(
        model=with_lora(model, args.lora_rank) if args.lora_rank else model,
        args=args,
        data_collator=collator,
        train_dataset=train,
        eval_dataset=held_out,
        processing_class=tokenizer,
        concept_tokenizer=concept_tokenizer,
        seen_concepts=frozenset(names),
    )


def concept_names(corpus: Dataset) -> dict[str, str]:
    """`concept_key` and name of every concept of a corpus, in order of appearance."""
    names: dict[str, str] = {}
    for entities in corpus.select_columns("entities"):
        for entity in entities["entities"]:
            names.setdefault(concept_key(entity["concept"]), entity["concept"])
    return names


def near_duplicates(
    model: NuNerForConceptContrast, tokenizer: PreTrainedTokenizerBase, names: dict[str, str], cosine: float | None
) -> NearDuplicates | None:
    """Near-duplicates by the vectors that the untrained concept encoder gives to the names."""
    if cosine is None or cosine > 1:
        return None
    return NearDuplicates(list(names), encode_concept_texts(model, tokenizer, list(names.values())), cosine)
