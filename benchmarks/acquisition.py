"""What it is worth to choose which absent cells, and which labels, to get next; written to docs/benchmarks.md.

Run it with ``make bench-acquisition``, or for some datasets, seeds or a trained model::

    python benchmarks/acquisition.py --only leaf --seeds 0 1 --model leaf=runs/leaf

Each stream of each test row is hidden with a probability of one half. Hidden cells are then got one by one, and the
final answer is scored on all test rows after every fortieth of the whole cost. The area under that curve is the mean
score. The best streams are those of the validation rows.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import polymodal
from polymodal.acquisition.acquire import ESTIMATORS, KnownRows, build_estimator, value_rows
from polymodal.acquisition.answers import DecodedRows, answer, decode_rows, flat_targets
from polymodal.acquisition.calibration import HeldOutLosses
from polymodal.acquisition.losses import expected_losses
from polymodal.acquisition.plan import make_plan
from polymodal.data.tables.table import Table, read_table
from polymodal.metrics.scores import score
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import SilentProgress
from polymodal.runs.known_rows import known_rows
from polymodal.targets import Target, primary_metric_of
from sections import replace_section

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("POLYMODAL_DATA", REPOSITORY.parent / "shared" / "data"))
RESULTS = REPOSITORY / "benchmarks" / "results" / "acquisition"
SEEDS = (0, 1, 2, 3, 4)
HIDDEN_SHARE = 0.5
POINTS = 41
T_975 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""Quantile of Student's distribution for the means of so many seeds."""
DEARER = 3.0
LABELS = (60, 120, 180)
"""Rows with a label at the start, and after each round."""

Pair = tuple[int, str]
Order = list[Pair]


@dataclass(frozen=True)
class Case:
    """A dataset and how a quick model is trained on it.

    Attributes:
        target: The column to predict.
        rows: Rows of the training, validation and test table, drawn by the seed; None: all.
        drop: Columns to leave out.
        stream: Streams of several columns.
        epochs: How long it trains.
    """

    target: str
    rows: tuple[int | None, int | None, int | None]
    epochs: int
    drop: tuple[str, ...] = ()
    stream: Mapping[str, tuple[str, ...]] | None = None


CASES = {
    "avdigits": Case("digit", (500, 200, 300), 6, drop=("speaker",)),
    "leaf": Case(
        "species",
        (None, None, None),
        10,
        stream={"margin": ("margin*",), "shape": ("shape*",), "texture": ("texture*",)},
    ),
    "clothing": Case("recommended", (800, 300, 500), 4, drop=("rating",)),
}


def tables(name: str, seed: int) -> dict[str, Table]:
    """Read the tables of a dataset, drawn rows of them where it says so."""
    found = {}
    for split, number in zip(("train", "validation", "test"), CASES[name].rows, strict=True):
        table = read_table(DATA / name / f"{split}.csv")
        chosen = np.sort(np.random.default_rng(seed).permutation(table.num_rows)[:number])
        found[split] = table if number is None else table.take(chosen)
    return found


def train(name: str, rows: Mapping[str, Table], seed: int) -> TrainedModel:
    """Train a quick model, without baselines: fitting those takes longer than all else."""
    case = CASES[name]
    model = polymodal.fit(
        rows["train"],
        target=case.target,
        validation=rows["validation"],
        test=rows["test"],
        drop=case.drop,
        stream=case.stream,
        preset="fast",
        seed=seed,
        settings={"train.epochs": case.epochs, "baselines": False, "num_threads": 1},
        progress=SilentProgress(),
    )
    return model.trained


@dataclass(frozen=True)
class Judge:
    """Scores of rows for any streams that each of them has.

    Attributes:
        target: The target.
        truth: Encoded truth ``[N]``.
        places: Set of absent streams to its place among the answers.
        answers: ``[sets, N, ...]``.
    """

    target: Target
    truth: NDArray[Any]
    places: Mapping[frozenset[str], int]
    answers: NDArray[np.float64]

    @classmethod
    def of(cls, model: TrainedModel, rows: DecodedRows, *, with_baselines: bool) -> Judge:
        """Answer rows with every set of streams absent."""
        ((name, target),) = flat_targets(model).items()
        streams = model.network.streams
        masks = [frozenset(c) for size in range(len(streams) + 1) for c in itertools.combinations(streams, size)]
        found = answer(model, rows, masks, with_baselines=with_baselines)
        places = {mask: place for place, mask in enumerate(masks)}
        return cls(target, target.encode(rows.cells[name])[0], places, np.stack([one[name] for one in found]))

    def curve(self, absent: Sequence[frozenset[str]], order: Order, costs: Mapping[str, float]) -> NDArray[np.float64]:
        """Score rows while streams are got: the primary metric and the log loss ``[2, POINTS]``."""
        budgets = np.linspace(0, sum(costs[stream] for _, stream in order), POINTS)
        left, spent, waiting = [set(one) for one in absent], 0.0, list(reversed(order))
        points = []
        for budget in budgets:
            while waiting and spent + costs[waiting[-1][1]] <= budget + 1e-9:
                row, stream = waiting.pop()
                left[row].discard(stream)
                spent += costs[stream]
            points.append(self._scores(left))
        return np.array(points).T

    def _scores(self, left: Sequence[set[str]]) -> tuple[float, float]:
        chosen = np.array([self.places[frozenset(one)] for one in left])
        found = score(
            self.target.kind, self.truth, self.answers[chosen, np.arange(len(chosen))], self.target.classes or ()
        )
        return found[primary_metric_of(self.target)], found["log_loss"]

    def entropies(self, absent: Sequence[frozenset[str]]) -> NDArray[np.float64]:
        """Return the entropy of the answer of each row."""
        chosen = np.array([self.places[one] for one in absent])
        return expected_losses(self.target, self.answers[chosen, np.arange(len(chosen))])


def best_streams(model: TrainedModel, held_out: DecodedRows) -> list[str]:
    """Order streams by the loss of validation rows that have each of them alone, the best first."""
    measured, streams = HeldOutLosses(model, held_out), model.network.streams
    return sorted(streams, key=lambda stream: float(measured.under(frozenset(streams) - {stream}).mean()))


def hide(rows: DecodedRows, seed: int) -> tuple[DecodedRows, list[frozenset[str]]]:
    """Hide streams at random; what a row lacks anyway stays absent and cannot be got."""
    random = np.random.default_rng([seed, 7])
    hidden = {stream: present & (random.random(len(rows)) < HIDDEN_SHARE) for stream, present in rows.presence.items()}
    columns = {stream: column.without(hidden[stream]) for stream, column in rows.columns.items()}
    absent = [frozenset(stream for stream in hidden if hidden[stream][row]) for row in range(len(rows))]
    return DecodedRows(columns, rows.cells, rows.table, []), absent


def rival_orders(judge: Judge, absent: Sequence[frozenset[str]], best: Sequence[str], seed: int) -> dict[str, Order]:
    """Order the hidden cells without any estimate of their worth."""
    pairs = [(row, stream) for row, streams in enumerate(absent) for stream in sorted(streams)]
    drawn = [pairs[place] for place in np.random.default_rng([seed, 11]).permutation(len(pairs))]
    entropies = judge.entropies(absent)
    return {
        "random": drawn,
        "always the best stream": sorted(drawn, key=lambda pair: best.index(pair[1])),
        "most uncertain row, its best stream": sorted(drawn, key=lambda p: (-entropies[p[0]], best.index(p[1]))),
    }


def planned_order(
    rows: DecodedRows, absent: Sequence[frozenset[str]], estimator: Any, costs: Mapping[str, float]
) -> Order:
    """Order the hidden cells as ``polymodal acquire`` does, all at once."""
    found = make_plan(value_rows(rows, estimator, costs, 0, SilentProgress())).entries
    return [(entry.row - 1, entry.stream) for entry in found if entry.stream in absent[entry.row - 1]]


@dataclass(frozen=True)
class Asked:
    """A model with its rows and everything that does not depend on which cells are hidden."""

    model: TrainedModel
    test: DecodedRows
    best: list[str]
    built: dict[str, Any]
    halves: dict[str, Any]
    other: DecodedRows

    @classmethod
    def of(cls, model: TrainedModel, known: KnownRows, test: Table) -> Asked:
        """Build the estimators, also those that are judged on validation rows: from one half of them."""
        quiet = SilentProgress()
        assert known.held_out is not None
        order = np.random.default_rng(13).permutation(known.held_out.num_rows)
        half, other = (known.held_out.take(np.sort(part)) for part in np.array_split(order, 2))
        return cls(
            model,
            decode_rows(model, test, quiet),
            best_streams(model, decode_rows(model, known.held_out, quiet)),
            {name: build_estimator(model, known, name, quiet, []) for name in ESTIMATORS},
            {name: build_estimator(model, KnownRows(known.training, half), name, quiet, []) for name in ESTIMATORS},
            decode_rows(model, other, quiet),
        )


@cache
def given(name: str, path: Path) -> Asked:
    """Load a model that was trained before; its test rows are drawn once."""
    model = polymodal.load(path).trained
    return Asked.of(model, known_rows(model, None), tables(name, 0)["test"])


def trained(name: str, seed: int) -> Asked:
    """Train a model with a seed."""
    rows = tables(name, seed)
    return Asked.of(train(name, rows, seed), KnownRows(rows["train"], rows["validation"]), rows["test"])


def areas(asked: Asked, seed: int) -> dict[str, Any]:
    """Measure the areas under the curves of one seed."""
    judge = Judge.of(asked.model, asked.test, with_baselines=True)
    hidden, absent = hide(asked.test, seed)
    equal, dear = dict.fromkeys(asked.best, 1.0), {s: DEARER if s == asked.best[0] else 1.0 for s in asked.best}
    orders = rival_orders(judge, absent, asked.best, seed)
    curves = {rival: judge.curve(absent, order, equal) for rival, order in orders.items()}
    priced = {rival: judge.curve(absent, order, dear) for rival, order in orders.items()}
    for name, built in asked.built.items():
        curves[name] = judge.curve(absent, planned_order(hidden, absent, built, equal), equal)
    priced["value"] = judge.curve(absent, planned_order(hidden, absent, asked.built["value"], dear), dear)
    return {
        "best": asked.best,
        "metric": primary_metric_of(judge.target),
        "equal": {order: curve.mean(axis=1).tolist() for order, curve in curves.items()},
        "dear": {order: curve.mean(axis=1).tolist() for order, curve in priced.items()},
        "curves": {order: curve[0, ::10].tolist() for order, curve in curves.items()},
        "validation": validation_areas(asked, seed),
    }


def validation_areas(asked: Asked, seed: int) -> dict[str, float]:
    """Judge the estimators on validation rows that they were not fitted on, by the area of the log loss."""
    judge = Judge.of(asked.model, asked.other, with_baselines=False)
    hidden, absent = hide(asked.other, seed)
    equal = dict.fromkeys(asked.best, 1.0)
    orders = {name: planned_order(hidden, absent, built, equal) for name, built in asked.halves.items()}
    return {name: float(judge.curve(absent, order, equal)[1].mean()) for name, order in orders.items()}


def labelling(seed: int) -> dict[str, list[float]]:
    """Label rows of avdigits round by round, chosen or drawn, and train on them; return the test accuracies."""
    rows = tables("avdigits", seed)
    drawn = np.random.default_rng([seed, 17]).permutation(rows["train"].num_rows)
    start = train("avdigits", {**rows, "train": rows["train"].take(drawn[: LABELS[0]])}, seed)
    found = {}
    for way in ("chosen", "random"):
        model, labelled, found[way] = start, drawn[: LABELS[0]], [_accuracy(start)]
        for number in LABELS[1:]:
            pool = np.array([row for row in drawn if row not in set(labelled.tolist())])
            wanted = number - len(labelled)
            more = _chosen(model, rows["train"].take(pool), wanted) if way == "chosen" else np.arange(wanted)
            labelled = np.concatenate([labelled, pool[more]])
            model = train("avdigits", {**rows, "train": rows["train"].take(labelled)}, seed)
            found[way].append(_accuracy(model))
    return found


def _accuracy(model: TrainedModel) -> float:
    return float(model.report_data["evaluation"]["targets"]["digit"]["accuracy"])


def _chosen(model: TrainedModel, pool: Table, number: int) -> NDArray[np.int64]:
    unlabelled = pool.drop([next(iter(model.targets))])
    return np.array(polymodal.Model(model).choose_labels(unlabelled, budget=number).order) - 1


def kept(path: Path, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the kept result of a seed, or compute and keep it."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(compute(), indent=1), encoding="utf-8")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def interval(differences: Sequence[float]) -> str:
    """Format the mean of paired differences with its 95 % interval over seeds."""
    mean, number = float(np.mean(differences)), len(differences)
    if number < 2:
        return f"{mean:+.4f}"
    margin = T_975.get(number, 1.96) * float(np.std(differences, ddof=1)) / math.sqrt(number)
    return f"{mean:+.4f} ({mean - margin:+.4f} to {mean + margin:+.4f})"


def area_table(results: Mapping[str, Sequence[Mapping[str, Any]]], costs: str, ours: str) -> list[str]:
    """Write a table of areas and of the leads of one order over the others."""
    lines = [
        f"| dataset | order | area: score | {ours} leads by | area: log loss | {ours} is lower by |",
        "|---|---|---|---|---|---|",
    ]
    for name, seeds in results.items():
        for order in seeds[0][costs]:
            own, other = (np.array([seed[costs][each] for seed in seeds]) for each in (ours, order))
            leads = (
                ["", ""] if order == ours else [interval(own[:, 0] - other[:, 0]), interval(other[:, 1] - own[:, 1])]
            )
            score_area, loss_area = other.mean(axis=0)
            cells = [
                f"{name} ({seeds[0]['metric']})",
                order,
                f"{score_area:.4f}",
                leads[0],
                f"{loss_area:.4f}",
                leads[1],
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def curve_table(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Write the mean score after each quarter of the cost."""
    lines = ["| dataset | order | nothing got | 25 % | 50 % | 75 % | all |", "|---|---|---|---|---|---|---|"]
    for name, seeds in results.items():
        for order in seeds[0]["curves"]:
            points = np.mean([seed["curves"][order] for seed in seeds], axis=0)
            lines.append(f"| {name} | {order} | " + " | ".join(f"{point:.4f}" for point in points) + " |")
    return lines


def validation_table(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Write how the estimators compare on validation rows."""
    lines = ["| dataset | neighbours | value | value is lower by |", "|---|---|---|---|"]
    for name, seeds in results.items():
        if all(seed["validation"] for seed in seeds):
            own, other = ([seed["validation"][each] for seed in seeds] for each in ("value", "neighbours"))
            lines.append(
                f"| {name} | {np.mean(other):.4f} | {np.mean(own):.4f} | {interval(np.subtract(other, own))} |"
            )
    return lines


def label_table(seeds: Sequence[Mapping[str, Sequence[float]]]) -> list[str]:
    """Write the accuracies by the number of labels."""
    lines = ["| labels | chosen | random | chosen leads by |", "|---|---|---|---|"]
    for place, number in enumerate(LABELS):
        own, other = ([seed[way][place] for seed in seeds] for way in ("chosen", "random"))
        lines.append(f"| {number} | {np.mean(own):.4f} | {np.mean(other):.4f} | {interval(np.subtract(own, other))} |")
    return lines


HOW = """Each stream of each test row is hidden with a probability of one half; hidden cells are then got one by one.
The area is the mean of the score of all test rows over 41 points from no cost to all. Means over the seeds; differences
are paired, with 95 % intervals by Student's distribution. `value` and `neighbours` are the orders of `polymodal
acquire`; the best streams are those of the validation rows."""


def section(
    results: Mapping[str, Sequence[Mapping[str, Any]]], labels: Sequence[Mapping[str, Any]], are_given: bool
) -> str:
    """Write the section of docs/benchmarks.md."""
    models = (
        "models that were trained before and are given by `--model`; the seeds differ in what is hidden"
        if are_given
        else "quick models of drawn rows, without baselines; the seeds differ in rows, training and what is hidden"
    )
    parts = [f"Command: `make bench-acquisition` (one thread; {models}).", HOW]
    if results:
        parts += ["Every cell costs 1:", "\n".join(area_table(results, "equal", "value"))]
        parts += ["Score after each quarter of the cost:", "\n".join(curve_table(results))]
        parts += [f"The best stream costs {DEARER:g}, others 1:", "\n".join(area_table(results, "dear", "value"))]
        parts += [
            "The estimators on one half of the validation rows, fitted on the other (area of the log loss):",
            "\n".join(validation_table(results)),
        ]
    if labels:
        parts += [
            f"Labels of avdigits: accuracy on test rows of another speaker, {len(labels)} seeds; `--label` chooses "
            f"from {CASES['avdigits'].rows[0]} rows:",
            "\n".join(label_table(labels)),
        ]
    return "\n\n".join(parts)


def main() -> None:
    """Measure and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=[*CASES, "labels"], default=[*CASES, "labels"])
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--model", action="append", default=[], metavar="DATASET=RUN")
    arguments = parser.parse_args()
    models = {name: Path(path) for name, _, path in (given.partition("=") for given in arguments.model)}

    def asked(name: str, seed: int) -> Asked:
        return given(name, models[name]) if name in models else trained(name, seed)

    results: dict[str, list[dict[str, Any]]] = {}
    for name in (name for name in CASES if name in arguments.only):
        for seed in arguments.seeds:
            file = RESULTS / f"{name}{'-given' if name in models else ''}-{seed}.json"
            found = kept(file, lambda: areas(asked(name, seed), seed))  # noqa: B023 - called at once
            results.setdefault(name, []).append(found)
            print(name, seed, found["equal"], found["validation"], flush=True)
    labels = []
    if "labels" in arguments.only:
        for seed in arguments.seeds:
            labels.append(kept(RESULTS / f"labels-{seed}.json", lambda: labelling(seed)))  # noqa: B023
            print("labels", seed, labels[-1], flush=True)
    replace_section(REPOSITORY / "docs" / "benchmarks.md", "acquisition", section(results, labels, bool(models)))


if __name__ == "__main__":
    sys.exit(main())
