"""Saved training state: one safetensors file, replaced atomically (no pickle)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import AdamW

from polymodal.errors import CheckpointError

if TYPE_CHECKING:
    from polymodal.job import State

PLAIN_FIELDS = (
    "step",
    "seconds",
    "history",
    "best",
    "loss_sum",
    "part_sums",
    "pretraining",
    "num_parts",
    "planned_steps",
    "width",
)


def save_state(path: Path, network: nn.Module, optimizer: AdamW, state: State) -> None:
    """Write network, optimizer, best snapshots and counters.

    Args:
        path: The file; replaced atomically.
        network: The network being trained.
        optimizer: Its optimizer.
        state: Where training stands.
    """
    state.read_losses()
    tensors = {f"network/{name}": value.contiguous() for name, value in _changing(network).items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": value.contiguous() for name, value in values.items()}
    for index, saved in enumerate(state.snapshots):
        tensors |= {f"best/{index}/{name}": value for name, value in saved.items()}
    plain = json.dumps({name: getattr(state, name) for name in PLAIN_FIELDS})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    save_file(_unshared(tensors), temporary, metadata={"state": plain})
    temporary.replace(path)


def load_state(path: Path, network: nn.Module, optimizer: AdamW, state: State) -> None:
    """Put everything back where it was.

    Args:
        path: What ``save_state`` wrote.
        network: A network built the same way.
        optimizer: Its optimizer.
        state: Filled in.

    Raises:
        CheckpointError: If the file is damaged or belongs to another network.
    """
    try:
        tensors, plain = _read(path)
        network.load_state_dict({**network.state_dict(), **tensors.pop("network")})
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"The saved training state {path} does not fit this run ({reason}). Start again without --resume."
        ) from None
    _load_optimizer(optimizer, tensors.get("optimizer", {}))
    for name in PLAIN_FIELDS:
        setattr(state, name, plain.get(name, getattr(state, name)))
    state.best = [(loss, epoch) for loss, epoch in plain["best"]]
    best = tensors.get("best", {})
    state.snapshots = [_under(best, f"{index}/") for index in range(len(state.best))]


def saved_width(path: Path | None) -> int | None:
    """Return the width of the network whose training was saved.

    Args:
        path: What ``save_state`` wrote, or would have.

    Returns:
        The width; None where nothing readable was saved.
    """
    try:
        return None if path is None else int(_read(path)[1]["width"])
    except (OSError, SafetensorError, KeyError, ValueError):
        return None


def _read(path: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    groups: dict[str, dict[str, Tensor]] = {"network": {}}
    with safe_open(path, framework="pt") as file:
        plain = json.loads(file.metadata()["state"])
        for key in file.keys():  # noqa: SIM118 - not a dict
            group, name = key.split("/", 1)
            groups.setdefault(group, {})[name] = file.get_tensor(key)
    return groups, plain


def _load_optimizer(optimizer: AdamW, tensors: dict[str, Tensor]) -> None:
    values = optimizer.state_dict()
    indices = {int(name.split("/")[0]) for name in tensors}
    values["state"] = {index: _under(tensors, f"{index}/") for index in sorted(indices)}
    optimizer.load_state_dict(values)
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if value.shape == parameter.shape:  # in the parameter's memory format, which fused steps rely on
                state[name] = torch.empty_like(parameter).copy_(value)


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _changing(network: nn.Module) -> dict[str, Tensor]:
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    return {name: value.detach() for name, value in network.state_dict().items() if name not in frozen}


def _unshared(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Safetensors takes contiguous tensors that share no memory."""
    seen: set[int] = set()
    result = {}
    for name, value in tensors.items():
        pointer = value.data_ptr()
        result[name] = value.clone() if pointer in seen and value.numel() else value.contiguous()
        seen.add(pointer)
    return result
