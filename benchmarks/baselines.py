"""The baselines beside scikit-learn's models of the same family, on rows that neither was fitted on.

    python benchmarks/baselines.py                  # all tables
    python benchmarks/baselines.py --only wine leaf # some tables
    python benchmarks/baselines.py --keep           # scikit-learn's scores of an earlier call are read, not measured

The section of docs/benchmarks.md is written anew from all scores measured so far. Both get the same rows; here 15 % of
them are the validation rows that the run splits off. Scikit-learn's linear models choose their penalty by
cross-validation.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from baseline_opponents import boosting, forest, linear
from polymodal.config import RunConfig
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.tables.table import Table
from polymodal.ensemble.baseline_cache import predict_baselines
from polymodal.progress import SilentProgress
from polymodal.runs.baseline_fitting import fit_baselines
from polymodal.runs.data_module import Tables, build_data_module
from sections import replace_section

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("POLYMODAL_DATA", REPOSITORY.parent / "shared" / "data"))
RESULTS = REPOSITORY / "benchmarks" / "results" / "baselines"
Floats = NDArray[np.float64]
FAMILIES = {
    "boosting": ("HistGradientBoosting", "RandomForest"),
    "linear": ("linear, standard scaling", "linear, quantile scaling"),
}
MAX_BOOSTED = 30
"""Most classes that HistGradientBoosting, which fits a tree for each in each round, is measured with."""


@dataclass(frozen=True)
class Task:
    """A table to predict one column of.

    Attributes:
        frame: The table.
        target: The column.
        texts: Columns of texts.
        categories: Columns of categories; the others are numbers.
        num_folds: Folds of the cross-validation.
        metric: accuracy, r2 or mape.
    """

    frame: pd.DataFrame
    target: str
    texts: list[str] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)
    num_folds: int = 5
    metric: str = "accuracy"

    @property
    def numbers(self) -> list[str]:
        """Columns of numbers."""
        return [name for name in self.frame if name not in (self.target, *self.texts, *self.categories)]

    @property
    def is_number(self) -> bool:
        """Whether the target is a number."""
        return self.metric != "accuracy"

    def splits(self) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
        """Yield training and test rows of each fold."""
        from sklearn.model_selection import KFold, StratifiedKFold

        folds = (KFold if self.is_number else StratifiedKFold)(self.num_folds, shuffle=True, random_state=0)
        for train, test in folds.split(self.frame, None if self.is_number else self.frame[self.target]):
            yield self.frame.iloc[train], self.frame.iloc[test]


def of_sklearn(name: str, target: str = "target", metric: str = "accuracy") -> Task:
    """Return a built-in table of scikit-learn."""
    from sklearn import datasets

    loaded = getattr(datasets, f"load_{name}")(as_frame=True)
    frame = pd.concat([loaded.data, pd.DataFrame(loaded.target)[[target]]], axis=1)
    frame.columns = ["target" if column == target else f"x {column}" for column in frame]
    if metric == "accuracy":
        frame["target"] = "c" + frame["target"].astype(str)
    return Task(frame, "target", metric=metric)


def of_file(name: str, target: str, columns: list[str], num_rows: int | None = None, **options: Any) -> Task:
    """Return columns of a table of the shared data, all splits together."""
    parts = [pd.read_csv(DATA / name / f"{split}.csv") for split in ("train", "validation", "test")]
    frame = pd.concat(parts, ignore_index=True)[[*columns, target]].dropna(subset=[target])
    for column in (*options.get("texts", ()), *options.get("categories", ())):
        frame[column] = frame[column].astype(object).where(frame[column].notna(), None)
    if num_rows is not None:
        frame = frame.sample(num_rows, random_state=0, ignore_index=True)
    return Task(frame.reset_index(drop=True), target, **options)


def leaf() -> Task:
    """Return the leaf species by their 192 numbers."""
    names = [f"{group}{index}" for group in ("margin", "shape", "texture") for index in range(1, 65)]
    return of_file("leaf", "species", names)


def baby_products() -> Task:
    """Return the prices of baby products by numbers and categories of their descriptions."""
    task = of_file(
        "baby_products",
        "price",
        ["title", "is_discounted", "category", "company_struct", "width", "height", "length", "weight"],
        1_500,
        texts=["title"],
        categories=["category", "company_struct"],
        num_folds=3,
        metric="mape",
    )
    for name in ("width", "height", "length", "weight"):
        task.frame[name] = task.frame[name].astype(str).str.extract(r"(\d+\.?\d*)")[0].astype(float)
    return task


def sentinels() -> Task:
    """Return two classes by six numbers, one of which is 1e9 in 5 % of the rows."""
    random = np.random.default_rng(0)
    values = random.normal(size=(1_000, 6))
    kind = values[:, 0] + 0.05 * random.normal(size=1_000) > 0
    values[random.random(1_000) < 0.05, 0] = 1e9
    frame = pd.DataFrame(values, columns=[f"x{index}" for index in range(6)])
    return Task(frame.assign(target=np.where(kind, "yes", "no")), "target")


def prices() -> Task:
    """Return 338 log-normal prices by skewed numbers that interact."""
    random = np.random.default_rng(1)
    size, age, rooms = random.lognormal(4, 0.5, 338), random.exponential(20, 338), random.integers(1, 7, 338)
    place = random.normal(size=(338, 2))
    centre = np.hypot(*place.T) < 0.8
    price = np.exp(8 + 0.9 * np.log(size) - 0.02 * age * ~centre + 1.2 * centre + 0.2 * random.normal(size=338))
    columns = {"size": size, "age": age, "rooms": rooms, "north": place[:, 0], "east": place[:, 1]}
    return Task(pd.DataFrame({**columns, "target": price}), "target", metric="mape")


def imbalanced() -> Task:
    """Return 900 rows of two classes, 6 % positive, with gaps."""
    random = np.random.default_rng(2)
    values = random.normal(size=(900, 12))
    odds = values[:, :6].sum(axis=1) + 1.5 * values[:, 6] * values[:, 7] + random.logistic(size=900)
    frame = pd.DataFrame(np.where(random.random(values.shape) < 0.2, np.nan, values)).add_prefix("x")
    return Task(frame.assign(target=np.where(odds > np.quantile(odds, 0.94), "yes", "no")), "target")


CLOTHES = ["division_name", "department_name", "class_name"]
TASKS: dict[str, Callable[[], Task]] = {
    "breast_cancer": lambda: of_sklearn("breast_cancer"),
    "wine": lambda: of_sklearn("wine"),
    "iris": lambda: of_sklearn("iris"),
    "digits": lambda: of_sklearn("digits"),
    "diabetes": lambda: of_sklearn("diabetes", metric="r2"),
    "linnerud": lambda: of_sklearn("linnerud", "Waist", metric="r2"),
    "leaf": leaf,
    "sentinels": sentinels,
    "prices": prices,
    "imbalanced": imbalanced,
    "clothing": lambda: of_file(
        "clothing",
        "recommended",
        ["review_text", *CLOTHES, "age", "positive_feedback_count"],
        1_500,
        texts=["review_text"],
        categories=CLOTHES,
        num_folds=3,
    ),
    "clothing, numbers": lambda: of_file(
        "clothing", "rating", ["age", "positive_feedback_count", "recommended", *CLOTHES], 4_000, categories=CLOTHES
    ),
    "titles": lambda: of_file("clothing", "department_name", ["title"], 2_787, texts=["title"], num_folds=3),
    "takeaway_zh": lambda: of_file("takeaway_zh", "label", ["review"], texts=["review"], num_folds=3),
    "baby_products": baby_products,
}


def score(task: Task, truth: NDArray[Any], prediction: NDArray[Any]) -> float:
    """Return the metric of labels or numbers."""
    if task.metric == "accuracy":
        return float((truth == prediction).mean())
    if task.metric == "mape":
        return float((np.abs(truth - prediction) / np.abs(truth)).mean())
    return float(1 - ((truth - prediction) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())


def polymodal_scores(task: Task, train: pd.DataFrame, test: pd.DataFrame) -> tuple[dict[str, float], float]:
    """Return the score of each baseline, and the seconds that all took."""
    tables = [
        Table(
            {str(name): cells.where(cells.notna(), None).tolist() for name, cells in part.astype(object).items()},
            name=n,
        )
        for part, n in ((train, "train"), (test, "test"))
    ]
    kinds = {**dict.fromkeys(task.texts, "text"), **dict.fromkeys(task.categories, "category")}
    kinds |= dict.fromkeys(task.numbers, "number") | {task.target: "number" if task.is_number else "category"}
    config = RunConfig(target=(task.target,), num_threads=1, modality=kinds)
    cache = ArrayCache(None)
    module = build_data_module(Tables(train=tables[0], test=tables[1]), config, cache, SilentProgress())
    started = time.process_time()
    fitted, _ = fit_baselines(module, config, cache)
    seconds = time.process_time() - started
    assert fitted is not None
    examples = module.splits["test"]
    (found,) = predict_baselines(fitted, examples.columns_in_use(), examples.cells_in_use(), [frozenset()], cache)
    classes = module.targets[task.target].classes
    truth = test[task.target].to_numpy()[examples.rows]
    missed = len(test) - len(truth)
    scores = {}
    for name, values in found[task.target].items():
        labels = values if classes is None else np.array(classes)[values.argmax(axis=1)]
        truth_of = truth if classes is None else truth.astype(str)
        scores[name] = score(task, truth_of, labels) * (1 if task.is_number else 1 - missed / len(test))
    return scores, seconds


def sklearn_scores(task: Task, train: pd.DataFrame, test: pd.DataFrame) -> dict[str, float]:
    """Return the score of each model of scikit-learn."""
    found = {}
    truth = [part[task.target].to_numpy() for part in (train, test)]
    if not task.is_number:
        truth = [values.astype(str) for values in truth]
    few = len(set(truth[0])) <= MAX_BOOSTED or task.is_number
    for name, build in (("RandomForest", forest), *([("HistGradientBoosting", boosting)] if few else [])):
        model = build(task).fit(train, truth[0])
        found[name] = score(task, truth[1], model.predict(test))
    for name in ("standard", "quantile"):
        if task.numbers or name == "standard":
            model = linear(task, name).fit(train, truth[0])
            found[f"linear, {name} scaling"] = score(task, truth[1], model.predict(test))
    return found


def measure(name: str, keep: bool) -> dict[str, Any]:
    """Measure a table; the scores of scikit-learn's models are read from an earlier measurement where asked."""
    task, path = TASKS[name](), path_of(name)
    earlier = json.loads(path.read_text()) if path.is_file() else {}
    folds = list(task.splits())
    found = [polymodal_scores(task, *fold) for fold in folds]
    result = {
        "rows": len(task.frame),
        "columns": len(task.frame.columns) - 1,
        "metric": task.metric,
        "seconds": round(float(np.mean([seconds for _, seconds in found])), 2),
        "polymodal": mean_of([scores for scores, _ in found]),
        "sklearn": earlier["sklearn"] if keep and earlier else mean_of([sklearn_scores(task, *fold) for fold in folds]),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    return result


def path_of(name: str) -> Path:
    """Return the file of a table's scores."""
    return RESULTS / f"{name.replace(', ', '-')}.json"


def mean_of(scores: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean over folds of each model's score."""
    return {name: round(float(np.mean([of_fold[name] for of_fold in scores])), 4) for name in scores[0]}


def best(result: dict[str, Any], family: str) -> float:
    """Return the best score of scikit-learn's models of a family."""
    scores = [result["sklearn"][name] for name in FAMILIES[family] if name in result["sklearn"]]
    return float(min(scores) if result["metric"] == "mape" else max(scores))


def lead(result: dict[str, Any], family: str) -> float:
    """Return by how much the baseline is better than the best of its family; negative where it is worse."""
    difference = result["polymodal"].get(family, np.nan) - best(result, family)
    return float(-difference if result["metric"] == "mape" else difference)


def as_markdown(results: dict[str, dict[str, Any]]) -> str:
    """Return the section."""
    lines = [
        "`python benchmarks/baselines.py`: the baselines beside scikit-learn's models of the same family, on the same",
        "rows, mean of cross-validated test folds. Accuracy and R² are better high, MAPE is better low. In brackets",
        "the lead over the best of the family; seconds are CPU time of all fits of both baselines, folds included, in",
        "one thread.",
        "",
        "| table | rows × columns | metric | boosting | HGB | forest | linear | standard | quantile | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, result in results.items():
        cells = [name, f"{result['rows']:,} × {result['columns']}", result["metric"]]
        for family, opponents in FAMILIES.items():
            found = result["polymodal"].get(family)
            cells.append("" if found is None else f"{found:.3f} ({lead(result, family):+.3f})")
            cells += [f"{result['sklearn'][name]:.3f}" if name in result["sklearn"] else "" for name in opponents]
        lines.append(f"| {' | '.join(cells)} | {result['seconds']:.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure the tables and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--report", type=Path, default=REPOSITORY / "docs" / "benchmarks.md")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable()
    results = {}
    for name in options.only:
        results[name] = measure(name, options.keep)
        found = results[name]
        print(
            f"{name:18} {found['metric']:9}",
            *(f"{f} {found['polymodal'].get(f, np.nan):.3f} ({lead(found, f):+.3f})" for f in FAMILIES),
            f"{found['seconds']:.1f} s",
            flush=True,
        )
    measured = {name: json.loads(path_of(name).read_text()) for name in TASKS if path_of(name).is_file()}
    replace_section(options.report, "baselines", as_markdown(measured))


if __name__ == "__main__":
    main()
