"""The table of metrics: all that is known of each, in one place.

A new metric is a function of the weighted rows of its kind of target and a row here. It is then computed with an
interval, written to ``metrics.json`` and shown in the report, by ``polymodal list metrics`` and, if it is among the
first of its kind, on the terminal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from polymodal.metrics import classification, detection, image, regression, retrieval
from polymodal.metrics.text import measured
from polymodal.metrics.weighted import MetricFunction, ShareFunction

Unit = Literal["percent", "share", "nats", "unit of the target", "rank", "dB"]
"""A percentage is a share too, and written as 0.5 in tables and 50% in sentences."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A row of the table of metrics.

    Attributes:
        title: What people call it.
        article: What stands before the title in a sentence, "a" or "an".
        unit: What it is measured in.
        higher_is_better: True where a larger value is better.
        zero_to_one: Whether charts show it on a scale that ends at 0 and 1.
        functions: Kind of target to the function that computes it from the weighted rows of that kind.
        label_kinds: Kinds of target of which each label is scored with it as well, or alone.
        max_resamples: Bootstrap resamples of its interval at most, for one that is slow to compute; None for no bound.
        shares: Kind of target to the function that counts rows, where the metric is a share of rows; its interval is
            that of a share.
    """

    title: str
    article: Literal["a", "an"]
    unit: Unit
    higher_is_better: bool
    zero_to_one: bool
    functions: Mapping[str, MetricFunction]
    label_kinds: frozenset[str] = frozenset()
    max_resamples: int | None = None
    shares: Mapping[str, ShareFunction] = field(default_factory=dict)

    @property
    def kinds(self) -> list[str]:
        """Kinds of target that have it; "by label" marks those of which each label has."""
        return [*self.functions, *(f"{kind} by label" for kind in sorted(self.label_kinds))]


def metric_of(name: str) -> Metric:
    """Look up a metric.

    Args:
        name: Name in ``METRICS``.

    Returns:
        Its row.

    Raises:
        ValueError: If there is none.
    """
    try:
        return METRICS[name]
    except KeyError:
        raise ValueError(
            f"The metric {name!r} has no row in METRICS (polymodal.metrics.table). There are: {', '.join(METRICS)}."
        ) from None


def functions_of(kind: str) -> dict[str, MetricFunction]:
    """Find the metrics of a kind of target.

    Args:
        kind: Name in ``TARGETS`` or ``OBJECTIVES``.

    Returns:
        Metric to function, in the order of ``METRICS``.

    Raises:
        ValueError: If there is none.
    """
    found = {name: metric.functions[kind] for name, metric in METRICS.items() if kind in metric.functions}
    if not found:
        raise ValueError(f"No row of METRICS (polymodal.metrics.table) has a function for targets of kind {kind!r}.")
    return found


def shares_of(kind: str) -> dict[str, ShareFunction]:
    """Find the metrics of a kind of target that are shares of rows.

    Args:
        kind: Name in ``TARGETS`` or ``OBJECTIVES``.

    Returns:
        Metric to the function that counts the rows.
    """
    return {name: metric.shares[kind] for name, metric in METRICS.items() if kind in metric.shares}


def _for_kinds(function: MetricFunction, *kinds: str) -> dict[str, MetricFunction]:
    return dict.fromkeys(kinds, function)


METRICS: dict[str, Metric] = {
    "accuracy": Metric(
        title="accuracy",
        article="an",
        unit="percent",
        higher_is_better=True,
        zero_to_one=True,
        functions=_for_kinds(classification.accuracy, "category", "categories"),
        shares=dict.fromkeys(("category", "categories"), classification.right_rows),
    ),
    "balanced_accuracy": Metric(
        title="balanced accuracy",
        article="a",
        unit="percent",
        higher_is_better=True,
        zero_to_one=True,
        functions={"category": classification.balanced_accuracy},
    ),
    "macro_f1": Metric(
        title="macro F1",
        article="a",
        unit="share",
        higher_is_better=True,
        zero_to_one=True,
        functions={"category": classification.macro_f1, "categories": classification.macro_f1_of_labels},
    ),
    "f1": Metric(
        title="F1",
        article="an",
        unit="share",
        higher_is_better=True,
        zero_to_one=True,
        functions={"category": classification.f1, "categories": classification.micro_f1},
        label_kinds=frozenset({"category", "categories"}),
    ),
    "precision": Metric(
        title="precision",
        article="a",
        unit="share",
        higher_is_better=True,
        zero_to_one=True,
        functions={"category": classification.precision, "categories": classification.micro_precision},
        shares={"category": classification.predicted_positives},
        label_kinds=frozenset({"category", "categories"}),
    ),
    "recall": Metric(
        title="recall",
        article="a",
        unit="share",
        higher_is_better=True,
        zero_to_one=True,
        functions={"category": classification.recall, "categories": classification.micro_recall},
        shares={"category": classification.true_positives},
        label_kinds=frozenset({"category", "categories"}),
    ),
    "roc_auc": Metric(
        title="ROC AUC",
        article="a",
        unit="share",
        higher_is_better=True,
        zero_to_one=True,
        functions=_for_kinds(classification.roc_auc, "category", "categories"),
        max_resamples=100,
    ),
    "average_precision": Metric(
        title="average precision",
        article="an",
        unit="share",
        higher_is_better=True,
        zero_to_one=True,
        functions=_for_kinds(classification.average_precision, "category", "categories"),
        max_resamples=100,
    ),
    "log_loss": Metric(
        title="log loss",
        article="a",
        unit="nats",
        higher_is_better=False,
        zero_to_one=False,
        functions=_for_kinds(classification.log_loss, "category", "categories"),
    ),
    "ece": Metric(
        title="ECE",
        article="an",
        unit="share",
        higher_is_better=False,
        zero_to_one=True,
        functions=_for_kinds(classification.expected_calibration_error, "category", "categories"),
    ),
    "rmse": Metric(
        title="RMSE",
        article="an",
        unit="unit of the target",
        higher_is_better=False,
        zero_to_one=False,
        functions=_for_kinds(regression.rmse, "number", "vector", "series", "image", "sketch"),
    ),
    "mae": Metric(
        title="MAE",
        article="an",
        unit="unit of the target",
        higher_is_better=False,
        zero_to_one=False,
        functions=_for_kinds(regression.mae, "number", "vector", "series", "image", "sketch"),
    ),
    "mape": Metric(
        title="MAPE",
        article="a",
        unit="percent",
        higher_is_better=False,
        zero_to_one=False,
        functions={"number": regression.mape},
    ),
    "r2": Metric(
        title="R²",
        article="an",
        unit="share",
        higher_is_better=True,
        zero_to_one=False,
        functions=_for_kinds(regression.r2, "number", "vector", "series", "sketch"),
    ),
    "recall_at_1": Metric(
        title="R@1",
        article="an",
        unit="share",
        higher_is_better=True,
        zero_to_one=True,
        functions={"embedding": retrieval.recall_at(1)},
    ),
    "recall_at_5": Metric(
        title="R@5",
        article="an",
        unit="share",
        higher_is_better=True,
        zero_to_one=True,
        functions={"embedding": retrieval.recall_at(5)},
    ),
    "recall_at_10": Metric(
        title="R@10",
        article="an",
        unit="share",
        higher_is_better=True,
        zero_to_one=True,
        functions={"embedding": retrieval.recall_at(10)},
    ),
    "median_rank": Metric(
        title="median rank",
        article="a",
        unit="rank",
        higher_is_better=False,
        zero_to_one=False,
        functions={"embedding": retrieval.median_rank},
    ),
    "map_50": Metric(
        title="mAP@50",
        article="an",
        unit="share",
        higher_is_better=True,
        zero_to_one=True,
        functions={"boxes": detection.map_50},
    ),
    "map": Metric(
        title="mAP",
        article="an",
        unit="share",
        higher_is_better=True,
        zero_to_one=True,
        functions={"boxes": detection.mean_average_precision, "embedding": retrieval.mean_average_precision},
    ),
    "ap_50": Metric(
        title="AP@50",
        article="an",
        unit="share",
        higher_is_better=True,
        zero_to_one=True,
        functions={},
        label_kinds=frozenset({"boxes"}),
    ),
    "ap": Metric(
        title="AP@50–95",
        article="an",
        unit="share",
        higher_is_better=True,
        zero_to_one=True,
        functions={},
        label_kinds=frozenset({"boxes"}),
    ),
    "exact_match": Metric(
        title="exact match",
        article="an",
        unit="percent",
        higher_is_better=True,
        zero_to_one=True,
        functions=_for_kinds(measured("exact_match"), "caption", "transcript"),
    ),
    "bleu": Metric(
        title="BLEU",
        article="a",
        unit="share",
        higher_is_better=True,
        zero_to_one=True,
        functions={"caption": measured("bleu")},
    ),
    "rouge_l": Metric(
        title="ROUGE-L",
        article="a",
        unit="share",
        higher_is_better=True,
        zero_to_one=True,
        functions={"caption": measured("rouge_l")},
    ),
    "psnr": Metric(
        title="PSNR in dB",
        article="a",
        unit="dB",
        higher_is_better=True,
        zero_to_one=False,
        functions={"image": image.psnr},
    ),
    "wer": Metric(
        title="word error rate",
        article="a",
        unit="percent",
        higher_is_better=False,
        zero_to_one=True,
        functions={"transcript": measured("wer")},
    ),
    "cer": Metric(
        title="character error rate",
        article="a",
        unit="percent",
        higher_is_better=False,
        zero_to_one=True,
        functions={"transcript": measured("cer")},
    ),
}
"""All metrics, in the order in which they are shown; the terminal shows the primary and first two of each target."""
