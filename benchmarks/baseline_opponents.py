"""Scikit-learn's models that ``baselines.py`` compares the baselines with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd


def forest(task: Any) -> Any:
    """Return a random forest on imputed numbers, codes and TF-IDF."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline

    model = (RandomForestRegressor if task.is_number else RandomForestClassifier)(200, random_state=0)
    parts = [("numbers", SimpleImputer(strategy="median"), task.numbers), *coded(task), *texts(task, with_svd=False)]
    return make_pipeline(columns(parts), model)


def boosting(task: Any) -> Any:
    """Return gradient boosting on raw numbers, codes and 64 components of TF-IDF."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.pipeline import make_pipeline

    model = (HistGradientBoostingRegressor if task.is_number else HistGradientBoostingClassifier)(random_state=0)
    return make_pipeline(
        columns([("numbers", "passthrough", task.numbers), *coded(task), *texts(task, with_svd=True)]), model
    )


def linear(task: Any, scaling: str) -> Any:
    """Return ridge or logistic regression on scaled numbers, one column a category, and TF-IDF."""
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, QuantileTransformer, StandardScaler

    scale = (
        StandardScaler()
        if scaling == "standard"
        else QuantileTransformer(n_quantiles=100, output_distribution="normal")
    )
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), scale)
    one_hot = OneHotEncoder(handle_unknown="ignore", min_frequency=2)
    model = (
        RidgeCV(np.logspace(-3, 4, 15))
        if task.is_number
        else GridSearchCV(
            LogisticRegression(max_iter=300), {"C": [0.01, 0.1, 1, 10]}, cv=3, scoring="neg_log_loss", error_score=-99
        )
    )
    parts = [("numbers", numbers, task.numbers), ("categories", one_hot, task.categories)]
    return make_pipeline(columns([*parts, *texts(task, with_svd=False)]), model)


def coded(task: Any) -> list[Any]:
    """Return the step that turns categories into codes."""
    from sklearn.preprocessing import OrdinalEncoder

    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1)
    return [("categories", encoder, task.categories)]


def texts(task: Any, *, with_svd: bool) -> list[Any]:
    """Return the steps that turn texts into TF-IDF of words and of characters."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.preprocessing import FunctionTransformer

    steps = []
    for name in task.texts:
        union = make_union(
            TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True),
            TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), min_df=2, sublinear_tf=True),
        )
        strings = FunctionTransformer(_strings)
        steps.append((name, make_pipeline(strings, union, *([TruncatedSVD(64)] if with_svd else [])), name))
    return steps


def _strings(cells: pd.Series) -> list[str]:
    return [cell if isinstance(cell, str) else "" for cell in cells]


def columns(parts: list[Any]) -> Any:
    """Return the transformer of those parts that have columns."""
    from sklearn.compose import ColumnTransformer

    return ColumnTransformer([part for part in parts if len(part[2])], sparse_threshold=1.0)
