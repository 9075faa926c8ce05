"""Saved training state: one safetensors file, replaced atomically (no pickle)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from polymodal.errors import CheckpointError
from polymodal.nn.distributed import is_main
from polymodal.training.sharding import whole
from polymodal.training.strategy import Strategy

if TYPE_CHECKING:
    from polymodal.training.state import TrainingState

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
    "diverged_in",
)


def save_state(path: Path, strategy: Strategy, state: TrainingState) -> None:
    """Write network, optimizer, best snapshots and counters: whole tensors, also where they are shared out.

    Every process calls it, as shares are gathered; the main one writes.

    Args:
        path: The file; replaced atomically.
        strategy: The network and its optimizer.
        state: Where training stands.
    """
    state.read_losses()
    parameters, kept = _parameters(strategy), strategy.optimizer.state_dict()["state"]
    tensors = _gathered("network/", _changing(strategy.module))
    for index, values in kept.items():
        tensors |= _gathered(f"optimizer/{index}/", _each(values, parameters[index], strategy.share))
    if not is_main():
        return
    for index, saved in enumerate(state.snapshots):
        tensors |= {f"best/{index}/{name}": value for name, value in saved.items()}
    plain = json.dumps({name: getattr(state, name) for name in PLAIN_FIELDS})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    save_file(_unshared(tensors), temporary, metadata={"state": plain})
    temporary.replace(path)


def _gathered(prefix: str, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors, whole, where the main process has them; others keep none."""
    found = {}
    for name, value in values.items():
        gathered = whole(value)
        if is_main():
            found[prefix + name] = gathered.contiguous() if gathered is value else gathered.cpu()
    return found


def load_state(path: Path, strategy: Strategy, state: TrainingState) -> None:
    """Put everything back where it was.

    Args:
        path: What ``save_state`` wrote, with any number of processes.
        strategy: A network built the same way, and its optimizer.
        state: Filled in.

    Raises:
        CheckpointError: If the file is damaged or belongs to another network.
    """
    try:
        tensors, plain = _read(path)
        with strategy.changed() as network:
            network.load_state_dict({**network.state_dict(), **tensors.pop("network")})
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"The saved training state {path} does not fit this run ({reason}). Start again without --resume."
        ) from None
    _load_optimizer(strategy, tensors.get("optimizer", {}))
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


def _load_optimizer(strategy: Strategy, tensors: dict[str, Tensor]) -> None:
    values, parameters = strategy.optimizer.state_dict(), _parameters(strategy)
    indices = sorted({int(name.split("/")[0]) for name in tensors})
    kept = {index: _under(tensors, f"{index}/") for index in indices}
    values["state"] = {index: _each(found, parameters[index], strategy.laid) for index, found in kept.items()}
    strategy.optimizer.load_state_dict(values)


def _parameters(strategy: Strategy) -> list[nn.Parameter]:
    return [parameter for group in strategy.optimizer.param_groups for parameter in group["params"]]


def _each(
    kept: dict[str, Tensor], parameter: nn.Parameter, change: Callable[[Tensor, nn.Parameter], Tensor]
) -> dict[str, Tensor]:
    """Change what is kept of a parameter, but for the count of its steps: that is one number."""
    return {name: value if name == "step" else change(value, parameter) for name, value in kept.items()}


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
