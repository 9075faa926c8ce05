"""Bundles of a candidate: exported as it is, and with int8 weights in the graphs that do not suffer."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from polymodal.bundle.graph_network import GraphNetwork
from polymodal.bundle.load_bundle import BUNDLE_FILE, GRAPHS, encoder_file, load_bundle, read_bundle_info
from polymodal.compression.candidate import Candidate, build_candidate, fused_scores, keep_members, validation_scores
from polymodal.compression.deployed import slimmed
from polymodal.compression.points import TargetScore
from polymodal.compression.quantised_graphs import GraphVariant, calibration_inputs, quantise
from polymodal.compression.rows import CompressionRows
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.tables.table import Table
from polymodal.export.bundle_info import scores_of, write_bundle_info
from polymodal.export.export_bundle import export_bundle
from polymodal.export.model_card import write_card
from polymodal.export.shipped_model import shipped_model
from polymodal.model.batches import Examples
from polymodal.model.manifest import write_manifest
from polymodal.model.saved_parts import MODEL_FILE, write_parts
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import Progress

CALIBRATION_ROWS = 128
SENSITIVITY_ROWS = 400
"""Most validation rows by which one graph at a time is judged; the whole is judged by all of them."""


def export_candidate(candidate: Candidate, folder: Path, table: Table, progress: Progress) -> Candidate:
    """Export a candidate as a bundle that answers as it does.

    Args:
        candidate: The candidate, with its network in torch.
        folder: The bundle's folder.
        table: Rows that both predict.
        progress: Reports each graph.

    Returns:
        The exported candidate.

    Raises:
        ConfigError: If a part of it cannot be exported.
    """
    export_bundle(slimmed(candidate.model), folder, table, progress)
    return dataclasses.replace(
        candidate,
        name=f"{candidate.name}, ONNX",
        method="exported",
        description=f"{candidate.description}; exported",
        model=load_bundle(folder),
        bundle=folder,
        exported_from=candidate,
    )


def quantise_candidate(
    exported: Candidate, folder: Path, most_lost: float, cache: ArrayCache
) -> tuple[Candidate | None, list[str]]:
    """Store the weights of those graphs as int8 whose answers do not suffer.

    Each graph is judged by itself first, all others in float32, by the answers of the network alone.

    Args:
        exported: A candidate of ``export_candidate``.
        folder: An empty folder for graphs and the bundle.
        most_lost: Points that one graph may lose.
        cache: Cache of the baselines' predictions.

    Returns:
        The candidate with int8 weights, None where no graph gets smaller without loss; and what was left out.
    """
    assert exported.bundle is not None
    variants, notices = _all_variants(exported, folder)
    sample = exported.validation.sample(SENSITIVITY_ROWS, exported.model.config.seed, list(exported.model.targets))
    before = _network_scores(exported.model, exported.rows, sample, cache)
    chosen: dict[str, GraphVariant] = {}
    for file, found in variants.items():
        lost = {v: _lost_by(exported, {file: v}, folder / "trial", before, sample, cache) for v in found}
        kept = [variant for variant in found if lost[variant] <= most_lost]
        if kept:
            chosen[file] = min(kept, key=lambda variant: (lost[variant], variant.num_bytes))
        elif found:
            least = min(lost.values())
            notices.append(f"{exported.name}: {file} stays in float32: as int8 it loses {least:.2f} points.")
    if not chosen:
        return None, notices
    return _with_graphs(exported, chosen, folder, cache), notices


def write_candidate_bundle(candidate: Candidate, model: TrainedModel, folder: Path) -> None:
    """Write the bundle of a candidate with a decision level and report data.

    Args:
        candidate: A candidate with a bundle.
        model: Its model.
        folder: An empty folder.
    """
    assert candidate.bundle is not None
    shutil.copytree(candidate.bundle / GRAPHS, folder / GRAPHS)
    info = read_bundle_info(candidate.bundle).model_copy(update={"parity": {}, **scores_of(model.report_data)})
    write_bundle_info(folder, info)
    parts = json.loads((candidate.bundle / MODEL_FILE).read_text(encoding="utf-8")).get("parts", [])
    write_parts(shipped_model(model), folder, {"parts": parts})
    write_manifest(folder)
    write_card(folder)


def _all_variants(exported: Candidate, folder: Path) -> tuple[dict[str, list[GraphVariant]], list[str]]:
    assert exported.bundle is not None
    network = exported.model.network
    assert isinstance(network, GraphNetwork)
    graphs = sorted((exported.bundle / GRAPHS).glob("*.onnx"))
    train = exported.train.sample(CALIBRATION_ROWS, exported.model.config.seed, list(exported.model.targets))
    calibration = calibration_inputs(network, train.columns, train.rows)
    variants, notices = {}, []
    (folder / "graphs").mkdir(parents=True)
    for graph in graphs:
        variants[graph.name], found = quantise(graph, folder / "graphs", calibration.get(graph.name, []))
        notices += found
    return variants, notices


def _network_scores(
    model: TrainedModel, rows: CompressionRows, validation: Examples, cache: ArrayCache
) -> dict[str, TargetScore]:
    """Score the network alone on some validation rows; where decisions are fused, the ensemble of its streams."""
    alone = dataclasses.replace(model, features=None, baselines={})
    fused = fused_scores(alone, validation, cache)
    if fused:
        return fused
    without = dataclasses.replace(rows, fitted=None)
    return validation_scores(build_candidate("", "int8", "", alone, without, validation, cache), cache)


def _lost_by(
    exported: Candidate,
    chosen: Mapping[str, GraphVariant],
    folder: Path,
    before: Mapping[str, TargetScore],
    validation: Examples,
    cache: ArrayCache,
) -> float:
    """Return the points that the network loses by some graphs."""
    shutil.rmtree(folder, ignore_errors=True)
    _assemble(exported, chosen, folder)
    scores = _network_scores(load_bundle(folder), exported.rows, validation, cache)
    return max((scores[name].against(before[name]).drop for name in scores), default=0.0)


def _with_graphs(exported: Candidate, chosen: Mapping[str, GraphVariant], folder: Path, cache: ArrayCache) -> Candidate:
    bundle = folder / "bundle"
    _assemble(exported, chosen, bundle)
    name = exported.name.removesuffix(", ONNX")
    described = ", ".join(f"{variant.file} {variant.precision}" for variant in chosen.values())
    base = exported.exported_from or exported
    description = f"{base.description}; int8 weights: {described}"
    candidate = build_candidate(
        f"{name}, int8", "int8", description, load_bundle(bundle), exported.rows, exported.validation, cache
    )
    if exported.kept is not None:
        candidate = keep_members(candidate, exported.kept, candidate.name, description)
    return dataclasses.replace(candidate, bundle=bundle, exported_from=base, train=exported.train)


def _assemble(exported: Candidate, chosen: Mapping[str, GraphVariant], folder: Path) -> None:
    """Copy a bundle with some of its graphs replaced."""
    assert exported.bundle is not None
    shutil.copytree(exported.bundle, folder)
    info = json.loads((folder / BUNDLE_FILE).read_text(encoding="utf-8"))
    for file, variant in chosen.items():
        shutil.copyfile(variant.path, folder / GRAPHS / file)
    info["precision"] = {**info.get("precision", {}), **{file: v.precision for file, v in chosen.items()}}
    for number, graph in enumerate(info["graphs"]):
        graph["num_bytes"] = (folder / GRAPHS / encoder_file(number)).stat().st_size
    (folder / BUNDLE_FILE).write_text(json.dumps(info, indent=1) + "\n", encoding="utf-8")
    write_manifest(folder)
