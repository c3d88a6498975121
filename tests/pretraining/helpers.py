"""Tiny encoders with fresh weights and a piece of the packaged corpus: what the tests of training, export and CLI use.

Everything is built on the fly; nothing is downloaded.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertModel,
    ModernBertConfig,
    ModernBertModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from nerfound.corpus import load_packaged_corpus

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}


@functools.cache
def passages(count: int = 60) -> list[dict[str, Any]]:
    """The first English passages of the packaged corpus."""
    return list(load_packaged_corpus().take(count))


def write_passages(path: Path, count: int = 60) -> Path:
    """Write passages as a corpus in JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in passages(count)), encoding="utf-8")
    return path


@functools.cache
def tiny_tokenizer(vocab_size: int = 1000, lowercase: bool = True) -> PreTrainedTokenizerBase:
    """A WordPiece tokenizer trained on the passages; do not change it."""
    core = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    texts = [text for row in passages() for text in (row["text"], *(e["description"] for e in row["entities"]))]
    trainer = trainers.WordPieceTrainer(vocab_size=vocab_size, special_tokens=list(SPECIAL_TOKENS))
    core.train_from_iterator(texts, trainer)
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(token, SPECIAL_TOKENS.index(token)) for token in ("[CLS]", "[SEP]")]
    )
    names = dict(zip(("pad", "unk", "cls", "sep", "mask"), SPECIAL_TOKENS, strict=True))
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        model_max_length=512,
        model_input_names=["input_ids", "attention_mask"],
        **{f"{name}_token": token for name, token in names.items()},
    )


def write_encoder(folder: Path, *, seed: int = 0, modern: bool = False, **config: Any) -> Path:
    """Write a BERT or a ModernBERT with random weights and its tokenizer, as a plain encoder folder."""
    tokenizer = tiny_tokenizer()
    fields = TINY | {"vocab_size": len(tokenizer), "pad_token_id": 0} | config
    torch.manual_seed(seed)
    if modern:
        special = {"cls_token_id": 2, "bos_token_id": 2, "sep_token_id": 3, "eos_token_id": 3}
        encoder = ModernBertModel(ModernBertConfig(**fields, **special, max_position_embeddings=512))
    else:
        encoder = BertModel(BertConfig(**fields), add_pooling_layer=False)
    encoder.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
