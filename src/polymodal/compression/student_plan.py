"""Which students to train: narrower, shallower, without checkpoints, and without streams that add nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polymodal.config import EncoderConfig, Hyperparameter, RunConfig
from polymodal.encoders import encoder_entry, is_checkpoint
from polymodal.errors import ConfigError
from polymodal.fusion import fusion_entry
from polymodal.modalities import Modality
from polymodal.model.build import WIDTHS
from polymodal.model.shared_groups import share_without
from polymodal.model.trained_model import TrainedModel
from polymodal.nn.builders import hyperparameters_of

WIDE, MIDDLE, NARROW = 2, 4, 8
"""What the width of the original is divided by."""
LEAST_WIDTH = 8
SHALLOW_FROM = MIDDLE
"""Students of a width that is divided by this much or more have one layer where the original has several."""
SCALED = {"hidden": 16, "channels": 4, "filters": 8}
"""Hyperparameters that count units of a layer, and the least that is left of them; 0 means: follows the width."""
LAYERS = ("depth",)


@dataclass(frozen=True, kw_only=True)
class StudentPlan:
    """A student that may be trained.

    Attributes:
        name: Its name.
        description: How it differs from the original, in a sentence.
        config: The configuration of its network.
        without: Streams that it does not read.
    """

    name: str
    description: str
    config: RunConfig
    without: frozenset[str] = frozenset()


def plan_student(model: TrainedModel, divisor: int, without: Sequence[str] = ()) -> StudentPlan | None:
    """Plan a student of a model.

    Args:
        model: The original.
        divisor: What the width of the original is divided by, such as ``MIDDLE``.
        without: Streams that it does not read.

    Returns:
        The plan; None where it would be too narrow.
    """
    return None if _width(model, divisor) is None else _plan(model, divisor, frozenset(without))


def _width(model: TrainedModel, divisor: int) -> int | None:
    """Return the width divided, a multiple of the heads of the attention; None where it is too narrow."""
    width = _original_width(model.config) // divisor // 8 * 8
    return width if width >= LEAST_WIDTH else None


def _original_width(config: RunConfig) -> int:
    return config.width or WIDTHS[config.preset]


def _plan(model: TrainedModel, divisor: int, without: frozenset[str]) -> StudentPlan:
    config = model.config
    width = _width(model, divisor) or LEAST_WIDTH
    is_shallow = divisor >= SHALLOW_FROM
    encoders = {
        stream: _smaller_encoder(config.encoder.get(stream, EncoderConfig()), fitted, divisor, is_shallow)
        for stream, fitted in model.preprocessor.modalities.items()
        if stream not in without
    }
    replaced = [s for s in encoders if is_checkpoint_encoder(model, s)]
    hyperparameters = dict(config.fusion.hyperparameters)
    if is_shallow and "depth" in hyperparameters_of(fusion_entry(config.fusion.choice).build):
        hyperparameters["depth"] = 1
    fusion = config.fusion.model_copy(update={"hyperparameters": hyperparameters})
    modalities = {stream: fitted.name for stream, fitted in model.preprocessor.modalities.items()}
    share, share_depth = share_without(config, modalities, without), 1 if is_shallow else config.share_depth
    changed = {"width": width, "encoder": encoders, "fusion": fusion, "teacher": None}
    changed |= {"share": share, "share_depth": share_depth}
    changes = [f"a student of width {width} instead of {_original_width(config)}"]
    changes += ["one layer of fusion"] if is_shallow and "depth" in hyperparameters else []
    changes += [f"new encoders of {', '.join(replaced)} instead of checkpoints"] if replaced else []
    changes += [f"without {', '.join(sorted(without))}"] if without else []
    return StudentPlan(
        name=f"student-{width}{''.join(f'-no-{stream}' for stream in sorted(without))}",
        description=", ".join(changes),
        config=_with_given(config, config.model_copy(update=changed)),
        without=without,
    )


def _with_given(config: RunConfig, changed: RunConfig) -> RunConfig:
    """Keep a fusion that was given from Python, which copies of a configuration lose."""
    if not config.fusion.is_given:
        return changed
    return changed.model_copy(update={"fusion": changed.fusion.with_given(config.fusion.choice)})


def is_checkpoint_encoder(model: TrainedModel, stream: str) -> bool:
    """Whether a stream is encoded by a pretrained checkpoint.

    Args:
        model: The model.
        stream: The stream.

    Returns:
        True for checkpoints.
    """
    chosen = model.config.encoder.get(stream)
    return chosen is not None and isinstance(chosen.choice, str) and is_checkpoint(chosen.choice)


def _smaller_encoder(chosen: EncoderConfig, fitted: Modality, divisor: int, is_shallow: bool) -> EncoderConfig:
    """Return a smaller encoder of the same kind; a checkpoint is replaced by the default of its modality."""
    if isinstance(chosen.choice, str) and is_checkpoint(chosen.choice):
        chosen = EncoderConfig()
    try:
        defaults = hyperparameters_of(encoder_entry(fitted.name, chosen.choice, fitted).build)
    except ConfigError:
        return chosen
    given: dict[str, Hyperparameter] = {**chosen.hyperparameters}
    for name, least in SCALED.items():
        units = given.get(name, defaults.get(name))
        if isinstance(units, int) and units > least:
            given[name] = max(least, units // divisor)
    for name in LAYERS:
        if is_shallow and isinstance(given.get(name, defaults.get(name)), int):
            given[name] = 1
    smaller = chosen.model_copy(update={"hyperparameters": given})
    return smaller.with_given(chosen.choice) if chosen.is_given else smaller
