"""Numbers that stand for the values of a category, in place of the encoder's learned vectors for them.

Shape legend: N rows, L values of a category, K numbers of a value, T numbers of the truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from polymodal.errors import ConfigError
from polymodal.modalities.base import fit_mean_std, quantile_edges, standardise

Method = Literal["one_hot", "ordinal", "target"]
MAX_NUMBERS = 256
"""Most numbers that one category is encoded as."""

Codes = NDArray[np.int64]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class CategoryEncoding:
    """What numbers stand for each value of a category.

    Attributes:
        method: ``one_hot``: 1 in the number of the value, 0 in those of the others; ``ordinal``: the place in an order;
            ``target``: the mean truth of the training rows with that value, shrunk towards that of all rows.
        names: What each of the K numbers is.
        table: The numbers of each training value ``[L, K]``, standardised.
        unseen: The K numbers of a value that training rows lack; none: it counts as absent.
        quantiles: Of each number, as of ``Number.quantiles``.
    """

    method: Method
    names: list[str]
    table: list[list[float]]
    unseen: list[float]
    quantiles: list[list[float]]

    def apply(self, codes: Codes, present: Mask) -> tuple[Floats, Mask]:
        """Look up the numbers of cells.

        Args:
            codes: Codes of ``Category`` ``[N]``, 0 for unseen values.
            present: bool ``[N]``.

        Returns:
            The numbers ``[N, K]``, 0 where absent, and a mask of the same shape that is True where they are there.
        """
        first = self.unseen or [0.0] * len(self.names)
        numbers = np.array([first, *self.table], np.float32).reshape(-1 if self.names else 1, len(self.names))
        known = present if self.unseen else present & (codes > 0)
        values = np.where(known[:, None], numbers[codes], 0).astype(np.float32)
        return values, np.repeat(known[:, None], len(self.names), axis=1)

    def state(self) -> dict[str, Any]:
        """Return the fitted state, in plain JSON types."""
        return asdict(self)


def check_count(column: str, encoding: Method, count: int) -> None:
    """Check that an encoding does not make too many numbers of a category.

    Args:
        column: The category.
        encoding: How it is encoded.
        count: Numbers of a value.

    Raises:
        ConfigError: If there are too many.
    """
    if count > MAX_NUMBERS:
        advice = "lower settings.STREAM.max_values" if encoding == "one_hot" else "or ordinal"
        raise ConfigError(
            f"The encoding {encoding} makes {count:,} numbers of each {column!r}, at most {MAX_NUMBERS} can be read. "
            f"Choose embedding, {advice}."
        )


def one_hot_encoding(values: Sequence[str]) -> CategoryEncoding:
    """Encode each value by a number of its own; an unseen one has zeros only.

    Args:
        values: Training values, in the order of their codes.

    Returns:
        The encoding.
    """
    return CategoryEncoding(
        method="one_hot",
        names=list(values),
        table=np.eye(len(values)).tolist(),
        unseen=[0.0] * len(values),
        quantiles=[[0.0, 1.0]] * len(values),
    )


def ordinal_encoding(ranks: Sequence[float], codes: Codes) -> CategoryEncoding:
    """Encode each value by its place in an order; an unseen one has none and counts as absent.

    Args:
        ranks: Rank of each training value, in the order of their codes.
        codes: Codes of the training rows that have one ``[N]``; they weigh the mean and the deviation.

    Returns:
        The encoding.
    """
    table = np.asarray(ranks, np.float64).reshape(-1, 1)
    scaled = standardise(table, *fit_mean_std(table[codes - 1]))
    return CategoryEncoding(
        method="ordinal",
        names=["rank"],
        table=scaled.tolist(),
        unseen=[],
        quantiles=[quantile_edges(scaled[codes - 1, 0])],
    )


@dataclass(frozen=True)
class TargetMeans:
    """Mean truth by value of a category: Micci-Barreca 2001, equations 3 to 5.

    The mean of a value's n rows weighs ``n / (n + smoothing)``, that of all rows the rest.

    Attributes:
        names: What each number of the truth is.
        num_values: L.
        smoothing: Number of rows that the mean of all rows counts as.
    """

    names: list[str]
    num_values: int
    smoothing: float

    def fit(self, codes: Codes, truth: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the means.

        Args:
            codes: Codes of rows whose cell and truth are known ``[N]``; 0 for values beyond the L most frequent ones.
            truth: ``[N, T]``.

        Returns:
            ``[L + 1, T]``: the mean of all rows, for unseen values, and those of each value.
        """
        overall = truth.mean(axis=0) if len(truth) else np.zeros(len(self.names))
        sums = np.zeros((self.num_values + 1, len(self.names)))
        np.add.at(sums, codes, truth)
        counts = np.bincount(codes, minlength=self.num_values + 1)[:, None]
        means: NDArray[np.float64] = (sums + self.smoothing * overall) / (counts + self.smoothing)
        means[0] = overall
        return means

    def encoding(
        self, means: NDArray[np.float64], mean: Any, deviation: Any, quantiles: list[list[float]]
    ) -> CategoryEncoding:
        """Make an encoding of means.

        Args:
            means: What ``fit`` returned.
            mean: ``[T]``, subtracted from the means.
            deviation: ``[T]``, they are divided by.
            quantiles: Edges of each of the resulting numbers.

        Returns:
            The encoding.
        """
        scaled = standardise(means, mean, deviation).tolist()
        return CategoryEncoding(
            method="target", names=self.names, table=scaled[1:], unseen=scaled[0], quantiles=quantiles
        )


@dataclass(frozen=True)
class CrossFitted:
    """A target encoding of all training rows, and for each fold that of the rows outside it.

    Attributes:
        encoding: Fitted on all training rows, for all others.
        of_folds: For the training rows of each fold, which must not see their own truth.
    """

    encoding: CategoryEncoding
    of_folds: list[CategoryEncoding]


def cross_fit(
    means: TargetMeans, codes: Codes, truth: NDArray[np.float64], folds: NDArray[np.int64], num_folds: int
) -> CrossFitted:
    """Fit a target encoding, and once more without the rows of each fold.

    Args:
        means: Computes means of truth.
        codes: Codes of training rows whose cell and truth are known ``[N]``.
        truth: ``[N, T]``.
        folds: Fold of each row ``[N]``, from 0.
        num_folds: Number of folds.

    Returns:
        The encodings, all on the scale of what the rows get out of fold, as a network is trained on that.
    """
    of_folds = [means.fit(codes[folds != fold], truth[folds != fold]) for fold in range(num_folds)]
    found = np.array(of_folds)[folds, codes]  # [N, T]
    scale = fit_mean_std(found)
    quantiles = [quantile_edges(values) for values in standardise(found, *scale).T]
    encodings = [means.encoding(table, *scale, quantiles) for table in (means.fit(codes, truth), *of_folds)]
    return CrossFitted(encodings[0], encodings[1:])
