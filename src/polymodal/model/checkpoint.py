"""Saving and loading a trained model with its network in torch: a folder of JSON, safetensors and text (no pickle).

::

    model/
      network.safetensors         the network's weights
      checkpoints/N/              copies of pretrained checkpoints (safetensors + JSON)
      ...                         the parts besides the network: ``model.saved_parts``
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from polymodal.atomic_files import atomic_folder
from polymodal.config import RunConfig
from polymodal.data.preprocessor import Preprocessor
from polymodal.encoders import Pretrained
from polymodal.errors import CheckpointError
from polymodal.model.build import build_network
from polymodal.model.custom_objects import list_parts, with_parts
from polymodal.model.manifest import DamagedFileError, write_manifest
from polymodal.model.network import Network
from polymodal.model.saved_parts import (
    ARRAYS_FILE,
    MODEL_FILE,
    MODEL_FOLDER,
    PART_FILES,
    assemble_model,
    damage_told,
    read_config,
    read_model_json,
    read_preprocessor,
    write_parts,
)
from polymodal.model.torch_network import torch_network
from polymodal.model.trained_model import TrainedModel
from polymodal.model.weights import load_weights, read_weights, weight_bytes
from polymodal.nn.allocation import AllocationLimit
from polymodal.nn.devices import choose_device
from polymodal.nn.pruning import resize
from polymodal.targets import AnyTarget

WEIGHTS_FILE = "network.safetensors"
REQUIRED = (MODEL_FILE, WEIGHTS_FILE, ARRAYS_FILE)
CONTENTS = (*PART_FILES, WEIGHTS_FILE, "checkpoints")
"""What a model's folder may consist of; anything else in it is someone else's."""
SPARE_BYTES, SPARE_TENSORS = 2**28, 1000
"""What building a network may allocate besides a few times its weights: initial values, tables of positions."""


def save_model(model: TrainedModel, folder: Path) -> None:
    """Write a model atomically; an older one of that name is replaced.

    Args:
        model: The model.
        folder: The model's folder.

    Raises:
        ConfigError: If the model was exported: it has no network in torch.
        OSError: If it cannot be written: disk full, no permission.
    """
    network = torch_network(model, "Saving it as a model")
    with atomic_folder(folder, CONTENTS) as temporary:
        more = {
            "parts": list_parts(model.config, model.preprocessor.modalities, model.targets),
            "checkpoints": _save_checkpoints(network, temporary),
            **({"pruned": network.pruned} if network.pruned else {}),
        }
        write_parts(model, temporary, more)
        weights = {name: value.detach().cpu().contiguous().clone() for name, value in network.state_dict().items()}
        save_file(weights, temporary / WEIGHTS_FILE)
        write_manifest(temporary)


def _save_checkpoints(network: Network, folder: Path) -> dict[str, str]:
    """Copy pretrained checkpoints, so that the model folder is self-contained."""
    saved = {}
    for stream, encoder, index in zip(network.streams, network.encoders, network.encoder_indices, strict=True):
        if isinstance(encoder, Pretrained):
            saved[stream] = f"checkpoints/{index}"
            if not (folder / saved[stream]).exists():
                encoder.save_backbone(folder / saved[stream])
    return saved


def load_model(path: Path, device: str | None = None, custom_objects: Mapping[str, Any] | None = None) -> TrainedModel:
    """Read a model with its network in torch.

    Args:
        path: The model's folder, or the run folder around it.
        device: Where its network is to run; None takes a GPU where torch finds one.
        custom_objects: Name to class, function or table row, for parts that were given from Python.

    Returns:
        The model, ready to predict.

    Raises:
        CheckpointError: If there is no model, it is damaged or of another version, or it needs a part that is not here.
        ConfigError: If there is no such device.
    """
    chosen = choose_device(device)
    folder = path / MODEL_FOLDER if (path / MODEL_FOLDER / MODEL_FILE).is_file() else path
    if not (folder / MODEL_FILE).is_file():
        raise CheckpointError(
            f"There is no model in {path}: {folder / MODEL_FILE} is missing. "
            "Expected a run folder or its model/ folder."
        )
    with damage_told(folder):
        plain = read_model_json(folder, REQUIRED)
        config = with_parts(read_config(plain["config"]), plain.get("parts", []), custom_objects or {}, folder)
        preprocessor, targets = read_preprocessor(plain)
        built = _with_checkpoints(config, plain, folder)
        network = _build_network(built, preprocessor, targets, folder, plain.get("pruned", {}))
        model = assemble_model(plain, folder, config, preprocessor, targets, network)
    network.to(chosen)
    return model


def _build_network(
    config: RunConfig,
    preprocessor: Preprocessor,
    targets: Mapping[str, AnyTarget],
    folder: Path,
    pruned: Mapping[str, int],
) -> Network:
    """Build the network, no larger than a few times its weights, and load them."""
    weights = read_weights(folder / WEIGHTS_FILE)
    num_bytes, num_tensors = weight_bytes(folder)
    with AllocationLimit(SPARE_BYTES + 4 * num_bytes, SPARE_TENSORS + 8 * num_tensors):
        network = build_network(config, preprocessor.modalities, targets)
        _prune_like(network, pruned)
    load_weights(network, weights, WEIGHTS_FILE)
    return network.eval()


def _prune_like(network: Network, pruned: Mapping[str, int]) -> None:
    """Give the network the shapes of a pruned one."""
    try:
        resize(network, pruned)
    except ValueError as error:
        raise DamagedFileError(f"{MODEL_FILE} does not fit its network: {error}") from None
    network.pruned = dict(pruned)


def _with_checkpoints(config: RunConfig, plain: dict[str, Any], folder: Path) -> RunConfig:
    encoders = dict(config.encoder)
    for stream in plain["checkpoints"]:
        copy = folder / "checkpoints" / Path(plain["checkpoints"][stream]).name
        encoders[stream] = encoders[stream].model_copy(update={"name": str(copy)})
    return config.model_copy(update={"encoder": encoders})
