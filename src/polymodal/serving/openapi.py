"""The description of the interface (OpenAPI 3.1), with examples that the model takes."""

from __future__ import annotations

from typing import Any

from polymodal.serving.served_model import ServedModel
from polymodal.version import VERSION

JSON_TYPES: dict[str, Any] = {
    "number": {"type": ["number", "string", "null"]},
    "category": {"type": ["string", "number", "boolean", "null"]},
    "datetime": {"type": ["string", "null"]},
    "text": {"type": ["string", "null"]},
}
FILE = {
    "type": "object",
    "properties": {"base64": {"type": "string", "contentEncoding": "base64"}, "type": {"type": "string"}},
    "required": ["base64"],
    "additionalProperties": False,
}
ERRORS = {
    "400": "The body is damaged.",
    "401": "The key is wrong.",
    "408": "The body came too slowly.",
    "413": "The request is too large.",
    "415": "The media type is not taken.",
    "422": "A field or a cell is wrong.",
    "429": "Too many rows are waiting.",
    "503": "The server is stopping.",
    "504": "It took too long.",
}


def describe_api(served: ServedModel) -> dict[str, Any]:
    """Describe the interface of a model.

    Args:
        served: The model.

    Returns:
        An OpenAPI document.
    """
    row = _row_schema(served)
    options = {
        "coverage": {"type": ["number", "null"], "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        "weights": {"type": ["boolean", "null"]},
        "unusual": {"type": ["boolean", "null"]},
        "strict": {"type": ["boolean", "null"]},
    }
    many = {"rows": {"type": "array", "items": row, "minItems": 1, "maxItems": served.limits.max_rows}}
    paths: dict[str, Any] = {
        "/predict": _post("Predict rows.", {**many, **options}, ["rows"], {"rows": [served.example]}),
        "/embed": _post("Turn rows into vectors.", many, ["rows"], {"rows": [served.example]}),
        "/explain": _post(
            "Explain the answer for one row.",
            {"row": row, "target": {"enum": [*served.targets, None]}},
            ["row"],
            {"row": served.example},
        ),
        "/schema": _get("What the model takes and predicts."),
        "/healthz": _get("Whether the server is alive."),
        "/readyz": _get("Whether it answers."),
        "/metrics": _get("Counters in Prometheus' form."),
    }
    if served.index is not None:
        top = {"type": "integer", "minimum": 1, "maximum": 1000}
        search = {"row": row, "top": top, "within": {"type": "string"}}
        paths["/search"] = _post("Find the nearest rows of the index.", search, ["row"], {"row": served.example})
    return {
        "openapi": "3.1.0",
        "info": {"title": f"polymodal: {served.name}", "version": VERSION},
        "paths": paths,
        "components": {
            "schemas": {"Error": _object({"error": {"type": "string"}, "request_id": {"type": "string"}}, ["error"])},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _row_schema(served: ServedModel) -> dict[str, Any]:
    properties = {}
    for name, column in served.columns.items():
        schema = JSON_TYPES.get(column.kind, {"anyOf": [FILE, {"type": ["string", "array", "null"]}]})
        properties[name] = schema | {"description": column.kind}
    return {"type": "object", "properties": properties, "additionalProperties": False, "minProperties": 1}


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _post(summary: str, properties: dict[str, Any], required: list[str], example: Any) -> dict[str, Any]:
    body = {"application/json": {"schema": _object(properties, required), "example": example}}
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    answers: dict[str, Any] = {status: {"description": text, "content": error} for status, text in ERRORS.items()}
    answers["200"] = {"description": "The answer.", "content": {"application/json": {"schema": {"type": "object"}}}}
    return {"post": {"summary": summary, "requestBody": {"required": True, "content": body}, "responses": answers}}


def _get(summary: str) -> dict[str, Any]:
    return {"get": {"summary": summary, "responses": {"200": {"description": "The answer."}}}}
