"""What helps with rare classes and with weak streams: a small part of ``make bench-robustness``.

Clothing reviews of which one in twenty is of the rare class, and avdigits with few rows, each trained once for every
option.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

import polymodal
from polymodal.data.tables.table import Table, read_table
from polymodal.metrics import score
from robustness import DATA, DOCUMENT
from sections import replace_section

RATIO = 20
CLASS_OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "`train.sampling=balanced`": {"train.sampling": "balanced"},
    "`train.loss=logit_adjusted`": {"train.loss": "logit_adjusted"},
    "`train.loss=focal`": {"train.loss": "focal"},
}
STREAM_OPTIONS = ("none", "ogm_ge", "mmpareto", "blending")
METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "log_loss")


def main() -> None:
    """Run the benchmark and write its section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="file for the figures as JSON")
    parser.add_argument("--dry", action="store_true", help="print the section without writing it")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    results = {"classes": rare_class_scores(), "streams": weak_stream_scores()}
    if options.output is not None:
        options.output.write_text(json.dumps(results, indent=1), encoding="utf-8")
    print(section(results))
    if not options.dry:
        replace_section(DOCUMENT, "imbalance", section(results))


def rare_class_scores() -> dict[str, dict[str, dict[str, float]]]:
    """Return the scores of the final answer and the network by each option, with both decisions."""
    train, validation, test = (_rare(split, rows) for split, rows in (("train", 40), ("validation", 15), ("test", 60)))
    found = {}
    for name, settings in CLASS_OPTIONS.items():
        model = _fit(train, validation, "recommended", ("rating",), {"train.epochs": 6, **settings})
        classes, probabilities = model.predict_proba(test)["recommended"]
        truth = np.array([classes.index(str(cell)) for cell in test.columns["recommended"]])
        counts = np.array(model.trained.targets["recommended"].counts, float)
        for decision, weights in (("most probable", None), ("balanced", (counts.sum() / counts).tolist())):
            scores = score("category", truth, probabilities, classes, weights)
            found[f"{name}, {decision}"] = {metric: scores[metric] for metric in METRICS}
    return found


def _rare(split: str, num_rare: int) -> Table:
    """Draw reviews, one of the rare class (not recommended) to twenty others."""
    table = read_table(DATA / "clothing" / f"{split}.csv")
    random = np.random.default_rng(0)
    labels = np.array([str(cell) for cell in table.columns["recommended"]])
    drawn = [
        random.permutation(np.flatnonzero(labels == label))[:number]
        for label, number in (("0", num_rare), ("1", RATIO * num_rare))
    ]
    return table.take(np.sort(np.concatenate(drawn)))


def weak_stream_scores() -> dict[str, dict[str, float]]:
    """Return the accuracies of the network and of each stream by each method of balance, baselines left out."""
    train, validation = (_first(split, rows) for split, rows in (("train", 400), ("validation", 150)))
    test = _first("test", 300)
    found = {}
    for method in STREAM_OPTIONS:
        settings = {"train.epochs": 12, "train.balance": method, "baselines": False}
        model = _fit(train, validation, "digit", ("speaker",), settings)
        evaluation = model.evaluate(test)
        scores = {"fusion": evaluation["fusion"]["digit"], **evaluation["streams"]["digit"]}
        found[method] = {name: of_member["accuracy"] for name, of_member in scores.items()}
    return found


def _first(split: str, rows: int) -> Table:
    table = read_table(DATA / "avdigits" / f"{split}.csv")
    return table.take(np.sort(np.random.default_rng(0).permutation(table.num_rows)[:rows]))


def _fit(train: Table, validation: Table, target: str, drop: tuple[str, ...], settings: dict[str, Any]) -> Any:
    settings = {"num_threads": 1, "width": 32, **settings}
    return polymodal.fit(
        train, target=target, validation=validation, test=False, drop=drop, preset="fast", seed=0, settings=settings
    )


def section(results: dict[str, Any]) -> str:
    """Write the section of docs/benchmarks.md.

    Args:
        results: Scores by option.

    Returns:
        Markdown.
    """
    lines = [
        "`make bench-robustness` (one seed: small differences are chance). Clothing, one review in twenty not",
        "recommended (840 training rows, 1,260 test rows), the final answer by option and decision; then avdigits (400",
        "training rows), accuracy of the network and of each stream's own head by `train.balance`.",
        "",
        f"| option, decision | {' | '.join(metric.replace('_', ' ') for metric in METRICS)} |",
        "|---|" + "---|" * len(METRICS),
        *(_row(name, scores) for name, scores in results["classes"].items()),
        "",
    ]
    names = list(next(iter(results["streams"].values())))
    lines += [f"| `train.balance` | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    return "\n".join([*lines, *(_row(name, scores) for name, scores in results["streams"].items())])


def _row(name: str, scores: dict[str, float]) -> str:
    return f"| {name} | {' | '.join(f'{value:.3f}' for value in scores.values())} |"


if __name__ == "__main__":
    main()
