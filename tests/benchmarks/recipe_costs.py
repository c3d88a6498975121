"""Estimate what the recipes of docs/recipes.md need, from the encoders' configurations: no weights, no training.

    python -m tests.benchmarks.recipe_costs

Passages and concepts are counted on the packaged corpus with the tokenizer of all-MiniLM-L6-v2, the rest is arithmetic:
a forward pass costs 2 FLOPs per weight of a layer and token, and 4 × tokens × length × width for attention; the
backward pass of a trained layer costs twice its forward pass. Memory is float32 weights, 12 more bytes for every
trained weight (gradient and AdamW), and 34 × tokens × width bytes of activations per trained layer in bfloat16.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from datasets import Dataset
from transformers import (
    AutoConfig,
    AutoTokenizer,
    BertConfig,
    DebertaV2Config,
    ModernBertConfig,
    PreTrainedConfig,
    RobertaConfig,
)

from nerfound.concepts import Concept
from nerfound.corpus import load_packaged_corpus
from nerfound.encoders_nuner import build_encoder, encoder_layers, train_top_layers
from nerfound.offline import DEFAULT_ENCODER, resolve_encoder

BATCH, EPOCHS = 32, 3
CONCEPT_ENCODER = AutoConfig.from_pretrained(resolve_encoder(DEFAULT_ENCODER))
RECIPES: dict[str, tuple[PreTrainedConfig, str]] = {  # the published configurations, as far as they decide on size
    DEFAULT_ENCODER: (CONCEPT_ENCODER, "English"),
    "FacebookAI/roberta-base": (
        RobertaConfig(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1),
        "English",
    ),
    "answerdotai/ModernBERT-base": (ModernBertConfig(vocab_size=50368), "English"),
    "deberta-v3-base": (
        DebertaV2Config(
            vocab_size=128100,
            hidden_size=768,
            num_hidden_layers=12,
            num_attention_heads=12,
            intermediate_size=3072,
            type_vocab_size=0,
            relative_attention=True,
            position_buckets=256,
            norm_rel_ebd="layer_norm",
            share_att_key=True,
            pos_att_type=["p2c", "c2p"],
            position_biased_input=False,
        ),
        "English",
    ),
    "google-bert/bert-base-multilingual-cased": (BertConfig(vocab_size=119547), "all"),
    "jhu-clsp/mmBERT-base": (ModernBertConfig(vocab_size=256000), "all"),
}


class Size(NamedTuple):
    """Weights of an encoder: all, those trained by default, and those of one layer."""

    weights: int
    trained: int
    layer: int
    layers: int
    trained_layers: int
    width: int


def main() -> None:
    lengths = {
        name: _lengths(load_packaged_corpus(languages))
        for name, languages in (("English", ["English"]), ("all", "all"))
    }
    concepts = encoder_size(CONCEPT_ENCODER)
    print(f"| base | weights | trained | memory | {EPOCHS} epochs |\n|---|---|---|---|---|")
    for name, (config, languages) in RECIPES.items():
        tokens = encoder_size(config)
        passages, length, per_batch, concept_length = lengths[languages]
        steps = EPOCHS * -(-passages // BATCH)
        flops = steps * (step_flops(tokens, BATCH, length) + step_flops(concepts, per_batch, concept_length))
        memory = bytes_needed(tokens, BATCH * length) + bytes_needed(concepts, per_batch * concept_length)
        print(
            f"| `{name}` | {tokens.weights / 1e6:.0f} M | {tokens.trained / 1e6:.0f} M | {memory / 2**30:.1f} GiB | "
            f"{flops / 1e15:.1f} PFLOP |"
        )


def encoder_size(config: PreTrainedConfig) -> Size:
    """Count an encoder's weights without making them."""
    with torch.device("meta"):
        encoder = build_encoder(config)
    train_top_layers(encoder)
    layers = encoder_layers(encoder)
    return Size(
        _count(encoder.parameters()),
        _count(parameter for parameter in encoder.parameters() if parameter.requires_grad),
        _count(layers[-1].parameters()),
        len(layers),
        len(layers) // 2,
        config.hidden_size,
    )


def step_flops(size: Size, rows: float, length: float) -> float:
    """Floating-point operations of one step over `rows` texts of `length` tokens."""
    tokens = rows * length
    forward = 2 * size.layer * tokens + 4 * tokens * length * size.width
    return forward * (size.layers + 2 * size.trained_layers)


def bytes_needed(size: Size, tokens: float) -> float:
    """Memory of one step over so many tokens."""
    return 4 * size.weights + 12 * size.trained + 34 * tokens * size.width * size.trained_layers


def _lengths(corpus: Dataset) -> tuple[int, float, float, float]:
    """Passages; tokens of the longest passage of a batch; concepts of a batch; tokens of the longest concept."""
    tokenizer = AutoTokenizer.from_pretrained(resolve_encoder(DEFAULT_ENCODER))
    batches = list(corpus.shuffle(seed=0).select(range(50 * BATCH)).iter(BATCH))
    longest, counts, widest = [], [], []
    for batch in batches:
        found = {entity["concept"]: entity["description"] for entities in batch["entities"] for entity in entities}
        longest.append(max(map(len, tokenizer(batch["text"]).input_ids)))
        counts.append(len(found))
        widest.append(max(map(len, tokenizer([Concept(*pair).text for pair in found.items()]).input_ids)))
    return len(corpus), *(sum(values) / len(values) for values in (longest, counts, widest))


def _count(parameters: Iterable[torch.nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)


if __name__ == "__main__":
    main()
