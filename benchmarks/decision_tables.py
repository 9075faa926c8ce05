"""Tables that decision levels are compared on: small, with gaps, rare classes, noise, good and bad networks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import decision_pools as pools
from decision_pools import Cells, Pool

MOST_TEST_ROWS = 2000
TARGET = "target"


@dataclass(frozen=True)
class Drawn:
    """A drawn table.

    Attributes:
        train: Column to cells of the rows for training and validation.
        test: The same of the held-out rows.
        test_rows: int64, which rows of the pool the held-out ones are.
        pool: Where they come from.
    """

    train: dict[str, Cells]
    test: dict[str, Cells]
    test_rows: NDArray[np.int64]
    pool: Pool


@dataclass(frozen=True)
class DecisionTable:
    """How a table is drawn and trained on.

    Attributes:
        name: Its name.
        pool: Where its rows come from.
        rows: Rows for training and validation together.
        gaps: Share of absent cells: of every stream, or of each.
        classes: How many classes are kept: the most frequent, or, with ``imbalance``, any; None keeps all.
        imbalance: Rows of the most frequent class for one of the rarest; None keeps the pool's frequencies.
        noise: Whether a stream of random numbers joins.
        settings: Options of the run beside the common ones.
        data: Folder of the dataset that must be there.
    """

    name: str
    pool: Callable[[], Pool]
    rows: int
    gaps: float | tuple[float, ...] = 0.0
    classes: int | None = None
    imbalance: float | None = None
    noise: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    data: str | None = None

    def draw(self, seed: int) -> Drawn:
        """Draw the table.

        Args:
            seed: Of rows, gaps and noise.

        Returns:
            The table, and as many held-out rows as there are (2,000 at most) with gaps of the same kind.
        """
        random, pool = np.random.default_rng([seed, len(self.name), self.rows]), self.pool()
        chosen = self._choose(pool, random)[: self.rows + MOST_TEST_ROWS]
        columns = {name: [of_stream[i] for i in chosen] for s in pool.streams.values() for name, of_stream in s.items()}
        self._remove(columns, pool, random)
        if self.noise:
            columns["noise"] = list(random.normal(size=(len(chosen), 8)).astype(np.float32))
        columns[TARGET] = [pool.target[index] for index in chosen]
        parts = (slice(self.rows), slice(self.rows, None))
        train, test = ({name: cells[part] for name, cells in columns.items()} for part in parts)
        return Drawn(train, test, chosen[self.rows :], pool)

    def _choose(self, pool: Pool, random: np.random.Generator) -> NDArray[np.int64]:
        """Choose rows in random order, with the wanted classes in the wanted frequencies."""
        if pool.kind != "category":
            return random.permutation(len(pool.target))
        counts = Counter(pool.target)
        names = [name for name, _ in counts.most_common()]
        if self.imbalance is None:
            kept = set(names[: self.classes])
            return random.permutation([index for index, label in enumerate(pool.target) if label in kept])
        drawn = [names[index] for index in random.permutation(len(names))[: self.classes]]
        names = sorted(drawn, key=lambda name: -counts[name])
        shares = self.imbalance ** -np.linspace(0, 1, len(names))
        shares /= shares.sum()
        total = min(self.rows + MOST_TEST_ROWS, *(counts[n] / share for n, share in zip(names, shares, strict=True)))
        labels = np.array(pool.target)
        of_class = [random.permutation(np.flatnonzero(labels == name)) for name in names]
        return random.permutation(
            np.concatenate([r[: round(total * s)] for r, s in zip(of_class, shares, strict=True)])
        )

    def _remove(self, columns: dict[str, Cells], pool: Pool, random: np.random.Generator) -> None:
        """Replace cells of whole streams by None."""
        shares = self.gaps if isinstance(self.gaps, tuple) else (self.gaps,) * len(pool.streams)
        for share, of_stream in zip(shares, pool.streams.values(), strict=True):
            removed = random.random(len(next(iter(columns.values())))) < share
            for name in of_stream:
                columns[name] = [None if gone else cell for gone, cell in zip(removed, columns[name], strict=True)]


def _epochs(number: int) -> dict[str, Any]:
    return {"train.epochs": number}


Table, part = DecisionTable, partial
_MADE2 = part(pools.made_classes, 2, 3)
TABLES = (
    Table("digits-120, 3 streams", part(pools.digits, "thirds"), 120, 0.3),
    Table("digits-300, 3 streams", part(pools.digits, "thirds"), 300, 0.6, settings=_epochs(20)),
    Table("digits-60, halves", part(pools.digits, "halves"), 60, classes=4, imbalance=1),
    Table("digits-200, halves", part(pools.digits, "halves"), 200, 0.2, classes=4, imbalance=1, settings=_epochs(3)),
    Table("digits-800, halves", part(pools.digits, "halves"), 800, 0.4, settings=_epochs(2)),
    Table("digits-600, quarters", part(pools.digits, "quarters"), 600, 0.3, settings=_epochs(12)),
    Table("digits-150, image", part(pools.digits, "image"), 150, settings=_epochs(20)),
    Table("digits-400, image and columns", part(pools.digits, "columns"), 400, (0.2, 0.5), settings=_epochs(12)),
    Table("digits-400, noise", part(pools.digits, "halves"), 400, 0.3, noise=True, settings=_epochs(3)),
    Table("digits-300, rare", part(pools.digits, "halves"), 300, 0.3, imbalance=10, settings=_epochs(12)),
    Table("eight-500", part(pools.digits, "eight"), 500, 0.2, imbalance=10, settings=_epochs(8)),
    Table("eight-1000, rare", part(pools.digits, "eight"), 1000, 0.3, imbalance=25, settings=_epochs(2)),
    Table("cancer-60", part(pools.sklearn_table, "breast_cancer", 3), 60),
    Table("cancer-120", part(pools.sklearn_table, "breast_cancer", 3), 120, 0.4, settings=_epochs(3)),
    Table("cancer-200, rare", part(pools.sklearn_table, "breast_cancer", 3), 200, 0.2, imbalance=8),
    Table("cancer-150, alone", part(pools.sklearn_table, "breast_cancer", 1), 150, settings=_epochs(4)),
    Table("cancer-200, noise", part(pools.sklearn_table, "breast_cancer", 2), 200, 0.3, noise=True),
    Table("wine-60", part(pools.sklearn_table, "wine", 2), 60, 0.3),
    Table("wine-90, alone", part(pools.sklearn_table, "wine", 1), 90, settings=_epochs(8)),
    Table("iris-75", part(pools.sklearn_table, "iris", 2), 75, 0.2, settings=_epochs(20)),
    Table("diabetes-100, alone", part(pools.sklearn_table, "diabetes", 1), 100),
    Table("diabetes-200", part(pools.sklearn_table, "diabetes", 2), 200, settings=_epochs(12)),
    Table("diabetes-250", part(pools.sklearn_table, "diabetes", 2), 250, 0.5, settings=_epochs(4)),
    Table("made-60, even", part(pools.made_classes, 2, 4), 60, 0.6),
    Table("made-700, 1:15", _MADE2, 700, 0.2, imbalance=15, settings=_epochs(10)),
    Table("made-1500, 1:50", part(pools.made_classes, 2, 2), 1500, 0.3, imbalance=50, settings=_epochs(6)),
    Table("made-1000, 1:30", part(pools.made_classes, 2, 4), 1000, imbalance=30, settings=_epochs(8)),
    Table(
        "made-400, 1:12, balanced sampling",
        _MADE2,
        400,
        0.3,
        imbalance=12,
        settings={**_epochs(15), "train.sampling": "balanced"},
    ),
    Table(
        "made-600, 1:20, adjusted logits",
        _MADE2,
        600,
        0.1,
        imbalance=20,
        settings={**_epochs(12), "train.loss": "logit_adjusted"},
    ),
    Table("made-600, 12 classes", part(pools.made_classes, 12, 3), 600, 0.3, settings=_epochs(2)),
    Table("made-250, 5 classes", part(pools.made_classes, 5, 2), 250, 0.1, imbalance=10, settings=_epochs(15)),
    Table("made-2000, 3 classes", part(pools.made_classes, 3, 3), 2000, 0.4, settings=_epochs(1)),
    Table("made-300, hard", part(pools.made_classes, 2, 3, 0.3, 0.4), 300, 0.2, settings=_epochs(15)),
    Table("made-120, hard", part(pools.made_classes, 2, 2, 0.3, 0.4), 120, 0.4, settings=_epochs(30)),
    Table("made-120, nothing to learn", part(pools.made_classes, 3, 3, 0), 120, 0.2, imbalance=2),
    Table("friedman-100", part(pools.friedman, 2), 100),
    Table("friedman-400", part(pools.friedman, 2), 400, 0.4, settings=_epochs(3)),
    Table("friedman-1500, noise", part(pools.friedman, 3, 3.0), 1500, 0.3, noise=True, settings=_epochs(6)),
    Table("labels-100, alone", part(pools.made_labels, 4, 1), 100),
    Table("labels-300", part(pools.made_labels, 4, 2), 300, 0.3, settings=_epochs(15)),
    Table("labels-1000", part(pools.made_labels, 6, 3), 1000, 0.5, settings=_epochs(2)),
    Table("avdigits-200", pools.avdigits, 200, 0.2, settings=_epochs(8), data="avdigits"),
    Table("avdigits-600", pools.avdigits, 600, 0.5, settings=_epochs(5), data="avdigits"),
    Table("leaf-250, genus", part(pools.leaf, "genus"), 250, 0.3, classes=6, settings=_epochs(8), data="leaf"),
    Table("leaf-72, species", part(pools.leaf, "species"), 72, 0.2, classes=12, imbalance=1, data="leaf"),
    Table("clothing-300", part(pools.clothing, "recommended"), 300, 0.3, settings=_epochs(6), data="clothing"),
    Table(
        "clothing-1000, rare",
        part(pools.clothing, "recommended"),
        1000,
        0.2,
        imbalance=20,
        settings=_epochs(3),
        data="clothing",
    ),
    Table(
        "clothing-500, department",
        part(pools.clothing, "department_name"),
        500,
        0.4,
        settings=_epochs(5),
        data="clothing",
    ),
    Table("clothing-400, rating", part(pools.clothing, "rating"), 400, 0.2, settings=_epochs(6), data="clothing"),
    Table("baby-400, price", pools.baby_products, 400, 0.2, settings=_epochs(12), data="baby_products"),
    Table("baby-1500, price", pools.baby_products, 1500, settings=_epochs(5), data="baby_products"),
    Table("takeaway-300", pools.takeaway, 300, settings=_epochs(10), data="takeaway_zh"),
    Table("takeaway-1000, 1:8", pools.takeaway, 1000, imbalance=8, settings=_epochs(5), data="takeaway_zh"),
    Table("esc10-200", pools.esc10, 200, settings={**_epochs(10), "train.augment": False}, data="esc10"),
    Table("easyvqa-500", pools.easyvqa, 500, 0.2, settings=_epochs(8), data="easyvqa"),
)
