"""What ``bundle.json`` says of an exported model."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polymodal.bundle.graph_info import BundleInfo, FusionGraphInfo, GraphInfo
from polymodal.bundle.load_bundle import BUNDLE_FILE, BUNDLE_FORMAT, GRAPHS
from polymodal.encoders import Pretrained
from polymodal.export.licenses import license_of
from polymodal.export.shipped_model import file_name
from polymodal.model.network import Network
from polymodal.model.trained_model import TrainedModel
from polymodal.targets import OBJECTIVES
from polymodal.version import VERSION


def describe_bundle(
    model: TrainedModel, network: Network, encoders: Sequence[GraphInfo], fusion: FusionGraphInfo, folder: Path
) -> BundleInfo:
    """Describe a bundle whose graphs are written.

    Args:
        model: The trained model.
        network: Its network.
        encoders: The encoders' graphs.
        fusion: The graph of the fusion and the heads.
        folder: The bundle.

    Returns:
        What ``bundle.json`` is to say.
    """
    files = sorted((folder / GRAPHS).glob("*.onnx"))
    folders = _checkpoints(network)
    checkpoints = {stream: _name_of(model, stream, folder) for stream, folder in folders.items()}
    return BundleInfo(
        format=BUNDLE_FORMAT,
        polymodal=VERSION,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **_of_files(files),
        encoders=dict(zip(network.streams, network.encoder_indices, strict=True)),
        graphs=tuple(encoders),
        fusion=fusion,
        pretrained=tuple(checkpoints),
        precision={file.name: "float32" for file in files},
        inputs={column.name: column.modality for column in model.schema.columns},
        outputs={name: target.kind for name, target in model.targets.items() if target.kind not in OBJECTIVES},
        checkpoints=checkpoints,
        licenses={checkpoints[stream]: license_of(folder) for stream, folder in folders.items()},
        **scores_of(model.report_data),
    )


def _name_of(model: TrainedModel, stream: str, folder: str) -> str:
    """Name a checkpoint as the user did; a saved run holds a copy of its own."""
    chosen = model.config.encoder.get(stream)
    return str(file_name(folder if chosen is None or chosen.name is None else chosen.name))


def _checkpoints(network: Network) -> dict[str, str]:
    """Return stream to the folder or the hub's name that a pretrained encoder was loaded from."""
    pairs = zip(network.streams, network.encoders, strict=True)
    return {
        stream: encoder.checkpoint_adapter.checkpoint for stream, encoder in pairs if isinstance(encoder, Pretrained)
    }


def _of_files(files: Sequence[Path]) -> dict[str, Any]:
    """Read operator set, format version and producer from the files themselves."""
    import onnx

    models = [onnx.load(file, load_external_data=False) for file in files]
    opsets = [entry.version for model in models for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    producers = sorted({f"{model.producer_name} {model.producer_version}".strip() for model in models})
    return {
        "opset": max(opsets),
        "ir_version": max(model.ir_version for model in models),
        "producer": ", ".join(producers),
    }


def scores_of(report_data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``bundle.json`` says of the scores of a run.

    Args:
        report_data: Its report data.

    Returns:
        The fields ``metrics``, ``split`` and ``rows`` of ``BundleInfo``.
    """
    evaluation = report_data.get("evaluation", {})
    metrics = {
        target: {name: _finite(value) for name, value in found.items() if isinstance(value, int | float)}
        for target, found in evaluation.get("targets", {}).items()
    }
    rows = {table["split"]: table["rows"] for table in report_data.get("tables", [])}
    return {"metrics": metrics, "split": evaluation.get("split"), "rows": rows}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def write_bundle_info(folder: Path, info: BundleInfo) -> None:
    """Write ``bundle.json``.

    Args:
        folder: The bundle.
        info: What it is to say.
    """
    (folder / BUNDLE_FILE).write_text(info.model_dump_json(indent=1) + "\n", encoding="utf-8")
