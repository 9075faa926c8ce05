"""Scores of predictions, with intervals (numpy only); ``METRICS`` is the table of all metrics."""

from __future__ import annotations

from polymodal.metrics.bootstrap import intervals, intervals_of, resample, resample_measure
from polymodal.metrics.scores import measure_rows, primary_metric, score, score_of
from polymodal.metrics.table import METRICS, Metric, metric_of
from polymodal.metrics.weighted import Measure, Rows, Weighted

__all__ = [
    "METRICS",
    "Measure",
    "Metric",
    "Rows",
    "Weighted",
    "intervals",
    "intervals_of",
    "measure_rows",
    "metric_of",
    "primary_metric",
    "resample",
    "resample_measure",
    "score",
    "score_of",
]
