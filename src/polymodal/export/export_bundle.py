"""Exporting a trained model as a bundle, and checking that the bundle answers as the model does (torch)."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import torch

from polymodal.arrays import Column
from polymodal.atomic_files import atomic_folder
from polymodal.bundle.graph_info import BundleInfo, Form, FusionGraphInfo, GraphInfo
from polymodal.bundle.load_bundle import BUNDLE_FILE, CARD_FILE, FUSION_FILE, GRAPHS, encoder_file, load_bundle
from polymodal.data.tables.table import Table
from polymodal.encoders import ENCODERS, Pretrained
from polymodal.errors import ConfigError, MissingPackageError
from polymodal.export.bundle_info import describe_bundle, write_bundle_info
from polymodal.export.encoder_graph import export_encoder, float32_network
from polymodal.export.fusion_graph import export_fusion
from polymodal.export.model_card import UNKNOWN_LICENSE, write_card
from polymodal.export.parity import TOLERANCE, Parity, check_parity
from polymodal.export.shipped_model import shipped_model
from polymodal.export.torch_programs import load_programs, write_programs
from polymodal.fusion import FUSIONS
from polymodal.model.custom_objects import list_parts
from polymodal.model.manifest import write_manifest
from polymodal.model.network import Network
from polymodal.model.saved_parts import PART_FILES, write_parts
from polymodal.model.torch_network import torch_network
from polymodal.model.trained_model import TrainedModel
from polymodal.plugins import MODALITY_GROUP, TARGET_GROUP
from polymodal.progress import Phase, Progress
from polymodal.targets import TARGETS

ATTRIBUTES_FILE = ".gitattributes"
CONTENTS = (*PART_FILES, BUNDLE_FILE, GRAPHS, CARD_FILE, ATTRIBUTES_FILE)
"""What a bundle may consist of; anything else in its folder is someone else's."""
LARGE_FILES = ("*.onnx", "*.onnx.data", "*.pt2", "*.safetensors", "baselines/*.txt", "model.json")
"""Patterns of files that git keeps outside of its history (LFS)."""
NO_EXPORT = "cannot be exported: see the column export of `polymodal list encoders|fusions|targets`."
RUN_TIME_GROUPS = (MODALITY_GROUP, TARGET_GROUP)
PACKAGES = ("onnx", "onnxruntime", "onnxscript")


def export_bundle(
    model: TrainedModel,
    folder: Path,
    table: Table,
    progress: Progress,
    tolerance: float = TOLERANCE,
    form: Form = "onnx",
    license_name: str = UNKNOWN_LICENSE,
) -> Parity:
    """Write a model as a bundle, unless the bundle would answer otherwise.

    Args:
        model: The trained model, with its network in torch.
        folder: The bundle's folder; an older bundle there is replaced.
        table: Rows that both predict.
        progress: Reports each graph, and the check.
        tolerance: Largest difference of a probability, or of a number in standard deviations.
        form: ``torch`` writes the graphs as programs of ``torch.export`` too; ``huggingface`` writes what git needs to
            know of large files too.
        license_name: Licence of the model for its card, by the Hugging Face hub's identifier.

    Returns:
        What was compared, and how far the answers were apart.

    Raises:
        ConfigError: If the model was exported already, a part of it cannot be exported, there are no rows, a package
            is not installed, or answers differ.
        OSError: If the folder cannot be written.
    """
    network = reference_network(torch_network(model, "An export"))
    model.check_no_features("A bundle")
    _check_packages()
    check_parts(model)
    if not table.num_rows:
        raise ConfigError(f"The table {table.name} has no rows to compare the exported model on. Name another --table.")
    reference = dataclasses.replace(model, network=network)
    columns, _ = model.preprocessor.transform(table.take(range(1)))
    with atomic_folder(folder, CONTENTS) as temporary:
        info = write_bundle(reference, columns, temporary, progress)
        rounded = model if any(isinstance(e, Pretrained) and e.is_frozen for e in network.own_encoders) else None
        parity = check_parity(reference, load_bundle(temporary), table, progress, tolerance, rounded)
        if form == "torch":
            programs = write_programs(network, columns, info, temporary / GRAPHS, progress)
            with_programs = load_bundle(temporary)
            ran = dataclasses.replace(with_programs, network=load_programs(programs, info, with_programs.targets))
            check_parity(reference, ran, table, progress, tolerance)
            info = info.model_copy(update={"programs": tuple(sorted(programs))})
        _finish(temporary, info.model_copy(update={"parity": parity.to_json()}), form, license_name)
    return parity


def reference_network(network: Network) -> Network:
    """Return the network that a bundle agrees with: on the CPU, and in float32.

    Args:
        network: The network of a run.

    Returns:
        The same weights in evaluation mode; outputs of frozen checkpoints are not rounded.
    """
    found = network if network.device.type == "cpu" else copy.deepcopy(network).cpu()
    return float32_network(found).eval()


def write_bundle(model: TrainedModel, columns: Mapping[str, Column], folder: Path, progress: Progress) -> BundleInfo:
    """Write the files of a bundle but its card.

    Args:
        model: The trained model, with a ``reference_network``.
        columns: Stream to arrays of any rows, to trace the encoders with.
        folder: An empty folder.
        progress: Reports each graph.

    Returns:
        What ``bundle.json`` says.

    Raises:
        ConfigError: If an encoder or the fusion cannot be exported.
    """
    network = torch_network(model, "An export")
    (folder / GRAPHS).mkdir()
    with torch.inference_mode(False), progress.phase("export", len(network.own_encoders) + 1) as phase:
        numbers = range(len(network.own_encoders))
        encoders = [_write_encoder(network, number, columns, folder, phase) for number in numbers]
        fusion = _write_fusion(network, encoders, folder, phase)
    info = describe_bundle(model, network, encoders, fusion, folder)
    write_bundle_info(folder, info)
    write_parts(shipped_model(model), folder, {"parts": _parts_at_run_time(model)})
    write_manifest(folder)
    return info


def _write_encoder(
    network: Network, number: int, columns: Mapping[str, Column], folder: Path, phase: Phase
) -> GraphInfo:
    stream = network.streams[network.encoder_indices.index(number)]
    path = folder / GRAPHS / encoder_file(number)
    phase.advance(0, note=f"{path.name}, the encoder of {stream}")
    try:
        info = export_encoder(network.stream_encoder(number), columns[stream], path)
    except Exception as error:  # whatever torch's exporter raises for what a module does
        raise _not_exportable(f"The encoder of the stream {stream!r}", error) from error
    phase.advance(1)
    return info


def _write_fusion(network: Network, encoders: list[GraphInfo], folder: Path, phase: Phase) -> FusionGraphInfo:
    graphs = {stream: encoders[number] for stream, number in zip(network.streams, network.encoder_indices, strict=True)}
    details = {stream: graph.detail_shape for stream, graph in graphs.items() if graph.has_detail}
    phase.advance(0, note=f"{FUSION_FILE}, the fusion with its heads")
    try:
        info = export_fusion(network, details, folder / GRAPHS / FUSION_FILE)
    except Exception as error:
        raise _not_exportable("The fusion with its heads", error) from error
    phase.advance(1)
    return info


def _not_exportable(what: str, error: Exception) -> ConfigError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ConfigError(f"{what} cannot be exported: {type(error).__name__}: {reason[:300]}")


def check_parts(model: TrainedModel) -> None:
    """Check that the tables of encoders and fusions say that the parts of a model can be exported.

    Args:
        model: The trained model.

    Raises:
        ConfigError: If one cannot; it is named.
    """
    record = model.report_data
    for stream in record.get("streams", []):
        encoder = ENCODERS.get(stream["modality"], {}).get(stream["encoder"])
        if encoder is not None and not encoder.exports:
            raise ConfigError(f"The encoder {stream['encoder']!r} of the stream {stream['name']!r} {NO_EXPORT}")
    fusion = record.get("fusion", {}).get("name")
    if fusion in FUSIONS and not FUSIONS[fusion].exports:
        raise ConfigError(f"The fusion {fusion!r} {NO_EXPORT}")
    for target in model.targets.values():
        if target.kind in TARGETS and not TARGETS[target.kind].exports:
            raise ConfigError(f"A target of the kind {target.kind!r} {NO_EXPORT}")


def _check_packages() -> None:
    absent = [name for name in PACKAGES if find_spec(name) is None]
    if absent:
        raise MissingPackageError(f"An export needs the package {absent[0]}: pip install 'polymodal[train]'.")


def _finish(folder: Path, info: BundleInfo, form: Form, license_name: str) -> None:
    """Write what depends on the check, the card and the manifest."""
    write_bundle_info(folder, info)
    if form == "huggingface":
        write_attributes(folder)
    write_manifest(folder)
    write_card(folder, license_name)


def write_attributes(folder: Path) -> None:
    """Write which files git is to keep outside of its history.

    Args:
        folder: The bundle.
    """
    lines = [f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in LARGE_FILES]
    (folder / ATTRIBUTES_FILE).write_text("".join(lines), encoding="utf-8")


def _parts_at_run_time(model: TrainedModel) -> list[dict[str, object]]:
    """List the parts of other packages that a bundle needs: encoders and fusions are in its graphs."""
    parts = list_parts(model.config, model.preprocessor.modalities, model.targets)
    return [part for part in parts if part.get("group") in RUN_TIME_GROUPS]
