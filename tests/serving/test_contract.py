"""What clients rely on: the schema, and answers in every form of a request."""

from __future__ import annotations

import base64
import csv
import io
import json
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest

from polymodal.data.tables.table import Table
from polymodal.runs.model import Model


def files_of(example: dict[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Split a row into plain cells and the bytes of its files."""
    media = {name: base64.b64decode(example[name].partition(",")[2]) for name in ("photo", "sound")}
    return {name: cell for name, cell in example.items() if name not in media}, media


def expected(loaded: Model, example: dict[str, Any]) -> dict[str, Any]:
    plain, media = files_of(example)
    table = Table({name: [cell] for name, cell in (plain | media).items()}, folder=None)
    predictions = loaded.predictions(table)
    return {name: predictions.labels[name][0] for name in predictions.labels}


def test_schema_names_inputs_targets_and_limits(client: httpx.Client) -> None:
    schema = client.get("/schema").json()
    kinds = {entry["column"]: entry["kind"] for entry in schema["inputs"]}
    assert kinds == {
        "photo": "image", "sound": "audio", "note": "text", "code": "vector", "size": "number", "colour": "category",
        "day": "datetime",
    }  # fmt: skip
    inputs = {entry["column"]: entry for entry in schema["inputs"]}
    assert set(inputs["colour"]["values"]) == {"red", "green", "blue"}
    assert inputs["size"]["range"][0] < inputs["size"]["range"][1]
    assert "image/png" in inputs["photo"]["media_types"]
    assert [target["name"] for target in schema["targets"]] == ["kind", "tags", "weight"]
    assert schema["format"] == "run"
    assert schema["has"] == {
        "predict": True, "sets": True, "explain": True, "embed": True, "search": True, "weights": False, "unusual": True
    }  # fmt: skip
    assert set(schema["limits"]) == {"max_rows", "max_body_bytes", "max_pixels", "max_seconds"}


def test_json_rows_are_answered_as_the_model_does(client: httpx.Client, loaded: Model, example: dict[str, Any]) -> None:
    answer = client.post("/predict", json={"rows": [example], "coverage": 0.8, "unusual": True}).json()
    (row,) = answer["rows"]
    truth = expected(loaded, example)
    assert row["predictions"]["kind"]["value"] == truth["kind"]
    assert row["predictions"]["tags"]["value"] == truth["tags"]
    assert row["predictions"]["weight"]["value"] == pytest.approx(truth["weight"], rel=1e-5)
    assert sum(row["predictions"]["kind"]["probabilities"].values()) == pytest.approx(1)
    assert row["predictions"]["kind"]["set"]
    low, high = row["predictions"]["weight"]["interval"]
    assert low is None or high is None or low < high
    assert 0 < row["unusual"] <= 1
    assert row["broken"] == []
    assert row["absent"] == []
    assert answer["model"] == "run"


def test_multipart_arrow_and_json_give_one_answer(client: httpx.Client, example: dict[str, Any]) -> None:
    plain, media = files_of(example)
    by_json = client.post("/predict", json={"row": example}).json()["rows"]
    files = {name: (f"{name}.bin", content) for name, content in media.items()}
    by_form = client.post("/predict", data={"row": json.dumps(plain)}, files=files).json()["rows"]
    table = pa.table({name: [cell] for name, cell in (plain | media).items()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    headers = {"content-type": "application/vnd.apache.arrow.stream"}
    by_arrow = client.post("/predict", content=sink.getvalue().to_pybytes(), headers=headers).json()["rows"]
    assert by_json == by_form == by_arrow


def test_csv_of_plain_columns_is_many_rows(client: httpx.Client, example: dict[str, Any]) -> None:
    names = ["note", "size", "colour", "day", "code"]
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(names)
    for size in (0.5, "", 4.5):
        writer.writerow([example["note"], size, "red", "2021-05-05", json.dumps(example["code"])])
    answer = client.post("/predict", files={"table": ("rows.csv", file.getvalue().encode())}).json()
    assert len(answer["rows"]) == 3
    assert answer["rows"][1]["absent"] == ["photo", "sound", "size"]


def test_absent_cells_are_named(client: httpx.Client) -> None:
    answer = client.post("/predict", json={"rows": [{"size": 2.0, "photo": None}]}).json()
    assert set(answer["rows"][0]["absent"]) == {"photo", "sound", "note", "code", "colour", "day"}


def test_unseen_category_and_other_columns_are_told(client: httpx.Client) -> None:
    answer = client.post("/predict", json={"rows": [{"colour": "mauve", "kind": "cat"}]}).json()
    assert any("'colour' was not seen in training" in notice for notice in answer["notices"])
    assert any("'kind' is not an input" in notice for notice in answer["notices"])


def test_explanation_names_streams_and_parts(client: httpx.Client, example: dict[str, Any]) -> None:
    answer = client.post("/explain", json={"row": example, "target": "kind"}).json()
    assert set(answer["streams"]["kind"]) == {"photo", "sound", "note", "code", "tabular"}
    assert {word for word, _ in answer["cells"]["note"]["words"]} <= set(example["note"].split()) | {example["note"]}
    assert base64.b64decode(answer["cells"]["photo"]["png"]).startswith(b"\x89PNG")
    assert not any("training table" in notice for notice in answer["notices"])


def test_embedding_and_search(client: httpx.Client, example: dict[str, Any], loaded: Model) -> None:
    vector = client.post("/embed", json={"rows": [example]}).json()["rows"][0]["embedding"]
    assert sum(value * value for value in vector) == pytest.approx(1, abs=1e-4)
    hits = client.post("/search", json={"row": example, "top": 3}).json()["hits"]
    assert len(hits) == 3
    assert hits[0]["score"] >= hits[1]["score"] >= hits[2]["score"]


def test_health_metrics_and_openapi(client: httpx.Client, example: dict[str, Any]) -> None:
    client.post("/predict", json={"rows": [example]})
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json()["status"] == "ready"
    assert 'polymodal_requests_total{route="/predict"' in client.get("/metrics").text
    api = client.get("/openapi.json").json()
    body = api["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    assert client.post("/predict", json=body["example"]).status_code == 200
    assert client.get("/docs").status_code == 404  # it would load scripts from a CDN


def test_nothing_of_a_request_is_kept_on_disk(
    client: httpx.Client, example: dict[str, Any], private_cache: Path
) -> None:
    rows = [example | {"size": float(size)} for size in range(40)]
    assert client.post("/predict", json={"rows": rows}).status_code == 200
    assert not private_cache.exists()


def test_the_client_of_the_documentation_works(address: str, example: dict[str, Any], tmp_path: Path) -> None:
    document = Path(__file__).resolve().parents[2] / "docs" / "serving.md"
    code = document.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(code.split("for row in")[0].replace("http://127.0.0.1:8000", address), names)
    (tmp_path / "photo.png").write_bytes(base64.b64decode(example["photo"].partition(",")[2]))
    photo = names["file"](str(tmp_path / "photo.png"), "image/png")
    (row,) = names["predict"]([{"photo": photo, "size": 1.5, "note": None}], coverage=0.9)
    names["client"].close()
    assert row["predictions"]["kind"]["set"]
    assert row["absent"] == ["sound", "note", "code", "colour", "day"]
