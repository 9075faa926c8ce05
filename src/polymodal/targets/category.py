"""The target category: one class a row, softmax classification."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.errors import SchemaError
from polymodal.metrics.classification import predicted_classes
from polymodal.modalities.label_lookup import LabelLookup
from polymodal.targets.base import Prediction
from polymodal.targets.labels import LabelType, label_text, label_type, to_label

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class CategoryTarget:
    """A column with one class in each row.

    Attributes:
        names: Text form of the classes, sorted.
        counts: Training rows of each class.
        label_type: Python type of predicted labels.
        label_weights: Factor of each class's probability where the label is chosen; None: the most probable class is.
        logit_offset: Added to the logits of a network that learned from equally frequent classes, so that its
            probabilities follow the frequencies of the table: their logarithms (Menon et al. 2021, equation 9). None:
            it learned from the frequencies of the table.
        spellings: Class to how most training cells wrote it, where that is not its text form: ``True``, ``1.0``.
    """

    names: list[str]
    counts: list[int]
    label_type: LabelType
    label_weights: list[float] | None = None
    logit_offset: list[float] | None = None
    spellings: dict[str, str] = dataclasses.field(default_factory=dict)

    kind: ClassVar[str] = "category"

    @property
    def output_dim(self) -> int:
        """Number of classes."""
        return len(self.names)

    @property
    def classes(self) -> list[str] | None:
        """Names of the classes, as the training cells wrote them."""
        return [self.spellings.get(name, name) for name in self.names]

    @classmethod
    def fit(cls, cells: Sequence[Cell]) -> Self:
        """Fit the classes and their counts.

        Args:
            cells: Cells of the training rows.

        Returns:
            The fitted target.

        Raises:
            SchemaError: If there are fewer than two classes.
        """
        labelled = [cell for cell in cells if label_text(cell) is not None]
        counter = collections.Counter(str(label_text(cell)) for cell in labelled)
        if len(counter) < 2:
            found = f"only {next(iter(counter))!r}" if counter else "none"
            raise SchemaError(f"A category target needs two classes or more in the training rows. Found {found}.")
        names = sorted(counter, key=_sort_key)
        counts = [counter[name] for name in names]
        return cls(names=names, counts=counts, label_type=label_type(labelled), spellings=_spellings(labelled))

    def encode(self, cells: Sequence[Cell]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Encode labels as class indices; unknown and absent labels are masked.

        Args:
            cells: Cells of any rows.

        Returns:
            int64 ``[rows]``, and a mask, bool ``[rows]``.
        """
        lookup = LabelLookup(self.names)
        found = [lookup.find(label_text(cell) or "") for cell in cells]
        values = np.array(found, dtype=np.int64).reshape(-1)
        return np.maximum(values, 0), values >= 0

    def loss(self, output: Tensor, truth: Tensor, smoothing: float) -> Tensor:
        """Cross-entropy with label smoothing (Szegedy et al. 2016, section 7), each row's.

        Args:
            output: Logits ``[B, classes]``.
            truth: Class indices ``[B]``.
            smoothing: Label-smoothing factor.

        Returns:
            Loss ``[B]``.
        """
        from torch.nn import functional

        return functional.cross_entropy(output, truth, label_smoothing=smoothing, reduction="none")

    def to_prediction(self, output: NDArray[np.float32]) -> Prediction:
        """Softmax of the logits, with ``logit_offset`` where there is one.

        Args:
            output: Logits ``[rows, classes]``.

        Returns:
            Probabilities ``[rows, classes]``.
        """
        logits = output.astype(np.float64) + (0.0 if self.logit_offset is None else np.array(self.logit_offset))
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
        return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))

    def decode(self, prediction: Prediction) -> list[Cell]:
        """Return the label of each row: the most probable class, or that of the largest weighted probability.

        Args:
            prediction: Probabilities ``[rows, classes]``.

        Returns:
            Labels in their Python type.
        """
        return [self._labels[index] for index in self.predicted_classes(prediction)]

    @cached_property
    def _labels(self) -> list[Cell]:
        return [self.spellings.get(name) or to_label(name, self.label_type) for name in self.names]

    def predicted_classes(self, prediction: Prediction) -> NDArray[np.int64]:
        """Return the index of the class that ``decode`` gives each row.

        Args:
            prediction: Probabilities ``[rows, classes]``.

        Returns:
            int64 ``[rows]``.
        """
        return predicted_classes(prediction, self.label_weights)

    def label_probabilities(self, prediction: Prediction) -> NDArray[np.float64]:
        """Return the probability of the label that ``decode`` gives each row.

        Args:
            prediction: Probabilities ``[rows, classes]``.

        Returns:
            float64 ``[rows]``.
        """
        return np.asarray(np.take_along_axis(prediction, self.predicted_classes(prediction)[:, None], axis=1)[:, 0])

    @property
    def prior(self) -> Prediction:
        """Class frequencies ``[classes]``."""
        return np.array(self.counts, dtype=np.float64) / sum(self.counts)

    def state(self) -> dict[str, Any]:
        """Return the fitted fields as plain JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from ``state``.

        Args:
            state: What ``state`` returned; of earlier versions with the ``weights`` of a loss.

        Returns:
            The same target.
        """
        return cls(**{name: value for name, value in state.items() if name != "weights"})


def _spellings(labelled: Sequence[Cell]) -> dict[str, str]:
    """Return how texts of labels are written most often, where that differs from their text form."""
    is_mixed = label_type(list(labelled)) == "str"
    written: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for cell in labelled:
        written[str(label_text(cell))][_spelling(cell, is_mixed)] += 1
    spelt = {name: counts.most_common(1)[0][0] for name, counts in written.items()}
    return {name: spelling for name, spelling in spelt.items() if spelling not in ("", name)}


def _spelling(cell: Cell, is_mixed: bool) -> str:
    """Return how a label is written; "" for numbers, and for truth values among themselves, which their type writes."""
    return (
        cell.strip() if isinstance(cell, str) else str(cell) if is_mixed and isinstance(cell, bool | np.bool_) else ""
    )


def label_weights_of(target: object) -> list[float] | None:
    """Return how labels of a target are chosen, for metrics.

    Args:
        target: A fitted target of any kind.

    Returns:
        The ``label_weights`` of a category; None for any other kind.
    """
    return target.label_weights if isinstance(target, CategoryTarget) else None


def _sort_key(name: str) -> tuple[int, float, str]:
    try:
        return (0, float(name), name)
    except ValueError:
        return (1, 0.0, name)
