"""scikit-learn estimators: one target, from a dataframe, a dict of columns or a 2-D array.

They hold to scikit-learn's rules: ``__init__`` only stores, ``fit`` returns self, learned state
ends in ``_``. They work in ``clone``, ``cross_val_score``, ``GridSearchCV`` and ``Pipeline``. Columns are those of
``fit`` by their position; where both tables have names, the names must be the same, in the same order.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from polymodal.data.tables.table import Table, read_table
from polymodal.errors import ConfigError, SchemaError, parameter_error

if TYPE_CHECKING:
    from polymodal.runs.model import Model

TARGET = "__target__"
"""What the target is called inside; no column of X may have this name."""


class InvalidTargetError(ConfigError, ValueError):
    """A ``y`` that cannot be learned from; a ValueError too, as scikit-learn's own estimators raise."""


class _MultimodalEstimator(BaseEstimator, ABC):  # type: ignore[misc]
    """What classifier and regressor share."""

    _target_kind = ""

    def __init__(
        self,
        *,
        preset: str = "balanced",
        fusion: str = "transformer",
        epochs: int | None = None,
        encoder: Mapping[str, str] | None = None,
        modality: Mapping[str, str] | None = None,
        stream: Mapping[str, Sequence[str]] | None = None,
        time_limit: float | None = None,
        settings: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        """Store the parameters."""
        self.preset = preset
        self.fusion = fusion
        self.epochs = epochs
        self.encoder = encoder
        self.modality = modality
        self.stream = stream
        self.time_limit = time_limit
        self.settings = settings
        self.seed = seed

    def fit(self, X: Any, y: Any) -> Self:
        """Learn to predict ``y`` from the columns of ``X``.

        Args:
            X: Dataframe, dict of columns, ``Table`` or array ``[rows, columns]``; None and NaN are missing cells.
            y: One value a row.

        Returns:
            The estimator itself.

        Raises:
            PolymodalError: If the columns or parameters cannot work.
        """
        from polymodal.runs.fit import fit

        table = self._validated(X, reset=True)
        settings = dict(self.settings or {}) | ({} if self.epochs is None else {"train.epochs": self.epochs})
        self.model_: Model = fit(
            _with_target(table, self._encode(y)),
            target=TARGET,
            test=False,
            modality={**(self.modality or {}), TARGET: self._target_kind},
            stream=self.stream,
            preset=self.preset,
            time_limit=self.time_limit,
            fusion=self.fusion,
            encoder=self.encoder,
            settings=settings,
            seed=self.seed,
        )
        return self

    @abstractmethod
    def _encode(self, y: Any) -> list[Any]:
        """Turn y into target cells."""

    def _checked(self, X: Any) -> Table:
        check_is_fitted(self, "model_")
        return self._validated(X, reset=False)

    def _validated(self, X: Any, *, reset: bool) -> Table:
        """Check names and number of the columns by scikit-learn's own rules, and name them as in ``fit``."""
        table = _to_table(X)
        is_known = isinstance(X, np.ndarray) or type(X).__module__.startswith("pandas")  # its names may be numbers
        validate_data(self, X if is_known else _as_frame(table), reset=reset, skip_check_array=True)
        if reset:
            self._column_names = table.column_names
        cells = zip(self._column_names, table.columns.values(), strict=True)
        return dataclasses.replace(table, columns=dict(cells))

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags


class MultimodalClassifier(ClassifierMixin, _MultimodalEstimator):  # type: ignore[misc]
    """A classifier over columns of any kind.

    Attributes:
        classes_: The classes, sorted, ``[classes]``.
        model_: The trained model.
        n_features_in_: Number of columns of X.
        feature_names_in_: Their names, where X had names.

    Example:
        >>> from polymodal import MultimodalClassifier
        >>> X = {"size": [0.1, 0.2, 0.9, 1.0] * 10, "note": ["dull day", "grey sky", "bright sun", "blue sky"] * 10}
        >>> y = ["small", "small", "large", "large"] * 10
        >>> model = MultimodalClassifier(preset="fast", epochs=2).fit(X, y)
        >>> model.predict(X).shape
        (40,)
    """

    _target_kind = "category"

    def _encode(self, y: Any) -> list[Any]:
        """Number the classes: their own values may be of any type."""
        values = _one_dimensional(y)
        try:
            self.classes_, codes = np.unique(values, return_inverse=True)
        except TypeError:
            found = " and ".join(sorted({type(value).__name__ for value in values}))
            raise _invalid_y("of labels that can be sorted, all texts or all numbers", found) from None
        if len(self.classes_) < 2:
            raise SchemaError(
                f"y holds one class only, {self.classes_[:1].tolist()}. {type(self).__name__} needs two or more."
            )
        return [str(code) for code in codes]

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict a class for every row.

        Args:
            X: As in ``fit``.

        Returns:
            Classes ``[rows]``.

        Raises:
            ValueError: If the columns are not those of ``fit``.
        """
        table = self._checked(X)
        labels = self.model_.predict(table)[TARGET]
        return np.asarray(self.classes_[[int(label) for label in labels]])

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Predict the probability of every class.

        Args:
            X: As in ``fit``.

        Returns:
            Probabilities ``[rows, classes]`` in the order of ``classes_``; a class that was in no
            training row of the network's own split has 0.
        """
        table = self._checked(X)
        names, values = self.model_.predict_proba(table)[TARGET]
        probabilities = np.zeros((table.num_rows, len(self.classes_)))
        probabilities[:, [int(name) for name in names]] = values
        return probabilities

    def predict_set(self, X: Any, coverage: float = 0.9) -> NDArray[np.bool_]:
        """Predict a set of classes for every row that holds the true one as often as is promised.

        Args:
            X: As in ``fit``.
            coverage: The promise, above 0 and below 1.

        Returns:
            bool ``[rows, classes]`` in the order of ``classes_``, True where the class is in the set.

        Raises:
            ValueError: If the columns are not those of ``fit``.
        """
        sets = self.model_.predict_sets(self._checked(X), coverage)[TARGET]
        included = np.zeros((len(sets), len(self.classes_)), np.bool_)
        for row, labels in enumerate(sets):
            included[row, [int(label) for label in labels]] = True
        return included


class MultimodalRegressor(RegressorMixin, _MultimodalEstimator):  # type: ignore[misc]
    """A regressor over columns of any kind.

    Attributes:
        model_: The trained model.
        n_features_in_: Number of columns of X.
        feature_names_in_: Their names, where X had names.

    Example:
        >>> from polymodal import MultimodalRegressor
        >>> X = {"size": [i / 40 for i in range(40)], "colour": ["red", "blue"] * 20}
        >>> model = MultimodalRegressor(preset="fast", epochs=2).fit(X, [2 * size for size in X["size"]])
        >>> model.predict(X).shape
        (40,)
    """

    _target_kind = "number"

    def _encode(self, y: Any) -> list[Any]:
        return [float(value) for value in _one_dimensional(y)]

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Predict a number for every row.

        Args:
            X: As in ``fit``.

        Returns:
            Numbers ``[rows]``.
        """
        table = self._checked(X)
        return np.asarray(self.model_.predict(table)[TARGET], dtype=np.float64)

    def predict_interval(self, X: Any, coverage: float = 0.9) -> NDArray[np.float64]:
        """Predict an interval for every row that holds the truth as often as is promised.

        Args:
            X: As in ``fit``.
            coverage: The promise, above 0 and below 1.

        Returns:
            Ends ``[rows, 2]``, infinite where the validation rows are too few for the promise.
        """
        return np.asarray(self.model_.predict_sets(self._checked(X), coverage)[TARGET], dtype=np.float64)


def _as_frame(table: Table) -> pa.Table:
    """Return a dataframe with the table's names and number of rows, all that scikit-learn's rules look at."""
    return pa.table({name: pa.nulls(table.num_rows) for name in table.columns})


def _invalid_y(expected: str, got: object) -> InvalidTargetError:
    return InvalidTargetError(str(parameter_error("y", "fit", expected, got)))


def _one_dimensional(y: Any) -> NDArray[Any]:
    values = np.asarray(y)
    if values.ndim == 2 and values.shape[1] == 1:
        values = column_or_1d(values, warn=True)
    if values.ndim != 1:
        raise _invalid_y("one value a row, [rows]", f"an array of shape {values.shape}")
    absent = next((row for row, value in enumerate(values) if value is None or value != value), None)
    if absent is not None:
        raise _invalid_y("known in every row", f"{values[absent]} in row {absent}")
    return values


def _to_table(X: Any) -> Table:
    """Read X as a table; an array's columns are called x0, x1 and so on."""
    if isinstance(X, np.ndarray):
        if X.ndim != 2:
            raise parameter_error("X", "fit and predict", "a table or an array [rows, columns]", f"shape {X.shape}")
        return read_table({f"x{index}": X[:, index].tolist() for index in range(X.shape[1])})
    return read_table(X)


def _with_target(table: Table, y: list[Any]) -> Table:
    if len(y) != table.num_rows:
        raise _invalid_y(f"as long as X ({table.num_rows} rows)", f"{len(y)} values")
    return Table({**table.columns, TARGET: y}, folder=table.folder, name=table.name)
