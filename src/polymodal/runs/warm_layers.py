"""Starting from the shared layers of an earlier run."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from polymodal.encoders.shared_layers import SharedLayers
from polymodal.model.network import Network


def copy_shared_layers(
    network: Network, earlier: Network, started: Mapping[str, str], source: str, is_frozen: bool
) -> list[str]:
    """Copy the layers that streams share, where their encoders come from streams that shared such layers too.

    Streams that the earlier run did not have join with a vector of their own; then the layers are not frozen.

    Args:
        network: The new network.
        earlier: The network of the earlier run.
        started: Stream to the stream of the earlier run whose encoder it starts from.
        source: Folder of that run.
        is_frozen: Whether training leaves its weights as they are.

    Returns:
        Sentences: where the layers come from, or why not.
    """
    sentences = []
    for layers in network.layer_groups:
        names, old_of = ", ".join(layers.streams), _old_streams(layers, earlier, started)
        found = next((old for old in earlier.layer_groups if _fits(layers, old, old_of)), None)
        if found is None:
            why = f"in {source} these streams share no layers of that width and depth"
            sentences.append(f"The layers that {names} share start anew: {why}.")
            continue
        _copy(layers, found, old_of)
        stays = is_frozen and len(old_of) == len(layers.streams)
        layers.requires_grad_(not stays)
        how = "are frozen" if stays else "are trained further"
        sentences.append(f"The layers that {names} share come from {source} and {how}.")
    return [*sentences, *_left_behind(network, earlier, started, source)]


def _old_streams(layers: SharedLayers, earlier: Network, started: Mapping[str, str]) -> dict[str, str]:
    """Return the streams of a group that start from the run, and what their encoders are called after there."""
    return {
        stream: earlier.first_stream(earlier.encoder_indices[earlier.streams.index(started[stream])])
        for stream in layers.streams
        if stream in started
    }


def _fits(layers: SharedLayers, old: SharedLayers, old_of: Mapping[str, str]) -> bool:
    shapes = [{name: value.shape for name, value in found.layers.state_dict().items()} for found in (layers, old)]
    return bool(old_of) and set(old_of.values()) <= set(old.streams) and shapes[0] == shapes[1]


def _copy(layers: SharedLayers, old: SharedLayers, old_of: Mapping[str, str]) -> None:
    layers.layers.load_state_dict(old.layers.state_dict())
    with torch.no_grad():
        for new, stream in old_of.items():
            layers.stream_EW[layers.streams.index(new)] = old.stream_EW[old.streams.index(stream)]


def _left_behind(network: Network, earlier: Network, started: Mapping[str, str], source: str) -> list[str]:
    """Say which streams had shared layers in the earlier run and have none here."""
    here = {stream for layers in network.layer_groups for stream in layers.streams}
    there = {stream for layers in earlier.layer_groups for stream in layers.streams}
    found = [new for new, old in started.items() if old in there and new not in here]
    if not found:
        return []
    return [f"The layers that {', '.join(found)} shared in {source} are left behind: --share does not name them here."]
