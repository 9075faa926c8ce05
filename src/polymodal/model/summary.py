"""Summary of a run or an evaluation, as ``--json`` prints it: the scores without the data of charts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def run_notices(report_data: Mapping[str, Any]) -> list[str]:
    """Return the notices of a run that are not about its tables.

    Args:
        report_data: The report data of a run; without ``table_notices`` where an earlier version wrote it.

    Returns:
        Sentences.
    """
    about_tables = {notice["sentence"] for notice in report_data.get("table_notices", [])}
    return [notice for notice in report_data["notices"] if notice not in about_tables]


def summary_of(report_data: dict[str, Any]) -> dict[str, Any]:
    """Return the object that ``--json`` prints.

    Args:
        report_data: The report data of a run, or the same keys of an evaluation.

    Returns:
        Rows, scores by target, stream, baseline and missing stream, intervals, broken cells, notices, seconds.
    """
    evaluation = report_data["evaluation"]
    scores = {name: evaluation.get(name, {}) for name in ("targets", "fusion", "streams", "baselines", "missing")}
    return {
        "rows": {table["split"]: table["rows"] for table in report_data["tables"]},
        "split": evaluation["split"],
        **scores,
        **({"pairs": evaluation["pairs"]} if "pairs" in evaluation else {}),
        "intervals": evaluation.get("intervals", {}),
        "comparisons": evaluation.get("comparisons", {}),
        **({"slices": evaluation["slices"]} if "slices" in evaluation else {}),
        "calibration": {
            name: {key: calibration[key] for key in ("ece_before", "ece_after")}
            for name, calibration in evaluation.get("calibration", {}).items()
        },
        "certainty": {name: _without_curve(found) for name, found in evaluation.get("certainty", {}).items()},
        "decision": evaluation.get("decision", {}),
        "pretraining": {
            stream: {"pictures": run["pictures"], "unlabelled": run["unlabelled"], **run["history"][-1]}
            for stream, run in report_data.get("pretraining", {}).items()
            if run["history"]
        },
        **({"recovery": evaluation["recovery"]} if "recovery" in evaluation else {}),
        **({"stress": report_data["stress"]} if "stress" in report_data else {}),
        "broken_cells": report_data["broken_cells"],
        "set_aside": sum(table["set_aside"] for table in report_data["tables"]),
        "table_notices": report_data.get("table_notices", []),
        "notices": report_data["notices"],
        "seconds": report_data["seconds"]["total"],
    }


def _without_curve(certainty: Mapping[str, Any]) -> dict[str, Any]:
    abstain = {key: value for key, value in certainty.get("abstain", {}).items() if key != "curve"}
    return {**certainty, **({"abstain": abstain} if abstain else {})}
