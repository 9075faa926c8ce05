"""The target categories: multi-label classification, one sigmoid a label."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.errors import SchemaError
from polymodal.modalities.label_lists import split_labels
from polymodal.targets.base import Prediction

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class CategoriesTarget:
    """A column with any number of labels in each row.

    Attributes:
        names: The labels, sorted.
        counts: Training rows with each label.
        num_rows: Training rows in all.
    """

    names: list[str]
    counts: list[int]
    num_rows: int

    kind: ClassVar[str] = "categories"

    @property
    def output_dim(self) -> int:
        """Number of labels."""
        return len(self.names)

    @property
    def classes(self) -> list[str] | None:
        """Names of the labels."""
        return self.names

    @classmethod
    def fit(cls, cells: Sequence[Cell]) -> Self:
        """Fit the labels and their counts.

        Args:
            cells: Cells of the training rows.

        Returns:
            The fitted target.

        Raises:
            SchemaError: If no row has a label.
        """
        rows = [labels for labels in (split_labels(cell) for cell in cells) if labels is not None]
        counter = collections.Counter(label for labels in rows for label in set(labels))
        if not counter:
            raise SchemaError("A multi-label target needs at least one label in the training rows. Found none.")
        names = sorted(counter)
        counts = [counter[name] for name in names]
        return cls(names=names, counts=counts, num_rows=len(rows))

    def encode(self, cells: Sequence[Cell]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Encode label lists as indicators; labels unknown from training are dropped.

        Args:
            cells: Cells of any rows.

        Returns:
            float32 ``[rows, labels]`` of 0 and 1, and a mask, bool ``[rows]``.
        """
        index = {name: position for position, name in enumerate(self.names)}
        values = np.zeros((len(cells), len(self.names)), dtype=np.float32)
        present = np.zeros(len(cells), dtype=np.bool_)
        for row, labels in enumerate(map(split_labels, cells)):
            present[row] = labels is not None
            values[row, [index[label] for label in labels or [] if label in index]] = 1.0
        return values, present

    def loss(self, output: Tensor, truth: Tensor, smoothing: float) -> Tensor:
        """Binary cross-entropy, the mean over labels, each row's.

        Args:
            output: Logits ``[B, labels]``.
            truth: Indicators ``[B, labels]``.
            smoothing: Label-smoothing factor.

        Returns:
            Loss ``[B]``.
        """
        from torch.nn import functional

        soft = truth * (1 - smoothing) + smoothing / 2
        losses = functional.binary_cross_entropy_with_logits(output, soft, reduction="none")
        return losses.mean(dim=1)

    def to_prediction(self, output: NDArray[np.float32]) -> Prediction:
        """Sigmoid.

        Args:
            output: Logits ``[rows, labels]``.

        Returns:
            Probabilities ``[rows, labels]``.
        """
        return np.asarray(1 / (1 + np.exp(-np.clip(output.astype(np.float64), -60, 60))))

    def decode(self, prediction: Prediction) -> list[Cell]:
        """Return the labels with a probability of at least 0.5, the most probable first.

        Args:
            prediction: Probabilities ``[rows, labels]``.

        Returns:
            One list of labels a row.
        """
        order = np.argsort(-prediction, axis=1, kind="stable")
        return [
            [self.names[label] for label in labels if row[label] >= 0.5]
            for row, labels in zip(prediction, order, strict=True)
        ]

    @property
    def prior(self) -> Prediction:
        """Share of training rows with each label, ``[labels]``."""
        return np.array(self.counts, dtype=np.float64) / self.num_rows

    def state(self) -> dict[str, Any]:
        """Return the fitted fields as plain JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from ``state``.

        Args:
            state: What ``state`` returned; of earlier versions with the ``positive_weights`` of a loss.

        Returns:
            The same target.
        """
        return cls(**{name: value for name, value in state.items() if name != "positive_weights"})
