"""Baselines for the network: the prior, a linear model and boosted trees (numpy).

Linear: multinomial or per-label logistic regression, or ridge regression, by L-BFGS (``linear_fitting``). Boosting:
LightGBM (Ke et al. 2017, ``boosting``), which fits and is not needed to predict. No pickle: a state is plain JSON,
arrays, and LightGBM's own text format.

Shape legend: N rows, D dense features, S sparse features, K outputs, C classes.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from polymodal.ensemble.boosted_trees import BoostedTrees
from polymodal.ensemble.features import FeatureBlocks
from polymodal.ensemble.stream_features import LINEAR, TREES

Floats = NDArray[np.float64]
State = tuple[dict[str, Any], dict[str, NDArray[Any]], dict[str, str]]


class Baseline(ABC):
    """A fitted baseline of one target; ``name`` says which, ``forms`` which features it reads."""

    name: ClassVar[str]
    forms: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def predict(self, features: FeatureBlocks) -> Floats:
        """Predict rows.

        Args:
            features: Features of N rows, from the extractor the baseline was fitted with.

        Returns:
            float64 ``[N, C]`` probabilities or numbers, or ``[N]`` numbers.
        """

    @abstractmethod
    def state(self) -> State:
        """Return plain JSON, named arrays and named texts; ``from_state`` makes an equal baseline of them."""

    @staticmethod
    def from_state(state: dict[str, Any], arrays: Mapping[str, NDArray[Any]], texts: Mapping[str, str]) -> Baseline:
        """Restore a baseline.

        Args:
            state: The plain part of ``state``.
            arrays: Its arrays.
            texts: Its texts.

        Returns:
            A baseline whose predictions are bit-identical.

        Raises:
            ValueError: If a text is cut or changed.
        """
        if state["name"] == "prior":
            return Prior(arrays["prior"])
        fields: dict[str, Any] = {name: value for name, value in state.items() if name != "name"}
        if state["name"] == "linear":
            return Linear(**{**fields, **arrays})
        trees = [texts[f"trees{index}"] for index in range(len(texts))]
        boosting = Boosting(models=trees, **{**fields, **arrays})
        _ = boosting.boosters  # a damaged text is found now, not at the first prediction
        return boosting


@dataclass(frozen=True)
class Prior(Baseline):
    """Predicts the same for every row: class frequencies, label frequencies, or the mean.

    Attributes:
        prior: float64 ``[C]``, or ``[]`` for a number.
    """

    prior: Floats
    name: ClassVar[str] = "prior"

    def predict(self, features: FeatureBlocks) -> Floats:
        """Return the prior for every row."""
        return np.broadcast_to(self.prior, (len(features), *self.prior.shape)).copy()

    def state(self) -> State:
        """Return the frequencies as an array."""
        return {"name": self.name}, {"prior": self.prior}, {}


@dataclass(frozen=True)
class Linear(Baseline):
    """Logistic or ridge regression.

    Attributes:
        kind: "category", "categories", "number" or "numbers".
        center: Mean of a number in training, or of each of several, float64 ``[C]``; 0 for the others.
        scale: Standard deviation of a number in training, or of each of several; 1 for the others.
        dense: float32 ``[D, K]``.
        sparse: float32 ``[S', K]``.
        columns: int64 ``[S']``, the sparse features in use.
        bias: float32 ``[K]``.
        largest: Set where the logarithm of a number was fitted: no prediction is larger. None otherwise.
        basis: float32 ``[K, C]``, the principal components of many numbers that the outputs stand for; else None.
    """

    kind: str
    center: float | Floats
    scale: float | Floats
    dense: NDArray[np.float32]
    sparse: NDArray[np.float32]
    columns: NDArray[np.int64]
    bias: NDArray[np.float32]
    largest: float | None = None
    basis: NDArray[np.float32] | None = None
    name: ClassVar[str] = "linear"
    forms: ClassVar[frozenset[str]] = frozenset({LINEAR})

    def predict(self, features: FeatureBlocks) -> Floats:
        """Return probabilities or numbers."""
        outputs = features.dense @ self.dense + self.bias
        if len(self.columns) and features.sparse is not None:
            is_whole = len(self.columns) == features.sparse.width
            outputs = outputs + (features.sparse if is_whole else features.sparse.select(self.columns)).dot(self.sparse)
        if self.basis is not None:
            outputs = outputs @ self.basis
        return from_log(to_prediction(self.kind, outputs.astype(np.float64), self.center, self.scale), self.largest)

    def state(self) -> State:
        """Return the weights as arrays."""
        plain, arrays = _plain_and_arrays(self)
        return plain, arrays, {}


@dataclass(frozen=True)
class Boosting(Baseline):
    """Gradient-boosted trees.

    Attributes:
        kind: "category", "categories", "number" or "numbers".
        models: LightGBM's text of each model: one, or one a label or number.
        largest: As of ``Linear``.
        center: As of ``Linear``; added to what the trees say of a number.
        scale: As of ``Linear``; the factor of that.
    """

    kind: str
    models: list[str]
    largest: float | None = None
    center: float | Floats = 0.0
    scale: float | Floats = 1.0
    name: ClassVar[str] = "boosting"
    forms: ClassVar[frozenset[str]] = frozenset({TREES})

    @cached_property
    def boosters(self) -> list[BoostedTrees]:
        """The models, read."""
        return [BoostedTrees.from_text(text) for text in self.models]

    def predict(self, features: FeatureBlocks) -> Floats:
        """Return probabilities or numbers."""
        outputs = [trees.predict(features.trees) for trees in self.boosters]
        if self.kind in ("categories", "numbers"):
            return np.stack(outputs, axis=1) * self.scale + self.center
        if self.kind == "category" and outputs[0].ndim == 1:
            return np.stack([1.0 - outputs[0], outputs[0]], axis=1)
        return from_log(outputs[0] * self.scale + self.center, self.largest)

    def state(self) -> State:
        """Return the models as texts."""
        texts = {f"trees{index}": text for index, text in enumerate(self.models)}
        plain, arrays = _plain_and_arrays(self)
        del plain["models"]
        return plain, arrays, texts


def _plain_and_arrays(baseline: Linear | Boosting) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    fields = {field.name: getattr(baseline, field.name) for field in dataclasses.fields(baseline)}
    arrays = {name: value for name, value in fields.items() if isinstance(value, np.ndarray)}
    plain = {name: value for name, value in fields.items() if value is not None and name not in arrays}
    return {"name": baseline.name, **plain}, arrays


def from_log(numbers: Floats, largest: float | None) -> Floats:
    """Undo the logarithm of a number target.

    Args:
        numbers: float64 ``[N]``.
        largest: Limit of the result; None: the numbers are no logarithms.

    Returns:
        float64 ``[N]``.
    """
    return numbers if largest is None else np.exp(np.minimum(numbers, np.log(largest)))


def to_prediction(kind: str, outputs: Floats, center: float | Floats, scale: float | Floats) -> Floats:
    """Convert outputs of a linear model to predictions.

    Args:
        kind: "category", "categories", "number" or "numbers".
        outputs: float64 ``[N, K]``.
        center: Added to numbers.
        scale: Factor of numbers.

    Returns:
        float64 ``[N, C]`` probabilities or numbers, or ``[N]`` numbers.
    """
    if kind in ("number", "numbers"):
        return (outputs[:, 0] if kind == "number" else outputs) * scale + center
    if kind == "category" and outputs.shape[1] > 1:
        exponentials = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))
    positive = 0.5 * (1.0 + np.tanh(outputs / 2))
    return np.concatenate([1.0 - positive, positive], axis=1) if kind == "category" else positive
