"""What ``--json`` prints of a run or an evaluation: the scores of its record, without the parts for the page."""

from __future__ import annotations

from typing import Any


def summary_of(record: dict[str, Any]) -> dict[str, Any]:
    """Return the object that ``--json`` prints.

    Args:
        record: The run's record, or the same parts of an evaluation.

    Returns:
        Rows, scores by target, stream, baseline and missing stream, intervals, broken cells, seconds.
    """
    evaluation = record["evaluation"]
    scores = {name: evaluation.get(name, {}) for name in ("targets", "fusion", "streams", "baselines", "missing")}
    return {
        "rows": {table["split"]: table["rows"] for table in record["tables"]},
        "split": evaluation["split"],
        **scores,
        **({"pairs": evaluation["pairs"]} if "pairs" in evaluation else {}),
        "intervals": evaluation.get("intervals", {}),
        "calibration": {
            name: {key: found[key] for key in ("ece_before", "ece_after")}
            for name, found in evaluation.get("calibration", {}).items()
        },
        "decision": evaluation.get("decision", {}),
        "pretraining": {
            stream: {"pictures": found["pictures"], "unlabelled": found["unlabelled"], **found["history"][-1]}
            for stream, found in record.get("pretraining", {}).items()
            if found["history"]
        },
        "broken_cells": record["broken_cells"],
        "set_aside": sum(table["set_aside"] for table in record["tables"]),
        "notices": record["notices"],
        "seconds": record["seconds"]["total"],
    }
