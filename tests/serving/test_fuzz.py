"""Random requests: every one is answered with a status below 500, in JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

NUM_EXAMPLES = 60
QUIET = settings(
    max_examples=NUM_EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
CELLS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.sampled_from(["red", "data:,"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["photo", "sound", "note", "code", "size", "colour", "day"]) | st.text(max_size=8)
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def asking(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=120) as client:
        yield client


def check(answer: Any) -> None:
    assert answer.status_code < 500, answer.text
    body = answer.json()
    assert ("error" in body) == (answer.status_code != 200)


@QUIET
@given(
    rows=st.lists(st.dictionaries(NAMES, CELLS, max_size=5), max_size=3),
    more=st.dictionaries(NAMES, CELLS, max_size=2),
)
def test_any_json(asking: httpx.Client, rows: list[dict[str, Any]], more: dict[str, Any]) -> None:
    for path in ("/predict", "/embed"):
        check(asking.post(path, content=json.dumps({"rows": rows} | more).encode("utf-8", "replace"), headers=JSON))


@QUIET
@given(row=st.dictionaries(st.sampled_from(["size", "colour", "note", "day"]), CELLS, min_size=1, max_size=4))
def test_any_cells_of_plain_columns(asking: httpx.Client, row: dict[str, Any]) -> None:
    check(asking.post("/predict", content=json.dumps({"rows": [row]}).encode("utf-8", "replace"), headers=JSON))


@QUIET
@given(content=st.binary(max_size=300), kind=st.sampled_from([0, 1, 2, 3]))
def test_any_bytes(asking: httpx.Client, content: bytes, kind: int) -> None:
    arrow = "application/vnd.apache.arrow.stream"
    types = ["application/json", arrow, "multipart/form-data; boundary=b", "multipart/form-data"]
    check(asking.post("/predict", content=content, headers={"content-type": types[kind]}))


HEADS = (
    b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"RIFF\x24\0\0\0WAVEfmt ", b"fLaC", b"OggS", b"BM",
    b"\x93NUMPY\x01\0", b"PAR1", b"PK\x03\x04", b"II*\0", b"ID3", b"\0\0\0\x18ftypmp42",
)  # fmt: skip


@QUIET
@given(head=st.sampled_from(HEADS), content=st.binary(max_size=200), column=st.sampled_from(["photo", "sound", "code"]))
def test_any_file(asking: httpx.Client, head: bytes, content: bytes, column: str) -> None:
    check(asking.post("/predict", files={column: ("a", head + content)}))


def values_of(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return values that a JSON schema of the description allows."""
    if "anyOf" in schema:
        return st.one_of([values_of(one) for one in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kinds = schema.get("type", "object")
    return st.one_of([SIMPLE[kind](schema) for kind in ([kinds] if isinstance(kinds, str) else kinds)])


def object_of(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    named = {name: values_of(inner) for name, inner in schema.get("properties", {}).items()}
    required = {name: named.pop(name) for name in schema.get("required", ())}
    return st.fixed_dictionaries(required, optional=named)


SIMPLE: dict[str, Any] = {
    "null": lambda _: st.none(),
    "boolean": lambda _: st.booleans(),
    "integer": lambda schema: st.integers(schema.get("minimum"), schema.get("maximum")),
    "number": lambda _: st.floats(0.01, 0.99),
    "string": lambda _: st.text(max_size=20),
    "array": lambda schema: st.lists(values_of(schema.get("items", {"type": "number"})), min_size=1, max_size=3),
    "object": object_of,
}


@pytest.mark.parametrize("path", ["/predict", "/embed", "/search"])
def test_what_the_description_allows(asking: httpx.Client, path: str) -> None:
    operation = asking.get("/openapi.json").json()["paths"][path]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]

    @settings(QUIET, max_examples=NUM_EXAMPLES // 2)
    @given(body=values_of(schema))
    def ask(body: Any) -> None:
        check(asking.post(path, json=body))

    ask()


@pytest.mark.exhaustive
@pytest.mark.parametrize("path", ["/predict", "/embed", "/explain", "/search"])
def test_what_the_description_allows_and_what_not(address: str, path: str) -> None:
    import schemathesis

    operation = schemathesis.openapi.from_url(f"{address}/openapi.json")[path]["POST"]
    for mode in schemathesis.GenerationMode:

        @QUIET
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: schemathesis.Case) -> None:
            check(case.call())

        ask()
