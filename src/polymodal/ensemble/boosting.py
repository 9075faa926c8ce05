"""Gradient-boosted trees of the baselines: hyperparameters and number of threads (LightGBM, Ke et al. 2017).

Shape legend: N rows, C classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.ensemble.features import FeatureBlocks

Rows = NDArray[np.int64]

MAX_ROUNDS = 400
MIN_ROUNDS = 12
EARLY_STOPPING_ROUNDS = 20
BUDGET_S = 3.0
BUDGET_S_PER_ROW = 2e-4
SECONDS_PER_TREE = 3e-4
SECONDS_PER_CELL = 1.3e-9
CELLS_PER_THREAD = 400_000
COMPARED_ROWS = 300
"""Number of held-out rows on which the settings are compared: the first folds that have as many. Fewer rows cannot tell
the settings apart, and get sampled trees."""
LARGE_DATA_ROWS = 20_000
"""Number of rows from which full trees are used without a comparison."""
COMPARED_ROUNDS = 40
"""Where the budget allows fewer rounds, sampled trees, which take less time, are used without a comparison."""
GRACE_PERIOD_S, MAX_SLOWDOWN = 0.5, 10
"""After this time, threads that are slower than the estimate by this factor are assumed to contend for cores."""


class _ThreadContentionError(Exception):
    """Threads contend for cores, so that one would be faster."""


def fit_trees(
    kind: str,
    num_classes: int,
    features: FeatureBlocks,
    truth: NDArray[Any],
    held_out: Sequence[Rows],
    *,
    seed: int,
    num_threads: int,
    budget_s: float | None = None,
) -> tuple[list[str], list[list[str]]]:
    """Fit boosted trees on all rows, and once for each fold without the rows that it holds out.

    Settings and number of rounds are those of the lowest mean loss of the held-out rows. Threads are synchronised after
    each of many small steps. Next to busy processes, two took up to a hundred times as long as one; then one thread is
    used. The trees do not depend on the number of threads.

    Args:
        kind: "category", "categories", "number" or "numbers".
        num_classes: Classes, labels or numbers; 1 for a number.
        features: Features of the rows.
        truth: int64 ``[N]``, 0/1 ``[N, C]``, float64 ``[N]`` or ``[N, C]``, NaN where a number is unknown.
        held_out: The rows that each fold holds out, int64; without folds the rounds are all that the budget allows.
        seed: Seed of the sampling.
        num_threads: Maximum number of threads; small data use one.
        budget_s: Approximate time limit of all fits; None: 3 s plus 2 s per 10,000 rows. It bounds the number of
            rounds by rows, features and classes, not by a clock, so that the result does not depend on the machine.

    Returns:
        LightGBM's text of each model of all rows: one, or one a label or number; and the same for each fold.
    """
    cells, num_rows = features.trees.size, len(truth)
    budget_s = BUDGET_S + BUDGET_S_PER_ROW * num_rows if budget_s is None else budget_s
    num_models = num_classes if truth.ndim == 2 else 1
    trees_per_round = num_classes if kind == "category" and num_classes > 2 else 1
    round_s = trees_per_round * (SECONDS_PER_TREE + SECONDS_PER_CELL * cells)
    most = MAX_ROUNDS if num_rows >= COMPARED_ROWS else MAX_ROUNDS // 2
    rounds = int(np.clip(budget_s / ((len(held_out) + 1) * num_models * round_s), MIN_ROUNDS, most))
    params = _params(kind, num_classes, rounds, seed)
    params["num_threads"] = min(num_threads, 1 + cells // CELLS_PER_THREAD)
    settings = _settings(num_rows, rounds)
    labels = [truth[:, index].copy() for index in range(num_models)] if truth.ndim == 2 else [truth]
    fitted = [_fit(params, settings, rounds, round_s, features.trees, label, held_out) for label in labels]
    return [full for full, _ in fitted], [[folds[place] for _, folds in fitted] for place in range(len(held_out))]


def _settings(num_rows: int, rounds: int) -> list[dict[str, Any]]:
    """Return the settings of which the held-out rows choose: full trees, and sampled ones, which vary less."""
    full = {"num_leaves": 31, "min_data_in_leaf": 20}
    sampled = {
        "num_leaves": 8 if num_rows < 1_000 else 31,
        "min_data_in_leaf": int(np.clip(num_rows // 100, 3, 20)),
        "feature_fraction": 0.3,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "extra_trees": num_rows < 1_000,
        "lambda_l2": 1.0,
        "min_sum_hessian_in_leaf": 0.1,
    }
    if rounds < COMPARED_ROUNDS or num_rows < COMPARED_ROWS:
        return [sampled]
    return [full] if num_rows >= LARGE_DATA_ROWS else [sampled, full]


def _params(kind: str, num_classes: int, rounds: int, seed: int) -> dict[str, Any]:
    objective: dict[str, Any] = {"objective": "regression" if kind in ("number", "numbers") else "binary"}
    if kind == "category" and num_classes > 2:
        objective = {"objective": "multiclass", "num_class": num_classes}
    return {
        **objective,
        "learning_rate": float(np.clip(12 / rounds, 0.05, 0.2)),
        "max_bin": 255,
        "feature_pre_filter": False,
        "seed": seed,
        "deterministic": True,
        "force_col_wise": True,
        "verbosity": -1,
    }


def _fit(params: dict[str, Any], *arguments: Any) -> tuple[str, list[str]]:
    """Fit one model and its folds; if threads contend, set one thread in ``params`` and repeat."""
    try:
        return _fit_once(params, *arguments)
    except _ThreadContentionError:
        params["num_threads"] = 1
        return _fit_once(params, *arguments)


def _fit_once(
    params: dict[str, Any],
    settings: list[dict[str, Any]],
    rounds: int,
    round_s: float,
    values: NDArray[Any],
    label: NDArray[Any],
    held_out: Sequence[Rows],
) -> tuple[str, list[str]]:
    """Choose the settings on the first folds, fit all folds, and fit all rows with the folds' number of rounds."""
    import lightgbm

    known = ~np.isnan(label)
    weights = None if known.all() else known.astype(np.float32)
    data = lightgbm.Dataset(values, np.nan_to_num(label), weight=weights, params=params, free_raw_data=False)
    if not held_out:
        return _train(params | settings[0], data, rounds, round_s), []
    pairs = [(np.setdiff1d(np.arange(len(label)), rows), rows) for rows in held_out]
    compared = pairs[: int(np.searchsorted(np.cumsum([len(rows) for rows in held_out]), COMPARED_ROWS)) + 1]
    chosen = params | settings[0]
    if len(settings) > 1:
        losses = [_cross_validate(params | each, data, rounds, round_s, compared)[0] for each in settings]
        chosen = params | settings[int(np.argmin(losses))]
    _, found = _cross_validate(chosen, data, rounds, round_s, pairs)
    folds = [str(booster.model_to_string(num_iteration=found.best_iteration)) for booster in found.boosters]
    return _train(chosen, data, found.best_iteration, round_s), folds


def _cross_validate(
    params: dict[str, Any], data: Any, rounds: int, round_s: float, pairs: list[tuple[Rows, Rows]]
) -> tuple[float, Any]:
    """Return the lowest mean loss of the held-out rows, and the boosters of the folds."""
    import lightgbm

    stopping = lightgbm.early_stopping(EARLY_STOPPING_ROUNDS, verbose=False)
    callbacks: list[Any] = [stopping, *_contention_callbacks(params, round_s * len(pairs))]
    result: Any = lightgbm.cv(params, data, rounds, folds=pairs, callbacks=callbacks, return_cvbooster=True)
    found = result.pop("cvbooster")
    (losses,) = (values for name, values in result.items() if name.endswith("-mean"))
    return float(losses[found.best_iteration - 1]), found


def _train(params: dict[str, Any], data: Any, rounds: int, round_s: float) -> str:
    import lightgbm

    booster = lightgbm.train(params, data, rounds, callbacks=_contention_callbacks(params, round_s))
    return str(booster.model_to_string())


def _contention_callbacks(params: dict[str, Any], round_s: float) -> list[Callable[[Any], None]]:
    """Return the callback that stops training if threads contend; none for one thread."""
    started = time.perf_counter()

    def check(env: Any) -> None:
        if time.perf_counter() - started > GRACE_PERIOD_S + MAX_SLOWDOWN * round_s * (env.iteration + 1):
            raise _ThreadContentionError

    return [check] if params["num_threads"] > 1 else []
