"""Loading, freezing and converting the encoders that NuNER models are built from."""

from __future__ import annotations

import hashlib
import inspect
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForTokenClassification,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

logger = logging.get_logger(__name__)

# What a published encoder may carry beside the encoder: pooler and pre-training heads. Nothing else is dropped.
_PRETRAINING_HEADS = re.compile(
    r"(^|\.)(pooler|lm_head|cls|lm_predictions|mask_predictions|embeddings\.position_ids)(\.|$)"
    r"|^(head|decoder)\."  # ModernBERT
    r"|^vocab_(transform|layer_norm|projector)\."  # DistilBERT
    r"|^(discriminator|generator)_(predictions|lm_head)\."  # ELECTRA
)
_SHA256 = re.compile("[0-9a-f]{64}")


def build_encoder(config: PreTrainedConfig) -> PreTrainedModel:
    """Build an encoder with fresh weights, without the pooler that the method never uses."""
    return AutoModel.from_config(config, **_no_pooler(config))


def load_encoder(name_or_path: str, *, ignore: Iterable[str] = (), **kwargs: Any) -> PreTrainedModel:
    """Load a plain encoder repository, in whatever layout `AutoModel` knows (with or without the `roberta.` prefix).

    Args:
        name_or_path (`str`): Hub id or folder.
        ignore (`Iterable[str]`): prefixes of weights that are the caller's business, such as `classifier.`.
        kwargs: passed on to `AutoModel.from_pretrained`; float32 unless `dtype` says otherwise.

    Raises:
        ValueError: if a weight of the encoder is missing, has another shape, or if the repository holds weights that
            belong neither to the encoder nor to a known pre-training head.
    """
    config = kwargs.pop("config", None)
    if config is None:
        hub_kwargs = {k: v for k, v in kwargs.items() if k not in {"dtype", "attn_implementation", "use_safetensors"}}
        config = AutoConfig.from_pretrained(name_or_path, **hub_kwargs)
    if config.is_encoder_decoder:
        raise ValueError(f"{name_or_path}: {config.model_type!r} is an encoder-decoder; give an encoder-only model.")
    kwargs.setdefault("dtype", torch.float32)
    return load_strictly(
        AutoModel.from_pretrained, name_or_path, ignore=ignore, config=config, **_no_pooler(config), **kwargs
    )


def load_token_classifier(name_or_path: str, **kwargs: Any) -> tuple[PreTrainedModel, nn.Linear]:
    """Load a native `…ForTokenClassification` and return its encoder and its linear head.

    Raises:
        ValueError: as `load_encoder`; or if the head is more than a linear layer on the last hidden state.
    """
    model = load_strictly(AutoModelForTokenClassification.from_pretrained, name_or_path, **kwargs)
    if not is_linear_in_last_layer(model):
        raise ValueError(
            f"{name_or_path}: the head of {type(model).__name__} is more than a linear layer, so that it cannot be "
            'taken over. Serve this folder with pipeline("token-classification").'
        )
    return model.base_model, model.classifier


def load_strictly(
    load: Callable[..., Any], name_or_path: str, *, ignore: Iterable[str] = (), **kwargs: Any
) -> PreTrainedModel:
    """Load a checkpoint, and refuse it if it does not fit its architecture weight for weight.

    Args:
        load (`Callable`): a `from_pretrained`.
        name_or_path (`str`): Hub id or folder.
        ignore (`Iterable[str]`): prefixes of weights that may be left over.
        kwargs: passed on to `load`.

    Raises:
        ValueError: naming the weights that are missing, mis-shaped or unexpected; or if a weights file is damaged (one
            from the Hub, also if a single bit of it is another than there), or is no safetensors file.
    """
    kwargs.setdefault("use_safetensors", True)
    try:
        with quiet_loading():  # mis-shaped weights are let through here only to be named below
            model, info = load(name_or_path, output_loading_info=True, ignore_mismatched_sizes=True, **kwargs)
    except SafetensorError as error:
        raise ValueError(f"{name_or_path}: its weights file is damaged ({error}). Fetch or write it again.") from error
    except OSError as error:
        if "model.safetensors" not in str(error):
            raise
        raise ValueError(
            f"{name_or_path} has no safetensors weights ({str(error).splitlines()[0]}). Pickled ones (.bin, .pt) are "
            "refused, since loading them can run code: convert them to safetensors first."
        ) from error
    _check_loading_info(name_or_path, info, ignore)
    _check_hashes(name_or_path, **{key: kwargs.get(key) for key in ("cache_dir", "revision", "subfolder")})
    return model


def _check_hashes(name_or_path: str, cache_dir: Any, revision: str | None, subfolder: str | None) -> None:
    """Compare what was just loaded from the Hub's cache with its SHA-256 there.

    safetensors has no checksum, and a download is only checked for its length. The cache names a large file by the
    hash that the Hub gives for it; where it cannot (a system without links), nothing is compared.
    """
    if os.path.isdir(name_or_path):
        return
    config = try_to_load_from_cache(name_or_path, os.path.join(subfolder or "", "config.json"), cache_dir, revision)
    for link in Path(config).parent.glob("*.safetensors") if isinstance(config, str) else ():
        path = link.resolve()
        if _SHA256.fullmatch(path.name) and _sha256(path) != path.name:
            raise ValueError(
                f"{name_or_path}: its weights file is damaged ({link.name} has not the SHA-256 that the Hub gives for "
                f"it, {path.name}). Remove {path}, and load again."
            )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_loading_info(name_or_path: str, info: dict[str, Any], ignore: Iterable[str]) -> None:
    prefixes = tuple(ignore)
    unexpected = [
        key for key in info["unexpected_keys"] if not _PRETRAINING_HEADS.search(key) and not key.startswith(prefixes)
    ]
    problems = [
        ("is missing", sorted(info["missing_keys"])),
        ("has another shape", sorted(str(key[0]) for key in info["mismatched_keys"])),
        ("is unexpected", sorted(unexpected)),
    ]
    found = [f"{_shorten(keys)} {what}" for what, keys in problems if keys]
    if found:
        raise ValueError(
            f"{name_or_path} does not hold the weights that its config.json describes: {'; '.join(found)}. "
            "Check that the checkpoint is complete and that config.json belongs to it."
        )


def encoder_layers(encoder: PreTrainedModel) -> nn.ModuleList:
    """The stack of transformer layers of an encoder, bottom first."""
    depth = encoder.config.num_hidden_layers
    for module in encoder.modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            return module
    raise ValueError(f"no stack of {depth} layers found in {type(encoder).__name__}; set requires_grad yourself.")


def train_top_layers(encoder: PreTrainedModel, count: int | None = None) -> None:
    """Train the top `count` layers of an encoder and freeze the rest.

    Args:
        encoder (`PreTrainedModel`): changed in place.
        count (`int`, *optional*): layers to train; by default the top half. The full depth trains the embeddings too.

    Raises:
        ValueError: if `count` is not between 0 and the number of layers.
    """
    layers = encoder_layers(encoder)
    count = len(layers) // 2 if count is None else count
    if not 0 <= count <= len(layers):
        raise ValueError(f"{count} layers to train, but {type(encoder).__name__} has {len(layers)}.")
    encoder.requires_grad_(count == len(layers))
    if count:
        layers[-count:].requires_grad_(True)
        for name, module in encoder.named_modules():
            if name.endswith("final_norm"):  # ModernBERT's norm after the last layer
                module.requires_grad_(True)


def build_native_classifier(
    token_config: PreTrainedConfig, id2label: dict[int, str], device: str = "meta"
) -> PreTrainedModel | None:
    """The backbone's own `…ForTokenClassification`, without weights; `None` if transformers has none for it."""
    config = type(token_config).from_dict(
        token_config.to_dict() | {"id2label": id2label, "label2id": {label: i for i, label in id2label.items()}}
    )
    try:
        with torch.device(device):
            model = AutoModelForTokenClassification.from_config(config)
    except ValueError:  # transformers: "Unrecognized configuration class"
        return None
    model.config.architectures = [type(model).__name__]
    return model


def bio_labels(concepts: Iterable[str]) -> list[str]:
    """`O`, then `B-` and `I-` of every concept."""
    return ["O", *(f"{prefix}-{concept}" for concept in concepts for prefix in "BI")]


def bio_concepts(id2label: dict[int, str]) -> list[str] | None:
    """The concepts of a complete set of BIO labels, in the order of their B labels; `None` for any other set."""
    concepts = [label[2:] for _, label in sorted(id2label.items()) if label.startswith("B-")]
    return concepts if concepts and set(id2label.values()) == set(bio_labels(concepts)) else None


def is_linear_in_last_layer(classifier: PreTrainedModel) -> bool:
    """Whether a native token classifier is its encoder and one linear layer named `classifier`, nothing between."""
    prefix = f"{classifier.base_model_prefix}."
    return {name for name, _ in classifier.named_parameters() if not name.startswith(prefix)} == {
        "classifier.weight",
        "classifier.bias",
    }


def plain_aggregation(tokenizer: PreTrainedTokenizerBase) -> str:
    """The `aggregation_strategy` with which the plain pipeline finds entities best.

    `"average"` labels whole words, by the mean over their tokens, which takes a tokenizer that marks the pieces of
    words (WordPiece, by `##`). With others it would count punctuation to words: `"simple"` labels token by token.
    """
    model = getattr(getattr(tokenizer, "backend_tokenizer", None), "model", None)
    return "average" if getattr(model, "continuing_subword_prefix", None) else "simple"


def _no_pooler(config: PreTrainedConfig) -> dict[str, bool]:
    model_class = AutoModel._model_mapping.get(type(config), None)
    parameters = inspect.signature(model_class).parameters if isinstance(model_class, type) else {}
    return {"add_pooling_layer": False} if "add_pooling_layer" in parameters else {}


def _shorten(keys: list[str], shown: int = 5) -> str:
    return ", ".join(keys[:shown]) + (f" and {len(keys) - shown} more" if len(keys) > shown else "")


def hash_weights(digest: hashlib._Hash, weights: Mapping[str, Tensor]) -> None:
    """Add the names, types, shapes and values of weights to a hash, in the order of their names."""
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)


class quiet_loading:  # noqa: N801 - a context manager reads as a verb
    """Silence transformers' load report: `load_strictly` says what matters, as an error."""

    def __enter__(self) -> None:
        self.verbosity = logging.get_verbosity()
        logging.set_verbosity_error()

    def __exit__(self, *exception: object) -> None:
        logging.set_verbosity(self.verbosity)
