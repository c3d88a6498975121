"""Concept vectors, and how well a dual encoder ranks by them: mean average precision of a mention's true concepts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase

from ..concepts import Concept, concept_key
from ..configuration_nuner import NuNerConfig
from ..modeling_nuner import NuNerForConceptContrast
from ..offline import DEFAULT_ENCODER, resolve_encoder

CONCEPT_TOKENIZER_FOLDER = "concept_tokenizer"
"""Where a dual encoder's checkpoint keeps the tokenizer of its concept encoder."""


def concept_name_encoder(encoder: str = DEFAULT_ENCODER) -> Callable[[Sequence[str]], Tensor]:
    """A function that gives concept names their vectors: `(names, dim)`, float32, on the CPU.

    Args:
        encoder (`str`, *optional*, defaults to all-MiniLM-L6-v2): Hub id or folder of a dual encoder, by whose concept
            encoder to go, or of a plain encoder, whose token vectors are averaged.
    """
    source = resolve_encoder(encoder)
    if PreTrainedConfig.get_config_dict(source)[0].get("model_type") == NuNerConfig.model_type:
        model = NuNerForConceptContrast.from_pretrained(source).eval()
        tokenizer = load_concept_tokenizer(source)
    else:
        model = NuNerForConceptContrast.from_encoders(source, source)
        tokenizer = AutoTokenizer.from_pretrained(source)
    return lambda names: encode_concept_texts(model, tokenizer, names)


def load_concept_tokenizer(dual_encoder: str, **hub_kwargs: Any) -> PreTrainedTokenizerBase:
    """The tokenizer of a dual encoder's concept encoder, from its folder or Hub id."""
    return AutoTokenizer.from_pretrained(dual_encoder, **hub_kwargs, subfolder=CONCEPT_TOKENIZER_FOLDER)


@torch.no_grad()
def encode_concept_texts(
    model: NuNerForConceptContrast, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], batch_size: int = 512
) -> Tensor:
    """Concept vectors of texts, `(len(texts), dim)`, float32 on the CPU, in batches."""
    batches = []
    for start in range(0, len(texts), batch_size):
        encoded = tokenizer(
            list(texts[start : start + batch_size]), padding=True, truncation=True, max_length=64, return_tensors="pt"
        ).to(model.device)
        batches.append(model.encode_concepts(encoded["input_ids"], encoded["attention_mask"]).float().cpu())
    return torch.cat(batches)


@torch.no_grad()
def concept_ranking(
    model: NuNerForConceptContrast,
    tokenizer: PreTrainedTokenizerBase,
    concept_tokenizer: PreTrainedTokenizerBase,
    rows: Iterable[Mapping[str, Any]],
    seen: Set[str],
    batch_size: int = 64,
) -> dict[str, float]:
    """Rank all concepts of some passages for each of their mentions.

    A mention's vector is the mean of its tokens'. The true concepts of a mention are all those annotated on its span.

    Args:
        rows: passages of a concept corpus, such as a `datasets.Dataset`; they are read twice.
        seen (`Set[str]`): `concept_key` of the concepts that were trained on.

    Returns:
        `dict[str, float]`: `map`, the mean average precision over all mentions; `map_unseen`, over the mentions that
        have a concept never seen in training, and for that concept; 0 where there is none.
    """
    concepts: dict[str, Concept] = {}
    for row in rows:
        for entity in row["entities"]:
            concepts.setdefault(concept_key(entity["concept"]), Concept(entity["concept"], entity["description"]))
    if not concepts:
        return {"map": 0.0, "map_unseen": 0.0}
    column = {key: i for i, key in enumerate(concepts)}
    concept_vectors = encode_concept_texts(model, concept_tokenizer, [concept.text for concept in concepts.values()])
    unseen = torch.tensor([key not in seen for key in concepts])
    precisions: list[Tensor] = []
    unseen_precisions: list[Tensor] = []
    remaining = iter(rows)
    while batch := list(islice(remaining, batch_size)):
        vectors, truth = _mentions(model, tokenizer, batch, column)
        if not len(vectors):
            continue
        scores = vectors @ concept_vectors.T
        precisions.append(_average_precision(scores, truth))
        new = truth & unseen
        if new.any():
            unseen_precisions.append(_average_precision(scores[new.any(1)], new[new.any(1)]))
    return {"map": _mean(precisions), "map_unseen": _mean(unseen_precisions)}


def _mentions(
    model: NuNerForConceptContrast,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Mapping[str, Any]],
    column: Mapping[str, int],
) -> tuple[Tensor, Tensor]:
    """Vectors `(mentions, dim)` of the passages' distinct spans and their true concepts `(mentions, concepts)`."""
    encoded = tokenizer(
        [row["text"] for row in rows],
        padding=True,
        truncation=True,
        max_length=model.config.max_input_tokens,
        return_offsets_mapping=True,
        return_tensors="pt",
    )
    offsets = encoded.pop("offset_mapping")
    tokens = model.encode_tokens(**encoded.to(model.device)).float().cpu()
    spans: dict[tuple[int, int, int], set[int]] = {}
    for i, row in enumerate(rows):
        for entity in row["entities"]:
            spans.setdefault((i, entity["start"], entity["end"]), set()).add(column[concept_key(entity["concept"])])
    vectors, truth = [], []
    for (i, start, end), columns in spans.items():
        inside = (offsets[i, :, 0] < end) & (offsets[i, :, 1] > start)
        if inside.any():  # a mention behind the last token that the encoder reads has no vector
            vectors.append(tokens[i, inside].mean(0))
            truth.append(torch.zeros(len(column), dtype=torch.bool).index_fill_(0, torch.tensor(sorted(columns)), True))
    if not vectors:
        return torch.empty(0, tokens.shape[-1]), torch.empty(0, len(column), dtype=torch.bool)
    return torch.stack(vectors), torch.stack(truth)


def _average_precision(scores: Tensor, truth: Tensor) -> Tensor:
    """Average precision of each row: the mean of the precision at the rank of each true concept."""
    hits = truth.gather(1, scores.argsort(dim=1, descending=True)).float()
    precision = hits.cumsum(1) / torch.arange(1, hits.shape[1] + 1)
    return (precision * hits).sum(1) / hits.sum(1)


def _mean(parts: Sequence[Tensor]) -> float:
    return torch.cat(list(parts)).mean().item() if parts else 0.0
