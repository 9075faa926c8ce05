"""Corruptions of plain cells: numbers, categories, dates, places."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

from polymodal.arrays import Cell
from polymodal.corruptions.base import CorruptionContext
from polymodal.modalities.category import category_text
from polymodal.modalities.datetime import parse_datetime
from polymodal.modalities.geo import MAX_LATITUDE, read_place
from polymodal.modalities.number import parse_number

UNIT_FACTORS = (10.0, 0.1, 1000.0, 0.001)
RAIL = 2.0
"""Where a stuck sensor rests: so many spreads above the mean."""
OLDEST, NEWEST = datetime(1, 1, 2), datetime(9999, 12, 30)


def add_number_noise(cell: Cell, level: float, random: np.random.Generator, context: CorruptionContext) -> Cell:
    """Add Gaussian noise to a number.

    Args:
        cell: A number.
        level: Standard deviation in spreads (standard deviations) of the training cells.
        random: Random numbers.
        context: Fitted modality; without one, the spread is the size of the number.

    Returns:
        A float; the cell as it is where it stands for an absent number.
    """
    value = parse_number(cell)
    return (
        cell if value is None else value + level * context.option("std", abs(value)) * float(random.standard_normal())
    )


def mistake_unit(cell: Cell, level: float, random: np.random.Generator, context: CorruptionContext) -> Cell:  # noqa: ARG001
    """Give a number in another unit: 10 or 1,000 times too large or too small.

    Args:
        cell: A number.
        level: Probability that the cell is hit.
        random: Random numbers.
        context: Not needed.

    Returns:
        A float.
    """
    value, (chance, choice) = parse_number(cell), random.random(2)
    if value is None or chance >= level:
        return cell
    return value * UNIT_FACTORS[int(choice * len(UNIT_FACTORS))]


def stick(cell: Cell, level: float, random: np.random.Generator, context: CorruptionContext) -> Cell:
    """Replace a number by that of a stuck sensor, the same in every row: two spreads above the mean.

    Args:
        cell: A number.
        level: Probability that the cell is hit.
        random: Random numbers.
        context: Fitted modality; without one, the sensor rests at 0.

    Returns:
        A float.
    """
    if parse_number(cell) is None or random.random() >= level:
        return cell
    return float(context.option("mean", 0.0) + RAIL * context.option("std", 0.0))


def swap_level(cell: Cell, level: float, random: np.random.Generator, context: CorruptionContext) -> Cell:
    """Replace a label by another one of the training cells.

    Args:
        cell: A label.
        level: Probability that the cell is hit.
        random: Random numbers.
        context: Fitted modality, whose values are drawn from, each as often; without one nothing changes.

    Returns:
        A label.
    """
    label, (chance, choice) = category_text(cell), random.random(2)
    others = [value for value in context.option("values", ()) if value != label]
    return others[int(choice * len(others))] if others and chance < level else cell


def shift_date(cell: Cell, level: float, random: np.random.Generator, context: CorruptionContext) -> Cell:
    """Move a date to the past or to the future.

    Args:
        cell: A date.
        level: Days; a random share of them, at least half.
        random: Random numbers.
        context: Fitted modality, which knows whether days stand first.

    Returns:
        A ``datetime`` without a time zone.
    """
    moment = parse_datetime(cell, order=context.option("order", "MDY"))
    sign, share = random.random(2)
    shift = timedelta(days=level * (0.5 + share / 2) * (1 if sign < 0.5 else -1))
    try:
        return moment + shift
    except OverflowError:
        return min(max(moment, OLDEST), NEWEST)


def move_place(cell: Cell, level: float, random: np.random.Generator, context: CorruptionContext) -> Cell:
    """Move a place in a random direction.

    Args:
        cell: A place.
        level: Standard deviation of the distance northwards and of that eastwards, in spreads of the training cells.
        random: Random numbers.
        context: Fitted modality; without one, the spread is that of the whole Earth.

    Returns:
        Latitude and longitude in degrees.
    """
    place = read_place(cell)
    if place is None:
        return cell
    north, east = np.degrees(level * context.option("spread", 1.0)) * random.standard_normal(2)
    latitude = float(np.clip(place[0] + north, -MAX_LATITUDE, MAX_LATITUDE))
    shrink = max(float(np.cos(np.radians(place[0]))), 0.01)  # degrees of longitude are shorter towards the poles
    return latitude, float((place[1] + east / shrink + 180) % 360 - 180)
