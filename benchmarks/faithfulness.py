"""Whether explanations of cells are faithful: deletion and insertion curves on real data, and known causes.

Deletion takes the atoms of a cell away, those of the largest value first, and insertion gives them back to a cell
without any (Petsiuk et al. 2018, RISE, arXiv 1806.07421, section 4.1). The area under the answer's curve is low for
deletion and high for insertion where the order is right. Every method orders the same atoms of the same rows; of each
row only the cells of the stream in question are there, so that it decides. Besides: generated rows with one known
cause, and maps of a network whose weights are drawn anew (Adebayo et al. 2018, arXiv 1810.03292).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import polymodal
from known_causes import KNOWN_CAUSES, is_hit, top_place
from polymodal.data.tables.table import Table, read_table
from polymodal.explain.answers import decode_rows, final_predictions
from polymodal.explain.cells import SEARCHES
from polymodal.explain.changed_cells import ChangedCells
from polymodal.explain.gradient_cells import RowGradients, scalar_of
from polymodal.explain.outputs import Output, outputs_of
from polymodal.explain.parts import CellSource, DividedCell, IndivisibleCellError, divide_cell
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import SilentProgress
from sections import replace_section

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
RESULTS = ROOT / "benchmarks" / "results" / "faithfulness.json"
PASSES, STEPS, RANDOM_ORDERS, RESAMPLES = 50, 10, 3, 2000
RANDOM, PLAIN = "random order", "plain gradients"
METHODS = ("occlusion", "owen", "integrated gradients", PLAIN, RANDOM)
SIMILARITY_ROWS = 10
CAUSE_ROWS, CAUSE_TEST_ROWS = 300, 100
OPTIONS = {"train.epochs": 12, "width": 32, "num_threads": 1}
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """A stream of a dataset.

    Attributes:
        dataset: Folder of the data.
        stream: The stream.
        target: The target.
        drop: Columns that are no inputs.
    """

    dataset: str
    stream: str
    target: str
    drop: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Dataset and stream."""
        return f"{self.dataset}, {self.stream}"


CASES = (
    Case("clothing", "review_text", "recommended", ("rating",)),
    Case("avdigits", "image", "digit", ("speaker",)),
    Case("leaf", "image", "species"),
    Case("avdigits", "audio", "digit", ("speaker",)),
    Case("esc10", "audio", "label", ("fold",)),
    Case("radhar", "points", "activity"),
)


@dataclass(frozen=True)
class Maps:
    """One row: its divided cell and the values of its atoms by each method.

    Attributes:
        place: The row among the decoded ones.
        cell: The divided cell.
        values: Method to values of atoms; a random order to None.
    """

    place: int
    cell: DividedCell
    values: dict[str, Floats | None]


class Explained:
    """Rows of a table in which one stream is present, and the maps of its cells."""

    def __init__(self, model: TrainedModel, table: Table, stream: str) -> None:
        """Predict the rows.

        Args:
            model: The trained model.
            table: The rows.
            stream: The stream.
        """
        self.model, self.stream = model, stream
        entry = next(found for found in model.schema.streams if found.name == stream)
        alone = {name: cells if name in entry.columns else [None] * len(cells) for name, cells in table.columns.items()}
        self.table, self.columns = replace(table, columns=alone), entry.columns
        self.game = ChangedCells(model, decode_rows(model, self.table))
        target = next(iter(model.targets))
        predictions = final_predictions(model, self.game.decoded)[0][target]
        self.outputs: list[Output] = outputs_of(target, model.targets[target], predictions)

    def cells(self) -> list[tuple[int, DividedCell]]:
        """Divide the cells that can be."""
        found = []
        for place in range(self.table.num_rows):
            raw = {name: self.table.columns[name][place] for name in self.columns}
            source = CellSource(self.model.preprocessor.modalities[self.stream], raw, self.table.folder)
            try:
                found.append((place, divide_cell(source)))
            except IndivisibleCellError:
                continue
        return found

    def answers(self, place: int, cell: DividedCell, masks: Sequence[NDArray[np.bool_]]) -> Floats:
        """Ask for the answer without atoms."""
        cells, outputs = [cell.without(mask) for mask in masks], [[self.outputs[place]] for _ in masks]
        return np.concatenate(self.game.answers(self.stream, [place] * len(masks), cells, outputs))

    def searched(self, place: int, cell: DividedCell, method: str) -> Floats:
        """Return the values of atoms by taking parts away."""
        _, absent = self.game.with_and_without(self.stream, [self.outputs[place]], [place])
        search = SEARCHES[method](cell, absent, PASSES - 1)
        while masks := search.requests():
            search.tell(self.answers(place, cell, masks)[:, None])
        return search.density(0)

    def maps(self, place: int, cell: DividedCell) -> Maps:
        """Compute all maps of a row."""
        values: dict[str, Floats | None] = {method: self.searched(place, cell, method) for method in SEARCHES}
        row = RowGradients.begin(self.model, self.game.decoded, place, {self.stream: cell})
        scalar = scalar_of(self.model, self.outputs[place])
        assert scalar is not None
        values["integrated gradients"] = row.atoms(
            self.stream, row.network.attribute(scalar, row.baselines, PASSES).values
        )
        values[PLAIN] = row.atoms(self.stream, row.network.gradient_times_input(scalar))
        return Maps(place, cell, {**values, RANDOM: None})

    def areas(self, maps: Maps, method: str) -> Floats:
        """Return the areas under the deletion and the insertion curve."""
        values, seeds = maps.values[method], range(RANDOM_ORDERS)
        if values is not None:
            return self._areas(maps, values)
        drawn = [np.random.default_rng(seed).random(maps.cell.shape) for seed in seeds]
        return np.mean([self._areas(maps, order) for order in drawn], axis=0)

    def _areas(self, maps: Maps, values: Floats) -> Floats:
        ties = np.random.default_rng(0).random(values.size)
        order = np.lexsort((ties, -values.ravel()))
        counts = np.unique(np.linspace(0, values.size, STEPS + 1).astype(int))
        rank = np.empty(values.size, int)
        rank[order] = np.arange(values.size)
        removed = [(rank < count).reshape(values.shape) for count in counts]
        found = self.answers(maps.place, maps.cell, [*removed, *(~mask for mask in removed)])
        shares = counts / values.size
        return np.array([np.trapezoid(part, shares) for part in np.split(found, 2)])


def measure(case: Case, model: TrainedModel, rows: int) -> dict[str, Any]:
    """Compare the methods on one stream.

    Args:
        case: The stream.
        model: A model of its dataset.
        rows: How many test rows are drawn.

    Returns:
        Areas by method, and what each method is better by, with 95 % intervals over rows.
    """
    test = read_table(DATA / case.dataset / "test.csv")
    drawn = np.random.default_rng(0).permutation(test.num_rows)[:rows]
    explained = Explained(model, test.take(drawn), case.stream)
    maps = [explained.maps(place, cell) for place, cell in explained.cells()]
    areas = {method: np.array([explained.areas(row, method) for row in maps]) for method in METHODS}
    others = (RANDOM, PLAIN)
    return {
        "rows": len(maps),
        "areas": {method: found.mean(axis=0).tolist() for method, found in areas.items()},
        "better": {method: {other: _gains(areas[method], areas[other]) for other in others} for method in METHODS[:3]},
        "similarity": _similarity(explained, maps),
    }


def _gains(areas: Floats, others: Floats) -> dict[str, list[float]]:
    """Return mean and interval of what deletion is lower by, and insertion higher."""
    gains = np.stack([others[:, 0] - areas[:, 0], areas[:, 1] - others[:, 1]], axis=1)
    random = np.random.default_rng(0)
    means = np.array([gains[random.integers(0, len(gains), len(gains))].mean(axis=0) for _ in range(RESAMPLES)])
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    both = zip(("deletion", "insertion"), gains.mean(axis=0), low, high, strict=True)
    return {name: [float(mean), float(least), float(most)] for name, mean, least, most in both}


def _similarity(explained: Explained, maps: Sequence[Maps]) -> dict[str, float]:
    """Return the mean rank correlation of maps of the network and of one whose weights are drawn anew."""
    from scipy.stats import spearmanr

    trained = {name: weights.clone() for name, weights in explained.model.network.state_dict().items()}
    redraw_weights(explained.model)
    anew = [explained.maps(row.place, row.cell) for row in maps[:SIMILARITY_ROWS]]
    explained.model.network.load_state_dict(trained)
    found = {}
    for method in ("occlusion", "integrated gradients"):
        pairs = [
            (np.asarray(old.values[method]), np.asarray(new.values[method]))
            for old, new in zip(maps, anew, strict=False)
        ]
        ranks = [spearmanr(old.ravel(), new.ravel()).statistic for old, new in pairs if old.std() and new.std()]
        found[method] = float(np.mean(ranks))
    return found


def redraw_weights(model: TrainedModel) -> None:
    """Draw all weights of the network anew, each tensor with its own mean and deviation.

    Args:
        model: The trained model; its network is changed in place.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in model.network.parameters():
            if weights.numel() > 1:
                drawn = torch.randn(weights.shape, generator=generator)
                weights.copy_(weights.mean() + weights.std() * drawn)


def find_causes(name: str) -> dict[str, Any]:
    """Train on generated rows and count how often the top part is the cause.

    Args:
        name: A name in ``KNOWN_CAUSES``.

    Returns:
        Rows that are explained, and hits by method.
    """
    train, test = KNOWN_CAUSES[name](CAUSE_ROWS, 0), KNOWN_CAUSES[name](CAUSE_TEST_ROWS, 1)
    silent = SilentProgress()
    model = polymodal.fit(train.table, target="label", preset="fast", seed=0, settings=OPTIONS, progress=silent)
    answers = model.predict(test.table)["label"]
    rows = [row + 1 for row, cause in enumerate(test.causes) if cause is not None and answers[row] == "yes"]
    hits = {}
    for method in ("occlusion", "owen", "gradients"):
        found = model.explain(test.table, rows=rows, method=method, progress=silent).rows
        hits[method] = sum(is_hit(top_place(row.cells[0].parts), test.causes[row.row - 1] or {}) for row in found)
    return {"rows": len(rows), "hits": hits}


def load_or_train(case: Case, given: dict[str, str], folder: Path) -> TrainedModel:
    """Load the model that was given, or train one.

    Args:
        case: The dataset.
        given: Dataset to run folder.
        folder: Where new runs are written.

    Returns:
        The model.
    """
    data = DATA / case.dataset
    run = Path(given.get(case.dataset, folder / case.dataset))
    if not run.exists():
        polymodal.fit(
            data / "train.csv",
            target=case.target,
            validation=data / "validation.csv",
            drop=list(case.drop),
            preset="fast",
            seed=0,
            output=run,
            progress=SilentProgress(),
        )
    return polymodal.load(run).trained


def report(results: dict[str, Any]) -> str:
    """Write the results as Markdown.

    Args:
        results: Case or cause to what was measured.

    Returns:
        The section's text.
    """
    cases = {case.name: results[case.name] for case in CASES if case.name in results}
    lines = [
        f"`make bench-faithfulness`: {PASSES} network passes a row. Areas under the curves of the final answer, mean",
        "over rows; atoms are taken away (deletion, low is good) or given back (insertion, high is good), the most",
        "important first. Only the named stream is present. In brackets: how much better than a random order, 95 %",
        "interval over rows.",
        "",
        "| data | rows | curve | " + " | ".join(METHODS) + " |",
        "|---|---:|---|" + "---:|" * len(METHODS),
    ]
    for name, found in cases.items():
        for place, curve in enumerate(("deletion", "insertion")):
            cells = [_cell(found, method, place, curve) for method in METHODS]
            lines.append(f"| {name} | {found['rows']} | {curve} | " + " | ".join(cells) + " |")
    lines += ["", "Better than plain gradients (gradient × input) by, with 95 % interval:", ""]
    lines += ["| data | occlusion, deletion | occlusion, insertion |", "|---|---:|---:|"]
    for name, found in cases.items():
        gains = found["better"]["occlusion"][PLAIN]
        lines.append(f"| {name} | {_interval(gains['deletion'])} | {_interval(gains['insertion'])} |")
    lines += [
        "",
        "Rank correlation with the maps of a network whose weights are drawn anew (near 0: the maps are the",
    ]
    lines += [
        "network's own; occlusion explains baselines too, which stay):",
        "",
        "| data | occlusion | integrated gradients |",
    ]
    lines += ["|---|---:|---:|"]
    for name, found in cases.items():
        values = found["similarity"]
        lines.append(f"| {name} | {values['occlusion']:.2f} | {values['integrated gradients']:.2f} |")
    lines += [
        "",
        "Generated rows with one known cause: how often the part that speaks most for the answer is the cause.",
        "",
    ]
    lines += ["| cause | rows | occlusion | owen | integrated gradients |", "|---|---:|---:|---:|---:|"]
    for name in KNOWN_CAUSES:
        if name in results:
            hits, rows = results[name]["hits"], results[name]["rows"]
            shares = " | ".join(f"{hits[method] / rows:.0%}" for method in ("occlusion", "owen", "gradients"))
            lines.append(f"| {name} | {rows} | {shares} |")
    return "\n".join(lines)


def _cell(found: dict[str, Any], method: str, place: int, curve: str) -> str:
    area = f"{found['areas'][method][place]:.3f}"
    return area if method not in found["better"] else f"{area} ({_interval(found['better'][method][RANDOM][curve])})"


def _interval(gain: list[float]) -> str:
    mean, low, high = gain
    return f"{mean:+.3f}, {low:+.3f} to {high:+.3f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for and write the section."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", action="append", default=[], metavar="DATASET=RUN", help="a run of a dataset")
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--only", nargs="*", help="names of cases (dataset, or a known cause); default: all")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    given = dict(pair.split("=", 1) for pair in options.model)
    with tempfile.TemporaryDirectory() as folder:
        for name, work in _works(given, options.rows, Path(folder)).items():
            if options.only and not any(name.startswith(asked) for asked in options.only):
                continue
            started = time.process_time()
            measured = {name: work()}
            print(f"{name}: {time.process_time() - started:.0f} s of CPU", flush=True)
            RESULTS.parent.mkdir(parents=True, exist_ok=True)
            RESULTS.write_text(json.dumps(_known() | measured, indent=1, sort_keys=True) + "\n")
    replace_section(ROOT / "docs" / "benchmarks.md", "faithfulness", report(_known()))
    return 0


def _known() -> dict[str, Any]:
    """Return what was measured so far, by other processes too."""
    return dict(json.loads(RESULTS.read_text())) if RESULTS.is_file() else {}


def _works(given: dict[str, str], rows: int, folder: Path) -> dict[str, Callable[[], dict[str, Any]]]:
    def case_work(case: Case) -> dict[str, Any]:
        return measure(case, load_or_train(case, given, folder), rows)

    return {case.name: partial(case_work, case) for case in CASES} | {
        name: partial(find_causes, name) for name in KNOWN_CAUSES
    }


if __name__ == "__main__":
    sys.exit(main())
