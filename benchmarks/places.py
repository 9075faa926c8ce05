"""What latitude and longitude are worth as a place on the sphere, beside the same two columns as numbers.

Two tables: generated places around the date line and the poles, whose class is the nearest of six cities; and airports
of the whole world, whose country is to be told (``airportsdata``, MIT licence). Both sides get the same rows and seeds,
and differ in ``modality`` alone.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from collections import Counter
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

import polymodal
from polymodal.modalities.geo import degrees_of, unit_vectors

SEEDS = (0, 1, 2)
TRAIN_ROWS, TEST_ROWS = 1200, 2000
CITIES = {
    "Suva": (-18.1, 178.4),
    "Apia": (-13.8, -171.8),
    "Anadyr": (64.7, 177.5),
    "Nome": (64.5, -165.4),
    "Alert": (82.5, -62.3),
    "Longyearbyen": (78.2, 15.6),
}
VARIANTS: dict[str, dict[str, str]] = {"numbers": {"lat": "number", "lon": "number"}, "geo": {}}
OPTIONS = {"preset": "fast", "train.epochs": 40, "num_threads": 1}
SMALLEST_COUNTRY = 100
Columns = dict[str, list[Any]]


def nearest_cities(seed: int) -> Columns:
    """Draw places within 2,800 km of a city each, and name the nearest of all.

    Args:
        seed: Of the places.

    Returns:
        ``lat``, ``lon`` and ``label``.
    """
    random = np.random.default_rng(seed)
    cities = unit_vectors(list(CITIES.values()))
    near = cities[random.integers(len(cities), size=TRAIN_ROWS + TEST_ROWS)]
    places = degrees_of(near + random.uniform(-0.25, 0.25, near.shape))
    nearest = (unit_vectors(list(map(tuple, places))) @ cities.T).argmax(axis=1)
    return _columns(places, [list(CITIES)[city] for city in nearest])


def airports(seed: int) -> Columns:
    """Draw airports of countries that have many.

    Args:
        seed: Of the draw.

    Returns:
        ``lat``, ``lon`` and ``label``, the country.
    """
    with files("airportsdata").joinpath("airports.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    counts = Counter(row["country"] for row in rows)
    common = {country: count for country, count in counts.items() if count >= SMALLEST_COUNTRY}
    share = np.array([SMALLEST_COUNTRY / common.get(row["country"], np.inf) for row in rows])
    drawn = np.random.default_rng(seed).permutation(
        np.flatnonzero(np.random.default_rng(seed).random(len(rows)) < share)
    )
    chosen = [rows[row] for row in drawn[: TRAIN_ROWS + TEST_ROWS]]
    places = np.array([(float(row["lat"]), float(row["lon"])) for row in chosen])
    return _columns(places, [row["country"] for row in chosen])


def _columns(places: NDArray[np.float64], labels: list[str]) -> Columns:
    return {"lat": places[:, 0].round(4).tolist(), "lon": places[:, 1].round(4).tolist(), "label": labels}


def accuracies(columns: Columns, variant: str, seed: int) -> dict[str, float]:
    """Train on some rows and score the others.

    Args:
        columns: The table.
        variant: A name in ``VARIANTS``.
        seed: Of the training.

    Returns:
        Test accuracy of the network and of the baselines that see the place.
    """
    train, test = ({name: cells[part] for name, cells in columns.items()} for part in _PARTS)
    with tempfile.TemporaryDirectory() as folder:
        model = polymodal.fit(
            train, target="label", test=test, modality=VARIANTS[variant], seed=seed, settings=OPTIONS, output=folder
        )
    summary = model.summary()
    baselines = {name: summary["baselines"]["label"][name]["accuracy"] for name in ("linear", "boosting")}
    return {"network": summary["fusion"]["label"]["accuracy"], **baselines}


_PARTS = (slice(TRAIN_ROWS), slice(TRAIN_ROWS, None))


def main() -> None:
    """Print a line for each table and variant."""
    tables = [nearest_cities, airports] if find_spec("airportsdata") else [nearest_cities]
    if airports not in tables:
        print("The airports are left out. For them: pip install airportsdata", file=sys.stderr)
    for table in tables:
        for variant in VARIANTS:
            found = [accuracies(table(seed), variant, seed) for seed in SEEDS]
            for member in found[0]:
                scores = [run[member] for run in found]
                each = ", ".join(f"{score:.3f}" for score in scores)
                print(f"{table.__name__:15} {variant:8} {member:14} {np.mean(scores):.3f} ({each})", flush=True)


if __name__ == "__main__":
    sys.exit(main())
