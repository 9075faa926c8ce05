"""How well unusual rows are told from ordinary ones: AUROC for damaged cells and cells of other datasets, by method.

The method of the package was chosen on ``--split validation``; the section of docs/benchmarks.md is of test rows.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import polymodal
from polymodal.certainty.unusual import SpaceName, UnusualRows
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.tables.table import Table, read_table
from polymodal.model.row_vectors import RowVectors, row_vectors
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import SilentProgress
from sections import replace_section
from unusual_cells import changed_tables

Floats = NDArray[np.float64]
REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("POLYMODAL_DATA", REPOSITORY.parent / "shared" / "data"))
DATASETS: dict[str, dict[str, Any]] = {
    "avdigits": {"target": "digit", "drop": ["speaker"]},
    "clothing": {"target": "recommended", "drop": ["rating"]},
    "esc10": {"target": "label", "drop": ["fold"]},
    "leaf": {"target": "species"},
}
TRAIN_ROWS, HELD_OUT_ROWS, ORDINARY_ROWS, CHANGED_ROWS = 1000, 500, 200, 80
LEVEL = 0.05
METHODS = ("both", "embedding", "measures", "Mahalanobis", "relative Mahalanobis", "fused")


class Rows:
    """Rows of a dataset, and what a model makes of them.

    Attributes:
        table: The rows.
        vectors: Space to vectors.
        fused: Embeddings of the fused rows.
    """

    def __init__(self, model: TrainedModel, table: Table) -> None:
        """Embed and measure the rows."""
        columns, _ = model.preprocessor.transform(table)
        columns = model.network.precompute(columns, ArrayCache(None), SilentProgress())
        self.table = table
        self.vectors: RowVectors = row_vectors(model, table, columns)
        self.fused = model.network.embed(columns)[0].astype(np.float64)


def load_model(name: str, models: Path | None, folder: Path) -> polymodal.Model:
    """Load a trained model, or train a fast one.

    Args:
        name: The dataset.
        models: Folder of run folders named after datasets, or None.
        folder: Where a model is trained.

    Returns:
        The model.
    """
    if models is not None and (models / name).is_dir():
        return polymodal.load(models / name)
    tables = {split: DATA / name / f"{split}.csv" for split in ("train", "validation", "test")}
    table = read_table(tables["train"])
    rows = np.random.default_rng(0).permutation(table.num_rows)[:3000]
    return polymodal.fit(
        table.take(np.sort(rows)),
        validation=tables["validation"],
        test=tables["test"],
        preset="fast",
        output=folder / name,
        **DATASETS[name],
    )


def draw(table: Table, number: int, seed: int = 0) -> Table:
    """Draw rows at random."""
    return table.take(np.sort(np.random.default_rng(seed).permutation(table.num_rows)[:number]))


def read_splits(name: str, split: str, models: Path | None) -> tuple[Table, Table, Table]:
    """Read training, calibration and ordinary rows.

    Args:
        name: The dataset.
        split: What ordinary rows are of; of validation rows a half calibrates.
        models: As for ``load_model``; the stored model of clothing learned from a part of its validation table.

    Returns:
        Three tables.
    """
    swapped = {"train": "validation", "validation": "train"} if name == "clothing" and models else {}
    tables = {
        part: read_table(DATA / name / f"{swapped.get(part, part)}.csv") for part in ("train", "validation", "test")
    }
    train, held_out = draw(tables["train"], TRAIN_ROWS), draw(tables["validation"], HELD_OUT_ROWS, seed=1)
    if split == "test":
        return train, held_out, draw(tables["test"], ORDINARY_ROWS)
    half = held_out.num_rows // 2
    return train, held_out.take(np.arange(half)), held_out.take(np.arange(half, held_out.num_rows))


def largest(unusual: UnusualRows, vectors: RowVectors) -> Floats:
    """Return the largest score of each row over its spaces."""
    scores = unusual.scores(vectors)
    return np.where(np.isnan(scores).all(axis=1), -np.inf, np.nanmax(np.nan_to_num(scores, nan=-np.inf), axis=1))


def only(vectors: RowVectors, kind: str) -> RowVectors:
    """Return the vectors of one kind of space."""
    return {name: values for name, values in vectors.items() if name.kind == kind}


class Mahalanobis:
    """Mahalanobis distances of stream embeddings (Lee et al. 2018; relative: Ren et al. 2021, arXiv 2106.09022)."""

    def __init__(self, training: RowVectors, classes: NDArray[Any], held_out: RowVectors, relative: bool) -> None:
        """Fit a Gaussian of each class with one covariance, and one of all rows."""
        from sklearn.covariance import ledoit_wolf

        self.relative, self.fitted, self.scales = relative, {}, {}
        for name, vectors in only(training, "embedding").items():
            known = ~np.isnan(vectors).all(axis=1)
            rows, labels = vectors[known], classes[known]
            names = np.unique(labels)
            means = np.stack([rows[labels == label].mean(axis=0) for label in names])
            within = rows - means[np.searchsorted(names, labels)]
            precisions = [np.linalg.pinv(ledoit_wolf(part)[0]) for part in (within, rows)]
            self.fitted[name] = (means, rows.mean(axis=0), *precisions)
            found = self._score(name, held_out[name])
            found = found[~np.isnan(found)]
            middle, high = np.quantile(found, (0.5, 0.9))
            self.scales[name] = (middle, max(high - middle, 1e-6))

    def _score(self, name: SpaceName, vectors: Floats) -> Floats:
        means, centre, within, overall = self.fitted[name]
        own = np.stack([_squares(vectors - mean, within) for mean in means]).min(axis=0)
        return own - _squares(vectors - centre, overall) if self.relative else own

    def score(self, vectors: RowVectors) -> Floats:
        """Return the largest score of each row over its streams."""
        found = [(self._score(n, vectors[n]) - self.scales[n][0]) / self.scales[n][1] for n in self.fitted]
        return np.nan_to_num(np.stack(found), nan=-np.inf).max(axis=0)


def _squares(differences: Floats, precision: Floats) -> Floats:
    return np.einsum("nd,de,ne->n", differences, precision, differences)


def judge(name: str, split: str, models: Path | None) -> tuple[dict[str, dict[str, float]], float, dict[str, float]]:
    """Judge every method on a dataset.

    Args:
        name: The dataset.
        split: "test" or "validation".
        models: As for ``load_model``.

    Returns:
        Change to method to AUROC; the share of ordinary rows unusual at ``LEVEL``; and change to the share found then.
    """
    with tempfile.TemporaryDirectory() as folder:
        model = load_model(name, models, Path(folder)).trained
        train, held_out, ordinary = (Rows(model, table) for table in read_splits(name, split, models))
        classes = np.array([str(cell) for cell in train.table.columns[DATASETS[name]["target"]]])
        fused = SpaceName("fused", "embedding")
        fitted: dict[str, Any] = {
            "both": UnusualRows.fit(train.vectors, held_out.vectors),
            "embedding": UnusualRows.fit(only(train.vectors, "embedding"), only(held_out.vectors, "embedding")),
            "measures": UnusualRows.fit(only(train.vectors, "measures"), only(held_out.vectors, "measures")),
            "fused": UnusualRows.fit({fused: train.fused}, {fused: held_out.fused}),
            "Mahalanobis": Mahalanobis(train.vectors, classes, held_out.vectors, relative=False),
            "relative Mahalanobis": Mahalanobis(train.vectors, classes, held_out.vectors, relative=True),
        }

        def score(method: str, rows: Rows) -> Floats:
            if method == "fused":
                return largest(fitted[method], {fused: rows.fused})
            if isinstance(fitted[method], Mahalanobis):
                return np.asarray(fitted[method].score(rows.vectors))
            return largest(fitted[method], rows.vectors)

        before = {method: score(method, ordinary) for method in METHODS}
        false_alarms = float((fitted["both"].p_values(ordinary.vectors) <= LEVEL).mean())
        subset = ordinary.table.take(np.arange(min(CHANGED_ROWS, ordinary.table.num_rows)))
        aurocs, found = {}, {}
        for change, table in changed_tables(subset, name, model.schema.streams, DATA, seed=0).items():
            column = change.split(":")[0]
            kept = [row for row, cell in enumerate(table.columns[column]) if cell is not None]
            rows = Rows(model, table.take(kept))
            aurocs[change] = {method: auroc(before[method], score(method, rows)) for method in METHODS}
            found[change] = float((fitted["both"].p_values(rows.vectors) <= LEVEL).mean())
        return aurocs, false_alarms, found


def auroc(ordinary: Floats, changed: Floats) -> float:
    """Return how often a changed row has a larger score than an ordinary one."""
    from sklearn.metrics import roc_auc_score

    truth = np.repeat([0, 1], [len(ordinary), len(changed)])
    scores = np.nan_to_num(np.concatenate([ordinary, changed]), neginf=-1e9)
    return float(roc_auc_score(truth, scores))


def write_section(results: dict[str, Any], split: str) -> str:
    """Write the results as Markdown."""
    lines = [
        f"AUROC of telling changed rows (one column changed in each) from ordinary {split} rows, and the share of both",
        f"that is unusual at {LEVEL:.0%}. `both` is the package's score: the nearest training row in the embedding of",
        "each stream and in what is measured of its cells. `make bench-unusual`: models of the preset `fast`, at most",
        "3,000 training rows (the method was chosen with `--split validation`).",
        "The test rows of avdigits are of a speaker that training lacks, so that many of them are unusual unchanged;",
        "of validation rows, which are of the speakers of training, it is 5.6%.",
        "",
        f"| dataset | change | {' | '.join(METHODS)} | found at {LEVEL:.0%} |",
        "|---|---|" + "---:|" * (len(METHODS) + 1),
    ]
    for name, (aurocs, false_alarms, found) in results.items():
        lines.append(f"| {name} | none |" + " |" * len(METHODS) + f" {false_alarms:.1%} |")
        for change, scores in aurocs.items():
            cells = " | ".join(f"{scores[method]:.3f}" for method in METHODS)
            lines.append(f"| {name} | {change} | {cells} | {found[change]:.0%} |")
        means = [np.mean([scores[method] for scores in aurocs.values()]) for method in METHODS]
        shares = np.mean(list(found.values()))
        lines.append(f"| {name} | **mean** | " + " | ".join(f"**{m:.3f}**" for m in means) + f" | **{shares:.0%}** |")
    return "\n".join(lines)


def main() -> int:
    """Judge all datasets and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=None, help="folder of run folders named after the datasets")
    parser.add_argument("--split", choices=("test", "validation"), default="test")
    parser.add_argument("--datasets", nargs="*", default=list(DATASETS))
    options = parser.parse_args()
    results = {}
    for name in options.datasets:
        results[name] = judge(name, options.split, options.models)
        print(write_section({name: results[name]}, options.split), flush=True)
    if options.split == "test" and set(results) == set(DATASETS):
        replace_section(REPOSITORY / "docs" / "benchmarks.md", "unusual rows", write_section(results, options.split))
    return 0


if __name__ == "__main__":
    sys.exit(main())
