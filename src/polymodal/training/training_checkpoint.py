"""Training checkpoints: one safetensors file, replaced atomically (no pickle)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from polymodal.atomic_files import atomic_file
from polymodal.errors import CheckpointError
from polymodal.nn.ranks import is_main_process
from polymodal.training.sharding import full_tensor
from polymodal.training.strategy import Strategy

if TYPE_CHECKING:
    from polymodal.training.state import TrainingState

DIGEST = "sha256"
EARLIER = ""
"""Digest of a file that an earlier version saved, without one."""
SAVED_KEYS = {
    "step": "step",
    "seconds": "seconds",
    "history": "history",
    "best": "best",
    "loss_sum": "loss_sum",
    "term_sums": "part_sums",
    "pretraining": "pretraining",
    "accumulation_steps": "num_parts",
    "planned_steps": "planned_steps",
    "width": "width",
    "diverged_epoch": "diverged_in",
}
"""Field of ``TrainingState`` to its key in the file."""


def save_checkpoint(path: Path, strategy: Strategy, state: TrainingState) -> None:
    """Write network, optimizer, best snapshots and counters; a collective operation.

    The main process writes full tensors, also where weights are sharded.

    Args:
        path: The file; replaced atomically.
        strategy: The network and its optimizer.
        state: The training state.
    """
    state.sync_losses()
    parameters, optimizer_state = _optimizer_parameters(strategy), strategy.optimizer.state_dict()["state"]
    tensors = _gather("network/", _trainable_state(strategy.module))
    for index, values in optimizer_state.items():
        tensors |= _gather(f"optimizer/{index}/", _map_state(values, parameters[index], strategy.to_dtensor))
    if not is_main_process():
        return
    for index, snapshot in enumerate(state.snapshots):
        tensors |= {f"best/{index}/{name}": value for name, value in snapshot.items()}
    tensors = _without_shared_memory(tensors)
    metadata = json.dumps({key: getattr(state, field) for field, key in SAVED_KEYS.items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        save_file(tensors, temporary, metadata={"state": metadata, DIGEST: _digest(tensors, metadata)})


def _gather(prefix: str, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return full tensors in the main process, nothing in the others."""
    result = {}
    for name, value in values.items():
        full = full_tensor(value)
        if is_main_process():
            result[prefix + name] = full.contiguous() if full is value else full.cpu()
    return result


def load_checkpoint(path: Path, strategy: Strategy, state: TrainingState) -> None:
    """Restore network, optimizer and training state.

    Args:
        path: A file of ``save_checkpoint``, written with any number of processes.
        strategy: A network built in the same way, and its optimizer.
        state: The training state; overwritten.

    Raises:
        CheckpointError: If the file is damaged or belongs to another network.
    """
    try:
        tensors, metadata = _read(path)
        with strategy.gathered_weights(writeback=True) as network:
            network.load_state_dict({**network.state_dict(), **tensors.pop("network")})
        _load_optimizer(strategy, tensors.get("optimizer", {}))
        _load_state(state, metadata, tensors.get("best", {}))
    except (OSError, SafetensorError, AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"The saved training state {path} does not fit this run ({reason}). Start again without --resume."
        ) from None


def _load_state(state: TrainingState, metadata: dict[str, Any], best: dict[str, Tensor]) -> None:
    for field, key in SAVED_KEYS.items():
        setattr(state, field, metadata.get(key, getattr(state, field)))
    state.best = [(loss, epoch) for loss, epoch in metadata["best"]]
    state.snapshots = [_with_prefix(best, f"{index}/") for index in range(len(state.best))]


def saved_width(path: Path | None) -> int | None:
    """Return the width of the network in a training checkpoint.

    Args:
        path: A file of ``save_checkpoint``, which may be missing.

    Returns:
        The width; None without a readable checkpoint.
    """
    try:
        return None if path is None else int(_read(path)[1]["width"])
    except (OSError, SafetensorError, LookupError, TypeError, ValueError):
        return None


def _read(path: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    groups: dict[str, dict[str, Tensor]] = {"network": {}}
    if not path.is_file():
        raise ValueError("it is no file")
    with safe_open(path, framework="pt") as file:
        header = file.metadata() or {}
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    if header.get(DIGEST, EARLIER) not in (EARLIER, _digest(tensors, header["state"])):
        raise ValueError("its content is not what was saved: its SHA-256 digest differs")
    for key, tensor in tensors.items():
        group, name = key.split("/", 1)
        groups.setdefault(group, {})[name] = tensor
    return groups, json.loads(header["state"])


def _digest(tensors: Mapping[str, Tensor], metadata: str) -> str:
    """Return the SHA-256 digest of a checkpoint's content."""
    digest = hashlib.sha256(metadata.encode("utf-8", "surrogatepass"))
    for name in sorted(tensors):
        flat = tensors[name].detach().cpu().contiguous().reshape(-1)
        digest.update(f"{name} {flat.dtype} {list(tensors[name].shape)}".encode())
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _load_optimizer(strategy: Strategy, tensors: dict[str, Tensor]) -> None:
    state_dict, parameters = strategy.optimizer.state_dict(), _optimizer_parameters(strategy)
    indices = sorted({int(name.split("/")[0]) for name in tensors})
    saved = {index: _with_prefix(tensors, f"{index}/") for index in indices}
    state_dict["state"] = {
        index: _map_state(values, parameters[index], strategy.to_local) for index, values in saved.items()
    }
    strategy.optimizer.load_state_dict(state_dict)


def _optimizer_parameters(strategy: Strategy) -> list[nn.Parameter]:
    return [parameter for group in strategy.optimizer.param_groups for parameter in group["params"]]


def _map_state(
    values: dict[str, Tensor], parameter: nn.Parameter, convert: Callable[[Tensor, nn.Parameter], Tensor]
) -> dict[str, Tensor]:
    """Convert the optimizer states of a parameter, except for counters, which are scalars."""
    return {name: value if value.ndim == 0 else convert(value, parameter) for name, value in values.items()}


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _trainable_state(network: nn.Module) -> dict[str, Tensor]:
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    return {name: value.detach() for name, value in network.state_dict().items() if name not in frozen}


def _without_shared_memory(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Make tensors contiguous and copy those that share memory, as safetensors requires."""
    seen: set[int] = set()
    result = {}
    for name, value in tensors.items():
        pointer = value.data_ptr()
        result[name] = value.clone() if pointer in seen and value.numel() else value.contiguous()
        seen.add(pointer)
    return result
