"""Exporting a trained model as a bundle, and checking that the bundle answers as the model does (torch)."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from polymodal.arrays import Column
from polymodal.atomic_files import atomic_folder
from polymodal.bundle.graph_info import BundleInfo, FusionGraphInfo, GraphInfo
from polymodal.bundle.load_bundle import (
    BUNDLE_FILE,
    BUNDLE_FORMAT,
    CARD_FILE,
    FUSION_FILE,
    GRAPHS,
    encoder_file,
    load_bundle,
)
from polymodal.data.tables.table import Table
from polymodal.encoders import Pretrained
from polymodal.errors import ConfigError
from polymodal.export.encoder_graph import OPSET, export_encoder, float32_network
from polymodal.export.fusion_graph import export_fusion
from polymodal.export.parity import TOLERANCE, Parity, check_parity
from polymodal.model.custom_objects import list_parts
from polymodal.model.manifest import write_manifest
from polymodal.model.network import Network
from polymodal.model.saved_parts import PART_FILES, write_parts
from polymodal.model.torch_network import torch_network
from polymodal.model.trained_model import TrainedModel
from polymodal.plugins import MODALITY_GROUP, TARGET_GROUP
from polymodal.progress import Progress
from polymodal.version import VERSION

CONTENTS = (*PART_FILES, BUNDLE_FILE, GRAPHS, CARD_FILE)
"""What a bundle may consist of; anything else in its folder is someone else's."""
IR_VERSION = 10
RUN_TIME_GROUPS = (MODALITY_GROUP, TARGET_GROUP)


def export_bundle(
    model: TrainedModel, folder: Path, table: Table, progress: Progress, tolerance: float = TOLERANCE
) -> Parity:
    """Write a model as a bundle, unless the bundle would answer otherwise.

    Args:
        model: The trained model, with its network in torch.
        folder: The bundle's folder; an older bundle there is replaced.
        table: Rows that both predict.
        progress: Reports each graph, and the check.
        tolerance: Largest difference of a probability, or of a number in standard deviations.

    Returns:
        What was compared, and how far the answers were apart.

    Raises:
        ConfigError: If the model was exported already, a part of it cannot be exported, or answers differ.
        OSError: If the folder cannot be written.
    """
    network = torch_network(model, "An export").eval()
    columns, _ = model.preprocessor.transform(table)
    with atomic_folder(folder, CONTENTS) as temporary:
        write_bundle(model, network, columns, temporary, progress)
        with progress.phase("check of the bundle", None):
            exact = replace(model, network=float32_network(network))
            parity = check_parity(exact, load_bundle(temporary), table, tolerance)
    return parity


def write_bundle(
    model: TrainedModel, network: Network, columns: Mapping[str, Column], folder: Path, progress: Progress
) -> None:
    """Write all files of a bundle.

    Args:
        model: The trained model.
        network: Its network, in evaluation mode.
        columns: Stream to arrays of any rows, to trace the encoders with.
        folder: An empty folder.
        progress: Reports each graph.

    Raises:
        ConfigError: If an encoder or the fusion cannot be exported.
    """
    (folder / GRAPHS).mkdir()
    with torch.inference_mode(False), progress.phase("export", len(network.own_encoders) + 1) as phase:
        encoders = []
        for number in range(len(network.own_encoders)):
            encoders.append(_write_encoder(network, number, columns, folder))
            phase.advance(1)
        fusion = _write_fusion(network, encoders, folder)
        phase.advance(1)
    info = _bundle_info(network, encoders, fusion)
    (folder / BUNDLE_FILE).write_text(info.model_dump_json(indent=1) + "\n", encoding="utf-8")
    write_parts(model, folder, {"parts": _parts_at_run_time(model)})
    write_manifest(folder)


def _write_encoder(network: Network, number: int, columns: Mapping[str, Column], folder: Path) -> GraphInfo:
    stream = network.streams[network.encoder_indices.index(number)]
    path = folder / GRAPHS / encoder_file(number)
    try:
        return export_encoder(network.own_encoders[number], columns[stream], path)
    except Exception as error:  # whatever torch's exporter raises for what a module does
        raise _not_exportable(f"The encoder of the stream {stream!r}", error) from error


def _write_fusion(network: Network, encoders: list[GraphInfo], folder: Path) -> FusionGraphInfo:
    graphs = {stream: encoders[number] for stream, number in zip(network.streams, network.encoder_indices, strict=True)}
    details = {stream: graph.detail_shape for stream, graph in graphs.items() if graph.has_detail}
    try:
        return export_fusion(network, details, folder / GRAPHS / FUSION_FILE)
    except Exception as error:
        raise _not_exportable("The fusion with its heads", error) from error


def _not_exportable(what: str, error: Exception) -> ConfigError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ConfigError(f"{what} cannot be exported: {type(error).__name__}: {reason[:300]}")


def _bundle_info(network: Network, encoders: list[GraphInfo], fusion: FusionGraphInfo) -> BundleInfo:
    pairs = zip(network.streams, network.encoders, strict=True)
    return BundleInfo(
        format=BUNDLE_FORMAT,
        polymodal=VERSION,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        opset=OPSET,
        ir_version=IR_VERSION,
        encoders=dict(zip(network.streams, network.encoder_indices, strict=True)),
        graphs=tuple(encoders),
        fusion=fusion,
        pretrained=tuple(stream for stream, encoder in pairs if isinstance(encoder, Pretrained)),
        precision=dict.fromkeys((*map(encoder_file, range(len(encoders))), FUSION_FILE), "float32"),
    )


def _parts_at_run_time(model: TrainedModel) -> list[dict[str, object]]:
    """List the parts of other packages that a bundle needs: encoders and fusions are in its graphs."""
    parts = list_parts(model.config, model.preprocessor.modalities, model.targets)
    return [part for part in parts if part.get("group") in RUN_TIME_GROUPS]
