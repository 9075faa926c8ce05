"""The section "How sure" of a target in the report: promises kept, confidence without a stream, abstention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from polymodal.report import charts
from polymodal.report.wording import format_number, format_score, format_share

VERDICTS = {"kept": "kept", "more": "more than promised", "less": "less than promised"}
SINGLE = "best label alone"


def describe_certainty(info: Mapping[str, Any], evaluation: Mapping[str, Any]) -> dict[str, Any] | None:
    """Describe the section.

    Args:
        info: The target's entry of ``targets_info``.
        evaluation: The ``evaluation`` of the report data.

    Returns:
        The variables of the template; None in reports of earlier versions.
    """
    found = evaluation.get("certainty", {}).get(info["name"])
    if found is None or "notice" in found:
        return found and {"notice": found["notice"]}
    classes = [_class_row(entry) for entry in found.get("classes", [])]
    return {
        "notice": "",
        "kind": info["kind"],
        "unit": "mean width" if found["unit"] == "width" else "mean set size",
        "promises": [_promise_row(entry) for entry in found["promises"]],
        "streams": [_stream_row(stream, entry) for stream, entry in found["streams"].items()],
        "has_scores": info["kind"] != "number",
        "has_confidence": info["kind"] == "category",
        "shown_level": "90%",
        "classes": classes,
        "strata": [_class_row(entry) for entry in found.get("strata", [])],
        "abstain": _abstain(info["name"], found["abstain"]) if "abstain" in found else None,
    }


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}%"


def _between(bounds: Sequence[float]) -> str:
    return f"{_percent(bounds[0])} to {_percent(bounds[1])}"


def _size(entry: Mapping[str, Any]) -> str:
    return "everything" if entry["mean_size"] is None else format_number(float(f"{entry['mean_size']:.3g}"))


def _promise_row(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "promised": f"{100 * entry['promised']:g}%",
        "measured": _percent(entry["measured"]),
        "interval": _between(entry["interval"]),
        "expected": "" if entry["expected"][0] == entry["expected"][1] else _between(entry["expected"]),
        "size": _size(entry),
        "verdict": SINGLE if entry["is_single"] and entry["verdict"] == "more" else VERDICTS[entry["verdict"]],
        "is_less": entry["verdict"] == "less",
    }


def _stream_row(stream: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    rises = entry.get("confidence_rises")
    return {
        "stream": stream,
        "measured": _percent(entry["measured"]),
        "interval": _between(entry["interval"]),
        "size": _size(entry),
        "is_less": entry["verdict"] == "less",
        "ece": format_score("ece", entry.get("ece")),
        "log_loss": format_score("log_loss", entry.get("log_loss")),
        "rises": "–" if rises is None else format_share(rises["share"], 1),
        "change": "–" if rises is None else f"{100 * rises['mean_change']:+.1f} points".replace("-", "−"),
    }


def _class_row(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "label": entry["label"],
        "rows": entry["rows"],
        "measured": _percent(entry["measured"]),
        "interval": _between(entry["interval"]),
        "share": entry["measured"],
    }


def _abstain(name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    chart = charts.line_chart(
        [charts.Line("", [(share, error) for share, error in found["curve"]])],
        title=f"Error of {name} by the share of rows that are answered",
        x_label="share of rows answered, the surest first",
        y_label="error",
        percent=True,
    )
    return {
        "chart": chart,
        "area": format_number(float(f"{found['aurc']:.3g}")),
        "rows": [
            {
                "wanted": f"{100 * entry['wanted']:g}%",
                "threshold": _threshold(entry["threshold"]),
                "answered": format_share(entry["answered"], 1),
                "measured": _percent(entry["measured"]),
                "interval": "" if entry["interval"] is None else _between(entry["interval"]),
                "is_less": entry["interval"] is not None and entry["interval"][1] < entry["wanted"],
            }
            for entry in found["accuracies"]
        ],
    }


def _threshold(value: float | None) -> str:
    return "none is sure" if value is None else "all rows" if value == 0 else f"≥ {_percent(value)}"
