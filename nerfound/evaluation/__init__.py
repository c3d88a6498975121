"""Metrics, the benchmark runner and its data-efficiency curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .ner_metric import NerMetric


def load_metric(**kwargs: Any) -> NerMetric:
    """The entity and token metrics as an `evaluate.Metric`, without the Hub.

    Args:
        kwargs: passed on to `evaluate.Metric`, such as `experiment_id`, `num_process` and `process_id` of a distributed
            evaluation, or `keep_in_memory`.

    Returns:
        [`~nerfound.evaluation.ner_metric.NerMetric`]: a metric with `add`, `add_batch` and `compute`.
    """
    from .ner_metric import NerMetric  # here, since only this function needs `evaluate`, which is an extra

    return NerMetric(**kwargs)
