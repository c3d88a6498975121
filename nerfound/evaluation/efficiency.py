"""Data efficiency: how many examples per concept one encoder needs for the F1 that another reaches with k.

A curve is mean F1 over the draws, made monotone by a running maximum and interpolated linearly in log2 k. Outside the
measured range of k there are bounds and no extrapolation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..markdown import markdown_table
from .report import counted_draws
from .summary import METRICS, TAILS, Scores, bootstrap_means, metrics_in, scores_of

Sign = Literal["", "<", "≤", "≥", ">"]
Array = NDArray[np.float64]

_INVERSE: dict[Sign, Sign] = {"": "", "<": ">", "≤": "≥", "≥": "≤", ">": "<"}
_ROUNDING: dict[Sign, Callable[[float], int]] = {
    "": round,
    "<": math.ceil,
    "≤": math.ceil,
    "≥": math.floor,
    ">": math.floor,
}
_UNDEFINED = "–"
_STEP = 0.05  # between the round target scores
_EQUAL = 1e-9  # scores that differ by less are the same: a mean of 0.3s is not exactly 0.3

_PREFACE = """\
How many examples per concept does an encoder need for a given F1? A curve is mean F1 over {draws} of the support set,
made monotone by a running maximum and interpolated linearly in log2 k between the measured k. How to read the tables:

- `26 (6.5×)` at k=4: {baseline} needs 26 examples per concept for what the other encoder reaches with 4; 26 / 4 = 6.5.
- `>{last}`: not reached with {last} examples per concept, the most that were measured; `≤{first}`: already surpassed
  with {first}, the fewest. These are bounds; nothing is extrapolated. A ratio with a bound in it is a bound, and `–`
  where two bounds say nothing.
{without_examples}\
- Intervals are 95 % percentile bootstrap intervals of the ratio, too narrow where there are fewer than five draws.
  Draws are resampled for both encoders together. A resample whose ratio is a bound counts as all that the bound allows,
  so that an interval may be open: `≥5.1`.
"""

_WITHOUT_EXAMPLES = """\
- k=0: what {baseline} needs for what the other encoder reaches with no example at all, and the interval of that number;
  there is no ratio. Otherwise k = 0 is left out: curves begin at k = {first}.
"""


@dataclass(frozen=True)
class Bounded:
    """A number from 0, or a bound on one.

    As text, whole numbers stay whole; others get two digits, or all that stand before the point. Bounds are rounded so
    that they stay true.

    Args:
        value (`float`)
        sign (`str`): empty if the number is `value`, or `"<"`, `"≤"`, `"≥"`, `">"` if this is all that is known of it.
    """

    value: float
    sign: Sign = ""

    def __str__(self) -> str:
        if math.isclose(self.value, round(self.value)):
            return f"{self.sign}{round(self.value)}"
        digits = max(0, 1 - math.floor(math.log10(self.value)))
        # What floating point adds in the last digits must not push a bound to the next number.
        scaled = _ROUNDING[self.sign](round(self.value * 10**digits, 6))
        return f"{self.sign}{scaled / 10**digits:.{digits}f}"


def ratio(numerator: Bounded, denominator: Bounded) -> Bounded | None:
    """The quotient of two numbers, with what is known of it: `>64` / `4` is `>16`.

    Returns:
        `Bounded`, or `None` where the bounds say nothing: `≤1` / `≤1`.
    """
    signs = {numerator.sign, _INVERSE[denominator.sign]} - {""}
    if signs & {"<", "≤"} and signs & {">", "≥"}:
        return None
    strictest = next((sign for sign in ("<", ">", "≤", "≥") if sign in signs), "")
    return Bounded(numerator.value / denominator.value, cast(Sign, strictest))


def examples_needed(ks: Sequence[int], f1s: Sequence[float], target: float) -> Bounded:
    """How many examples per concept a score takes.

    Args:
        ks (`Sequence[int]`): the measured numbers of examples, ascending, from 1.
        f1s (`Sequence[float]`): the mean score at each.
        target (`float`): the score to reach, in the same unit.

    Returns:
        `Bounded`: the number; `≤ ks[0]` if the score there is above the target; `> ks[-1]` if no score reaches it.

    Raises:
        ValueError: if `ks` are not ascending from 1, or not as many as `f1s`.
    """
    if not ks or len(ks) != len(f1s) or ks[0] < 1 or any(k >= after for k, after in pairwise(ks)):
        raise ValueError(f"k must be 1 or more, ascending, one for each F1: {list(ks)} for {len(f1s)} scores.")
    (low,), (high,) = _reach(ks, np.array([f1s], dtype=float), np.array([target], dtype=float))
    if np.isinf(high):
        return Bounded(float(low), ">")
    return Bounded(float(high), "" if low == high else "≤")


def _reach(ks: Sequence[int], curves: Array, targets: Array) -> tuple[Array, Array]:
    """Where curves of shape `(n, ks)` reach `(n,)` targets: the least and the most it can be, each of shape `(n,)`."""
    logs = np.log2(ks)
    monotone = np.maximum.accumulate(curves, axis=1)
    rows, last = np.arange(len(curves)), len(ks) - 1
    reached = monotone >= targets[:, None] - _EQUAL
    after = np.clip(reached.argmax(axis=1), min(1, last), last)
    before = np.maximum(after - 1, 0)
    below, above = monotone[rows, before], monotone[rows, after]
    with np.errstate(divide="ignore", invalid="ignore"):  # of flat pieces, which only what is replaced below lies on
        fraction = np.clip((targets - below) / (above - below), 0, 1)
    between = 2 ** (logs[before] + fraction * (logs[after] - logs[before]))
    first, never = monotone[:, 0], ~reached[:, last]
    conditions = [first > targets + _EQUAL, reached[:, 0], never]
    low = np.select(conditions, [0.0, ks[0], ks[last]], between)
    high = np.select(conditions, [ks[0], ks[0], np.inf], between)
    return low, high


def efficiency_table(frame: pd.DataFrame, baseline: str, encoder: str, metric: str = "token_macro_f1") -> pd.DataFrame:
    """How many examples per concept two encoders need for the same score.

    Args:
        frame (`pandas.DataFrame`): the results of the benchmark.
        baseline (`str`), encoder (`str`): names in it.
        metric (`str`): a name of `METRICS`.

    Returns:
        `pandas.DataFrame`: a row per task (then "average", where there is more than one) and target: `task`; `k`, where
        the target is what the encoder reaches with k examples, missing where it is a round score (every 5 points, where
        either was measured); `target`, between 0 and 1; `baseline_needs` and `encoder_needs` (`Bounded`); `ratio` of
        the two (`Bounded` or `None`); and its 95 % bootstrap interval over draws, `low` (0 if open) to `high` (infinite
        if open). At `k` 0, where the encoder was measured there, `encoder_needs` is 0, `ratio` is `None` and the
        interval is that of `baseline_needs`.

    Raises:
        ValueError: if there is no such encoder or metric, or a score is missing.
    """
    scores = scores_of(frame, metric)
    rows: list[tuple[Any, ...]] = []
    for task in scores.tasks:
        draws = scores.fitted(task, baseline), scores.fitted(task, encoder)
        base, other = (values.mean(axis=0) for values in draws)
        resampled_base, resampled_other = (bootstrap_means(values) for values in draws)
        zero_shot = scores.zero_shot(task, encoder)
        if zero_shot is not None:
            lows, highs = _reach(scores.shots, resampled_base, np.full(len(resampled_base), zero_shot))
            interval = np.quantile(lows, TAILS[0], method="lower"), np.quantile(highs, TAILS[1], method="higher")
            needs = examples_needed(scores.shots, base, zero_shot), Bounded(0)
            rows.append((task, 0, zero_shot, *needs, None, *map(float, interval)))
        for k, target, resampled_target in _targets(scores.shots, base, other, resampled_other):
            needs = examples_needed(scores.shots, base, target), examples_needed(scores.shots, other, target)
            base_low, base_high = _reach(scores.shots, resampled_base, resampled_target)
            other_low, other_high = _reach(scores.shots, resampled_other, resampled_target)
            with np.errstate(divide="ignore"):  # a lower bound of 0 in the denominator: no upper one of the ratio
                low = np.quantile(base_low / other_high, TAILS[0], method="lower")
                high = np.quantile(base_high / other_low, TAILS[1], method="higher")
            rows.append((task, k, target, *needs, ratio(*needs), float(low), float(high)))
    columns = ["task", "k", "target", "baseline_needs", "encoder_needs", "ratio", "low", "high"]
    return pd.DataFrame(rows, columns=columns).astype({"k": "Int64"})


def _targets(
    shots: Sequence[int], base: Array, other: Array, resampled: Array
) -> Iterator[tuple[int | None, float, Array]]:
    """Targets, with what they are in each resample: what the encoder reaches there, or the same round score."""
    monotone = np.maximum.accumulate(resampled, axis=1)
    for column, (k, target) in enumerate(zip(shots, np.maximum.accumulate(other), strict=True)):
        yield k, float(target), monotone[:, column]
    lowest, highest = min(base[0], other[0]), max(base.max(), other.max())
    for step in range(max(1, math.ceil(lowest / _STEP - _EQUAL)), math.floor(highest / _STEP + _EQUAL) + 1):
        yield None, step * _STEP, np.full(len(resampled), step * _STEP)


def efficiency_markdown(
    frame: pd.DataFrame, baseline: str, metrics: Sequence[str] = ("token_macro_f1", "entity_micro_f1")
) -> str:
    """Data efficiency of every other encoder over a baseline, and how to read it.

    Args:
        frame (`pandas.DataFrame`): the results of the benchmark.
        baseline (`str`): the name of the encoder to compare with.
        metrics (`Sequence[str]`): names of `METRICS`; those whose protocol was not run are left out.

    Raises:
        ValueError: if there is no such encoder, or a score is missing.
    """
    parts: list[str] = []
    for metric in [name for name in metrics_in(frame) if name in metrics]:
        scores = scores_of(frame, metric)
        if not parts:
            parts += ["# Data efficiency\n", _preface(scores, baseline)]
        for encoder in [name for name in scores.encoders if name != baseline]:
            table = efficiency_table(frame, baseline, encoder, metric)
            parts += [
                f"## {METRICS[metric].title}: {encoder} against {baseline}\n",
                *_sections(table, baseline, encoder),
            ]
    return "\n".join(parts)


def _preface(scores: Scores, baseline: str) -> str:
    setting = {"baseline": baseline, "first": scores.shots[0], "last": scores.shots[-1]}
    others = (encoder for encoder in scores.encoders if encoder != baseline)
    measured = any(scores.zero_shot(scores.tasks[0], encoder) is not None for encoder in others)
    without_examples = _WITHOUT_EXAMPLES.format(**setting) if measured else ""
    return _PREFACE.format(draws=counted_draws(len(scores.seeds)), without_examples=without_examples, **setting)


def _sections(table: pd.DataFrame, baseline: str, encoder: str) -> Iterator[str]:
    measured = table[table["k"].notna()]
    yield f"Examples per concept with which {baseline} is as good as {encoder} with k, and the ratio:\n"
    header = ["task", *(f"k={k}" for k in measured["k"].unique())]
    yield markdown_table(header, [line for task, rows in _by_task(measured) for line in _ratio_lines(task, rows)])
    header = ["F1", baseline, encoder, "ratio", "95 % interval"]
    last = table["task"].iloc[-1]
    for task, rows in sorted(_by_task(table[table["k"].isna()]), key=lambda curve: curve[0] != last):
        lines = markdown_table(header, [_target_line(row) for row in rows])
        if task == last:
            yield from (f"Examples per concept needed for an F1, {task}:\n", lines)
        else:
            yield from (f"<details><summary>The same, {task}</summary>\n", lines, "</details>\n")


def _by_task(table: pd.DataFrame) -> list[tuple[str, list[Any]]]:
    return [(task, list(rows.itertuples())) for task, rows in table.groupby("task", sort=False)]


def _ratio_lines(task: str, rows: list[Any]) -> Iterator[list[str]]:
    yield [task, *map(_ratio_cell, rows)]
    yield ["*95 % interval*", *(_interval(row.low, row.high) for row in rows)]


def _ratio_cell(row: Any) -> str:
    if row.k == 0:
        return str(row.baseline_needs)
    return f"{row.baseline_needs} ({row.ratio}×)" if row.ratio else _UNDEFINED


def _target_line(row: Any) -> list[str]:
    needs = str(row.baseline_needs), str(row.encoder_needs), str(row.ratio or _UNDEFINED)
    return [f"{100 * row.target:.0f}", *needs, _interval(row.low, row.high)]


def _interval(low: float, high: float) -> str:
    if low and math.isfinite(high):
        return f"{Bounded(low)}–{Bounded(high)}"
    if math.isfinite(high):
        return str(Bounded(high, "≤"))
    return str(Bounded(low, "≥")) if low else _UNDEFINED
