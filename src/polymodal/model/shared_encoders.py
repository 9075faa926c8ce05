"""Groups of streams that share one encoder: ``--share cameras=cam_*``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from polymodal.config import EncoderConfig, RunConfig
from polymodal.errors import ConfigError, did_you_mean
from polymodal.modalities import MODALITIES


def shared_groups(config: RunConfig, modalities: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Resolve the groups of streams that share an encoder.

    Args:
        config: The run's configuration; ``share`` names groups by patterns of stream names.
        modalities: Stream to the name of its modality, in the run's order.

    Returns:
        Group to its streams, in the run's order.

    Raises:
        ConfigError: If a pattern matches nothing, a stream stands in two groups, or the streams of a group differ
            in modality, encoder or settings.
    """
    groups = {name: _members(name, patterns, list(modalities)) for name, patterns in config.share.items()}
    group_of: dict[str, str] = {}
    for name, streams in groups.items():
        for stream in streams:
            if stream in group_of:
                raise ConfigError(
                    f"The stream {stream!r} stands in two groups of --share, {group_of[stream]!r} and {name!r}. "
                    "Give each stream to one group."
                )
            group_of[stream] = name
        _check_alike(name, streams, config, modalities)
    return groups


def leaders(groups: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the stream whose encoder each sharing stream uses.

    Args:
        groups: Group to its streams.

    Returns:
        Stream to the first stream of its group.
    """
    return {stream: streams[0] for streams in groups.values() for stream in streams}


def _members(name: str, patterns: Sequence[str], streams: Sequence[str]) -> tuple[str, ...]:
    members: set[str] = set()
    for pattern in patterns:
        matches = {stream for stream in streams if stream == pattern or fnmatchcase(stream, pattern)}
        if not matches:
            raise ConfigError(
                f"The group {name!r} of --share asks for {pattern!r}, which matches no stream. "
                f"{did_you_mean(pattern, streams, 'The streams are')}"
            )
        members |= matches
    if len(members) < 2:
        named = ", ".join(sorted(members)) or "none"
        raise ConfigError(
            f"The group {name!r} of --share needs two streams or more. Got {named}. "
            f"The streams are: {', '.join(streams)}."
        )
    return tuple(stream for stream in streams if stream in members)


def _check_alike(name: str, streams: Sequence[str], config: RunConfig, modalities: Mapping[str, str]) -> None:
    first = streams[0]
    for stream in streams:
        if not MODALITIES[modalities[stream]].is_column:
            raise ConfigError(
                f"The stream {stream!r} of the group {name!r} of --share holds numbers, categories or dates, whose "
                "encoder belongs to its columns. Share media streams only."
            )
    for what, of in _traits(config, modalities).items():
        other = next((stream for stream in streams if of(stream) != of(first)), None)
        if other is not None:
            raise ConfigError(
                f"The streams {first!r} and {other!r} of the group {name!r} of --share differ in their {what}: "
                f"{of(first)} and {of(other)}. Streams that share an encoder must agree in it."
            )


def _traits(config: RunConfig, modalities: Mapping[str, str]) -> dict[str, Any]:
    """Return what streams that share an encoder must agree in: name to a function of the stream."""

    def encoder(stream: str) -> str:
        chosen = config.encoder.get(stream, EncoderConfig())
        values = [f"{name}={value}" for name, value in sorted(chosen.hyperparameters.items())]
        return " ".join([chosen.name or "default", *values])

    def settings(stream: str) -> str:
        options = config.settings.get(stream, {})
        return ", ".join(f"{option}={value}" for option, value in sorted(options.items())) or "default"

    return {"modality": modalities.__getitem__, "encoder": encoder, "settings": settings}
