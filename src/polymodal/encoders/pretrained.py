"""Pretrained encoders of all modalities: frozen, with low-rank adapters, or fine-tuned (torch).

Shape legend: B rows of the batch, K outputs of the checkpoint that are kept, D width of an output,
W width of tokens.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from polymodal.arrays import Column
from polymodal.data.cache.entry import VALUES_FILE, map_values
from polymodal.data.cache.row_file import RowFile
from polymodal.encoders.backbone import cast_backbone, save_backbone
from polymodal.encoders.checkpoint_adapter import CheckpointAdapter
from polymodal.encoders.checkpoint_settings import copy_model_card
from polymodal.encoders.hub import find_file
from polymodal.encoders.lora import DEFAULT_RANK, add_adapters
from polymodal.errors import parameter_error
from polymodal.nn.layers import lengths_in_use as steps_in_use
from polymodal.nn.layers import pool_steps
from polymodal.progress import Progress
from polymodal.tokens import ColumnBatch, Tokens

TUNINGS = ("frozen", "lora", "full")
BACKBONE_RATES = {"lora": 0.5, "full": 0.05}
"""Default learning rate inside of a checkpoint, as a factor of the learning rate of the other layers."""
VALUES_AT_ONCE = 5_000_000


class Pretrained(nn.Module):
    """A pretrained encoder and a small trainable pooler on top of it.

    ``frozen``: the outputs of the checkpoint are computed once (``precompute``) and only the pooler is trained; the
    checkpoint is neither loaded for training nor part of the state dict. ``lora``: low-rank adapters are trained too
    and are part of the state dict; the checkpoint is not. ``full``: all weights are fine-tuned, with lower learning
    rates in lower layers (``parameter_groups``).
    """

    def __init__(
        self,
        adapter: CheckpointAdapter,
        pooler: nn.Module,
        *,
        tuning: str,
        rank: int,
        max_tokens: int,
        backbone_rate: float,
    ) -> None:
        """Combine the checkpoint and the pooler.

        Args:
            adapter: Loads and runs the checkpoint.
            pooler: From outputs ``[B, K, D]`` and lengths to tokens.
            tuning: ``frozen``, ``lora`` or ``full``.
            rank: Rank of the adapters of ``lora``; 0 means 8.
            max_tokens: Maximum number of outputs kept per row of a frozen checkpoint; longer sequences are
                average-pooled.
            backbone_rate: Learning rate of the adapters, or of the top layer of a fine-tuned checkpoint, as a factor
                of that of the other layers; 0 means 0.5, or 0.05.

        Raises:
            ConfigError: If the options contradict each other, or the checkpoint cannot be loaded.
        """
        super().__init__()
        _check_tuning(tuning, rank, backbone_rate)
        self.checkpoint_adapter, self.tuning, self.max_tokens = adapter, tuning, max_tokens
        self.backbone_rate = backbone_rate or BACKBONE_RATES.get(tuning, 0.0)
        self.backbone = adapter.load() if tuning == "full" else None
        self._unregistered: list[Any] = []  # in a list, so that it is not registered as a submodule
        if tuning == "lora":
            base = adapter.load().eval()
            self.adapters = add_adapters(base, rank or DEFAULT_RANK)
            self._unregistered.append(base)
        self.reader = pooler  # part of the keys of saved weights
        self._traces_inputs = False

    def in_float32(self) -> Pretrained:
        """Return the encoder for exported graphs: all of its weights are registered, and nothing is rounded.

        The weights are shared, except those of a frozen checkpoint, which are loaded again, since they may have been
        cast to bfloat16.

        Returns:
            An encoder in evaluation mode, to run and not to train.
        """
        found = copy.copy(self)
        found._modules = dict(self._modules)
        found._unregistered, found._traces_inputs = [], True
        if found.backbone is None:
            loaded = self.checkpoint_adapter.load().requires_grad_(False) if self.is_frozen else self._unregistered[0]
            found.backbone = loaded.to(self._device)
        return found.eval()

    @property
    def is_frozen(self) -> bool:
        """Whether the checkpoint's outputs never change, so that they can be precomputed."""
        return self.tuning == "frozen"

    def train(self, mode: bool = True) -> Pretrained:
        """Switch between training and evaluation; a checkpoint's batch norms always use their stored statistics.

        Args:
            mode: Whether it is training.

        Returns:
            The module itself.
        """
        super().train(mode)
        for module in self.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    def forward(self, column: ColumnBatch) -> Tokens:
        """Encode rows.

        Args:
            column: The modality's arrays, or the result of ``precompute``, ``[B, K, D]`` with lengths.

        Returns:
            Tokens ``[B, tokens, W]``.
        """
        given = (column.values, steps_in_use(column))
        values_BKD, lengths = given if column.is_encoded else self._outputs(column)
        tokens: Tokens = self.reader(values_BKD, lengths)
        return tokens

    @contextmanager
    def tracing_inputs(self) -> Iterator[Any]:
        """Let gradients flow through a frozen checkpoint to its inputs; its outputs are then not rounded to float16.

        Yields:
            The checkpoint's module.
        """
        self._traces_inputs = True
        try:
            yield self._module(self._device)
        finally:
            self._traces_inputs = False

    def precompute(self, column: Column, progress: Progress, entry: Path | None = None) -> Column:
        """Run the frozen checkpoint over a whole column.

        Args:
            column: The modality's arrays.
            progress: Shows how many rows are done.
            entry: Folder to write the values to as a memory-mapped file; None: they are kept in memory.

        Returns:
            float16 ``[rows, K, D]``: normalised outputs of the layers ``checkpoint_adapter.layers``, at most
            ``max_tokens`` a row; lengths say how many.
        """
        most = max(1, min(self.max_tokens, self.checkpoint_adapter.max_outputs(column)))
        shape = (len(column), most, self.checkpoint_adapter.dim)
        if entry is None:
            values: NDArray[Any] = np.zeros(shape, np.float16)
            lengths = self._run_over(column, progress, partial(_put, values))
        else:
            with RowFile(entry / VALUES_FILE, shape, np.dtype(np.float16)) as file:
                lengths = self._run_over(column, progress, file.write)
            values = map_values(entry, None)
        return Column(values, column.row_present, lengths)

    def _run_over(
        self, column: Column, progress: Progress, write: Callable[[NDArray[np.int64], NDArray[Any]], None]
    ) -> NDArray[np.int64]:
        """Pass the outputs of all batches to ``write``; return the number of outputs of each row."""
        lengths = np.zeros(len(column), np.int64)
        with progress.phase(f"pretrained {self.checkpoint_adapter.modality}", int(column.row_present.sum())) as phase:
            for rows in self.checkpoint_adapter.batches(column):
                part_BKD, used = self._outputs(ColumnBatch.from_column(column, rows).to(self._device))
                write(rows, part_BKD.cpu().numpy())
                lengths[rows] = used.cpu().numpy()
                phase.advance(len(rows))
        return lengths

    def fingerprint(self) -> tuple[object, ...]:
        """Return values that identify the checkpoint and the outputs kept, for cache keys."""
        config = find_file(self.checkpoint_adapter.checkpoint, "config.json")
        folder = Path(self.checkpoint_adapter.checkpoint) if config is None else config.parent
        files = sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in folder.glob("*.*"))
        return ("normalised, convolutions sound", str(folder), self.max_tokens, self.checkpoint_adapter.layers, *files)

    def parameter_groups(self, learning_rate: float, decay: float) -> list[dict[str, Any]]:
        """Return groups with discriminative learning rates: Howard and Ruder 2018, arXiv 1801.06146, section 3.2.

        Args:
            learning_rate: Learning rate of the pooler.
            decay: Factor from one layer of a fine-tuned checkpoint to the one below.

        Returns:
            Parameter groups of an optimizer, each with ``params`` and ``lr``; the first one is that of the pooler.
        """
        groups: list[dict[str, Any]] = [{"params": list(self.reader.parameters()), "lr": learning_rate}]
        rate = learning_rate * self.backbone_rate
        if self.tuning == "lora":
            groups.append({"params": list(self.adapters.parameters()), "lr": rate})
        if self.backbone is not None:
            by_level = _by_level(self.backbone)
            top = max(by_level)
            groups += [{"params": by_level[level], "lr": rate * decay ** (top - level)} for level in sorted(by_level)]
        return groups

    def save_backbone(self, folder: Path) -> None:
        """Save the checkpoint as safetensors and JSON, so that a saved model is self-contained.

        Args:
            folder: The folder to write to; it can be loaded as ``checkpoint``.
        """
        save_backbone(self._module(self._device), folder)
        self.checkpoint_adapter.save_preprocessor(folder)
        copy_model_card(self.checkpoint_adapter.checkpoint, folder)

    def unregistered_weights(self) -> list[Tensor]:
        """Return the weights of a checkpoint that is not trained and not registered as a submodule."""
        return [weight for module in self._unregistered for weight in module.parameters()]

    @property
    def _device(self) -> torch.device:
        return next(self.reader.parameters()).device

    def _module(self, device: torch.device) -> Any:
        if self.backbone is not None:
            return self.backbone
        if not self._unregistered:
            self._unregistered.append(cast_backbone(self.checkpoint_adapter.load(), device))
        return self._unregistered[0].to(device)

    def _outputs(self, column: ColumnBatch) -> tuple[Tensor, Tensor]:
        """Run the checkpoint on the present rows; absent rows get no outputs."""
        if torch.compiler.is_exporting():
            return self._normalised(*self.checkpoint_adapter.run(self._module(column.values.device), column))
        rows = column.row_present.nonzero().squeeze(1)
        lengths = torch.zeros(len(column), dtype=torch.int64, device=rows.device)
        if not len(rows):
            return torch.zeros(len(column), 1, self.checkpoint_adapter.dim, device=rows.device), lengths
        is_rounded = self.is_frozen and not self._traces_inputs
        with torch.no_grad() if is_rounded else nullcontext():
            found_RKD, used = self._normalised(*self._in_parts(column.take(rows)))
            found_RKD = found_RKD.half() if is_rounded else found_RKD
        values_BKD = found_RKD.new_zeros(len(column), *found_RKD.shape[1:]).index_copy(0, rows, found_RKD)
        return values_BKD, lengths.index_copy(0, rows, used)

    def _normalised(self, found_RKD: Tensor, used: Tensor) -> tuple[Tensor, Tensor]:
        if self.is_frozen:
            found_RKD, present_RK = pool_steps(found_RKD.float(), used, self.max_tokens)
            used = present_RK.sum(dim=1)
        return functional.layer_norm(found_RKD, found_RKD.shape[-1:]), used

    def _in_parts(self, column: ColumnBatch) -> tuple[Tensor, Tensor]:
        """Run the checkpoint; without gradients in parts of limited memory."""
        module = self._module(column.values.device)
        size = len(column)
        if not torch.is_grad_enabled():
            size = max(1, VALUES_AT_ONCE // max(column.values[0].numel(), 1))
        places = torch.arange(len(column), device=column.values.device)
        parts = [
            self.checkpoint_adapter.run(module, column.take(places[i : i + size])) for i in range(0, len(column), size)
        ]
        most = max(int(used.max()) for _, used in parts)
        values = [functional.pad(part[:, :most], (0, 0, 0, max(0, most - part.shape[1]))) for part, _ in parts]
        return torch.cat(values), torch.cat([used for _, used in parts])


def _put(values_RKD: NDArray[Any], rows: NDArray[np.int64], part_BKD: NDArray[Any]) -> None:
    values_RKD[rows, : part_BKD.shape[1]] = part_BKD


def _check_tuning(tuning: str, rank: int, backbone_rate: float) -> None:
    owner = "a pretrained encoder"
    if tuning not in TUNINGS:
        raise parameter_error("tuning", owner, f"one of: {', '.join(TUNINGS)}", tuning)
    if rank and tuning != "lora":
        raise parameter_error("rank", owner, "left out unless tuning is lora", rank)
    if backbone_rate and tuning == "frozen":
        raise parameter_error("backbone_rate", owner, "left out when tuning is frozen", backbone_rate)


def _by_level(backbone: nn.Module) -> dict[int, list[nn.Parameter]]:
    """Group a checkpoint's trainable parameters by level."""
    named = [(name, parameter) for name, parameter in backbone.named_parameters() if parameter.requires_grad]
    top = max(layer_level(name, 0) for name, _ in named)
    by_level: dict[int, list[nn.Parameter]] = {}
    for name, parameter in named:
        by_level.setdefault(layer_level(name, top), []).append(parameter)
    return by_level


def layer_level(name: str, top: int) -> int:
    """Return the level of a parameter in the checkpoint.

    Args:
        name: Its name in the checkpoint.
        top: Number of layers, or of stages where layers are grouped in stages.

    Returns:
        0 for embeddings and other layers before the first one, 1 for the lowest layer, ``top`` for the highest and
        those after it.
    """
    numbered = re.search(r"(?:^|\.)stages\.(\d+)\.", name) or re.search(r"(?:^|\.)(?:layers?|h|blocks?)\.(\d+)\.", name)
    if numbered:
        return int(numbered.group(1)) + 1
    return 0 if BELOW_THE_LAYERS.search(name) else top


BELOW_THE_LAYERS = re.compile(r"(?:^|\.)(?:embed|wte|wpe|pre_layrnorm|pos_conv|feature_|conv\d)")
