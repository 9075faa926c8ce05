"""The report data of a run: plain JSON with all that ``report.html`` and ``metrics.json`` show."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import polymodal
from polymodal.arrays import Cell
from polymodal.config import TrainConfig
from polymodal.data.schema.columns import ColumnSchema
from polymodal.encoders import default_encoder
from polymodal.metrics import metric_of
from polymodal.model.build import num_parameters
from polymodal.model.evaluation import Evaluation
from polymodal.model.recovered_sketches import judged_targets
from polymodal.model.shared_groups import shared_groups
from polymodal.model.torch_network import torch_network
from polymodal.model.trained_model import TrainedModel
from polymodal.nn.ranks import get_world_size
from polymodal.runs.data_module import DataModule
from polymodal.targets import AnyTarget, primary_metric_of
from polymodal.training.pretraining import MASKED_FRACTION
from polymodal.training.sharding import is_sharding_enabled
from polymodal.training.state import TrainingState


def build_report_data(
    model: TrainedModel,
    data_module: DataModule,
    state: TrainingState,
    evaluation: Evaluation,
    seconds: dict[str, float],
    command: str | None,
) -> dict[str, Any]:
    """Build the report data of a run.

    Args:
        model: The trained model.
        data_module: The data it was trained on.
        state: The final training state.
        evaluation: Its scores.
        seconds: Phase to seconds.
        command: The command line, if there was one.

    Returns:
        Plain JSON.
    """
    network, config = torch_network(model, "A report"), model.config
    return {
        "version": polymodal.__version__,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": command,
        "title": _title(model),
        "seed": config.seed,
        "seconds": seconds,
        "tables": _table_rows(data_module),
        "columns": _column_rows(data_module),
        "streams": stream_rows(model),
        "shared_layers": shared_layer_rows(model),
        "fusion": {"name": config.fusion.name, "parameters": num_parameters(network.fusion)},
        "parameters": num_parameters(network),
        "targets_info": [_target_info(name, target) for name, target in judged_targets(model.targets).items()],
        "pretraining": state.pretraining,
        "history": [{**entry, "epoch": entry["epoch"] + 1} for entry in state.history],
        "best_epoch": state.best[0][1] + 1 if state.best else 0,
        "evaluation": evaluation.report,
        "broken_cells": [
            {"table": table, "row": cell.row, "column": cell.column, "reason": cell.reason}
            for table, cell in data_module.broken
        ],
        "table_notices": [notice.state() for notice in data_module.table_notices],
        "notices": [
            *(notice.sentence for notice in data_module.table_notices),
            *data_module.notices,
            *_training_notices(state, config.train),
        ],
        "config": config.model_dump(mode="json"),
    }


def _title(model: TrainedModel) -> str:
    streams = ", ".join(model.network.streams)
    return (
        f"{', '.join(judged_targets(model.targets))} from {streams}"
        if model.config.target
        else f"one space for {streams}"
    )


def _training_notices(state: TrainingState, settings: TrainConfig) -> list[str]:
    notices = _pretraining_notices(state)
    if state.accumulation_steps > (settings.accumulate or 1):
        batch = f"each batch of {settings.batch_size} rows was computed in {state.accumulation_steps} micro-batches"
        notices.append(f"Training used gradient accumulation: {batch}, as it does not fit into memory.")
    if state.diverged_epoch:
        notices.append(
            f"Training ended in epoch {state.diverged_epoch}, where it diverged: the loss was no finite number. The "
            f"weights are those of the epochs before. With a train.learning_rate below {settings.learning_rate:g} it "
            f"may learn longer."
        )
    if is_sharding_enabled(settings) and get_world_size() == 1:
        notices.append("A single process trained with all weights: train.shard needs several processes to shard them.")
    return notices


def _pretraining_notices(state: TrainingState) -> list[str]:
    pretrained = {stream: run for stream, run in state.pretraining.items() if run["history"]}
    return [
        f"The encoder of {stream!r} was pretrained by reconstruction of {run['pictures']:,} pictures, "
        f"{run['unlabelled']:,} of them without a target: with {MASKED_FRACTION:.0%} of the pixels masked, "
        f"{run['history'][-1]['train_error']:.0%} of their variance stays unexplained."
        for stream, run in pretrained.items()
    ]


def _encoder_name(model: TrainedModel, stream: str) -> str:
    chosen = model.config.encoder.get(stream)
    fitted = model.preprocessor.modalities[stream]
    return default_encoder(fitted.name, fitted) if chosen is None or chosen.name is None else chosen.name


def stream_rows(model: TrainedModel) -> list[dict[str, Any]]:
    """Describe the streams of a model and their encoders.

    Args:
        model: The model, with its network in torch.

    Returns:
        One entry a stream, plain JSON.
    """
    network, streams = torch_network(model, "A report"), model.schema.streams
    encoders = dict(zip(network.streams, network.encoders, strict=True))
    groups = shared_groups(model.config, {stream.name: stream.modality for stream in streams})
    shared = {stream: name for name, members in groups.encoders.items() for stream in members}
    return [
        {
            "name": stream.name,
            "modality": stream.modality,
            "encoder": _encoder_name(model, stream.name),
            "shared": shared.get(stream.name),
            "columns": list(stream.columns),
            "parameters": num_parameters(encoders[stream.name]),
        }
        for stream in streams
    ]


def shared_layer_rows(model: TrainedModel) -> list[dict[str, Any]]:
    """Describe the layers that streams of several modalities share.

    Args:
        model: The model, with its network in torch.

    Returns:
        One entry a group, plain JSON.
    """
    network = torch_network(model, "A report")
    groups = shared_groups(model.config, {stream.name: stream.modality for stream in model.schema.streams})
    return [
        {"name": name, "streams": list(streams), "depth": layers.depth, "parameters": num_parameters(layers)}
        for (name, streams), layers in zip(groups.layers.items(), network.layer_groups, strict=True)
    ]


def _table_rows(data_module: DataModule) -> list[dict[str, Any]]:
    seen: set[str] = set()
    rows = []
    for split, examples in data_module.splits.items():
        first = examples.name not in seen
        set_aside = data_module.set_aside.get(examples.name, 0) if first else 0
        rows.append({"name": examples.name, "split": split, "rows": len(examples), "set_aside": set_aside})
        seen.add(examples.name)
    if data_module.num_taught:
        name = data_module.tables["train"].name
        rows.append({"name": name, "split": "teacher alone", "rows": data_module.num_taught, "set_aside": 0})
    return rows


def _column_rows(data_module: DataModule) -> list[dict[str, Any]]:
    table = data_module.schema.with_derived(data_module.tables["train"])
    stream_of = {column: stream.name for stream in data_module.schema.streams for column in stream.columns}
    part_of = data_module.schema.part_of
    broken = [cell.column for name, cell in data_module.broken if name == table.name]
    return [
        {
            "name": column.name,
            "modality": column.modality,
            "stream": stream_of.get(part_of.get(column.name, column.name)),
            "reason": column.reason,
            "missing": _num_missing(table.columns[column.name], data_module, column, broken.count(column.name)),
            "broken": broken.count(column.name),
            "rows": table.num_rows,
        }
        for column in (*data_module.schema.columns, *data_module.schema.ignored)
    ]


def _num_missing(cells: Sequence[Cell], data_module: DataModule, column: ColumnSchema, broken: int) -> int:
    """Count missing cells; the sound of a silent video counts as missing although its cell is present."""
    if column.source and column in data_module.schema.columns:
        stream = data_module.schema.stream_of(column.name)
        return len(cells) - int(data_module.splits["train"].columns[stream].row_present.sum()) - broken
    return sum(cell is None for cell in cells)


def _target_info(name: str, target: AnyTarget) -> dict[str, Any]:
    primary = primary_metric_of(target)
    weighted = getattr(target, "weights", None)
    return {
        "name": name,
        "kind": target.kind,
        "classes": target.classes,
        "counts": getattr(target, "counts", None),
        "imbalance": "rare classes weigh more in the loss, by the root of their rarity" if weighted else None,
        "primary_metric": primary,
        "higher_is_better": metric_of(primary).higher_is_better,
    }
