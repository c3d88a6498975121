"""Cards of models and data sets, from what was recorded of them: a field without a value is left out."""

from __future__ import annotations

import importlib.util
import logging
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from datasets import DatasetDict, DatasetInfo, SplitInfo, concatenate_datasets
from datasets.info import DatasetInfosDict
from datasets.splits import SplitDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard, DatasetCardData, ModelCard, ModelCardData

from ..configuration_nuner import NuNerConfig
from ..corpus import CORPUS_FEATURES
from ..corpus.readers import PACKAGED_NAME
from ..corpus.statistics import CorpusStatistics, corpus_statistics
from ..encoders_nuner import plain_aggregation
from ..markdown import markdown_literal, markdown_table
from ..modeling_nuner import NuNerForTokenClassification
from ..provenance import versions
from .curves import plot_training
from .records import TASK, Measured, TrainingRun, outcome_rows
from .templates import render

logger = logging.getLogger(__name__)

LANGUAGE_CODES = {
    **{"Arabic": "ar", "Chinese": "zh", "Czech": "cs", "Danish": "da", "Dutch": "nl", "English": "en"},
    **{"Finnish": "fi", "French": "fr", "German": "de", "Greek": "el", "Hebrew": "he", "Hindi": "hi"},
    **{"Hungarian": "hu", "Indonesian": "id", "Italian": "it", "Japanese": "ja", "Korean": "ko"},
    **{"Norwegian": "no", "Persian": "fa", "Polish": "pl", "Portuguese": "pt", "Romanian": "ro"},
    **{"Russian": "ru", "Spanish": "es", "Swedish": "sv", "Thai": "th", "Turkish": "tr"},
    **{"Ukrainian": "uk", "Vietnamese": "vi"},
}
"""ISO 639-1 codes of languages, as the Hub wants them; a language that is not here is named in the text alone."""
_SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M"}
_COMMON_CONCEPTS = 20
_MAIN_FIGURES = 5


def foundation_card(
    repo_id: str,
    config: NuNerConfig,
    run: TrainingRun,
    measured: Measured | None,
    folder: Path,
    *,
    license: str | None = None,
    token_encoder: str | None = None,
    concept_tokenizer: bool = True,
) -> ModelCard:
    """The card of a dual encoder; pictures are written into `folder`. See `staging.stage_foundation`."""
    encoders = [run.record.get("token_encoder"), run.record.get("concept_encoder")]
    data = _model_data(repo_id, run.record, measured, license, pipeline_tag="feature-extraction", base_models=encoders)
    return render(
        ModelCard,
        "foundation.md",
        data,
        config=config,
        token_encoder=token_encoder,
        concept_tokenizer=concept_tokenizer,
        **_model_facts(repo_id, run, measured, folder),
    )


def token_encoder_card(
    repo_id: str,
    config: NuNerConfig,
    run: TrainingRun,
    measured: Measured | None,
    folder: Path,
    *,
    foundation: str,
    license: str | None = None,
) -> ModelCard:
    """The card of a foundation's token encoder alone."""
    base_models = [run.record.get("token_encoder")]
    data = _model_data(
        repo_id, run.record, measured, license, pipeline_tag="feature-extraction", base_models=base_models
    )
    data.library_name = "transformers"
    facts = _model_facts(repo_id, run, measured, folder)
    return render(ModelCard, "token-encoder.md", data, config=config, foundation=foundation, **facts)


def recognizer_card(
    repo_id: str,
    model: NuNerForTokenClassification,
    run: TrainingRun,
    measured: Measured | None,
    folder: Path,
    *,
    license: str | None = None,
) -> ModelCard:
    """The card of a recognizer: fitted on a few examples, or (`run`) the baseline of pre-training."""
    fitted = model.config.fitted or {}
    base_models = [fitted.get("foundation"), fitted.get("base_model"), run.record.get("token_encoder")]
    data = _model_data(repo_id, run.record, measured, license, pipeline_tag=TASK, base_models=base_models)
    mentions = fitted.get("mentions", {})
    concepts = [
        (markdown_literal(name), markdown_literal((model.config.concepts or {}).get(name, "")), mentions.get(name))
        for name in model.labels
    ]
    return render(
        ModelCard,
        "recognizer.md",
        data,
        config=model.config,
        fitted=fitted,
        concepts=_concept_table(concepts),
        native=model.native() is not None,
        aggregation=plain_aggregation(model.tokenizer),
        training_of_head=_arguments_table(fitted.get("training", {})),
        **_model_facts(repo_id, run, measured, folder),
    )


def corpus_card(
    repo_id: str,
    splits: DatasetDict,
    folder: Path,
    *,
    license: str | None = None,
    packaged: bool = False,
    command: str | None = None,
) -> DatasetCard:
    """The card of a concept corpus; figures are written into `folder`. See `staging.stage_corpus`."""
    statistics = corpus_statistics(concatenate_datasets(list(splits.values())))
    languages = [name for name in statistics.languages if name]
    data = DatasetCardData(
        pretty_name=_name(repo_id),
        license=license,
        language=_codes(languages) or None,
        task_categories=[TASK],
        task_ids=["named-entity-recognition"],
        size_categories=_size(statistics.passages),
        annotations_creators=["machine-generated"] if packaged else None,
        language_creators=["machine-generated"] if packaged else None,
        source_datasets=["original"] if packaged else None,
        tags=["nerfound", "nuner", "named-entity-recognition", *(["synthetic"] if packaged else [])],
    )
    _describe_files(data, splits, folder)
    split = next(iter(splits))
    common = list(statistics.common.items())[:_COMMON_CONCEPTS]
    return render(
        DatasetCard,
        "corpus.md",
        data,
        repo_id=repo_id,
        name=markdown_literal(_name(repo_id)),
        packaged=packaged,
        command=command,
        versions=versions(),
        splits=markdown_table(["split", "passages"], [(name, f"{len(rows):,}") for name, rows in splits.items()]),
        split=split,
        first_file=min(path.relative_to(folder).as_posix() for path in folder.glob(f"data/{split}-*")),
        statistics=markdown_table(["", "here", "blog"], statistics.table()),
        common=markdown_table(["concept", "annotations"], [(markdown_literal(n), f"{c:,}") for n, c in common]),
        languages=_group_table("language", statistics.languages),
        domains=_group_table("domain", statistics.domains),
        figures=_draw_statistics(statistics, folder),
    )


def _model_data(
    repo_id: str,
    record: dict[str, Any],
    measured: Measured | None,
    license: str | None,
    *,
    pipeline_tag: str,
    base_models: Iterable[str | None],
) -> ModelCardData:
    bases = list(dict.fromkeys(name for name in base_models if name and "/" in name))
    corpus = record.get("corpus", "")
    results = measured.results if measured else []
    return ModelCardData(
        library_name="nerfound",
        pipeline_tag=pipeline_tag,
        license=license,
        language=_codes(record.get("languages", [])) or None,
        base_model=bases[0] if len(bases) == 1 else bases or None,
        datasets=[corpus] if "/" in corpus else None,
        metrics=["f1"] if results else None,
        tags=["nerfound", "nuner", "named-entity-recognition", "few-shot"],
        eval_results=results or None,
        model_name=_name(repo_id) if results else None,
    )


def _model_facts(repo_id: str, run: TrainingRun, measured: Measured | None, folder: Path) -> dict[str, Any]:
    """What the templates of all models know."""
    return {
        "repo_id": repo_id,
        "name": markdown_literal(_name(repo_id)),
        "run": run.record,
        "packaged": run.record.get("corpus") == PACKAGED_NAME,
        "arguments": _arguments_table(run.record.get("arguments", {})),
        "curve": _curve_table(run),
        "curve_picture": _draw_curve(run, folder),
        "outcome": markdown_table(["held-out passages", "value"], outcome_rows(run)) if run.outcome else "",
        "measured": measured,
        "pictures": _copy_pictures(measured.pictures, folder) if measured else [],
    }


def _arguments_table(arguments: dict[str, Any]) -> str:
    rows = [(f"`{name}`", f"`{str(value).replace('`', '')}`") for name, value in arguments.items()]
    return markdown_table(["argument", "value"], rows) if rows else ""


def _curve_table(run: TrainingRun) -> str:
    """A row per point, with the columns that some point has a value in."""
    columns = {"loss": "training loss", "eval_loss": "held-out loss", "eval_map": "concept MAP"}
    shown = {name: title for name, title in columns.items() if any(getattr(p, name) is not None for p in run.curve)}
    rows = [
        (f"{point.epoch:.2f}", f"{point.step:,}", *(_number(getattr(point, name)) for name in shown))
        for point in run.curve
    ]
    return markdown_table(["epoch", "step", *shown.values()], rows) if rows else ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _concept_table(concepts: list[tuple[str, str, int | None]]) -> str:
    described, counted = any(row[1] for row in concepts), any(row[2] is not None for row in concepts)
    header = ["concept", *["description"] * described, *["mentions fitted on"] * counted]
    rows = [
        (name, *[description] * described, *["" if count is None else f"{count:,}"] * counted)
        for name, description, count in concepts
    ]
    return markdown_table(header, rows)


def _group_table(title: str, groups: dict[str, Any]) -> str:
    rows = [
        (markdown_literal(name), f"{group.passages:,}", f"{group.annotations:,}")
        for name, group in list(groups.items())[:_COMMON_CONCEPTS]
        if name
    ]
    return markdown_table([title, "passages", "annotations"], rows) if rows else ""


def _describe_files(data: DatasetCardData, splits: DatasetDict, folder: Path) -> None:
    """The metadata that `datasets` writes and reads: features, sizes, and which files are which split."""
    infos = SplitDict()
    for name, rows in splits.items():
        size = sum(_data_bytes(path) for path in folder.glob(f"data/{name}-*.parquet"))
        infos.add(SplitInfo(name, num_bytes=size, num_examples=len(rows)))
    info = DatasetInfo(
        features=CORPUS_FEATURES,
        splits=infos,
        download_size=sum(path.stat().st_size for path in folder.glob("data/*.parquet")),
        dataset_size=sum(split.num_bytes for split in infos.values()),
    )
    DatasetInfosDict({"default": info}).to_dataset_card_data(data)
    files = [{"split": name, "path": f"data/{name}-*"} for name in splits]
    MetadataConfigs({"default": {"data_files": files}}).to_dataset_card_data(data)


def _data_bytes(path: Path) -> int:
    """Bytes of a Parquet file's columns before compression."""
    metadata = pq.read_metadata(path)
    return sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))


def _draw_statistics(statistics: CorpusStatistics, folder: Path) -> list[str]:
    """The figures of a corpus, as paths inside the repository; none without matplotlib."""
    if not _can_draw():
        return []
    from ..corpus.plots import plot_statistics

    written = plot_statistics(statistics, folder / "figures")
    for path in written:
        if path.suffix != ".png":  # a card shows one of each
            path.unlink()
    return [path.relative_to(folder).as_posix() for path in written if path.suffix == ".png"]


def _draw_curve(run: TrainingRun, folder: Path) -> str | None:
    """The figure of the training curve, likewise; none of fewer than two points."""
    if len(run.log) < 2 or not _can_draw():
        return None
    return plot_training(run.log, folder / "figures" / "training_curve").relative_to(folder).as_posix()


def _can_draw() -> bool:
    found = importlib.util.find_spec("matplotlib") is not None
    if not found:
        logger.warning("no figures in the card: they need pip install 'nerfound[plots]'")
    return found


def _copy_pictures(pictures: list[Path], folder: Path) -> list[str]:
    copied = pictures[:_MAIN_FIGURES]
    for path in copied:
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / "figures" / path.name)
    return [f"figures/{path.name}" for path in copied]


def _name(repo_id: str) -> str:
    return repo_id.rpartition("/")[2]


def _codes(languages: Iterable[str]) -> list[str]:
    plain = (name.partition(" (")[0] for name in languages)  # "Chinese (simplified)"
    return [LANGUAGE_CODES[name] for name in plain if name in LANGUAGE_CODES]


def _size(passages: int) -> str:
    return next(
        (name for limit, name in _SIZES.items() if passages < limit),
        "1M<n<10M" if passages < 10_000_000 else "10M<n<100M",
    )
