"""The weights of a network in torch: reading them, and that they fit it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from safetensors import safe_open
from torch import Tensor, nn

from polymodal.model.manifest import DamagedFileError, file_size
from polymodal.model.state_checks import check_finite, read_safetensors


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file of finite numbers as tensors.

    Args:
        path: The file.

    Returns:
        Name to tensor.

    Raises:
        DamagedFileError: If the file is damaged or holds NaN or infinity; one clause names it.
    """
    weights = read_safetensors(path, "pt")
    check_finite(path, {name: _is_finite(tensor) for name, tensor in weights.items()})
    return weights


def _is_finite(tensor: Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex()) or bool(tensor.isfinite().all())


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], name: str) -> None:
    """Load weights that have the names, shapes and kinds of numbers of the network's own.

    Args:
        network: The network.
        weights: Name to tensor.
        name: The file's name, for messages.

    Raises:
        DamagedFileError: If they do not; one clause says which.
    """
    own = network.state_dict()
    for key in [*own, *weights]:
        if key not in weights or key not in own:
            owner = "lacks" if key not in weights else "has"
            raise DamagedFileError(f"{name} does not fit the configuration: it {owner} {key!r}")
        expected, found = own[key], weights[key]
        if expected.shape != found.shape or expected.is_floating_point() != found.is_floating_point():
            described = f"{key!r} is {_described(found)}, expected {_described(expected)}"
            raise DamagedFileError(f"{name} does not fit the configuration: {described}")
    network.load_state_dict(dict(weights))


def _described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def weight_bytes(folder: Path) -> tuple[int, int]:
    """Return how much a network may hold that is loaded from a folder.

    Args:
        folder: A model's folder.

    Returns:
        The bytes of all its safetensors files, and how many tensors they hold.
    """
    paths = list(_safetensors(folder))
    counts = []
    for path in paths:
        with safe_open(path, framework="np") as file:
            counts.append(len(file.keys()))
    return sum(map(file_size, paths)), sum(counts)


def _safetensors(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.glob("*.safetensors"))
    yield from sorted(folder.glob("checkpoints/*/*.safetensors"))
