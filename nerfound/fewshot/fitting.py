"""`nerfound.fit`: from a handful of examples to a recognizer."""

from __future__ import annotations

import copy
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sized
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from ..configuration_nuner import NuNerConfig
from ..modeling_nuner import NuNerForConceptContrast, NuNerForTokenClassification
from ..offline import DEFAULT_FOUNDATION, resolve_encoder
from ..pretraining.ranking import load_concept_tokenizer
from ..provenance import public_name, recorded, recorded_base
from .embedding import EmbeddedExamples, embed_examples
from .formats import SupportSet, parse_concepts, parse_examples, read_examples
from .heads import LinearHead, choose_l2, fit_linear_head, trust_prior
from .priors import ConceptPrior, HeadPrior

logger = logging.get_logger(__name__)

Mode = Literal["head", "full", "lora"]
Recipe = Literal["nerfound", "blog"]
_OF_A_PUSH = {"push_to_hub", "hub_model_id", "hub_private_repo", "hub_revision", "hub_token"}


def fit(
    examples: Iterable[Any] | str | os.PathLike[str] | SupportSet,
    *,
    foundation: str | os.PathLike[str] | PreTrainedModel = DEFAULT_FOUNDATION,
    concepts: Mapping[str, str] | None = None,
    nested: bool = False,
    mode: Mode = "head",
    recipe: Recipe = "nerfound",
    l2: float | None = None,
    token_layers: tuple[int, ...] | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    batch_size: int = 32,
    seed: int = 0,
    **finetuning: Any,
) -> NuNerForTokenClassification:
    """Fit an entity recognizer on a few labelled examples.

    By default the encoder stays frozen: the examples are embedded once, and a linear BIO head is fitted on their token
    vectors, in seconds. Where the foundation has a concept encoder, the head starts from what that makes of the
    concepts' names and descriptions, so that it works without any example, and each example moves it (see
    `nerfound.fewshot.priors`). Without one, the penalty is chosen by cross-validation on the examples.

    Args:
        examples: texts with inline markup (`"book a table at [Nobu](restaurant)"`), `{"text", "entities"}` or
            `{"tokens", "tags"}` dicts, a `datasets` dataset of such rows, or the path of a file of them; see
            `nerfound.fewshot.parse_examples` and `read_examples`. None at all, `[]`, with a foundation that has a
            concept encoder: the recognizer then goes by `concepts` alone.
        foundation (`str` or model): Hub id or folder of a foundation, of a dual encoder or of any plain encoder.
        concepts (`Mapping[str, str]`, *optional*): names and descriptions of the concepts; those of the examples by
            default.
        nested (`bool`): fit every concept on its own, so that entities may overlap.
        mode (`"head"`, `"full"` or `"lora"`): the head alone, or then all weights, or LoRA adapters and the head.
        recipe (`"nerfound"` or `"blog"`): `"blog"`: no prior, as in the NuNER blog post.
        l2 (`float`, *optional*): penalty of the head; chosen by the examples by default.
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
    if recipe not in {"nerfound", "blog"}:
        raise ValueError(f"recipe={recipe!r}: give 'nerfound' or 'blog'.")
    push = {name: finetuning.pop(name) for name in _OF_A_PUSH & finetuning.keys()}
    if push.get("push_to_hub") and not push.get("hub_model_id"):
        raise ValueError("push_to_hub=True needs hub_model_id='namespace/name'.")
    if finetuning and mode == "head":
        raise TypeError(f"fit() takes no {', '.join(sorted(finetuning))} with mode='head'.")
    support = as_support_set(examples, concepts, nested)
    prior = load_prior(foundation) if recipe == "nerfound" and token_layers is None else None
    if not support.examples and (prior is None or mode != "head"):
        raise ValueError(
            "no example is given: that needs recipe='nerfound', mode='head' and a foundation with a concept encoder, "
            "trained with a boundary loss, such as 'nerfound-mini'."
        )
    origin = foundation.name_or_path if isinstance(foundation, PreTrainedModel) else foundation
    given = prior.model if prior and not isinstance(foundation, PreTrainedModel) else foundation  # loaded once
    recognizer = load_foundation(given, tokenizer=tokenizer, token_layers=token_layers)
    embedded = embed_examples(recognizer, support.examples, batch_size=batch_size)
    fit_head(recognizer, embedded, support.concepts, nested=nested, l2=l2, prior=prior)
    if mode != "head":
        from .finetuning import finetune  # needs the extra nerfound[train]

        recognizer = finetune(recognizer, support, mode=mode, batch_size=batch_size, seed=seed, **finetuning)
    recognizer.config.fitted = recorded(
        foundation=public_name(origin) if origin else None,
        base_model=recorded_base(origin) if origin else None,
        mode=mode,
        recipe="nerfound" if prior else "blog",
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
    if concepts and isinstance(examples, Sized) and not len(examples):
        return SupportSet((), parse_concepts(concepts))
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
    prior: ConceptPrior | None = None,
) -> None:
    """Fit the head of a recognizer on embedded examples and put it in place; without any, the prior is the head."""
    head_prior = prior(concepts) if prior else None
    if embedded.windows:
        head = fit_few_shot_head(
            *embedded.training_data(list(concepts), nested=nested),
            1 + 2 * len(concepts),
            nested=nested,
            l2=l2,
            prior=head_prior,
        )
        weight, bias = head.weight, head.bias
    else:
        assert head_prior is not None
        weight, bias = head_prior.weight, head_prior.bias
    recognizer.set_head(weight, bias, dict(concepts), nested=nested)


def fit_few_shot_head(
    vectors: Tensor,
    labels: Tensor,
    groups: Tensor,
    num_labels: int,
    *,
    nested: bool = False,
    l2: float | None = None,
    prior: HeadPrior | None = None,
) -> LinearHead:
    """Fit a linear head on token vectors: around a prior (see `trust_prior`), or with a cross-validated penalty.

    Args:
        vectors, labels, groups, num_labels, nested: as for `choose_l2`.
        l2 (`float`, *optional*): penalty; chosen by default.
        prior (`HeadPrior`, *optional*): what the head starts from.
    """
    if prior is not None:
        prior, trusted_l2 = trust_prior(prior, labels, groups)
        l2 = trusted_l2 if l2 is None else l2
    elif l2 is None:
        l2 = choose_l2(vectors, labels, groups, num_labels, nested=nested)
    return fit_linear_head(vectors, labels, num_labels, l2=l2, nested=nested, prior=prior)


def load_prior(foundation: str | os.PathLike[str] | PreTrainedModel) -> ConceptPrior | None:
    """The prior that a foundation brings: a dual encoder's, if it was trained with a boundary loss; else `None`.

    A headless model, which has dropped its concept encoder, is traced back to the folder or repository it came from.
    """
    hub: dict[str, Any] = {}
    if isinstance(foundation, NuNerForTokenClassification):
        if not foundation.from_dual_encoder:
            return None
        foundation, hub = foundation.name_or_path, getattr(foundation, "_hub_kwargs", {})
    if isinstance(foundation, str | os.PathLike):
        name = resolve_encoder(str(foundation))
        config = PreTrainedConfig.get_config_dict(name, **hub)[0]
        if config.get("model_type") != NuNerConfig.model_type or not (
            config.get("concept_config") and config.get("boundary_weight")
        ):
            return None
        foundation = NuNerForConceptContrast.from_pretrained(name, **hub)
    if not isinstance(foundation, NuNerForConceptContrast) or foundation.mention_prior is None:
        return None
    return ConceptPrior(foundation, load_concept_tokenizer(foundation.name_or_path, **hub))
