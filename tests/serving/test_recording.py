"""Predictions that are kept, and traces that are sent, when they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from loopback import running
from polymodal.data.tables.table import read_table
from polymodal.errors import ConfigError
from polymodal.runs.model import Model
from polymodal.serving.recorder import Recorder
from polymodal.serving.settings import ServerSettings


def test_recorded_predictions_are_a_table_for_drift(
    changed: Callable[..., ServerSettings], example: dict[str, Any], loaded: Model, tmp_path: Path
) -> None:
    folder = tmp_path / "kept"
    columns = ("size", "colour", "photo", "code")
    rows = [example | {"size": float(size), "colour": None if size == 3 else "blue"} for size in range(30)]
    rows[1] = rows[1] | {"size": "0.25", "photo": None, "code": None}
    with running(changed(record=folder, record_columns=columns)) as address:
        answers = httpx.post(f"{address}/predict", json={"rows": rows}, timeout=60).json()["rows"]
        httpx.post(f"{address}/predict", json={"rows": [{"size": "wrong"}]}, timeout=60)
    table = read_table(folder)
    assert table.num_rows == 30
    assert set(table.column_names) == {
        "recorded_at", "model_version", *columns, "predicted:kind", "predicted:kind:confidence", "predicted:tags",
        "predicted:weight",
    }  # fmt: skip
    by_size = dict(zip(table.columns["size"], table.columns["predicted:weight"], strict=True))
    for row, answer in zip(rows, answers, strict=True):
        assert by_size[float(row["size"])] == pytest.approx(answer["predictions"]["weight"]["value"])
    found = loaded.drift(table)
    assert found.is_drifted  # always one photo, colour and code
    assert found.rows == 30


def test_nothing_but_the_predictions_is_kept_unless_columns_are_named(
    changed: Callable[..., ServerSettings], example: dict[str, Any], tmp_path: Path
) -> None:
    with running(changed(record=tmp_path / "kept")) as address:
        httpx.post(f"{address}/predict", json={"rows": [example]}, timeout=60)
    assert not set(read_table(tmp_path / "kept").column_names) & set(example)


def test_columns_that_are_not_there_are_refused(loaded: Model, tmp_path: Path) -> None:
    from polymodal.serving.columns import input_columns

    known = input_columns(loaded.trained.preprocessor)
    with pytest.raises(ConfigError, match="no input column 'hue' to record"):
        Recorder(tmp_path, ["hue"], known)
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="Nothing can be recorded"):
        Recorder(tmp_path / "file" / "below", [], known)
    assert list(Recorder(tmp_path / "kept", ["all"], known).columns) == list(known)


def test_spans_name_requests_without_their_cells(
    changed: Callable[..., ServerSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="OpenTelemetry's SDK is not installed")
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from polymodal.serving import app, telemetry

    exporter = InMemorySpanExporter()
    monkeypatch.setattr(app, "build_tracer_provider", lambda: telemetry.build_tracer_provider(exporter))
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with running(changed(otel=True)) as address:
        row = {"colour": "secret"}
        httpx.post(f"{address}/predict", json={"rows": [row]}, headers={"traceparent": parent}, timeout=60)
        httpx.get(f"{address}/secret")
    predicted, other = exporter.get_finished_spans()
    assert predicted.name == "POST /predict"
    assert format(predicted.context.trace_id, "032x") == "0af7651916cd43dd8448eb211c80319c"
    assert predicted.attributes["http.response.status_code"] == 200
    assert predicted.attributes["polymodal.rows"] == 1
    assert other.name == "GET other"
    assert "secret" not in predicted.to_json() + other.to_json()
