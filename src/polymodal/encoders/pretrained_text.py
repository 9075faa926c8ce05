"""Text encoders that others trained: Hugging Face checkpoints, frozen or fine-tuned (torch).

Shape legend: B rows of the batch, T token ids, K tokens that come out, D width of the checkpoint,
W width of tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor, nn

from polymodal.arrays import Column
from polymodal.encoders.reader import Reader
from polymodal.errors import ConfigError, parameter_error
from polymodal.layers import lengths_in_use, pool_steps, steps_present
from polymodal.progress import Progress
from polymodal.tokens import ColumnBatch, Tokens

if TYPE_CHECKING:
    from polymodal.modalities.text import Text

LAYERS = (2 / 3, 1.0)
"""The layers whose outputs a frozen checkpoint gives, side by side, as shares of its height.

Checkpoints tuned for similarity forget in their last layers what a sentence says about its subject's
worth: on clothing reviews a linear model reads F1 0.948 from the layer at two thirds, 0.939 from the
last; a reader of both is better than of either.
"""

BATCH_IDS = 8192
"""Token ids, padding counted, that are read at once when outputs are computed ahead."""


class PretrainedText(nn.Module):
    """A pretrained encoder below a small reader.

    Frozen, its outputs are computed once (``precompute``) and only the reader is trained; the
    checkpoint is then neither loaded for training nor part of the module's state. Trainable, it is
    fine-tuned whole, lower layers more slowly (``parameter_groups``).
    """

    def __init__(
        self, checkpoint: str, width: int, trainable: bool, max_tokens: int, backbone_rate: float, dropout: float
    ) -> None:
        """Build the layers around the checkpoint.

        Args:
            checkpoint: Folder or hub name.
            width: W.
            trainable: Whether the checkpoint is fine-tuned.
            max_tokens: Most outputs kept of a row; longer ones are means of equal stretches.
            backbone_rate: Learning rate of the checkpoint's top layer, as a share of the rest's.
            dropout: Share of values set to zero in training.

        Raises:
            ConfigError: If the checkpoint cannot be loaded.
        """
        super().__init__()
        self.checkpoint = checkpoint
        self.trainable = trainable
        self.max_tokens = max_tokens
        self.backbone_rate = backbone_rate
        config = load_backbone_config(checkpoint)
        self.backbone = load_backbone(checkpoint) if trainable else None
        self._frozen: list[nn.Module] = []  # a list, so that the state does not hold it
        self.reader = Reader(int(config.hidden_size) * (1 if trainable else len(LAYERS)), width, dropout)

    def forward(self, column: ColumnBatch) -> Tokens:
        """Encode texts.

        Args:
            column: Token ids ``[B, T]`` with lengths, or what ``precompute`` made of them,
                ``[B, K, D]`` with lengths.

        Returns:
            Tokens ``[B, K, W]``.
        """
        if self.backbone is not None:
            return self._fine_tuned(self.backbone, column)
        return self._from_outputs(column if column.values.ndim == 3 else self._outputs(column))

    def precompute(self, column: Column, progress: Progress) -> Column:
        """Run the frozen checkpoint over a whole column, longest texts first.

        Args:
            column: Token ids int32 ``[rows, T]`` with lengths.
            progress: Is told how many rows are done.

        Returns:
            float16 ``[rows, K, D]``: outputs of the layers at ``LAYERS``, at most ``max_tokens`` a row;
            lengths say how many.
        """
        lengths = _lengths_in_use(column)
        num_outputs = np.minimum(lengths, self.max_tokens)
        dim = len(LAYERS) * int(self._loaded().config.hidden_size)
        values = np.zeros((len(column), max(int(num_outputs.max(initial=1)), 1), dim), np.float16)
        with progress.phase("pretrained text", int((lengths > 0).sum())) as phase:
            for rows in batches_by_length(lengths, BATCH_IDS):
                part = self._outputs(ColumnBatch.from_column(column.take(rows)))
                values[rows, : part.values.shape[1]] = part.values.cpu().numpy()
                phase.advance(len(rows))
        return Column(values, column.present, num_outputs)

    def parameter_groups(self, learning_rate: float, decay: float) -> list[dict[str, Any]]:
        """Give every layer a learning rate: Howard and Ruder 2018, arXiv 1801.06146, section 3.2.

        Args:
            learning_rate: Rate of the layers around the checkpoint.
            decay: Factor from one layer of the checkpoint to the one below.

        Returns:
            Groups for an optimiser, each with ``params`` and ``lr``; the first is of the layers around.
        """
        around = list(self.reader.parameters())
        groups: list[dict[str, Any]] = [{"params": around, "lr": learning_rate}]
        if self.backbone is None:
            return groups
        by_level: dict[int, list[nn.Parameter]] = {}
        top = int(self.backbone.config.num_hidden_layers)
        for name, parameter in self.backbone.named_parameters():
            by_level.setdefault(layer_level(name, top), []).append(parameter)
        rate = learning_rate * self.backbone_rate
        groups += [{"params": by_level[level], "lr": rate * decay ** (top - level)} for level in sorted(by_level)]
        return groups

    def save_backbone(self, folder: Path) -> None:
        """Write the checkpoint, as safetensors and JSON, so that a saved model needs no other place.

        Args:
            folder: Where; it can later be given as ``checkpoint``.
        """
        self._loaded().save_pretrained(folder)

    def _loaded(self) -> Any:
        if self.backbone is not None:
            return self.backbone
        if not self._frozen:
            backbone = load_backbone(self.checkpoint).requires_grad_(False).eval()
            self._frozen.append(backbone.to(frozen_dtype(self.reader.places.device)))
        return self._frozen[0].to(self.reader.places.device)

    def _fine_tuned(self, backbone: nn.Module, column: ColumnBatch) -> Tokens:
        ids_BT, lengths = _ids_in_use(column, backbone)
        hidden_BTD = _run(backbone, ids_BT, lengths).last_hidden_state
        tokens: Tokens = self.reader(hidden_BTD, lengths)
        return tokens

    def _from_outputs(self, column: ColumnBatch) -> Tokens:
        lengths = lengths_in_use(column)
        present_BK = steps_present(lengths, column.values.shape[1])
        tokens: Tokens = self.reader(torch.where(present_BK.unsqueeze(2), column.values, 0).float(), lengths)
        return tokens

    @torch.no_grad()
    def _outputs(self, column: ColumnBatch) -> ColumnBatch:
        backbone = self._loaded()
        ids_BT, lengths = _ids_in_use(column, backbone)
        hidden = _run(backbone, ids_BT, lengths, output_hidden_states=True).hidden_states
        chosen_BTD = torch.cat([hidden[round((len(hidden) - 1) * share)] for share in LAYERS], dim=2).float()
        pooled_BKD, present_BK = pool_steps(chosen_BTD, lengths, self.max_tokens)
        return ColumnBatch(pooled_BKD.half(), column.present, present_BK.sum(dim=1))


def _lengths_in_use(column: Column) -> NDArray[np.int64]:
    lengths = np.full(len(column), column.values.shape[1]) if column.lengths is None else column.lengths
    return np.where(column.row_present, lengths, 0).astype(np.int64)


def _ids_in_use(column: ColumnBatch, backbone: Any) -> tuple[Tensor, Tensor]:
    """Cut ids to what the checkpoint can read, and put its own padding id in place of ours."""
    limit = max_positions(backbone)
    ids_BT = column.values[:, :limit].long()
    lengths = lengths_in_use(column).clamp(max=ids_BT.shape[1])
    padding = getattr(backbone.config, "pad_token_id", None) or 0
    return torch.where(steps_present(lengths, ids_BT.shape[1]), ids_BT, padding), lengths


def _run(backbone: nn.Module, ids_BT: Tensor, lengths: Tensor, output_hidden_states: bool = False) -> Any:
    mask_BT = steps_present(lengths.clamp(min=1), ids_BT.shape[1]).long()
    return backbone(input_ids=ids_BT, attention_mask=mask_BT, output_hidden_states=output_hidden_states)


def batches_by_length(lengths: NDArray[np.int64], max_ids: int) -> Iterator[NDArray[np.int64]]:
    """Group rows of like length, the longest first, so that little is padded.

    Args:
        lengths: Token ids of each row; rows of length 0 are left out.
        max_ids: Token ids of a batch, padding counted.

    Yields:
        Row indices of a batch.
    """
    order = np.argsort(-lengths, kind="stable")
    order = order[lengths[order] > 0]
    start = 0
    while start < len(order):
        size = max(1, max_ids // int(lengths[order[start]]))
        yield order[start : start + size]
        start += size


def max_positions(backbone: nn.Module) -> int | None:
    """Return how many token ids a checkpoint can read.

    Args:
        backbone: The checkpoint.

    Returns:
        Rows of its position table, less those before the first position; None without a table.
    """
    for name, module in backbone.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            unused = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - unused
    return None


def layer_level(name: str, top: int) -> int:
    """Return how high in the checkpoint a parameter stands.

    Args:
        name: Its name in the checkpoint.
        top: Number of layers.

    Returns:
        0 for embeddings, 1 for the lowest layer, ``top`` for the highest and what follows it.
    """
    numbered = re.search(r"(?:^|\.)(?:layers?|h|blocks?)\.(\d+)\.", name)
    if numbered:
        return int(numbered.group(1)) + 1
    return 0 if re.search(r"(?:^|\.)(?:embed|wte|wpe)", name) else top


def frozen_dtype(device: torch.device) -> torch.dtype:
    """Return the floats in which a frozen checkpoint is run: bfloat16 where the machine is fast with it.

    Args:
        device: Where it runs.

    Returns:
        bfloat16, or float32 on processors without instructions for it.
    """
    if device.type != "cpu":
        return torch.bfloat16
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    has_bfloat16 = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return torch.bfloat16 if has_bfloat16 else torch.float32


def load_backbone_config(checkpoint: str) -> Any:
    """Read what a checkpoint is.

    Args:
        checkpoint: Folder or hub name.

    Returns:
        The configuration of ``transformers``.

    Raises:
        ConfigError: If it cannot be read, or is no encoder of text.
    """
    _check_folder(checkpoint)
    transformers = _import_transformers()
    try:
        config = transformers.AutoConfig.from_pretrained(checkpoint, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise _unloadable(checkpoint, error) from error
    if getattr(config, "is_encoder_decoder", False) or not hasattr(config, "hidden_size"):
        kind = getattr(config, "model_type", "unknown")
        raise parameter_error("checkpoint", "the text encoder 'pretrained'", "an encoder such as BERT", kind)
    return config


def load_backbone(checkpoint: str) -> Any:
    """Load a checkpoint's weights.

    Args:
        checkpoint: Folder or hub name.

    Returns:
        The module in float32, without the pooling layer some have.

    Raises:
        ConfigError: If there are no weights in safetensors form, or they do not fit.
    """
    transformers = _import_transformers()
    try:
        with _without_bars(transformers):
            backbone = transformers.AutoModel.from_pretrained(
                checkpoint, use_safetensors=True, trust_remote_code=False
            ).float()
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise _unloadable(checkpoint, error) from error
    if getattr(backbone, "pooler", None) is not None:
        backbone.pooler = None
    return backbone


def _import_transformers() -> Any:
    try:
        import transformers
    except ImportError:
        raise ConfigError(
            "Pretrained text encoders need the package transformers. Install it: pip install 'polymodal[pretrained]'."
        ) from None
    return transformers


@contextmanager
def _without_bars(transformers: Any) -> Iterator[None]:
    """Keep the library from drawing bars of its own, and leave its setting as it was."""
    logging = transformers.utils.logging
    was_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            logging.enable_progress_bar()


def _check_folder(checkpoint: str) -> None:
    folder = Path(checkpoint)
    if not folder.is_dir():
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", checkpoint) or checkpoint.startswith("."):
            raise _unloadable(checkpoint, f"there is no folder {folder}")
        return
    if not (folder / "config.json").is_file():
        raise _unloadable(checkpoint, "the folder has no config.json")
    if not any(folder.glob("*.safetensors")):
        raise _unloadable(checkpoint, "the folder has no weights in safetensors form")


def _unloadable(checkpoint: str, reason: object) -> ConfigError:
    first_line = str(reason).strip().split("\n")[0].rstrip(".")
    return ConfigError(
        f"The pretrained text checkpoint {checkpoint!r} cannot be loaded: {first_line}. Expected a folder with "
        "config.json and model.safetensors, or a hub name such as 'distilbert/distilbert-base-uncased' that can be "
        "reached from here."
    )


def build_pretrained_text(
    fitted: Text,
    width: int,
    *,
    checkpoint: str = "",
    trainable: bool = False,
    max_tokens: int = 64,
    backbone_rate: float = 0.05,
    dropout: float = 0.1,
) -> PretrainedText:
    """Build the pretrained encoder.

    Args:
        fitted: The fitted modality; its tokenizer must be the checkpoint's.
        width: W.
        checkpoint: Folder or hub name of the checkpoint.
        trainable: Whether the checkpoint is fine-tuned; else it is frozen.
        max_tokens: Most outputs kept of a row; longer ones are means of equal stretches.
        backbone_rate: Learning rate of the checkpoint's top layer, as a share of the rest's.
        dropout: Share of values set to zero in training.

    Returns:
        The encoder.

    Raises:
        ConfigError: If the checkpoint cannot be loaded or its vocabulary is smaller than the tokenizer's.
    """
    if not checkpoint:
        raise parameter_error("checkpoint", "the text encoder 'pretrained'", "a folder or hub name", checkpoint)
    encoder = PretrainedText(checkpoint, width, trainable, max_tokens, backbone_rate, dropout)
    vocabulary = int(load_backbone_config(checkpoint).vocab_size)
    if fitted.num_ids > vocabulary:
        raise ConfigError(
            f"The tokenizer of the text column knows {fitted.num_ids} tokens, the checkpoint {checkpoint!r} only "
            f"{vocabulary}. Use the checkpoint's own tokenizer.json: set the column's setting 'pretrained' to it."
        )
    return encoder
