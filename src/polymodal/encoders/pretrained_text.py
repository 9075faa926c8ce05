"""Pretrained text encoders: Hugging Face checkpoints (torch).

Shape legend: B rows of the batch, T token ids, D width of an output, W width of tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polymodal.arrays import Column
from polymodal.encoders.backbone import load_config
from polymodal.encoders.checkpoint_adapter import CheckpointAdapter, batches_by_length, lengths_in_use
from polymodal.encoders.pooling import SequencePooler
from polymodal.encoders.pretrained import Pretrained
from polymodal.errors import ConfigError
from polymodal.nn.layers import lengths_in_use as batch_lengths
from polymodal.nn.layers import steps_present
from polymodal.tokens import ColumnBatch

if TYPE_CHECKING:
    from polymodal.modalities.text import Text

LAYERS = (2 / 3, 1.0)
"""Relative depths of the hidden states that are used of a frozen checkpoint.

The last layers of checkpoints tuned for similarity hold less information on sentiment: on clothing reviews a linear
model has F1 0.948 on the layer at two thirds and 0.939 on the last one; both together are better than either.
"""

BATCH_IDS = 8192
"""Maximum number of token ids of a batch, including padding, when outputs are precomputed."""


@dataclass(frozen=True, kw_only=True)
class TextCheckpointAdapter(CheckpointAdapter):
    """Checkpoints of token ids, such as BERT.

    Attributes:
        hidden_size: Width of one layer's output.
        padding: The checkpoint's own id for padding.
    """

    hidden_size: int
    padding: int

    modality: ClassVar[str] = "text"

    @property
    def dim(self) -> int:
        """Width of an output: D."""
        return self.hidden_size * len(self.layers)

    def save_preprocessor(self, folder: Path) -> None:
        """Do nothing: the fitted modality holds the tokenizer.

        Args:
            folder: Not used.
        """

    def run(self, backbone: Any, column: ColumnBatch) -> tuple[Tensor, Tensor]:
        """Run the checkpoint; texts are truncated to its maximum length.

        Args:
            backbone: The checkpoint.
            column: Token ids int32 ``[B, T]`` with lengths.

        Returns:
            Outputs ``[B, T, D]`` and int64 ``[B]``, how many are in use.
        """
        ids_BT = column.values[:, : max_positions(backbone)].long()
        lengths = batch_lengths(column).clamp(max=ids_BT.shape[1])
        inside_BT = steps_present(lengths.clamp(min=1), ids_BT.shape[1])
        found = backbone(
            input_ids=torch.where(inside_BT, ids_BT, self.padding),
            attention_mask=inside_BT.long(),
            output_hidden_states=True,
        )
        return torch.cat(hidden_states_at(found, self.layers), dim=2), lengths

    def max_outputs(self, column: Column) -> int:
        """Return the length of the longest text.

        Args:
            column: Token ids with lengths.

        Returns:
            Maximum number of outputs per row.
        """
        return int(lengths_in_use(column).max(initial=1))

    def batches(self, column: Column) -> Iterator[NDArray[np.int64]]:
        """Batch texts of similar length.

        Args:
            column: Token ids with lengths.

        Returns:
            Row indices of each batch.
        """
        return batches_by_length(lengths_in_use(column), BATCH_IDS)


def hidden_states_at(found: Any, shares: tuple[float, ...]) -> list[Tensor]:
    """Select hidden states of a checkpoint.

    Args:
        found: Output of the checkpoint, with ``hidden_states``.
        shares: Relative depths; 1 is the final output.

    Returns:
        ``[B, T, width]`` for each depth.
    """
    states = found.hidden_states
    return [found.last_hidden_state if share == 1.0 else states[round((len(states) - 1) * share)] for share in shares]


def max_positions(backbone: nn.Module) -> int | None:
    """Return the maximum number of token ids of a checkpoint.

    Args:
        backbone: The checkpoint.

    Returns:
        Size of its position embedding without the unused rows; None if it has none.
    """
    for name, module in backbone.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            unused = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - unused
    return None


class PretrainedText(Pretrained):
    """A pretrained text checkpoint and its pooler."""

    def __init__(
        self,
        fitted: Text,
        width: int,
        *,
        checkpoint: str = "",
        tuning: str = "frozen",
        rank: int = 0,
        max_tokens: int = 64,
        backbone_rate: float = 0.0,
        dropout: float = 0.1,
    ) -> None:
        """Load the checkpoint's configuration and build the pooler.

        Args:
            fitted: The fitted modality; its tokenizer must be the checkpoint's.
            width: W.
            checkpoint: Folder or hub name of the checkpoint.
            tuning: ``frozen``, ``lora`` (low-rank adapters) or ``full`` (fine-tuned whole).
            rank: Rank of the adapters; 0 means 8.
            max_tokens: Maximum number of outputs kept per row of a frozen checkpoint; longer sequences are
                average-pooled.
            backbone_rate: Learning rate of the adapters or of the top layer of the checkpoint, as a factor of that of
                the other layers; 0 means 0.5, or 0.05.
            dropout: Dropout probability.

        Raises:
            ConfigError: If the checkpoint cannot be loaded or its vocabulary is smaller than the tokenizer's.
        """
        config = load_config(checkpoint, "text")
        if fitted.num_ids > int(config.vocab_size):
            raise ConfigError(
                f"The tokenizer of the text column knows {fitted.num_ids} tokens, the checkpoint {checkpoint!r} only "
                f"{config.vocab_size}. Use the checkpoint's own tokenizer.json: set the column's setting 'pretrained' "
                "to it."
            )
        adapter = TextCheckpointAdapter(
            checkpoint=checkpoint,
            layers=LAYERS if tuning == "frozen" else (1.0,),
            hidden_size=int(config.hidden_size),
            padding=getattr(config, "pad_token_id", None) or 0,
        )
        pooler = SequencePooler(adapter.dim, width, dropout)
        super().__init__(adapter, pooler, tuning=tuning, rank=rank, max_tokens=max_tokens, backbone_rate=backbone_rate)
