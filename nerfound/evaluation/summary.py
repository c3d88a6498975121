"""Statistics over the draws of a benchmark: means, spreads, bootstrap intervals and paired differences.

The frame that goes in has a row per task, encoder, protocol, k, seed and class, and rows of averages over the classes
(`average` is `"micro"` or `"macro"`). Scores are fractions throughout; only reports and plots speak percent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

AVERAGE = "average"
"""The pseudo-task of the mean over tasks, taken draw by draw."""

RESAMPLES = 10_000
TAILS = (0.025, 0.975)
"""The quantiles between which a 95 % interval lies."""

_WITH_PRIOR = " + prior"

_VIEWS = {"token_f1": "Token", "strict_f1": "Strict entity", "exact_f1": "Exact entity", "partial_f1": "Partial entity"}
_KEYS = ["task", "encoder", "seed", "k"]
_CURVE = ["metric", "protocol", "task", "encoder"]
_STATISTICS = ["k", "draws", "mean", "sd", "low", "high"]


def line_with_prior(encoder: str) -> str:
    """What the line of an encoder's heads with a prior is called; that of its plain heads has the encoder's name."""
    return encoder + _WITH_PRIOR


def has_prior(line: str) -> bool:
    """Whether a line is one of heads that start from a prior, by its name."""
    return line.endswith(_WITH_PRIOR)


class Metric(NamedTuple):
    """Where a headline figure stands in the frame: the rows of a protocol and an average, and a column of them."""

    protocol: str
    average: str
    column: str

    @property
    def name(self) -> str:
        """What it measures, such as "Token macro-F1"."""
        return f"{_VIEWS[self.column]} {self.average}-F1"

    @property
    def title(self) -> str:
        """The same words in every heading: what it measures; with words labelled by decoded entities, that as well."""
        decoded = self.protocol == "entity" and self.column == "token_f1"
        return f"{self.name}, decoded" if decoded else self.name


METRICS = {
    "token_macro_f1": Metric("blog", "macro", "token_f1"),
    "entity_micro_f1": Metric("entity", "micro", "strict_f1"),
    "entity_macro_f1": Metric("entity", "macro", "strict_f1"),
    "exact_micro_f1": Metric("entity", "micro", "exact_f1"),
    "partial_micro_f1": Metric("entity", "micro", "partial_f1"),
    "entity_token_macro_f1": Metric("entity", "macro", "token_f1"),
}
"""The headline figures, in the order in which they are reported."""


@dataclass(frozen=True)
class Scores:
    """One metric of a benchmark, draw by draw, without a gap.

    Args:
        tasks (`tuple[str]`): in order of appearance; then `"average"`, where there is more than one.
        encoders (`tuple[str]`): the lines of the curves, in order of appearance.
        seeds (`tuple[int]`), ks (`tuple[int]`): ascending.
        values (`np.ndarray` of shape `(tasks, encoders, seeds, ks)`): between 0 and 1; at k = 0 the same for every
            seed, and NaN for encoders that need examples.
    """

    tasks: tuple[str, ...]
    encoders: tuple[str, ...]
    seeds: tuple[int, ...]
    ks: tuple[int, ...]
    values: NDArray[np.float64]

    @property
    def shots(self) -> tuple[int, ...]:
        """The `ks` without 0."""
        return tuple(k for k in self.ks if k)

    def fitted(self, task: str, encoder: str) -> NDArray[np.float64]:
        """As `draws`, without k = 0: of shape `(seeds, shots)`."""
        return self.draws(task, encoder)[:, len(self.ks) - len(self.shots) :]

    def zero_shot(self, task: str, encoder: str) -> float | None:
        """The score without any example; `None` for an encoder that has none."""
        values = self.draws(task, encoder)[0, : len(self.ks) - len(self.shots)]
        return None if np.isnan(values).any() or not len(values) else float(values[0])

    def draws(self, task: str, encoder: str) -> NDArray[np.float64]:
        """The scores of one encoder on one task, of shape `(seeds, ks)`.

        Raises:
            ValueError: if there is no such encoder.
        """
        if encoder not in self.encoders:
            raise ValueError(f"encoder {encoder!r} is not in the results: there are {', '.join(self.encoders)}.")
        return self.values[self.tasks.index(task), self.encoders.index(encoder)]


def metrics_in(frame: pd.DataFrame) -> list[str]:
    """The names of the headline metrics whose protocol was run, in the order of `METRICS`."""
    run = set(zip(frame["protocol"], frame["average"], strict=True))
    return [name for name, metric in METRICS.items() if (metric.protocol, metric.average) in run]


def scores_of(frame: pd.DataFrame, metric: str) -> Scores:
    """Take one metric out of the frame.

    Args:
        frame (`pandas.DataFrame`): the results of the benchmark.
        metric (`str`): a name of `METRICS`.

    Raises:
        ValueError: if the metric is unknown, or a score of it is missing, or there twice, for any combination of the
            frame's tasks, encoders, seeds and k; or a task is called "average". k = 0 has one draw, of seed 0, and may
            be missing for an encoder on all tasks.
    """
    if metric not in METRICS:
        raise ValueError(f"metric {metric!r} is unknown: choose from {', '.join(METRICS)}.")
    protocol, average, column = METRICS[metric]
    rows = frame[(frame["protocol"] == protocol) & (frame["average"] == average)]
    drawn = rows.set_index(_KEYS)[column].astype(float)
    if drawn.index.has_duplicates:
        raise ValueError(f"{metric} is there twice for {_name_first(drawn.index[drawn.index.duplicated()])}.")

    tasks, encoders = (tuple(dict.fromkeys(frame[key])) for key in ("task", "encoder"))
    seeds, ks = (tuple(sorted(int(value) for value in frame[key].unique())) for key in ("seed", "k"))
    if AVERAGE in tasks:
        raise ValueError(f"a task is called {AVERAGE!r}, which is what the mean over tasks is called: rename it.")
    without_examples = drawn[drawn.index.get_level_values("k") == 0].index.unique("encoder")
    cells = [*product(tasks, encoders, seeds, (k for k in ks if k)), *product(tasks, without_examples, (0,), (0,))]
    grid = drawn.reindex(pd.MultiIndex.from_tuples(cells, names=_KEYS))
    if grid.empty or grid.isna().any():
        missing = _name_first(grid.index[grid.isna()])
        raise ValueError(
            f"{metric} is missing for {missing or 'everything'}. Statistics are over the same draws for all: "
            "finish the benchmark, or take that task, encoder, seed or k out of the frame."
        )
    # What is the same for all seeds stands at seed 0 only
    everywhere = [
        (task, encoder, seed if k else 0, k) for task, encoder, seed, k in product(tasks, encoders, seeds, ks)
    ]
    values = drawn.reindex(everywhere).to_numpy().reshape(len(tasks), len(encoders), len(seeds), len(ks))
    if len(tasks) > 1:
        tasks, values = (*tasks, AVERAGE), np.concatenate([values, values.mean(axis=0, keepdims=True)])
    return Scores(tasks, encoders, seeds, ks, values)


def _name_first(index: pd.MultiIndex) -> str:
    if not len(index):
        return ""
    first = ", ".join(f"{key} {value}" for key, value in zip(_KEYS, index[0], strict=True))
    return first + (f" and {len(index) - 1} more" if len(index) > 1 else "")


def bootstrap_means(draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of draws resampled with replacement.

    The resamples depend on the number of draws alone: called on two encoders, it resamples them in pairs.

    Args:
        draws (`np.ndarray` of shape `(seeds, ks)`)

    Returns:
        `np.ndarray` of shape `(RESAMPLES, ks)`
    """
    return _resampling_weights(len(draws)) @ draws


@lru_cache(maxsize=4)
def _resampling_weights(draws: int) -> NDArray[np.float64]:
    return np.random.default_rng(0).multinomial(draws, np.full(draws, 1 / draws), size=RESAMPLES) / draws


def summarise(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean, spread and interval over the draws of the support set.

    Args:
        frame (`pandas.DataFrame`): the results of the benchmark, of one protocol or both.

    Returns:
        `pandas.DataFrame`: a row per metric, task (then the pseudo-task "average", where there is more than one),
        encoder and k (no row at k = 0 for encoders that need examples): `metric`, `protocol`, `task`, `encoder`, `k`,
        `draws` (their number, 1 at k = 0), `mean`, `sd` (of single draws; 0 where there is but one), and `low` and
        `high`, the 95 % percentile bootstrap interval of the mean.

    Raises:
        ValueError: if a score is missing, or there twice.
    """
    rows = [
        key | statistics
        for key, scores in _curves(frame)
        for statistics in _statistics(scores.draws(key["task"], key["encoder"]), scores.ks)
    ]
    return pd.DataFrame(rows, columns=[*_CURVE, *_STATISTICS])


def paired_differences(frame: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """How far every other encoder is above a baseline, draw by draw of the same support sets.

    Args:
        frame (`pandas.DataFrame`): the results of the benchmark, of one protocol or both.
        baseline (`str`): the name of the encoder to compare with.

    Returns:
        `pandas.DataFrame`: as `summarise`'s, of the differences, with a column `baseline` more; no row where the
        baseline is the only encoder.

    Raises:
        ValueError: if there is no such encoder, or a score is missing, or there twice.
    """
    rows = [
        key | {"baseline": baseline} | statistics
        for key, scores in _curves(frame)
        if key["encoder"] != baseline
        for statistics in _statistics(
            scores.draws(key["task"], key["encoder"]) - scores.draws(key["task"], baseline), scores.ks
        )
    ]
    return pd.DataFrame(rows, columns=[*_CURVE, "baseline", *_STATISTICS])


def _curves(frame: pd.DataFrame) -> Iterator[tuple[dict[str, str], Scores]]:
    for metric in metrics_in(frame):
        scores = scores_of(frame, metric)
        for task, encoder in product(scores.tasks, scores.encoders):
            yield dict(zip(_CURVE, (metric, METRICS[metric].protocol, task, encoder), strict=True)), scores


def _statistics(draws: NDArray[np.float64], ks: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    for k, values in zip(ks, draws.T, strict=True):
        if np.isnan(values).any():
            continue
        drawn = values if k else values[:1]
        spread = drawn.std(ddof=1) if len(drawn) > 1 else 0.0
        low, high = np.quantile(bootstrap_means(drawn), TAILS)
        statistics = map(float, (drawn.mean(), spread, low, high))
        yield dict(zip(_STATISTICS, (k, len(drawn), *statistics), strict=True))
