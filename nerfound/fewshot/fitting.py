"""`nerfound.fit`: from a handful of examples to a recognizer."""

from __future__ import annotations

import copy
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from ..configuration_nuner import NuNerConfig
from ..modeling_nuner import NuNerForConceptContrast, NuNerForTokenClassification
from ..offline import DEFAULT_ENCODER, resolve_encoder
from ..provenance import public_name, recorded
from .embedding import EmbeddedExamples, embed_examples
from .formats import SupportSet, parse_examples, read_examples
from .heads import choose_l2, fit_linear_head

logger = logging.get_logger(__name__)

Mode = Literal["head", "full", "lora"]
_OF_A_PUSH = {"push_to_hub", "hub_model_id", "hub_private_repo", "hub_revision", "hub_token"}


def fit(
    examples: Iterable[Any] | str | os.PathLike[str] | SupportSet,
    *,
    foundation: str | os.PathLike[str] | PreTrainedModel = DEFAULT_ENCODER,
    concepts: Mapping[str, str] | None = None,
    nested: bool = False,
    mode: Mode = "head",
    l2: float | None = None,
    token_layers: tuple[int, ...] | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    batch_size: int = 32,
    seed: int = 0,
    **finetuning: Any,
) -> NuNerForTokenClassification:
    """Fit an entity recognizer on a few labelled examples.

    By default the encoder stays frozen: the examples are embedded once, and a linear BIO head is fitted on their token
    vectors, in seconds; its penalty is chosen by cross-validation on the examples.

    Args:
        examples: texts with inline markup (`"book a table at [Nobu](restaurant)"`), `{"text", "entities"}` or
            `{"tokens", "tags"}` dicts, a `datasets` dataset of such rows, or the path of a file of them; see
            `nerfound.fewshot.parse_examples` and `read_examples`.
        foundation (`str` or model): Hub id or folder of a foundation, of a dual encoder or of any plain encoder.
        concepts (`Mapping[str, str]`, *optional*): names and descriptions of the concepts; those of the examples by
            default.
        nested (`bool`): fit every concept on its own, so that entities may overlap.
        mode (`"head"`, `"full"` or `"lora"`): the head alone, or then all weights, or LoRA adapters and the head.
        l2 (`float`, *optional*): penalty of the head; cross-validated by default.
        token_layers (`tuple[int]`, *optional*): hidden states that make a token vector; the foundation's by default.
        tokenizer (`PreTrainedTokenizerBase`, *optional*): the foundation's own by default.
        batch_size (`int`): windows embedded, or trained on, at a time.
        seed (`int`): of fine-tuning; fitting a head is deterministic.
        finetuning: further fields of `transformers.TrainingArguments` for `"full"` and `"lora"`. In every mode,
            `push_to_hub=True` with `hub_model_id` (and `hub_private_repo`, `hub_revision`, `hub_token`) pushes the
            recognizer with its card.

    Returns:
        [`NuNerForTokenClassification`]: use it with `pipeline("few-shot-ner", model=recognizer)`.

    Raises:
        ValueError: if an example is malformed: its number, the value and the mend are named.
    """
    if mode not in {"head", "full", "lora"}:
        raise ValueError(f"mode={mode!r}: give 'head', 'full' or 'lora'.")
    push = {name: finetuning.pop(name) for name in _OF_A_PUSH & finetuning.keys()}
    if push.get("push_to_hub") and not push.get("hub_model_id"):
        raise ValueError("push_to_hub=True needs hub_model_id='namespace/name'.")
    if finetuning and mode == "head":
        raise TypeError(f"fit() takes no {', '.join(sorted(finetuning))} with mode='head'.")
    support = as_support_set(examples, concepts, nested)
    recognizer = load_foundation(foundation, tokenizer=tokenizer, token_layers=token_layers)
    embedded = embed_examples(recognizer, support.examples, batch_size=batch_size)
    fit_head(recognizer, embedded, support.concepts, nested=nested, l2=l2)
    if mode != "head":
        from .finetuning import finetune  # needs the extra nerfound[train]

        recognizer = finetune(recognizer, support, mode=mode, batch_size=batch_size, seed=seed, **finetuning)
    origin = foundation.name_or_path if isinstance(foundation, PreTrainedModel) else foundation
    recognizer.config.fitted = recorded(
        foundation=public_name(origin) if origin else None,
        mode=mode,
        examples=len(support.examples),
        mentions=dict(Counter(entity.label for example in support.examples for entity in example.entities)),
        **(recognizer.config.fitted or {}),
    )
    if push.get("push_to_hub"):
        names = {"hub_private_repo": "private", "hub_token": "token", "hub_revision": "revision"}
        recognizer.push_to_hub(push["hub_model_id"], **{names[key]: push[key] for key in names.keys() & push.keys()})
    return recognizer


def as_support_set(
    examples: Iterable[Any] | str | os.PathLike[str] | SupportSet, concepts: Mapping[str, str] | None, nested: bool
) -> SupportSet:
    """Examples in any accepted form, parsed and checked."""
    if isinstance(examples, SupportSet):
        return examples
    if isinstance(examples, str | os.PathLike):
        return read_examples(examples, concepts=concepts, nested=nested)
    return parse_examples(examples, concepts=concepts, nested=nested)


def load_foundation(
    foundation: str | os.PathLike[str] | PreTrainedModel,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    token_layers: tuple[int, ...] | None = None,
) -> NuNerForTokenClassification:
    """A headless model on the token encoder of `foundation`.

    The encoder of a model given is shared: it is put in evaluation mode, but its weights are never changed.
    """
    if isinstance(foundation, str | os.PathLike):
        foundation = NuNerForTokenClassification.from_pretrained(resolve_encoder(str(foundation)))
        if foundation.classifier is not None:
            logger.warning(f"{foundation.name_or_path}: took its token encoder; dropped its head.")
    own = isinstance(foundation, NuNerForTokenClassification | NuNerForConceptContrast)
    encoder = foundation.token_encoder if own else foundation.base_model
    layers = token_layers or (foundation.config.token_layers if own else (-1,))
    config = NuNerConfig(token_config=copy.deepcopy(encoder.config), token_layers=layers)
    with torch.device("meta"):  # an empty shell around the encoder that is there already
        model = NuNerForTokenClassification(config)
    model.token_encoder = encoder
    model.name_or_path = model.config._name_or_path = foundation.name_or_path
    if tokenizer is not None:
        model.tokenizer = tokenizer
    elif isinstance(foundation, NuNerForTokenClassification):
        model.tokenizer = foundation.tokenizer
    return model.eval()


def fit_head(
    recognizer: NuNerForTokenClassification,
    embedded: EmbeddedExamples,
    concepts: Mapping[str, str],
    *,
    nested: bool = False,
    l2: float | None = None,
) -> None:
    """Fit the head of a recognizer on embedded examples and put it in place."""
    vectors, labels, groups = embedded.training_data(list(concepts), nested=nested)
    num_labels = 1 + 2 * len(concepts)
    if l2 is None:
        l2 = choose_l2(vectors, labels, groups, num_labels, nested=nested)
    head = fit_linear_head(vectors, labels, num_labels, l2=l2, nested=nested)
    recognizer.set_head(head.weight, head.bias, dict(concepts), nested=nested)
