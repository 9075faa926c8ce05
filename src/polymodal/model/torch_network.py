"""The network of a model in torch, for what needs more than predictions of it."""

from __future__ import annotations

from polymodal.errors import ConfigError
from polymodal.model.network import Network
from polymodal.model.trained_model import TrainedModel


def torch_network(model: TrainedModel, purpose: str) -> Network:
    """Return the network of a model that was not exported.

    Args:
        model: The trained model.
        purpose: What it is needed for, as a sentence begins.

    Returns:
        The network.

    Raises:
        ConfigError: If the model was exported: its network is in graphs that only predict.
    """
    if not isinstance(model.network, Network):
        raise ConfigError(f"{purpose} needs the run folder of this model: an exported model only predicts.")
    return model.network
