"""What was recorded of a run, as its card tells it: training, its curve, and measured results."""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
from huggingface_hub import EvalResult
from transformers.utils import cached_file

from ..evaluation.report import results_markdown
from ..evaluation.summary import AVERAGE, METRICS, Metric, paired_differences, summarise
from ..evaluation.vectors import encoder_fingerprint
from ..fewshot.fitting import as_support_set, load_foundation
from ..files import write_text_atomically
from ..markdown import markdown_literal, markdown_table
from ..modeling_nuner import NuNerForConceptContrast, NuNerForTokenClassification
from ..provenance import CURVE_FILE, RECORD_FILE, public_command, public_name, versions

HEADLINES = ("token_macro_f1", "entity_micro_f1")
_DECODED = "entity protocol (legal BIO decoding)"
TASK, TASK_NAME = "token-classification", "Named entity recognition"
_CURVE_ROWS = 12


@dataclass(frozen=True)
class CurvePoint:
    """A point of the training curve: what was logged until an evaluation, or a log line where there was none."""

    epoch: float
    step: int
    loss: float | None = None
    eval_loss: float | None = None
    eval_map: float | None = None


@dataclass(frozen=True)
class TrainingRun:
    """What pre-training left beside its model.

    Args:
        record (`dict`): `training.json`; empty for a run that wrote none.
        curve (`list[CurvePoint]`): of `trainer_state.json`, thinned to some rows.
        outcome (`dict[str, float]`): `all_results.json`: metrics of the trained model on the held-out passages.
        log (`list[CurvePoint]`): every step that something was logged of, for the picture of the curve.
    """

    record: dict[str, Any] = field(default_factory=dict)
    curve: list[CurvePoint] = field(default_factory=list)
    outcome: dict[str, float] = field(default_factory=dict)
    log: list[CurvePoint] = field(default_factory=list)

    @classmethod
    def read(cls, origin: str) -> TrainingRun:
        """Read what is there, in a folder or a repository of the Hub."""
        log = _points(_read_json(origin, CURVE_FILE).get("log_history", []))
        return cls(
            _read_json(origin, RECORD_FILE),
            _thinned(_evaluations(log)),
            {name: value for name, value in _read_json(origin, "all_results.json").items() if name in _OUTCOMES},
            log,
        )

    def write(self, path: Path) -> None:
        """Write `training.json` again, for those who read it after us."""
        if self.record:
            write_text_atomically(path, json.dumps(self.record, indent=1) + "\n")


_OUTCOMES = {
    "eval_loss": "loss",
    "eval_map": "mean average precision of concepts",
    "eval_map_unseen": "the same, of concepts that were not trained on",
    "eval_token_micro_f1": "token micro-F1",
}


def outcome_rows(run: TrainingRun) -> list[tuple[str, str]]:
    """The metrics on held-out passages, in words."""
    return [(title, f"{run.outcome[name]:.4g}") for name, title in _OUTCOMES.items() if name in run.outcome]


def _read_json(origin: str, name: str) -> dict[str, Any]:
    path = cached_file(origin, name, _raise_exceptions_for_missing_entries=False)
    if path is None:
        return {}
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}): it was cut off; remove it, or train again.") from error
    return content if isinstance(content, dict) else {}


def _points(log: list[dict[str, Any]]) -> list[CurvePoint]:
    by_step: dict[int, dict[str, Any]] = {}
    for line in log:
        by_step.setdefault(line["step"], {}).update(line)
    points = [
        CurvePoint(line["epoch"], step, line.get("loss"), line.get("eval_loss"), line.get("eval_map"))
        for step, line in sorted(by_step.items())
    ]
    return [point for point in points if point.loss is not None or point.eval_loss is not None]


def _evaluations(log: list[CurvePoint]) -> list[CurvePoint]:
    """The points with an evaluation, and the training loss last logged before it; all points if there is none."""
    if all(point.eval_loss is None for point in log):
        return log
    points = []
    loss = None
    for point in log:
        loss = point.loss if point.loss is not None else loss
        if point.eval_loss is not None:
            points.append(replace(point, loss=loss))
    return points


def _thinned(points: list[CurvePoint]) -> list[CurvePoint]:
    """At most `_CURVE_ROWS` points, evenly, the last one among them."""
    if len(points) <= _CURVE_ROWS:
        return points
    stride = len(points) / _CURVE_ROWS
    return [points[int((row + 1) * stride) - 1] for row in range(_CURVE_ROWS)]


@dataclass(frozen=True)
class Measured:
    """Measured results: as metadata of a card, and as its tables.

    Args:
        results (`list[EvalResult]`): with the protocol in the name of every metric.
        tables (`str`): Markdown.
        headline (`str`): Markdown that says it in one table, where there is more to say; then the rest is folded.
        command (`str`): what was run.
        versions (`dict[str, str]`): of the software it was run with.
        pictures (`list[Path]`): of the curves.
    """

    results: list[EvalResult]
    tables: str
    headline: str = ""
    command: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    pictures: list[Path] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path, foundation: str | os.PathLike[str] | NuNerForConceptContrast, repo_id: str) -> Measured:
        """Read the results of `nerfound benchmark` for one of its encoders, which is found by the hash of its weights.

        Args:
            folder (`Path`): with `results.parquet` and `run.json`.
            foundation (`str`, `os.PathLike` or [`NuNerForConceptContrast`]): whose results are wanted.
            repo_id (`str`): what it is called in the command of the card.

        Raises:
            ValueError: if a file is missing, or none of the encoders measured is this model.
        """
        missing = [name for name in ("results.parquet", "run.json") if not (folder / name).is_file()]
        if missing:
            raise ValueError(f"{folder} has no {' and no '.join(missing)}: give the folder of nerfound benchmark (-o).")
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        hashes = run["hashes"]["encoders"]
        layers = tuple(run.get("settings", {}).get("token_layers") or ()) or None
        fingerprint = encoder_fingerprint(load_foundation(foundation, token_layers=layers))
        name = next((encoder for encoder, weights in hashes.items() if weights == fingerprint), None)
        if name is None:
            raise ValueError(
                f"{folder} holds results of {', '.join(hashes)}, and none has the weights of what is pushed: "
                "run nerfound benchmark on it."
            )
        frame = pd.read_parquet(folder / "results.parquet")
        summary = summarise(frame)
        summary = summary[summary["metric"].isin(HEADLINES)]
        differences = paired_differences(frame, next(iter(hashes)))
        tables = results_markdown(summary, differences).removeprefix("# Results\n").replace("\n## ", "\n### ")
        split = run.get("settings", {}).get("split", "test")
        known_as = {run.get("encoders", {}).get(name, ""): repo_id}
        return cls(
            [result for row in summary.itertuples() if row.encoder == name for result in _benchmarked(row, split)],
            tables.strip(),
            _headline(summary),
            public_command(run["command"], known_as) if "command" in run else None,
            run.get("versions", {}),
            sorted(folder.glob("curve_average.png")) or sorted(folder.glob("curve_*.png")),
        )

    @classmethod
    def of_recognizer(cls, model: NuNerForTokenClassification, data: str | os.PathLike[str], repo_id: str) -> Measured:
        """Score a recognizer on labelled texts, now."""
        from ..evaluation.scoring import evaluate_recognizer  # needs nervaluate, an extra

        support = as_support_set(data, None, model.config.nested)
        scores = evaluate_recognizer(model, support)
        name, texts = public_name(data), len(support.examples)
        metrics = {"strict_micro_f1": "Strict entity micro-F1", "token_macro_f1": "Token macro-F1"}
        shown = {title: scores[key] for key, title in metrics.items() if key in scores}
        results = [_result(name, f"{title}, {_DECODED}", score, {"texts": texts}) for title, score in shown.items()]
        table = markdown_table(["metric", "percent"], [(title, f"{100 * score:.1f}") for title, score in shown.items()])
        command = shlex.join(["nerfound", "evaluate", repo_id, name])
        tables = f"On the {texts:,} texts of {markdown_literal(name)}, {_DECODED}:\n\n{table}"
        return cls(results, tables, command=command, versions=versions())


def _headline(summary: pd.DataFrame) -> str:
    """A row per encoder: both metrics on the average of all tasks, or on the only one."""
    tasks = list(summary["task"].unique())
    task = AVERAGE if AVERAGE in tasks else tasks[0]
    means = summary[summary["task"] == task].set_index(["metric", "encoder", "k"])["mean"]
    ks = sorted(summary["k"].unique())

    def cell(encoder: str, k: int) -> str:  # empty at k = 0 where heads have no prior
        figures = [means[metric, encoder, k] for metric in HEADLINES if (metric, encoder, k) in means]
        return " / ".join(f"{100 * figure:.1f}" for figure in figures)

    rows = [[encoder, *(cell(encoder, k) for k in ks)] for encoder in summary["encoder"].unique()]
    over = f"Mean over {len(tasks) - 1} tasks" if task == AVERAGE else f"On {markdown_literal(task)}"
    said = " / ".join(_titled(METRICS[metric]) for metric in HEADLINES)
    return f"{over}, k examples per concept, percent: {said}.\n\n" + markdown_table(
        ["encoder", *(f"k={k}" for k in ks)], rows
    )


def _titled(metric: Metric) -> str:
    """A figure outside the tables, which explain the protocols, names its own."""
    return f"{metric.name}, {metric.protocol} protocol"


def _benchmarked(row: Any, split: str) -> list[EvalResult]:
    if row.task == AVERAGE:
        return []
    metric: Metric = METRICS[row.metric]
    name = f"{_titled(metric)}, {row.k} examples per concept, mean of {row.draws} draws"
    arguments = {"protocol": metric.protocol, "examples_per_concept": row.k, "draws": row.draws, "sd": round(row.sd, 4)}
    return [_result(row.task, name, row.mean, arguments, split)]


def _result(dataset: str, metric: str, value: float, arguments: dict[str, Any], split: str | None = None) -> EvalResult:
    return EvalResult(
        task_type=TASK,
        task_name=TASK_NAME,
        dataset_type=dataset,
        dataset_name=dataset,
        dataset_split=split,
        metric_type="f1",
        metric_name=metric,
        metric_value=round(float(value), 4),
        metric_args=arguments,
    )
