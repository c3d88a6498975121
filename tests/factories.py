"""Tiny tokenizers and encoders, built on the fly: every architecture the library knows, and no network.

An encoder is made by `make_encoder(kind, folder)`, which saves it with its tokenizer as a published repository is laid
out. Weights are random but large enough that different tokens get clearly different vectors.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertTokenizer,
    DebertaV2Config,
    DebertaV2Tokenizer,
    ModernBertConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaTokenizer,
)

from nerfound.modeling_nuner import NuNerForConceptContrast, NuNerForTokenClassification

SENTENCES = [
    "book a table at Nobu in Paris for four people tonight",
    "is there a free table at Noma, near the river?",
    "Marie Curie was born in Warsaw in 1867; she died in 1934.",
    "fly from Berlin (Tegel) to New York on 12.10.2024 at 10:30",
    "the café on Łódź street isn't open – naïve façade, über-cool",
    "İstanbul'da güzel bir gün, שלום עולם, مرحبا بالعالم",
    "東京タワーへ行きました。 北京大学 서울 พัทยา Москва Αθήνα",
]
TINY = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2, "initializer_range": 0.3}


@cache
def wordpiece_tokenizer(lower_case: bool = True) -> PreTrainedTokenizerBase:
    """As BERT's; with `lower_case=False` as multilingual BERT's: accents are kept."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower_case)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = {
        word
        for sentence in SENTENCES
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(sentence))
    }
    # Not trained: the trainer breaks ties at random, and with them the meaning of seeded weights in every process
    pieces = {piece for word in words for char in word for piece in (char, f"##{char}")}
    pieces |= {piece for word in words for piece in ([word] if len(word) < 8 else [word[:4], f"##{word[4:]}"])}
    vocab = {piece: index for index, piece in enumerate([*special, *sorted(pieces)])}
    return BertTokenizer(vocab=vocab, do_lower_case=lower_case, model_max_length=64)


@cache
def byte_level_tokenizer(roberta: bool = True) -> PreTrainedTokenizerBase:
    """Byte-level BPE, as RoBERTa's; with `roberta=False` as ModernBERT's, which has BERT's special tokens."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"] if roberta else ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    if roberta:
        model = json.loads(tokenizer.to_str())["model"]
        return RobertaTokenizer(
            vocab=model["vocab"], merges=[tuple(merge) for merge in model["merges"]], model_max_length=64
        )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=64,
        **dict(zip(("unk_token", "cls_token", "sep_token", "pad_token", "mask_token"), special, strict=True)),
    )


@cache
def unigram_tokenizer() -> PreTrainedTokenizerBase:
    """SentencePiece's Unigram, as DeBERTa-v3's: `▁` marks the space before a word, white space is collapsed."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
    trainer = trainers.UnigramTrainer(vocab_size=300, special_tokens=special, unk_token="[UNK]", show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    vocab = [tuple(piece) for piece in json.loads(tokenizer.to_str())["model"]["vocab"]]
    vocab[len(special) :] = sorted(vocab[len(special) :])  # equal scores come in any order
    return DebertaV2Tokenizer(vocab=vocab, unk_id=3, model_max_length=64)


Parts = tuple[PreTrainedConfig, PreTrainedTokenizerBase]


def _bert() -> Parts:
    return BertConfig(num_hidden_layers=2, max_position_embeddings=64), wordpiece_tokenizer()


def _mbert() -> Parts:
    return BertConfig(num_hidden_layers=3, max_position_embeddings=64), wordpiece_tokenizer(lower_case=False)


def _roberta() -> Parts:
    return RobertaConfig(num_hidden_layers=4, max_position_embeddings=66, type_vocab_size=1), byte_level_tokenizer()


def _modernbert() -> Parts:
    config = ModernBertConfig(num_hidden_layers=3, max_position_embeddings=64, local_attention=16)
    return config, byte_level_tokenizer(roberta=False)


def _deberta() -> Parts:
    config = DebertaV2Config(  # as DeBERTa-v3: relative positions only
        num_hidden_layers=2,
        max_position_embeddings=64,
        relative_attention=True,
        position_buckets=16,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        type_vocab_size=0,
    )
    return config, unigram_tokenizer()


ARCHITECTURES: dict[str, Callable[[], Parts]] = {
    "bert": _bert,
    "mbert": _mbert,
    "roberta": _roberta,
    "modernbert": _modernbert,
    "deberta": _deberta,
}


def encoder_config(kind: str, **changes: object) -> PreTrainedConfig:
    """The configuration of a tiny encoder, for its own tokenizer."""
    config, tokenizer = ARCHITECTURES[kind]()
    ids = {f"{name}_token_id" for name in ("pad", "bos", "eos", "cls", "sep")}
    of_tokenizer = {"vocab_size": len(tokenizer)} | {name: getattr(tokenizer, name) for name in ids}
    for name, value in (TINY | of_tokenizer | changes).items():
        setattr(config, name, value)
    return config


def make_encoder(
    kind: str, folder: Path, *, auto_class: type = AutoModel, seed: int = 0, shard: str = "5GB", **changes: object
) -> Path:
    """Save a random encoder and its tokenizer as a published repository, and return its folder.

    `auto_class=AutoModelForMaskedLM` gives the layout of a pre-trained language model: a prefix and a head.
    """
    save_model(make_model(kind, auto_class=auto_class, seed=seed, **changes), kind, folder, shard=shard)
    return folder


def make_model(kind: str, *, auto_class: type = AutoModel, seed: int = 0, **changes: object) -> PreTrainedModel:
    """A random model of this kind, in evaluation mode; `changes` are fields of its configuration."""
    torch.manual_seed(seed)
    model = auto_class.from_config(encoder_config(kind, **changes))
    for parameter in model.parameters():  # biases too: a dropped one must show
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model.eval()


def save_model(model: PreTrainedModel, kind: str, folder: Path, *, shard: str = "5GB") -> None:
    """Save a model of this kind and its tokenizer."""
    model.save_pretrained(folder, max_shard_size=shard)
    tokenizer_of(kind).save_pretrained(folder)


def tokenizer_of(kind: str) -> PreTrainedTokenizerBase:
    """The tokenizer of this kind of encoder."""
    return ARCHITECTURES[kind]()[1]


def edit_weights(folder: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Change the weights in a saved model in place."""
    weights = load_file(folder / "model.safetensors")
    edit(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def edit_config(folder: Path, edit: Callable[[dict], object]) -> None:
    """Change the `config.json` of a saved model in place."""
    config = json.loads((folder / "config.json").read_text())
    edit(config)
    (folder / "config.json").write_text(json.dumps(config))


CONCEPTS = {"restaurant": "A place that serves meals.", "city": ""}


def make_contrast(folder: Path, token_encoder: Path, concept_encoder: Path, **fields: object) -> Path:
    """Save a dual encoder on two saved encoders, with the token encoder's tokenizer, and return its folder."""
    model = NuNerForConceptContrast.from_encoders(token_encoder, concept_encoder, **fields)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(token_encoder).save_pretrained(folder)
    return folder


def make_recognizer(
    encoder: Path, *, nested: bool = False, concepts: dict[str, str] = CONCEPTS, seed: int = 0, **fields: object
) -> NuNerForTokenClassification:
    """A recognizer with a random head on a saved encoder."""
    model = NuNerForTokenClassification.from_pretrained(encoder, **fields)
    torch.manual_seed(seed)
    labels = 1 + 2 * len(concepts)
    model.set_head(torch.randn(labels, model.config.hidden_size), torch.randn(labels), concepts, nested=nested)
    return model
