"""Groups of streams that share weights: ``--share cameras=cam_*``, ``--share all``.

Streams of one modality share their encoder. Streams of several modalities share the layers behind their own encoders.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from polymodal.config import EncoderConfig, RunConfig
from polymodal.errors import ConfigError, did_you_mean
from polymodal.modalities import MODALITIES

Groups = dict[str, tuple[str, ...]]
"""Name of a group to its streams, in the run's order."""


class SharedGroups(NamedTuple):
    """The groups of a run, by what their streams share.

    Attributes:
        encoders: Groups of one media modality, which share an encoder.
        layers: Groups of several modalities, or of several streams of numbers, categories and dates: they share the
            layers behind their own encoders.
    """

    encoders: Groups
    layers: Groups

    @property
    def leaders(self) -> dict[str, str]:
        """The stream whose encoder each stream of ``encoders`` uses: the first one of its group."""
        return {stream: streams[0] for streams in self.encoders.values() for stream in streams}


def shared_groups(config: RunConfig, modalities: Mapping[str, str]) -> SharedGroups:
    """Resolve the groups of streams that share weights.

    Args:
        config: The run's configuration; ``share`` names groups by patterns of stream names.
        modalities: Stream to the name of its modality, in the run's order.

    Returns:
        The groups.

    Raises:
        ConfigError: If a pattern matches nothing, a group has one stream only, a stream stands in two groups that share
            the same, streams of one encoder differ in encoder or settings, or only some of them share layers.
    """
    groups = {name: _members(name, patterns, list(modalities)) for name, patterns in config.share.items()}
    encoders = {name: streams for name, streams in groups.items() if _have_one_encoder(streams, modalities)}
    layers = {name: streams for name, streams in groups.items() if name not in encoders}
    for name, streams in encoders.items():
        _check_alike(name, streams, config)
    _check_apart(encoders, "an encoder")
    _check_apart(layers, "layers")
    _check_whole(encoders, layers)
    return SharedGroups(encoders, layers)


def share_without(config: RunConfig, modalities: Mapping[str, str], without: Collection[str]) -> Groups:
    """Return what ``share`` is once some streams are gone.

    Args:
        config: The run's configuration.
        modalities: Stream to the name of its modality, with those that go.
        without: Streams that go.

    Returns:
        The groups that still share the same between two streams or more.
    """
    encoders, layers = shared_groups(config, modalities)
    left = {
        name: tuple(stream for stream in streams if stream not in without)
        for name, streams in (encoders | layers).items()
    }
    return {
        name: streams
        for name, streams in left.items()
        if len(streams) > 1 and _have_one_encoder(streams, modalities) == (name in encoders)
    }


def _have_one_encoder(streams: Sequence[str], modalities: Mapping[str, str]) -> bool:
    """Whether streams share an encoder; that of numbers, categories and dates belongs to its columns."""
    held = {modalities[stream] for stream in streams}
    return len(held) == 1 and all(MODALITIES[modality].is_column for modality in held)


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


def _check_apart(groups: Groups, shared: str) -> None:
    group_of: dict[str, str] = {}
    for name, streams in groups.items():
        for stream in streams:
            if stream in group_of:
                raise ConfigError(
                    f"The stream {stream!r} shares {shared} in two groups of --share, {group_of[stream]!r} and "
                    f"{name!r}. Give each stream to one of them."
                )
            group_of[stream] = name


def _check_whole(encoders: Groups, layers: Groups) -> None:
    for name, streams in layers.items():
        for of_encoder in encoders.values():
            inside = [stream for stream in of_encoder if stream in streams]
            outside = [stream for stream in of_encoder if stream not in streams]
            if inside and outside:
                raise ConfigError(
                    f"The streams {inside[0]!r} and {outside[0]!r} share an encoder, but only {inside[0]!r} is in the "
                    f"group {name!r} of --share. Name both there, or neither."
                )


def _check_alike(name: str, streams: Sequence[str], config: RunConfig) -> None:
    first = streams[0]
    for what, of in _traits(config).items():
        other = next((stream for stream in streams if of(stream) != of(first)), None)
        if other is not None:
            raise ConfigError(
                f"The streams {first!r} and {other!r} of the group {name!r} of --share differ in their {what}: "
                f"{of(first)} and {of(other)}. Streams that share an encoder must agree in it."
            )


def _traits(config: RunConfig) -> dict[str, Any]:
    """Return what streams that share an encoder must agree in: name to a function of the stream."""

    def encoder(stream: str) -> str:
        chosen = config.encoder.get(stream, EncoderConfig())
        values = [f"{name}={value}" for name, value in sorted(chosen.hyperparameters.items())]
        return " ".join([chosen.name or "default", *values])

    def settings(stream: str) -> str:
        options = config.settings.get(stream, {})
        return ", ".join(f"{option}={value}" for option, value in sorted(options.items())) or "default"

    return {"encoder": encoder, "settings": settings}
