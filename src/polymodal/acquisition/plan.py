"""The order in which to get what is absent, under costs and a budget (numpy only).

Within a row the next stream is the one with the largest gain per cost beside those that were chosen before it. A stream
that pays off only together with later ones is bundled with them, so that synergy is not overlooked. Rows and streams
together are ordered by gain per cost: the greedy answer to the knapsack (Dantzig 1957), which is best but for the last
entries that fit into the budget.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from polymodal.errors import ConfigError, did_you_mean, parameter_error


@dataclass(frozen=True)
class Entry:
    """One stream of one row that may be got.

    Attributes:
        row: Number of the row in the table, from 1.
        stream: The stream.
        gain: By how much the loss is expected to fall, beside the row's earlier entries.
        cost: What getting it costs.
        order: Place in the order, from 1.
        spent: Cost of this and all entries before it.
    """

    row: int
    stream: str
    gain: float
    cost: float
    order: int = 0
    spent: float = 0.0


@dataclass(frozen=True)
class Plan:
    """What to get, in order.

    Attributes:
        entries: What fits into the budget and is worth its price.
        over_budget: Entries that do not fit into the budget.
        not_worth: Entries whose gain is not above what their cost is worth.
    """

    entries: list[Entry]
    over_budget: int
    not_worth: int


def check_costs(costs: Mapping[str, float] | None, streams: Sequence[str]) -> dict[str, float]:
    """Check costs, and give every other stream a cost of 1.

    Args:
        costs: Stream to what it costs to get it for one row.
        streams: The model's streams.

    Returns:
        Every stream's cost.

    Raises:
        ConfigError: If a stream is unknown, or a cost is negative or no number.
    """
    for stream, cost in (costs or {}).items():
        if stream not in streams:
            raise ConfigError(
                f"There is a cost for {stream!r}, which is no stream of the model. "
                f"{did_you_mean(stream, streams, 'Its streams')}"
            )
        if not (math.isfinite(cost) and cost >= 0):
            raise ConfigError(f"The cost of {stream!r} must be a number of at least 0. Got {cost!r} instead.")
    return {stream: float((costs or {}).get(stream, 1.0)) for stream in streams}


def check_amount(value: float | None, name: str) -> None:
    """Check a budget or a price.

    Args:
        value: The number, or None.
        name: The parameter.

    Raises:
        ConfigError: If it is negative or no number.
    """
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise parameter_error(name, "acquire", "a number of at least 0", value)


def make_plan(rows: Sequence[Sequence[Entry]], budget: float | None = None, price: float = 0.0) -> Plan:
    """Order the entries of all rows.

    Args:
        rows: The entries of each row, in the order in which they would be got.
        budget: Most cost in all; None: no bound.
        price: Loss that one unit of cost is worth: an entry is taken only if its gain is larger than its cost at this
            price.

    Returns:
        The plan.
    """
    bundles = [bundle for entries in rows for bundle in bundle_entries(entries)]
    worth = [bundle for bundle in bundles if price == 0 or _gain(bundle) > price * _cost(bundle)]
    worth.sort(key=lambda bundle: (-_ratio(bundle), -_gain(bundle), bundle[0].row))
    taken: list[Entry] = []
    closed: set[int] = set()
    spent = 0.0
    for bundle in worth:
        row, cost = bundle[0].row, _cost(bundle)
        if row in closed or (budget is not None and spent + cost > budget * (1 + 1e-12)):
            closed.add(row)
            continue
        for entry in bundle:
            spent += entry.cost
            taken.append(replace(entry, order=len(taken) + 1, spent=spent))
    num_entries, num_worth = sum(map(len, bundles)), sum(map(len, worth))
    return Plan(taken, over_budget=num_worth - len(taken), not_worth=num_entries - num_worth)


def bundle_entries(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Join each entry with the earlier ones of its row that have a smaller gain per cost.

    Args:
        entries: Of one row, in their order.

    Returns:
        Bundles of consecutive entries, their gains per cost not rising.
    """
    bundles: list[list[Entry]] = []
    for entry in entries:
        bundles.append([entry])
        while len(bundles) > 1 and _ratio(bundles[-1]) > _ratio(bundles[-2]):
            last = bundles.pop()
            bundles[-1] = bundles[-1] + last
    return bundles


def gain_per_cost(gain: float, cost: float) -> float:
    """Return the gain per cost; what costs nothing comes first, in the order of its gain."""
    return gain / cost if cost > 0 else (math.inf if gain > 0 else 0.0)


def _gain(bundle: Sequence[Entry]) -> float:
    return math.fsum(entry.gain for entry in bundle)


def _cost(bundle: Sequence[Entry]) -> float:
    return math.fsum(entry.cost for entry in bundle)


def _ratio(bundle: Sequence[Entry]) -> float:
    return gain_per_cost(_gain(bundle), _cost(bundle))
