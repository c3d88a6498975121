"""Token vectors on disk: a sentence is embedded once per encoder, however often a benchmark is run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedConfig

from ..encoders_nuner import hash_weights
from ..fewshot.embedding import EmbeddedExamples, embed_windows, windows_of
from ..fewshot.formats import Example
from ..files import atomic_path
from ..modeling_nuner import NuNerForTokenClassification
from ..windows import Window

_SHARD_WINDOWS = 2_048
_KEY_BYTES = 16


class VectorCache:
    """Token vectors of one encoder, in shards that are written once and whole, under a folder named by its weights.

    A window's key is the hash of the token ids that the encoder reads, so that any sentence that was embedded before is
    found again, in whatever data set and under whatever name. A shard that a killed writer left behind is no shard: it
    is written under another name and renamed at the end.

    Args:
        folder (`Path`): of all encoders' vectors; made where it is missing.
        model (`NuNerForTokenClassification`): its token encoder and `token_layers`.
    """

    def __init__(self, folder: Path, model: NuNerForTokenClassification) -> None:
        self.model = model
        self.fingerprint = encoder_fingerprint(model)
        self.folder = folder / self.fingerprint
        self.folder.mkdir(parents=True, exist_ok=True)

    def embed(self, examples: Sequence[Example], *, batch_size: int = 32) -> EmbeddedExamples:
        """Token vectors of examples: those on disk, and the others embedded and put there.

        Shards are mapped into memory, not read: what is resident is what is used.
        """
        windows = windows_of(self.model, examples)
        keys = [_key(window) for window in windows]
        known = self._read(set(keys))
        missing = {key: window for key, window in zip(keys, windows, strict=True) if key not in known}
        pending = list(missing.items())
        for start in range(0, len(pending), _SHARD_WINDOWS):
            shard = dict(pending[start : start + _SHARD_WINDOWS])
            vectors = embed_windows(self.model, list(shard.values()), batch_size=batch_size)
            self._write(list(shard), vectors)
            known.update(zip(shard, vectors, strict=True))
        return EmbeddedExamples(examples, windows, [known[key] for key in keys])

    def _read(self, wanted: set[bytes]) -> dict[bytes, Tensor]:
        found: dict[bytes, Tensor] = {}
        for path in sorted(self.folder.glob("*.safetensors")):
            try:
                shard = load_file(path)
            except SafetensorError:  # a damaged disk: embedding anew costs seconds
                path.unlink(missing_ok=True)
                continue
            keys = [row.tobytes() for row in shard["keys"].numpy()]
            rows = zip(keys, shard["vectors"].split(shard["lengths"].tolist()), strict=True)
            found |= {key: vectors for key, vectors in rows if key in wanted}
        return found

    def _write(self, keys: list[bytes], vectors: list[Tensor]) -> None:
        name = hashlib.sha256(b"".join(keys)).hexdigest()[: 2 * _KEY_BYTES]
        shard = {
            "keys": torch.from_numpy(np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, _KEY_BYTES).copy()),
            "lengths": torch.tensor([len(rows) for rows in vectors]),
            "vectors": torch.cat(vectors),
        }
        with atomic_path(self.folder / f"{name}.safetensors") as partial:
            save_file(shard, partial)


def encoder_fingerprint(model: NuNerForTokenClassification) -> str:
    """Hash of what makes token vectors: the weights of the token encoder, its architecture, and its `token_layers`."""
    config = model.config
    return weights_digest(model.token_encoder, config.token_config, config.token_layers).hexdigest()[:32]


def weights_digest(module: nn.Module, config: PreTrainedConfig, settings: Any) -> hashlib._Hash:
    """Hash of a module's weights, of the architecture that a configuration describes, and of further settings."""
    described = {
        key: value
        for key, value in config.to_diff_dict().items()
        if not key.startswith("_") and key != "transformers_version"
    }
    digest = hashlib.sha256(json.dumps([described, settings], sort_keys=True, default=str).encode())
    hash_weights(digest, module.state_dict())
    return digest


def _key(window: Window) -> bytes:
    content = json.dumps(window.inputs, sort_keys=True).encode()
    return hashlib.sha256(content).digest()[:_KEY_BYTES]
