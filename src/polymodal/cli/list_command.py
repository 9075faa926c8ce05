"""The command ``polymodal list``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import typer

from polymodal.cli.arguments import Json, exits

Entry = tuple[str | list[str], ...]
"""Its name, and a cell for each heading of the list."""
PART_HEADINGS = {"summary": "what it does", "paper": "paper"}
NETWORK_HEADINGS = {"summary": "what it does", "export": "export", "paper": "paper"}
"""Of parts of the network: also whether ``polymodal export`` can export them."""
FEATURE_HEADINGS = {"package": "package", "function": "function"}
METRIC_HEADINGS = {"title": "title", "better": "better", "unit": "unit", "kinds": "kinds of target"}
"""Key in JSON to heading in the table."""


def _list_modalities() -> list[Entry]:
    from polymodal.modalities import MODALITIES

    return [(name, modality.summary, modality.paper) for name, modality in MODALITIES.items()]


def _list_encoders() -> list[Entry]:
    from polymodal.encoders import ENCODERS

    return [
        (
            f"{modality}: {name}",
            entry.summary + _default_mark(name == next(iter(entries))),
            _export_mark(entry.exports),
            entry.paper,
        )
        for modality, entries in ENCODERS.items()
        for name, entry in entries.items()
    ]


def _list_fusions() -> list[Entry]:
    from polymodal.fusion import DEFAULT_FUSION, FUSIONS

    return [
        (name, entry.summary + _default_mark(name == DEFAULT_FUSION), _export_mark(entry.exports), entry.paper)
        for name, entry in FUSIONS.items()
    ]


def _list_targets() -> list[Entry]:
    from polymodal.targets import TARGETS

    return [(name, entry.summary, _export_mark(entry.exports), entry.paper) for name, entry in TARGETS.items()]


def _list_metrics() -> list[Entry]:
    from polymodal.metrics import METRICS

    return [
        (name, m.title, "higher" if m.higher_is_better else "lower", m.unit, m.kinds) for name, m in METRICS.items()
    ]


def _list_features() -> list[Entry]:
    from polymodal.plugins import FEATURE_GROUP, installed

    return [
        (name, f"{part.distribution} {part.version}", part.entry_point.value)
        for name, part in installed(FEATURE_GROUP).items()
    ]


def _default_mark(is_default: bool) -> str:
    return " (default)" if is_default else ""


def _export_mark(exports: bool) -> str:
    return "yes" if exports else "no"


LISTS: dict[str, tuple[dict[str, str], Callable[[], list[Entry]]]] = {
    "modalities": (PART_HEADINGS, _list_modalities),
    "encoders": (NETWORK_HEADINGS, _list_encoders),
    "features": (FEATURE_HEADINGS, _list_features),
    "fusions": (NETWORK_HEADINGS, _list_fusions),
    "targets": (NETWORK_HEADINGS, _list_targets),
    "metrics": (METRIC_HEADINGS, _list_metrics),
}


def list_command(
    what: Annotated[
        Literal["modalities", "encoders", "features", "fusions", "targets", "metrics"],
        typer.Argument(help="What to list."),
    ],
    json: Json = False,
) -> None:
    """List what there is, one line each; of parts the paper they come from, of metrics what they are measured in."""
    with exits("Stopped."):
        from polymodal.cli import console

        headings, list_entries = LISTS[what]
        entries = list_entries()
        if json:
            console.print_json({str(name): dict(zip(headings, cells, strict=True)) for name, *cells in entries})
        else:
            console.print_entries(what, list(headings.values()), entries)
