"""The model card of a bundle, ``README.md``, in the form that the Hugging Face hub reads.

It is made of the bundle's own files, so that it can be made again when they change.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from polymodal.bundle.graph_info import BundleInfo
from polymodal.bundle.load_bundle import CARD_FILE, read_bundle_info
from polymodal.metrics import METRICS
from polymodal.model.manifest import read_json
from polymodal.model.saved_parts import MODEL_FILE

TABULAR = {"number", "category", "datetime", "geo"}
"""Modalities of plain columns."""
TASKS = {
    ("image", "category"): "image-classification",
    ("image", "boxes"): "object-detection",
    ("image", "caption"): "image-to-text",
    ("text", "category"): "text-classification",
    ("audio", "category"): "audio-classification",
    ("audio", "transcript"): "automatic-speech-recognition",
    ("video", "category"): "video-classification",
    ("tabular", "category"): "tabular-classification",
    ("tabular", "number"): "tabular-regression",
}
"""Modality of all inputs and kind of the only target to the hub's name of the task."""
EXAMPLE_CELLS = {
    "image": "photo.jpg",
    "audio": "sound.wav",
    "video": "film.mp4",
    "text": "some text",
    "number": 1.5,
    "datetime": "2026-01-31",
    "category": "a",
}
UNSEEN, CHOSEN_BY = "which training did not see", "by which the run chose its best epoch: new rows may score lower"
UNKNOWN_LICENSE = "unknown"


def write_card(folder: Path, license_name: str = UNKNOWN_LICENSE) -> None:
    """Write the model card of a bundle whose other files are there.

    Args:
        folder: The bundle.
        license_name: Licence of the model, by the hub's identifier.
    """
    record = read_json(folder / MODEL_FILE)["record"]
    text = model_card(read_bundle_info(folder), record, file_sizes(folder), license_name)
    (folder / CARD_FILE).write_text(text, encoding="utf-8")


def file_sizes(folder: Path) -> dict[str, int]:
    """Return the size of each file of a bundle but its card.

    Args:
        folder: The bundle.

    Returns:
        Path in the folder to bytes.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / CARD_FILE)
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def model_card(
    info: BundleInfo, record: Mapping[str, Any], sizes: Mapping[str, int], license_name: str = UNKNOWN_LICENSE
) -> str:
    """Write a model card.

    Args:
        info: What ``bundle.json`` says.
        record: Report data of the run.
        sizes: Path of each file to its bytes.
        license_name: Licence of the model, by the hub's identifier.

    Returns:
        Markdown with a YAML block at its head.
    """
    head = yaml.safe_dump(card_head_of(info, record, license_name), sort_keys=False, allow_unicode=True)
    return f"---\n{head}---\n\n" + "\n".join(_body(info, record, sizes, license_name)) + "\n"


def card_head_of(info: BundleInfo, record: Mapping[str, Any], license_name: str) -> dict[str, Any]:
    """Return what the hub reads of a card.

    Args:
        info: What ``bundle.json`` says.
        record: Report data of the run.
        license_name: Licence of the model.

    Returns:
        Plain values.
    """
    task = task_of(info)
    modalities = sorted(set(map(_modality_tag, info.inputs.values())))
    head: dict[str, Any] = {
        "license": license_name,
        "library_name": "polymodal",
        "tags": ["polymodal", "onnx", "multimodal", *(tag for tag in modalities if tag != "multimodal")],
        **({"pipeline_tag": task} if task else {}),
    }
    results = [_result(info, record, target, task) for target in info.metrics]
    return head | ({"model-index": [{"name": _title(info, record), "results": results}]} if results else {})


def task_of(info: BundleInfo) -> str | None:
    """Find the hub's name of the task.

    Args:
        info: What ``bundle.json`` says.

    Returns:
        The name; None for inputs of several modalities or several targets, for which the hub has none.
    """
    if not info.outputs:
        return "feature-extraction"
    modalities = set(map(_modality_tag, info.inputs.values()))
    if len(modalities) != 1 or len(info.outputs) != 1:
        return None
    return TASKS.get((modalities.pop(), next(iter(info.outputs.values()))))


def _modality_tag(modality: str) -> str:
    return "tabular" if modality in TABULAR else modality


def _title(info: BundleInfo, record: Mapping[str, Any]) -> str:
    return str(record.get("title") or " and ".join(info.outputs) or "embeddings")


def _result(info: BundleInfo, record: Mapping[str, Any], target: str, task: str | None) -> dict[str, Any]:
    table = next((t["name"] for t in record.get("tables", []) if t["split"] == info.split), "table in memory")
    metrics = [
        {"type": name, "name": _metric_title(name), "value": value}
        for name, value in info.metrics[target].items()
        if value is not None
    ]
    return {
        "task": {"type": task or "other", "name": f"{target} ({info.outputs.get(target, 'retrieval')})"},
        "dataset": {"name": table, "type": "private", "split": info.split},
        "metrics": metrics,
    }


def _metric_title(name: str) -> str:
    return METRICS[name].title if name in METRICS else name


def _body(info: BundleInfo, record: Mapping[str, Any], sizes: Mapping[str, int], license_name: str) -> Iterator[str]:
    what = f"Predicts {_list(info.outputs)}" if info.outputs else "Embeds rows"
    yield f"# {_plain(_title(info, record))}\n"
    yield f"{what} from {_list(info.inputs)}; any cell may be missing. Trained and exported with polymodal"
    yield f"{info.polymodal} on {info.created[:10]}. It runs in ONNX Runtime (operator set {info.opset}).\n"
    yield from _table("Inputs", ("column", "holds"), info.inputs.items())
    yield from _table("Answers", ("column", "kind"), info.outputs.items())
    yield from _scores(info, record)
    yield from _training(info, record)
    yield from _limits(record)
    yield from _use(info)
    yield from _licenses(info, license_name)
    yield from _table("Files", ("file", "bytes"), [(name, f"{size:,}") for name, size in sizes.items()])


def _scores(info: BundleInfo, record: Mapping[str, Any]) -> Iterator[str]:
    intervals = record.get("evaluation", {}).get("intervals", {})
    for target, metrics in info.metrics.items():
        rows = [
            (_metric_title(name), _number(value), _interval(intervals.get(target, {}).get(name)))
            for name, value in metrics.items()
        ]
        yield from _table(f"Scores: {target}", ("metric", "value", "95 % interval"), rows)
    if info.metrics:
        seen = UNSEEN if info.split == "test" else CHOSEN_BY
        yield f"Measured on {info.rows.get(str(info.split), 0):,} rows ({info.split}), {seen}.\n"


def _training(info: BundleInfo, record: Mapping[str, Any]) -> Iterator[str]:
    rows = [(t["name"], t["split"], f"{t['rows']:,}") for t in record.get("tables", [])]
    yield from _table("Training data", ("table", "part", "rows"), rows)
    encoders = [(s["name"], s["modality"], info.checkpoints.get(s["name"], s["encoder"])) for s in record["streams"]]
    yield from _table("Network", ("stream", "modality", "encoder"), encoders)
    yield from (
        f"The streams {_plain(', '.join(group['streams']))} share {group['depth']} layers behind their encoders.\n"
        for group in record.get("shared_layers", [])
    )
    fusion, parameters = record["fusion"]["name"], record["parameters"]
    yield f"The streams are fused by `{fusion}`; the network has {parameters:,} parameters.\n"


def _limits(record: Mapping[str, Any]) -> Iterator[str]:
    yield "## Limits\n"
    yield "It knows what its training rows showed, and nothing else. What training noticed:\n"
    yield from (f"- {_plain(notice)}" for notice in record.get("notices") or ["Nothing."])
    yield (
        "\nThe files hold what was counted and learnt from the training rows: categories, words of texts, quantiles,"
        "\nand embeddings of some rows, by which drift is found. They hold no row.\n"
    )


def _use(info: BundleInfo) -> Iterator[str]:
    cells = {name: [EXAMPLE_CELLS.get(modality, "...")] for name, modality in list(info.inputs.items())[:6]}
    call = "predict" if info.outputs else "embed"
    yield "## How to use it\n"
    yield "```python\nimport polymodal  # pip install polymodal\n"
    yield 'model = polymodal.load("FOLDER")  # of the hub: huggingface_hub.snapshot_download("OWNER/NAME")'
    yield f"model.{call}({json.dumps(cells, ensure_ascii=False)})\n```\n"


def _licenses(info: BundleInfo, license_name: str) -> Iterator[str]:
    yield "## Licences\n"
    own = "Its author has stated no licence" if license_name == UNKNOWN_LICENSE else f"This model: {license_name}"
    yield f"{_plain(own)}.\n"
    rows = [(name, found or "not stated in its files") for name, found in info.licenses.items()]
    yield from _table("Pretrained checkpoints", ("checkpoint", "licence"), rows)


def _table(title: str, headings: Sequence[str], rows: Any) -> Iterator[str]:
    """Write a table under a heading; nothing where it has no rows."""
    lines = ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    if lines:
        yield f"## {_plain(title)}\n"
        yield "| " + " | ".join(headings) + " |\n|" + " --- |" * len(headings)
        yield "\n".join(lines) + "\n"


def _list(names: Mapping[str, str]) -> str:
    return ", ".join(f"**{_plain(name)}**" for name in names)


def _cell(value: object) -> str:
    return _plain(str(value)).replace("|", "\\|")


def _plain(text: str) -> str:
    """Show a text that came from a table as it is: no HTML, no Markdown, one line."""
    escaped = html.escape(" ".join(text.split()), quote=False)
    return "".join(f"\\{character}" if character in "\\`*[]" else character for character in escaped)


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4g}"


def _interval(bounds: Sequence[float | None] | None) -> str:
    return "" if not bounds else " to ".join(map(_number, bounds))
