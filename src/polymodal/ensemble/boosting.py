"""Gradient-boosted trees of the baselines: hyperparameters and number of threads (LightGBM, Ke et al. 2017).

Shape legend: N rows, C classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.ensemble.features import FeatureBlocks

Rows = tuple[FeatureBlocks, NDArray[Any]]
"""Features of some rows, and their truth."""

MAX_ROUNDS = 400
MIN_ROUNDS = 12
EARLY_STOPPING_ROUNDS = 20
BUDGET_S = 2.5
BUDGET_S_PER_ROW = 1e-4
SECONDS_PER_TREE = 3e-4
SECONDS_PER_CELL = 1.3e-9
CELLS_PER_THREAD = 400_000
LARGE_DATA_ROWS = 5_000
"""Number of rows from which histograms have more bins."""
GRACE_PERIOD_S, MAX_SLOWDOWN = 0.5, 10
"""After this time, threads that are slower than the estimate by this factor are assumed to contend for cores."""


class _ThreadContentionError(Exception):
    """Threads contend for cores, so that one would be faster."""


def fit_trees(
    kind: str,
    num_classes: int,
    train: Rows,
    validation: Rows,
    *,
    seed: int,
    num_threads: int,
    budget_s: float | None = None,
) -> list[str]:
    """Fit boosted trees for one target.

    Threads are synchronised after each of many small steps. Next to busy processes, two took up to a hundred times as
    long as one; then one thread is used. The trees do not depend on the number of threads.

    Args:
        kind: "category", "categories" or "number".
        num_classes: Classes or labels; 1 for a number.
        train: The training rows: int64 ``[N]``, 0/1 ``[N, C]`` or float64 ``[N]`` is their truth.
        validation: The rows that choose the number of rounds; may be empty.
        seed: Seed of the sampling.
        num_threads: Maximum number of threads; small data use one.
        budget_s: Approximate time limit; None: 2.5 s plus 1 s per 10,000 rows. It bounds the number of rounds by rows,
            features and classes, not by a clock, so that the result does not depend on the machine.

    Returns:
        LightGBM's text of each model: one, or one a label.
    """
    cells, num_rows = train[0].trees.size, len(train[1])
    budget_s = BUDGET_S + BUDGET_S_PER_ROW * num_rows if budget_s is None else budget_s
    num_models = num_classes if kind == "categories" else 1
    trees_per_round = num_classes if kind == "category" and num_classes > 2 else 1
    round_s = trees_per_round * (SECONDS_PER_TREE + SECONDS_PER_CELL * cells)
    rounds = int(np.clip(budget_s / (num_models * round_s), MIN_ROUNDS, MAX_ROUNDS))
    params = _params(kind, num_classes, num_rows, rounds, seed)
    params["num_threads"] = min(num_threads, 1 + cells // CELLS_PER_THREAD)
    truths = [train[1], validation[1]]
    models = []
    for index in range(num_models):
        labels = [truth[:, index].copy() for truth in truths] if kind == "categories" else truths
        models.append(_fit(params, rounds, round_s, (train[0], labels[0]), (validation[0], labels[1])))
    return models


def _params(kind: str, num_classes: int, num_rows: int, rounds: int, seed: int) -> dict[str, Any]:
    objective: dict[str, Any] = {"objective": "regression" if kind == "number" else "binary"}
    if kind == "category" and num_classes > 2:
        objective = {"objective": "multiclass", "num_class": num_classes}
    return {
        **objective,
        "learning_rate": float(np.clip(12 / rounds, 0.05, 0.2)),
        "num_leaves": 8 if num_rows < 1_000 else 31,
        "min_data_in_leaf": int(np.clip(num_rows // 100, 3, 20)),
        "feature_fraction": 0.3,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "lambda_l2": 1.0,
        "min_sum_hessian_in_leaf": 0.1,
        "max_bin": 31 if num_rows < LARGE_DATA_ROWS else 63,
        "extra_trees": num_rows < 1_000,
        "seed": seed,
        "deterministic": True,
        "force_col_wise": True,
        "verbosity": -1,
    }


def _fit(params: dict[str, Any], rounds: int, round_s: float, train: Rows, validation: Rows) -> str:
    """Fit one model; if threads contend, set one thread in ``params`` and repeat."""
    try:
        return _fit_once(params, rounds, round_s, train, validation)
    except _ThreadContentionError:
        params["num_threads"] = 1
        return _fit_once(params, rounds, round_s, train, validation)


def _fit_once(params: dict[str, Any], rounds: int, round_s: float, train: Rows, validation: Rows) -> str:
    import lightgbm

    data = lightgbm.Dataset(train[0].trees, label=train[1], params=params, free_raw_data=False)
    valid_sets: list[Any] = []
    callbacks: list[Any] = [_contention_callback(round_s)] if params["num_threads"] > 1 else []
    if len(validation[1]):
        valid_sets = [lightgbm.Dataset(validation[0].trees, label=validation[1], reference=data, params=params)]
        callbacks.append(lightgbm.early_stopping(EARLY_STOPPING_ROUNDS, verbose=False))
    booster = lightgbm.train(params, data, rounds, valid_sets=valid_sets, callbacks=callbacks)
    return str(booster.model_to_string(num_iteration=booster.best_iteration if valid_sets else None))


def _contention_callback(round_s: float) -> Callable[[Any], None]:
    """Return the callback that stops training if threads contend."""
    started = time.perf_counter()

    def check(env: Any) -> None:
        if time.perf_counter() - started > GRACE_PERIOD_S + MAX_SLOWDOWN * round_s * (env.iteration + 1):
            raise _ThreadContentionError

    return check
