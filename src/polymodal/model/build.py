"""From a configuration and fitted parts to a network, with what the configuration leaves open."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from polymodal.config import EncoderConfig, Hyperparameter, RunConfig, TrainConfig
from polymodal.encoders import ENCODERS, build_encoder, encoder_entry, encoder_name
from polymodal.encoders.shared_layers import SharedLayers
from polymodal.errors import ConfigError, did_you_mean
from polymodal.fusion import EvidentialFusion, build_fusion, check_kinds
from polymodal.fusion.no_fusion import NoFusion
from polymodal.modalities import Modality
from polymodal.model.network import Network
from polymodal.model.shared_groups import shared_groups
from polymodal.nn.builders import hyperparameters_of
from polymodal.nn.precision import choose_precision
from polymodal.targets import AnyTarget, EmbeddingTarget, StructuredTarget

WIDTHS = {"fast": 64, "balanced": 128, "best": 192}
NARROW = (64, 32)
"""Widths to fall back on where the time is limited."""
EPOCH_FACTORS = {"fast": 0.5, "balanced": 1.0, "best": 2.0}
ROWS_SEEN = 80_000
"""Rows a balanced run looks at, all epochs together, between the bounds below."""
EPOCHS = (8, 60)
RATES = {"lion": 0.2, "sgd": 50.0}
"""Peak learning rate of an optimizer as a multiple of that of AdamW, for those that need another one."""


def build_network(config: RunConfig, modalities: Mapping[str, Modality], targets: Mapping[str, AnyTarget]) -> Network:
    """Build a fresh network.

    Args:
        config: The configuration of the run.
        modalities: Stream to fitted modality.
        targets: Name to fitted target.

    Returns:
        The network.

    Raises:
        ConfigError: If an encoder or fusion is unknown or a hyperparameter does not fit.
    """
    unknown = sorted(set(config.encoder) - set(modalities))
    if unknown:
        advice = did_you_mean(unknown[0], modalities, "The streams are")
        raise ConfigError(f"There is no stream {unknown[0]!r} to give an encoder to. {advice}")
    check_kinds(config.fusion.choice, {name: target.kind for name, target in targets.items()})
    width = config.width or WIDTHS[config.preset]
    shared = shared_groups(config, {stream: fitted.name for stream, fitted in modalities.items()})
    leader_of = shared.leaders
    encoders: dict[str, nn.Module] = {}
    for stream, fitted in modalities.items():
        chosen, leader = config.encoder.get(stream, EncoderConfig()), leader_of.get(stream, stream)
        if leader == stream:
            hyperparameters = {**chosen.hyperparameters, **_detail(stream, fitted, chosen, targets)}
            encoders[stream] = build_encoder(fitted.name, chosen.choice, fitted, width, hyperparameters)
        encoders[stream] = encoders[leader]
    shared_layers = [
        SharedLayers(name, _leading(streams, leader_of), width, config.share_depth)
        for name, streams in shared.layers.items()
    ]
    fusion = _build_fusion(config, tuple(modalities), targets, width)
    structured = [name for name, target in targets.items() if isinstance(target, StructuredTarget)]
    if structured and (fusion is None or isinstance(fusion, EvidentialFusion)):
        raise ConfigError(
            f"The target {structured[0]!r} is answered from fused streams, which the fusion {config.fusion.name!r} "
            "does not have: it joins decisions. Choose another --fusion."
        )
    return Network(encoders, fusion, targets, width, shared_layers)


def _leading(streams: Iterable[str], leader_of: Mapping[str, str]) -> list[str]:
    """Return the stream that each encoder of some streams is called after."""
    return list(dict.fromkeys(leader_of.get(stream, stream) for stream in streams))


def _build_fusion(
    config: RunConfig, streams: tuple[str, ...], targets: Mapping[str, AnyTarget], width: int
) -> nn.Module | None:
    """Build the fusion; where streams are only compared with each other, they stay apart."""
    if all(isinstance(target, EmbeddingTarget) for target in targets.values()):
        return NoFusion(streams)
    return build_fusion(config.fusion.choice, streams, width, config.fusion.hyperparameters)


def _detail(
    stream: str, fitted: Modality, chosen: EncoderConfig, targets: Mapping[str, AnyTarget]
) -> dict[str, Hyperparameter]:
    """Ask a stream's encoder for fine places or steps if a target reads them."""
    structured = {name: target for name, target in targets.items() if isinstance(target, StructuredTarget)}
    readers = [name for name, target in structured.items() if target.reads_detail(stream, fitted.name)]
    if not readers:
        return {}
    entry = encoder_entry(fitted.name, chosen.choice, fitted)
    if "detail" not in hyperparameters_of(entry.build):
        able = [name for name, row in ENCODERS[fitted.name].items() if "detail" in hyperparameters_of(row.build)]
        name = chosen.name if chosen.is_given else encoder_name(fitted.name, chosen.name, fitted)
        raise ConfigError(
            f"The target {readers[0]!r} reads the fine places or steps of the stream {stream!r}, which its encoder "
            f"{name!r} does not give. Choose one of: {', '.join(able)}."
        )
    return {"detail": True}


def resolve_training(
    settings: TrainConfig, preset: str, num_rows: int, targets: Iterable[AnyTarget] = ()
) -> TrainConfig:
    """Fill in what the options leave to the preset and the number of rows.

    Args:
        settings: Training options.
        preset: fast, balanced or best.
        num_rows: Training rows.
        targets: What is learnt; some kinds need many steps, however few the rows, or other batches and rates.

    Returns:
        Options without None, but for ``time_limit_s``.
    """
    structured = [target for target in targets if isinstance(target, StructuredTarget)]
    wishes: dict[str, Any] = {option: value for target in structured for option, value in target.training.items()}
    min_steps = max((target.min_steps for target in structured), default=0)
    batch_size = settings.batch_size or wishes.get("batch_size") or _batch_size(num_rows, min_steps > 0)
    least, most = EPOCHS
    wanted = min(max(math.ceil(ROWS_SEEN / max(num_rows, 1)), least), most)
    wanted = max(wanted, math.ceil(min_steps / math.ceil(max(num_rows, 1) / batch_size)))
    rate = RATES.get(settings.optimizer, 1.0)
    epochs = settings.epochs or max(math.ceil(wanted * EPOCH_FACTORS[preset]), 1)
    return settings.model_copy(
        update={
            "batch_size": batch_size,
            "epochs": epochs,
            "learning_rate": settings.learning_rate or wishes.get("learning_rate", 1e-3) * rate,
            "precision": choose_precision(settings.precision),
            "patience": settings.patience or max(math.ceil(epochs / 3), 3),
        }
    )


def _batch_size(num_rows: int, has_min_steps: bool) -> int:
    """Choose rows per step; where many steps are needed, few rows make small batches."""
    batch_size = 32 if num_rows < 2_000 else 64 if num_rows < 50_000 else 128
    return min(batch_size, max(num_rows // 16, 8)) if has_min_steps else batch_size


def num_parameters(module: object) -> int:
    """Count a module's parameters.

    Args:
        module: A module, or None.

    Returns:
        Their number; 0 for None.
    """
    return sum(p.numel() for p in module.parameters()) if hasattr(module, "parameters") else 0
