"""Settings of every stream's modality: the user's, then a checkpoint's, then those that targets recommend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polymodal.config import EncoderConfig, RunConfig
from polymodal.data.schema.schema import Schema, StreamSchema
from polymodal.encoders import is_checkpoint
from polymodal.encoders.backbone import MODELS, load_config
from polymodal.encoders.checkpoint_settings import modality_settings
from polymodal.errors import ConfigError, did_you_mean
from polymodal.modalities import Modality
from polymodal.modalities.word_vectors import WORD2VEC
from polymodal.targets import AnyTarget, StructuredTarget


def stream_settings(schema: Schema, config: RunConfig, targets: Mapping[str, AnyTarget]) -> dict[str, dict[str, Any]]:
    """Merge the settings of every stream: the user's win, then a checkpoint's, then those that targets recommend.

    Args:
        schema: The streams.
        config: The run's configuration, with the user's settings.
        targets: Name to fitted target; some recommend fine time steps or large pictures.

    Returns:
        Stream to options of its modality.

    Raises:
        ConfigError: If a stream is unknown, or word vectors are given to a pretrained encoder.
    """
    names = [stream.name for stream in schema.streams]
    unknown = sorted(set(config.settings) - set(names))
    if unknown:
        advice = did_you_mean(unknown[0], names, "The streams are")
        raise ConfigError(f"There is no stream {unknown[0]!r} to give settings to. {advice}")
    return {stream.name: _settings_of(stream, config, targets) for stream in schema.streams}


def _settings_of(stream: StreamSchema, config: RunConfig, targets: Mapping[str, AnyTarget]) -> dict[str, Any]:
    given = config.settings.get(stream.name, {})
    settings = _recommended(stream, targets) | _of_checkpoint(stream, config, given) | given
    if settings.get("vectors") == WORD2VEC:
        settings.setdefault("word2vec_seed", config.seed)
    return settings


def _recommended(stream: StreamSchema, targets: Mapping[str, AnyTarget]) -> dict[str, Any]:
    structured = [target for target in targets.values() if isinstance(target, StructuredTarget)]
    of_target = [target.stream_settings(stream.name, stream.modality) for target in structured]
    return {option: value for options in of_target for option, value in options.items()}


def _of_checkpoint(stream: StreamSchema, config: RunConfig, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the preprocessing settings of a pretrained checkpoint."""
    checkpoint = _checkpoint(config.encoder.get(stream.name))
    if checkpoint is None:
        return {}
    if given.get("vectors") is not None:
        raise ConfigError(
            f"The stream {stream.name!r} has both: word vectors cannot be used with a pretrained tokenizer or "
            "checkpoint; choose one."
        )
    if stream.modality not in MODELS:
        return {}
    load_config(checkpoint, stream.modality)
    return modality_settings(stream.modality, checkpoint)


def _checkpoint(chosen: EncoderConfig | None) -> str | None:
    """Return the pretrained checkpoint that an encoder is built from, if any."""
    if chosen is None or chosen.name is None:
        return None
    if is_checkpoint(chosen.name):
        return chosen.name
    named = chosen.hyperparameters.get("checkpoint")
    return str(named) if chosen.name == "pretrained" and named is not None else None


def settings_notices(modalities: Mapping[str, Modality], settings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return notices about settings whose effect depends on the data.

    Args:
        modalities: Stream to fitted modality.
        settings: Stream to its settings.

    Returns:
        Sentences the user should read.
    """
    notices = (fitted.notice(name, settings.get(name, {})) for name, fitted in modalities.items())
    return [notice for notice in notices if notice]
