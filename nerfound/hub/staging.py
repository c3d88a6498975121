"""The folder of a repository, exactly as it is pushed: loaded and so checked, then written anew with its card."""

from __future__ import annotations

import inspect
import json
import math
import os
import shutil
from pathlib import Path

from datasets import Dataset, DatasetDict, get_dataset_split_names
from transformers import AutoTokenizer, PreTrainedConfig
from transformers.dynamic_module_utils import get_relative_import_files
from transformers.utils import cached_file

from ..corpus import load_packaged_corpus, read_corpus, split_held_out, write_parquet
from ..corpus.readers import PACKAGED_NAME
from ..corpus.sources import DEFAULT_SPLIT
from ..modeling_nuner import NuNerForConceptContrast, NuNerForTokenClassification
from ..offline import resolve_foundation
from ..pipeline_few_shot_ner import FewShotNerPipeline
from ..pretraining.ranking import CONCEPT_TOKENIZER_FOLDER
from ..provenance import RECORD_FILE, is_hub_id
from .cards import corpus_card, foundation_card, recognizer_card, token_encoder_card
from .records import Measured, TrainingRun

Source = str | os.PathLike[str]

HELD_OUT_SPLIT = "test"
_SHARD_BYTES = 500_000_000  # as datasets cuts them


def stage_foundation(
    source: Source | NuNerForConceptContrast,
    folder: Path,
    repo_id: str,
    *,
    license: str | None = None,
    results: Path | None = None,
    token_encoder: str | None = None,
) -> None:
    """Write the repository of a foundation: safetensors, both tokenizers, `training.json` and the card.

    Args:
        source (`str`, `os.PathLike` or [`NuNerForConceptContrast`]): folder or Hub id of pre-training's outcome.
        folder (`Path`): to write to.
        repo_id (`str`): the id that the card's examples name.
        license (`str`, *optional*): as the Hub writes it, such as `"mit"`.
        results (`Path`, *optional*): folder of `nerfound benchmark`, one of whose encoders this is.
        token_encoder (`str`, *optional*): id of the repository of its token encoder alone.

    Raises:
        ValueError: if the source is no dual encoder, its weights are incomplete, or the results are another's.
    """
    model, origin = _foundation(source)
    model.save_pretrained(folder)
    _copy_tokenizers(model, origin, folder)
    run = TrainingRun.read(origin)
    run.write(folder / RECORD_FILE)
    measured = Measured.read(results, source, repo_id) if results else None
    card = foundation_card(
        repo_id,
        model.config,
        run,
        measured,
        folder,
        license=license,
        token_encoder=token_encoder,
        concept_tokenizer=(folder / CONCEPT_TOKENIZER_FOLDER).is_dir(),
    )
    card.save(folder / "README.md")


def stage_token_encoder(
    source: Source | NuNerForConceptContrast,
    folder: Path,
    repo_id: str,
    *,
    foundation: str,
    license: str | None = None,
    results: Path | None = None,
) -> None:
    """Write the repository of a foundation's token encoder alone, which any `AutoModel` loads; see `stage_foundation`.

    Args:
        foundation (`str`): id of the repository of the dual encoder.
    """
    model, origin = _foundation(source)
    model.token_encoder.save_pretrained(folder)
    AutoTokenizer.from_pretrained(origin, config=model.config.token_config).save_pretrained(folder)
    measured = Measured.read(results, source, repo_id) if results else None
    card = token_encoder_card(
        repo_id, model.config, TrainingRun.read(origin), measured, folder, license=license, foundation=foundation
    )
    card.save(folder / "README.md")


def stage_recognizer(
    source: Source | NuNerForTokenClassification,
    folder: Path,
    repo_id: str,
    *,
    license: str | None = None,
    data: Source | None = None,
) -> None:
    """Write the repository of a recognizer: its backbone's own architecture where that holds the head, else ours.

    The code of the few-shot pipeline (and of our architecture) is carried, so that it also runs without nerfound.

    Args:
        source (`str`, `os.PathLike` or [`NuNerForTokenClassification`]): folder or Hub id of a recognizer.
        folder (`Path`): to write to.
        repo_id (`str`): the id that the card's examples name.
        license (`str`, *optional*): as the Hub writes it, such as `"mit"`.
        data (`str` or `os.PathLike`, *optional*): labelled texts; what the recognizer scores on them is in its card.

    Raises:
        ValueError: if the source has no head, its weights are incomplete, or its tokenizer is missing.
    """
    if isinstance(source, NuNerForTokenClassification):
        model, run = source, TrainingRun()
    else:
        model = NuNerForTokenClassification.from_pretrained(source, dtype="auto")
        run = TrainingRun.read(os.fspath(source))
    if model.classifier is None:
        raise ValueError(
            f"{model.name_or_path} is a foundation without a head: fit a recognizer first, with nerfound fit, "
            "or push the foundation."
        )
    model.save_pretrained(folder)
    _carry_pipeline(folder)
    measured = Measured.of_recognizer(model, data, repo_id) if data else None
    run.write(folder / RECORD_FILE)
    recognizer_card(repo_id, model, run, measured, folder, license=license).save(folder / "README.md")


def stage_corpus(
    source: Source,
    folder: Path,
    repo_id: str,
    *,
    license: str | None = None,
    held_out: float | None = None,
    seed: int = 0,
    command: str | None = None,
) -> None:
    """Write the repository of a concept corpus: Parquet files of every split, figures and the card.

    Args:
        source (`str` or `os.PathLike`): as `read_corpus` takes it; `"default"` is the whole packaged corpus, in all
            languages. Every split of a data set or folder is taken.
        folder (`Path`): to write to.
        repo_id (`str`): the id that the card's examples name.
        license (`str`, *optional*): as the Hub writes it; that of the packaged corpus is known.
        held_out (`float`, *optional*): share of the passages that become the split `test`.
        seed (`int`): of that share.
        command (`str`, *optional*): the command line that makes the repository, for the card.

    Raises:
        ValueError: if a row is no row of a corpus, or the source has splits already and `held_out` asks for more.
    """
    splits = _read_splits(source)
    if held_out is not None:
        if list(splits) != [DEFAULT_SPLIT]:
            raise ValueError(f"{source} has the splits {', '.join(splits)} already: leave out held_out={held_out}.")
        train, test = split_held_out(splits[DEFAULT_SPLIT], held_out, seed)
        splits = {DEFAULT_SPLIT: train, HELD_OUT_SPLIT: test}
    for name, rows in splits.items():
        _write_shards(rows, folder / "data", name)
    packaged = os.fspath(source) == PACKAGED_NAME
    card = corpus_card(
        repo_id,
        DatasetDict(splits),
        folder,
        license=license or ("mit" if packaged else None),
        packaged=packaged,
        command=command,
    )
    card.save(folder / "README.md")


def _foundation(source: Source | NuNerForConceptContrast) -> tuple[NuNerForConceptContrast, str]:
    """A dual encoder, and where its tokenizers and records are."""
    if isinstance(source, NuNerForConceptContrast):
        if not source.name_or_path:
            raise ValueError(
                "this NuNerForConceptContrast comes from no folder, so that its tokenizers are not known: save it and "
                "both tokenizers in a folder, and push that with nerfound push foundation."
            )
        return source, source.name_or_path
    origin = resolve_foundation(os.fspath(source))
    if not PreTrainedConfig.get_config_dict(origin)[0].get("concept_config"):
        raise ValueError(
            f"{origin} is no foundation of nerfound pretrain: it has no concept encoder. Push a recognizer with "
            "nerfound push recognizer, and a plain encoder with its own push_to_hub."
        )
    return NuNerForConceptContrast.from_pretrained(origin, dtype="auto"), origin


def _copy_tokenizers(model: NuNerForConceptContrast, origin: str, folder: Path) -> None:
    AutoTokenizer.from_pretrained(origin, config=model.config.token_config).save_pretrained(folder)
    inside = f"{CONCEPT_TOKENIZER_FOLDER}/tokenizer_config.json"
    if cached_file(origin, inside, _raise_exceptions_for_missing_entries=False):
        tokenizer = AutoTokenizer.from_pretrained(
            origin, subfolder=CONCEPT_TOKENIZER_FOLDER, config=model.config.concept_config
        )
        tokenizer.save_pretrained(folder / CONCEPT_TOKENIZER_FOLDER)


def _carry_pipeline(folder: Path) -> None:
    """Put the code of the few-shot pipeline into a saved recognizer, and its entry into `config.json`."""
    module = Path(inspect.getfile(FewShotNerPipeline))
    for path in (module, *map(Path, get_relative_import_files(module))):
        shutil.copyfile(path, folder / path.name)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    implementation = f"{module.stem}.{FewShotNerPipeline.__name__}"
    config["custom_pipelines"] = {
        "few-shot-ner": {"impl": implementation, "pt": ["AutoModelForTokenClassification"], "type": "text"}
    }
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _read_splits(source: Source) -> dict[str, Dataset]:
    if os.fspath(source) == PACKAGED_NAME:
        return {DEFAULT_SPLIT: load_packaged_corpus("all")}
    path = Path(source)
    if (path / "dataset_dict.json").is_file():
        names = json.loads((path / "dataset_dict.json").read_text(encoding="utf-8"))["splits"]
    elif (path / "state.json").is_file() or not (path.is_dir() or is_hub_id(os.fspath(source))):
        return {DEFAULT_SPLIT: read_corpus(source)}
    else:
        names = get_dataset_split_names(os.fspath(source))
    return {name: read_corpus(source, split=name) for name in names}


def _write_shards(rows: Dataset, folder: Path, split: str) -> None:
    share = len(rows) / max(1, len(rows.data))  # a part of a data set still has the whole one's table
    count = max(1, math.ceil(share * rows.data.nbytes / _SHARD_BYTES))
    for number in range(count):
        shard = rows.shard(count, number, contiguous=True)
        write_parquet(shard, folder / f"{split}-{number:05}-of-{count:05}.parquet")
