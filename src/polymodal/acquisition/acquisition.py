"""What an acquisition consists of: plain values, as ``polymodal acquire`` writes and prints them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from polymodal.acquisition.plan import Entry
from polymodal.arrays import Cell


@dataclass(frozen=True, kw_only=True)
class Acquisition:
    """Which absent streams of which rows to get, in order.

    Attributes:
        table: Name of the table.
        rows: Number of its rows.
        rows_lacking: Rows that lack a stream.
        absent: Stream to the number of rows that lack it.
        estimator: "neighbours" or "value".
        unit: What gains are in.
        targets: The targets whose losses they sum up.
        costs: Stream to the cost of getting it for one row.
        budget: Most cost in all, or None.
        price: Loss that one unit of cost is worth; entries that bring less are left out.
        entries: What to get, in order.
        over_budget: Entries that do not fit into the budget.
        not_worth: Entries that are not worth their price.
        columns: Stream to its columns.
        notices: What was sampled, cut or left out, one sentence each.
    """

    table: str
    rows: int
    rows_lacking: int
    absent: dict[str, int]
    estimator: str
    unit: str
    targets: list[str]
    costs: dict[str, float]
    budget: float | None
    price: float
    entries: list[Entry]
    over_budget: int = 0
    not_worth: int = 0
    columns: dict[str, list[str]] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    @property
    def gain(self) -> float:
        """The expected reduction of the loss by everything in the order, summed over rows."""
        return sum(entry.gain for entry in self.entries)

    @property
    def cost(self) -> float:
        """What everything in the order costs."""
        return self.entries[-1].spent if self.entries else 0.0

    def to_columns(self) -> dict[str, list[Cell]]:
        """Return the order as columns of a table.

        Returns:
            ``order``, ``row``, ``stream``, ``gain``, ``cost``, ``net`` (the gain minus the cost at the price) and
            ``spent``.
        """
        return {
            "order": [entry.order for entry in self.entries],
            "row": [entry.row for entry in self.entries],
            "stream": [entry.stream for entry in self.entries],
            "gain": [entry.gain for entry in self.entries],
            "cost": [entry.cost for entry in self.entries],
            "net": [entry.gain - self.price * entry.cost for entry in self.entries],
            "spent": [entry.spent for entry in self.entries],
        }

    def per_stream(self) -> list[dict[str, Any]]:
        """Summarise each stream that some row lacks, the largest mean gain first.

        Returns:
            Of each: ``stream``, ``absent`` and ``chosen`` rows, ``cost`` of one, ``mean_gain`` and ``total_gain``.
        """
        found = []
        for stream, absent in self.absent.items():
            gains = [entry.gain for entry in self.entries if entry.stream == stream]
            mean = sum(gains) / len(gains) if gains else 0.0
            cost = self.costs[stream]
            found.append(
                {
                    "stream": stream,
                    "absent": absent,
                    "chosen": len(gains),
                    "cost": cost,
                    "mean_gain": mean,
                    "total_gain": sum(gains),
                }
            )
        return sorted(found, key=lambda entry: -entry["mean_gain"])

    def state(self) -> dict[str, Any]:
        """Return everything as plain JSON."""
        own = {name: value for name, value in vars(self).items() if name != "entries"}
        nets = self.to_columns()["net"]
        entries = [{**asdict(entry), "net": net} for entry, net in zip(self.entries, nets, strict=True)]
        return {
            **own,
            "gain": self.gain,
            "cost": self.cost,
            "per_stream": self.per_stream(),
            "entries": entries,
        }


@dataclass(frozen=True, kw_only=True)
class Labelling:
    """Which rows without a label to label, in order.

    Attributes:
        table: Name of the table.
        rows: Number of its rows.
        unlabelled: Rows without a known target.
        target: The target.
        method: How they were chosen, in words.
        order: Numbers of the rows in the table, from 1, the first to label first.
        uncertainty: Of each of them: the entropy of its answer in nats, or the disagreement of members on a number.
        answers: What the model would say of each of them.
        notices: What was sampled, cut or left out, one sentence each.
    """

    table: str
    rows: int
    unlabelled: int
    target: str
    method: str
    order: list[int]
    uncertainty: list[float]
    answers: list[Cell]
    notices: list[str] = field(default_factory=list)

    def to_columns(self) -> dict[str, list[Cell]]:
        """Return the order as columns of a table: ``order``, ``row``, ``uncertainty`` and ``answer``."""
        return {
            "order": list(range(1, len(self.order) + 1)),
            "row": list(self.order),
            "uncertainty": list(self.uncertainty),
            "answer": list(self.answers),
        }

    def state(self) -> dict[str, Any]:
        """Return everything as plain JSON."""
        own = {name: getattr(self, name) for name in ("table", "rows", "unlabelled", "target", "method", "notices")}
        columns = self.to_columns()
        entries = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
        return {**own, "entries": entries}
