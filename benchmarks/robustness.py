"""What ``--harden`` does to scores under noise and to clean ones: ``make bench-robustness``.

Parts of six small real tables, each trained with and without hardening by the same seed, stress-tested on the same test
rows with the same noise. Differences are paired over rows (bootstrap). Takes some twenty minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

import polymodal
from polymodal.data.tables.table import Table, read_table
from polymodal.progress import SilentProgress
from polymodal.robustness import StressOptions, measure_stress
from polymodal.robustness.scoring import Score, mean_score
from polymodal.robustness.stress import StressScores
from sections import replace_section

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("POLYMODAL_DATA", REPOSITORY.parent / "shared" / "data"))
DOCUMENT = REPOSITORY / "docs" / "benchmarks.md"
ANSWERS = ("final", "fusion")


@dataclass(frozen=True)
class Dataset:
    """A table of the benchmark.

    Attributes:
        name: Its folder.
        target: What is predicted.
        drop: Columns left out.
        train_rows: Training rows that are used, the first of a random order; None: all.
        epochs: Epochs of training, without and with hardening.
        test_rows: Test rows that are used.
    """

    name: str
    target: str
    drop: tuple[str, ...] = field(default=())
    train_rows: int | None = None
    epochs: int = 15
    test_rows: int = 150


DATASETS = (
    Dataset("clothing", "recommended", ("rating",), train_rows=1000, epochs=8),
    Dataset("leaf", "species"),
    Dataset("esc10", "label", ("fold",)),
    Dataset("avdigits", "digit", ("speaker",), train_rows=400, epochs=12, test_rows=120),
    Dataset("baby_products", "price", train_rows=700, epochs=6, test_rows=120),
    Dataset("radhar", "activity", train_rows=250, epochs=12, test_rows=100),
)


def main() -> None:
    """Run the benchmark and write its section, or part of it without writing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("datasets", nargs="*", help="names of datasets; without any: all, and the section is written")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, help="epochs of training, in place of those of each table")
    parser.add_argument("--output", type=Path, help="file for the figures as JSON")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    chosen = [dataset for dataset in DATASETS if not options.datasets or dataset.name in options.datasets]
    chosen = [replace(dataset, epochs=options.epochs or dataset.epochs) for dataset in chosen]
    results = []
    for dataset in chosen:
        results += [compare(dataset, seed) for seed in range(options.seeds)]
        print(json.dumps(results[-options.seeds :]), flush=True)
        if options.output is not None:
            options.output.write_text(json.dumps(results, indent=1), encoding="utf-8")
    print(section(results))
    if not options.datasets:
        replace_section(DOCUMENT, "robustness", section(results))


def compare(dataset: Dataset, seed: int) -> dict[str, Any]:
    """Train with and without hardening and compare under noise.

    Args:
        dataset: The table.
        seed: Fixes rows, training and noise.

    Returns:
        Metric, CPU seconds of the two runs, and for each answer the clean score, the score under noise and the paired
        differences.
    """
    tables = {split: _rows(dataset, split, seed) for split in ("train", "validation", "test")}
    found: dict[str, StressScores] = {}
    seconds: dict[str, float] = {}
    for name, harden in (("plain", False), ("hardened", True)):
        started = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            model = polymodal.fit(
                tables["train"],
                target=dataset.target,
                validation=tables["validation"],
                test=tables["test"],
                drop=dataset.drop,
                preset="fast",
                harden=harden,
                seed=seed,
                settings={"num_threads": 1, "width": 32, "train.epochs": dataset.epochs},
                output=Path(folder) / "run",
            )
        seconds[name] = round(time.process_time() - started, 1)
        found[name] = measure_stress(
            model.trained, tables["test"], StressOptions(rows=dataset.test_rows, seed=seed), SilentProgress()
        )
    plain = found["plain"]
    scorer = plain.scorers[dataset.target]
    answers = {answer: _differences(found, dataset.target, answer) for answer in ANSWERS}
    return {
        "dataset": dataset.name,
        "seed": seed,
        "metric": scorer.primary,
        "higher_is_better": scorer.is_higher_better,
        "rows": plain.rows,
        "seconds": seconds,
        **answers,
    }


def _rows(dataset: Dataset, split: str, seed: int) -> Table:
    table = read_table(DATA / dataset.name / f"{split}.csv")
    most = {"train": dataset.train_rows, "validation": dataset.train_rows and dataset.train_rows // 4}.get(
        split, dataset.test_rows
    )
    order = np.random.default_rng(seed).permutation(table.num_rows)[:most]
    return table.take(np.sort(order))


def _differences(found: dict[str, StressScores], target: str, answer: str) -> dict[str, Any]:
    clean = {name: scores.clean[target][answer] for name, scores in found.items()}
    noisy = {name: _under_noise(scores, target, answer) for name, scores in found.items()}
    return {
        "clean": {name: score.value for name, score in clean.items()},
        "noisy": {name: score.value for name, score in noisy.items()},
        "clean_gain": _gain(clean["hardened"], clean["plain"], found["plain"].scorers[target].is_higher_better),
        "noisy_gain": _gain(noisy["hardened"], noisy["plain"], found["plain"].scorers[target].is_higher_better),
    }


def _under_noise(scores: StressScores, target: str, answer: str) -> Score:
    return mean_score([mean_score([at[target][answer] for at in curve]) for curve in scores.noisy])


def _gain(hardened: Score, plain: Score, higher_is_better: bool) -> list[float]:
    """Return by how much hardening is better, and its 95 % interval over resamples of the rows."""
    sign = 1 if higher_is_better else -1
    low, high = np.percentile(sign * (hardened.samples - plain.samples), [2.5, 97.5])
    return [sign * (hardened.value - plain.value), float(low), float(high)]


def section(results: list[dict[str, Any]]) -> str:
    """Write the section of docs/benchmarks.md.

    Args:
        results: What ``compare`` returned.

    Returns:
        Markdown.
    """
    lines = [
        "`make bench-robustness`: parts of small tables, trained with and without `--harden` for as many epochs",
        "(preset fast, width 32); the final answer and the network alone. *Under noise*: mean score over all kinds of",
        "noise, streams and the severities 1, 3 and 5. Gains are paired over the test rows, positive where hardening",
        "is better, with 95 % bootstrap intervals.",
        "",
        "| table | seed | answer | metric | clean: plain → hardened | gain | under noise: likewise | gain |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        for answer in ANSWERS:
            found = result[answer]
            parts = [
                f"{found[kind]['plain']:.3f} → {found[kind]['hardened']:.3f} | {_gain_text(found[f'{kind}_gain'])}"
                for kind in ("clean", "noisy")
            ]
            name = f"{result['dataset']} | {result['seed']} | {answer} | {result['metric']}"
            lines.append(f"| {name} | {' | '.join(parts)} |")
    return "\n".join(lines)


def _gain_text(gain: list[float]) -> str:
    value, low, high = (f"{number:+.3f}".replace("-", "−") for number in gain)
    return f"{value} ({low} to {high})"


if __name__ == "__main__":
    main()
