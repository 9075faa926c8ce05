"""Wrong requests: a status of 4xx and one sentence that names the field and the row; the server goes on."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

ARROW = {"content-type": "application/vnd.apache.arrow.stream"}
JSON = {"content-type": "application/json"}

WRONG_CELLS: list[tuple[dict[str, Any], int, str]] = [
    ({"size": "many"}, 422, r"Row 1, column 'size': 'many' is not a number"),
    ({"size": [1]}, 422, r"column 'size': is of type list; expected a number"),
    ({"size": {"a": 1}}, 422, r"column 'size': is of type object"),
    ({"size": 10**390}, 422, r"column 'size': .* is infinite or too large"),
    ({"colour": ["red"]}, 422, r"column 'colour': is of type list; expected a label"),
    ({"day": "someday"}, 422, r"column 'day': 'someday' is not a date"),
    ({"day": {"year": 2024}}, 422, r"column 'day'"),
    ({"note": {"text": "a"}}, 422, r"column 'note': is of type object; expected text"),
    ({"note": [1, 2]}, 422, r"column 'note'"),
    ({"code": [1, "two"]}, 422, r"column 'code': is a list with other things than numbers"),
    ({"code": []}, 422, r"column 'code': is an empty list"),
    ({"photo": 7}, 422, r"column 'photo': is of type int; expected a file"),
    ({"photo": True}, 422, r"column 'photo'"),
    ({"photo": {"base64": "!!!"}}, 422, r"column 'photo': holds no valid base64"),
    ({"photo": {"base64": 5}}, 422, r"column 'photo': holds an object of base64"),
    ({"photo": {"bytes": "aa", "path": "/etc/passwd"}}, 422, r"column 'photo': holds an object of bytes, path"),
    ({"photo": "data:image/png;base64,aGVsbG8="}, 422, r"column 'photo': is not a picture in a known format"),
    ({"photo": {"base64": "aGVsbG8=", "type": "audio/wav"}}, 422, r"declared as audio/wav; expected image"),
    ({"photo": {"base64": "aGVsbG8=", "type": 3}}, 422, r"column 'photo'"),
    ({"sound": "data:audio/wav;base64,aGVsbG8="}, 422, r"column 'sound'"),
    ({"hue": 3}, 422, r"Row 1 has a column 'hue', unknown here"),
    ({}, 422, r"Row 1 has no column of the model. Expected some of: 'photo'"),
    ({"kind": "cat"}, 422, r"Row 1 has no column of the model"),
]


@pytest.mark.parametrize(("row", "status", "sentence"), WRONG_CELLS)
def test_wrong_cell_is_named(client: httpx.Client, row: dict[str, Any], status: int, sentence: str) -> None:
    answer = client.post("/predict", json={"rows": [row]})
    assert answer.status_code == status
    assert set(answer.json()) == {"error", "request_id"}
    assert re.search(sentence, answer.json()["error"]), answer.json()["error"]


def test_the_row_is_named(client: httpx.Client) -> None:
    answer = client.post("/predict", json={"rows": [{"size": 1}, {"size": 2}, {"size": "x"}]})
    assert "Row 3, column 'size'" in answer.json()["error"]


BODIES: list[tuple[bytes, int, str]] = [
    (b"", 400, "is not JSON"),
    (b"{", 400, "is not JSON"),
    (b"[1, 2]", 422, "no object"),
    (b'"text"', 422, "no object"),
    (b"{}", 422, "holds no rows"),
    (b'{"rows": {}}', 422, "holds no rows"),
    (b'{"rows": []}', 422, "no rows"),
    (b'{"rows": [1]}', 422, "Row 1 is no object"),
    (b'{"rows": [null]}', 422, "Row 1 is no object"),
    (b'{"rows": [{"size": NaN}]}', 400, "NaN is no JSON number"),
    (b'{"rows": [{"size": Infinity}]}', 400, "Infinity is no JSON number"),
    (b'{"rows": [{"size": 1e999}]}', 422, "infinite or too large"),
    (b'{"rows": [{"size": 1, "size": 2}]}', 400, "stands twice"),
    (b'{"rows": [{"size": 1}], "row": {"size": 1}}', 422, "'row' and 'rows'"),
    (b'{"rows": [{"size": 1}], "coverage": 2}', 422, "'coverage' must be"),
    (b'{"rows": [{"size": 1}], "coverage": true}', 422, "'coverage' must be"),
    (b'{"rows": [{"size": 1}], "weights": "yes"}', 422, "'weights' must be"),
    (b'{"rows": [{"size": 1}], "weights": true}', 422, "fusion has none"),
    (b'{"rows": [{"size": 1}], "wieghts": true}', 422, "'wieghts', which is unknown here. Did you mean 'weights'"),
    (b"\xff\xfe{}", 400, "not JSON in UTF-8"),
    (b'{"rows": [{"size": ' + b"1" * 5000 + b"}]}", 400, "5,000 digits"),
]


@pytest.mark.parametrize(("body", "status", "sentence"), BODIES)
def test_wrong_json_is_refused(client: httpx.Client, body: bytes, status: int, sentence: str) -> None:
    answer = client.post("/predict", content=body, headers=JSON)
    assert (answer.status_code, sentence in answer.json()["error"]) == (status, True), answer.text


def test_too_many_rows(client: httpx.Client) -> None:
    answer = client.post("/predict", json={"rows": [{"size": 1}] * 10_000})
    assert answer.status_code == 413
    assert "10,000 rows, above this server's limit of 1,000" in answer.json()["error"]


def test_media_types(client: httpx.Client) -> None:
    assert client.post("/predict", content=b"x", headers={"content-type": "text/plain"}).status_code == 415
    assert client.post("/predict", content=b"x").status_code == 415
    compressed = client.post("/predict", content=b"x", headers=JSON | {"content-encoding": "gzip"})
    assert compressed.status_code == 415
    assert "compressed" in compressed.json()["error"]


def test_paths_and_methods(client: httpx.Client) -> None:
    assert client.get("/nothing").status_code == 404
    assert client.get("/predict").status_code == 405
    assert client.post("/schema").status_code == 405
    assert client.post("/predict/").status_code == 404


def test_damaged_picture_is_broken_in_its_row_only(client: httpx.Client) -> None:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(file, "PNG")
    cut = base64.b64encode(file.getvalue()[:2000]).decode()
    rows = [{"photo": {"base64": cut}, "size": 1}, {"photo": {"base64": base64.b64encode(file.getvalue()).decode()}}]
    answer = client.post("/predict", json={"rows": rows})
    assert answer.status_code == 200
    first, second = answer.json()["rows"]
    assert first["broken"][0]["column"] == "photo"
    assert "damaged" in first["broken"][0]["reason"]
    assert second["broken"] == []
    strict = client.post("/predict", json={"rows": rows, "strict": True})
    assert strict.status_code == 422
    assert "Row 1, column 'photo'" in strict.json()["error"]


def test_forms(client: httpx.Client) -> None:
    def refused(**parts: Any) -> str:
        answer = client.post("/predict", **parts)
        assert answer.status_code in (400, 413, 422), answer.text
        return str(answer.json()["error"])

    assert "size" in refused(files={"table": ("t.csv", b"size,size\n1,2\n")})
    assert "Row 1 of the table has 3 fields; expected 2" in refused(files={"table": ("t.csv", b"size,note\n1,2,3\n")})
    assert "not CSV in UTF-8" in refused(files={"table": ("t.csv", b"\xff\xfe\x00")})
    assert "no rows" in refused(files={"table": ("t.csv", b"size\n")})
    assert "no line of column names" in refused(files={"table": ("t.csv", b"")})
    assert "Row 2, column 'size'" in refused(files={"table": ("t.csv", b"size\n1\nx\n")})
    assert "no path or address is opened" in refused(files={"table": ("t.csv", b"photo\nphotos/1.png\n")})
    assert "not JSON" in refused(files={"photo": b"x"}, data={"row": "{"})
    assert "stands in 'row' too" in refused(files={"size": b"1"}, data={"row": '{"size": 1}'})
    assert "boundary" in refused(content=b"x", headers={"content-type": "multipart/form-data"})
    cut = b'--b\r\nContent-Disposition: form-data; name="row"\r\n\r\n{'
    assert "cut off" in refused(content=cut, headers={"content-type": "multipart/form-data; boundary=b"})
    assert "more than 1,000 rows" in refused(files={"table": ("t.csv", b"size\n" + b"1\n" * 1001)})


def arrow(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def test_arrow_streams(client: httpx.Client) -> None:
    def refused(content: bytes) -> tuple[int, str]:
        answer = client.post("/predict", content=content, headers=ARROW)
        return answer.status_code, str(answer.json()["error"])

    good = arrow(pa.table({"size": [1.0, None]}))
    assert client.post("/predict", content=good, headers=ARROW).status_code == 200
    assert refused(b"hello")[0] == 400
    assert refused(b"")[0] == 400
    assert refused(good[:60])[0] == 400
    assert refused(arrow(pa.table({"size": pa.array([], pa.float64())})))[0] == 422
    compressed = arrow(pa.table({"note": ["a" * 10_000] * 10}), compression="zstd")
    assert refused(compressed)[0] == 415
    assert "dictionary" in refused(arrow(pa.table({"colour": pa.array(["red"]).dictionary_encode()})))[1]
    assert "type struct" in refused(arrow(pa.table({"photo": [{"bytes": b"x", "path": "/etc/passwd"}]})))[1]
    assert refused(arrow(pa.table({"size": list(range(1001))})))[0] == 413
    assert refused(arrow(pa.table({"code": [list(range(1_000_001))]})))[0] == 413
    assert "unknown here" in refused(arrow(pa.table({"hue": [1]})))[1]


def test_explanations_and_searches(client: httpx.Client, example: dict[str, Any]) -> None:
    def refused(path: str, body: dict[str, Any]) -> str:
        answer = client.post(path, json=body)
        assert answer.status_code == 422, answer.text
        return str(answer.json()["error"])

    assert "names no target" in refused("/explain", {"row": example, "target": "colour"})
    assert "has 2 rows. Expected one" in refused("/explain", {"rows": [example, example]})
    assert "'top' must be a whole number" in refused("/search", {"row": example, "top": 0})
    assert "'top' must be a whole number" in refused("/search", {"row": example, "top": 1.5})
    assert "no vectors of 'hue'" in refused("/search", {"row": example, "within": "hue"})
    assert "'within' must be" in refused("/search", {"row": example, "within": 3})
    assert "no cell that could be searched by" in refused("/search", {"row": {"size": None}})
    assert "'target', which is unknown here" in refused("/predict", {"row": example, "target": "kind"})
