"""Starting from an earlier run: its fitted modalities and its encoders, tuned further or frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from polymodal.config import RunConfig
from polymodal.data.schema.schema import Schema, StreamSchema
from polymodal.errors import ConfigError, did_you_mean
from polymodal.modalities import Modality, Tabular
from polymodal.model.checkpoint import load_model
from polymodal.model.network import Network
from polymodal.model.torch_network import torch_network
from polymodal.model.trained_model import TrainedModel
from polymodal.runs.warm_layers import copy_shared_layers


@dataclass(frozen=True)
class WarmStart:
    """An earlier run, and what a new one takes from it.

    Attributes:
        source: Its folder.
        model: Its model.
        streams: Stream of the new run to the stream of the earlier one whose encoder it starts from.
        left_out: Stream of the new run to why it starts anew.
    """

    source: str
    model: TrainedModel
    streams: Mapping[str, str]
    left_out: Mapping[str, str]

    @property
    def modalities(self) -> dict[str, Modality]:
        """Stream of the new run to the fitted modality that its encoder reads."""
        return {new: self.model.preprocessor.modalities[old] for new, old in self.streams.items()}

    def adopt(self, config: RunConfig) -> RunConfig:
        """Fill in what the encoders need: the earlier run's width, and its choice of each encoder.

        Args:
            config: The configuration of the new run.

        Returns:
            The same with a width, and with encoders where none was chosen.
        """
        earlier = {new: self.model.config.encoder.get(old) for new, old in self.streams.items()}
        encoders = {name: chosen for name, chosen in earlier.items() if chosen is not None} | config.encoder
        width = config.width or torch_network(self.model, "Starting from a run").width
        return config.model_copy(update={"encoder": encoders, "width": width})

    def copy_into(self, network: Network, is_frozen: bool) -> list[str]:
        """Copy the weights of encoders, and of layers that they share.

        Args:
            network: The new network.
            is_frozen: Whether training leaves them as they are.

        Returns:
            Sentences: which streams start from the earlier run, and why others do not.
        """
        earlier = torch_network(self.model, "Starting from a run")
        started, sentences = self._copy_encoders(network, earlier, is_frozen)
        return [*sentences, *copy_shared_layers(network, earlier, started, self.source, is_frozen)]

    def _copy_encoders(
        self, network: Network, earlier_network: Network, is_frozen: bool
    ) -> tuple[dict[str, str], list[str]]:
        """Copy the encoders' weights; return stream to the stream it starts from, and sentences."""
        left_out, started = dict(self.left_out), {}
        own, earlier = _encoders(network), _encoders(earlier_network)
        for new, old in self.streams.items():
            if _fits(own[new], earlier[old]):
                own[new].load_state_dict(earlier[old].state_dict())
                if is_frozen:
                    own[new].requires_grad_(False)
                started[new] = old
            else:
                left_out[new] = "its encoder is another one, or of another width"
        return started, _sentences(self.source, list(started), left_out, is_frozen)


def _encoders(network: Network) -> dict[str, nn.Module]:
    return dict(zip(network.streams, network.encoders, strict=True))


def _fits(own: nn.Module, earlier: nn.Module) -> bool:
    first, second = own.state_dict(), earlier.state_dict()
    return type(own) is type(earlier) and {n: v.shape for n, v in first.items()} == {
        n: v.shape for n, v in second.items()
    }


def _sentences(source: str, started: list[str], left_out: Mapping[str, str], is_frozen: bool) -> list[str]:
    how = "are frozen" if is_frozen else "are trained further"
    found = [f"The encoders of {', '.join(started)} come from {source} and {how}."] if started else []
    return [*found, *(f"The stream {stream!r} starts anew: {reason}." for stream, reason in left_out.items())]


def open_warm_start(config: RunConfig, schema: Schema) -> WarmStart | None:
    """Read the run that a new one starts from.

    Args:
        config: The configuration of the new run.
        schema: Its columns and streams.

    Returns:
        The earlier run; None where none is named.

    Raises:
        CheckpointError: If there is no such model.
        ConfigError: If no stream can start from it, or the options name a stream that is not there.
    """
    if config.init_from is None:
        return None
    model = load_model(Path(config.init_from), "cpu")
    _check_names(config, schema, model)
    reasons = {stream.name: _reason(stream, config, schema, model) for stream in schema.streams}
    streams = {name: _source_of(name, config) for name, reason in reasons.items() if reason is None}
    left_out = {name: reason for name, reason in reasons.items() if reason is not None}
    if not streams:
        why = "; ".join(f"{name!r}: {reason}" for name, reason in left_out.items())
        raise ConfigError(f"No stream can start from {config.init_from} ({why}). Leave out --init-from.")
    return WarmStart(config.init_from, model, streams, left_out)


def _source_of(stream: str, config: RunConfig) -> str:
    return config.init_streams.get(stream, stream)


def _check_names(config: RunConfig, schema: Schema, model: TrainedModel) -> None:
    known: dict[str, Any] = {stream.name: stream for stream in schema.streams}
    for new, old in config.init_streams.items():
        if new not in known:
            raise ConfigError(f"init_streams names {new!r}. {did_you_mean(new, known, 'The streams are')}")
        if old not in model.preprocessor.modalities:
            advice = did_you_mean(old, model.preprocessor.modalities, "Its streams are")
            raise ConfigError(f"The run {config.init_from} has no stream {old!r} to start {new!r} from. {advice}")


def _reason(stream: StreamSchema, config: RunConfig, schema: Schema, model: TrainedModel) -> str | None:
    """Return why a stream cannot start from the run, as a clause; None where it can."""
    fitted = model.preprocessor.modalities.get(_source_of(stream.name, config))
    if fitted is None:
        return "the run has no stream of that name"
    if fitted.name != stream.modality:
        return f"it is of the modality {stream.modality}, there it was {fitted.name}"
    if isinstance(fitted, Tabular):
        kinds = {name: _kind(name, schema) for name in stream.columns}
        if kinds != {name: member.name for name, member in fitted.members.items()}:
            return "its columns are others, or of other kinds"
        if any(encoding.method == "target" for encoding in fitted.encodings.values()):
            return "its categories are encoded by what that run predicts"
    if stream.name in config.settings:
        return "the options give it settings of its own"
    return None


def _kind(name: str, schema: Schema) -> str:
    return next(column.modality for column in schema.columns if column.name == name)
