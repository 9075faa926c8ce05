"""What a teacher's answers and an earlier run's encoders are worth where few rows have labels: docs/benchmarks.md.

Run it with ``make bench-distillation``, or for some cases and seeds only::

    python benchmarks/distillation.py --only avdigits leaf --seeds 0

What finished runs said is kept in ``benchmarks/results/distillation`` and not repeated; remove a file to repeat it.
Teachers of all labels and the runs whose encoders others start from are trained once, for all seeds.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import shutil
import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import polymodal
from polymodal.data.tables.table import Table, read_table
from quality import DATA
from sections import replace_section

REPOSITORY = Path(__file__).resolve().parents[1]
RUNS = REPOSITORY / "runs" / "distillation"
RESULTS = REPOSITORY / "benchmarks" / "results" / "distillation"
COMMON: dict[str, Any] = {"preset": "fast", "validation_share": 0.25}
"""Options of all runs; validation rows are drawn from the few rows with a label."""
Scores = dict[str, dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class TaughtCase:
    """A student that learns from a teacher.

    Attributes:
        name: Of the row in the table.
        folder: Of the dataset.
        files: Training and test table.
        target: Column to predict.
        metric: What is compared.
        labels: Rows that keep their label.
        rows: Rows that are there at all; None: all of the dataset.
        kind: What kind of target it is, where that is not found by itself.
        drop: Columns that nobody reads.
        student_drop: Columns that the student does not read either.
        knows_all: Whether the teacher learned from all labels; else from the same few.
        is_structured: Whether rows with a label learn nothing from a teacher.
        words: How the table describes it.
    """

    name: str
    folder: str
    files: tuple[str, str] = ("train.csv", "test.csv")
    target: str
    metric: str
    labels: int
    rows: int | None = None
    kind: str | None = None
    drop: tuple[str, ...] = ()
    student_drop: tuple[str, ...] = ()
    knows_all: bool = False
    is_structured: bool = False
    words: str


@dataclass(frozen=True, kw_only=True)
class StartedCase:
    """A run that starts from the encoders of one that learned to tell other classes.

    Attributes:
        name: Of the row in the table.
        folder: Of the dataset.
        target: Column to predict; the earlier run learns one half of its classes, this one the other.
        labels: Rows of each class that this run learns from, its validation rows among them.
        drop: Columns that nobody reads.
        words: How the table describes it.
    """

    name: str
    folder: str
    target: str
    labels: int
    drop: tuple[str, ...]
    words: str


TAUGHT = (
    TaughtCase(
        name="avdigits",
        folder="avdigits",
        target="digit",
        metric="accuracy",
        labels=200,
        drop=("speaker",),
        student_drop=("image",),
        words="hears the digit; its teacher, of the same 200 labels, sees it too",
    ),
    TaughtCase(
        name="leaf",
        folder="leaf",
        target="species",
        metric="accuracy",
        labels=297,
        student_drop=("margin*", "shape*", "texture*"),
        words="sees the leaf; its teacher, of the same 297 labels, reads 192 measures too",
    ),
    TaughtCase(
        name="captions",
        folder="easyvqa",
        files=("captions_train.csv", "captions_test.csv"),
        target="caption",
        metric="exact_match",
        labels=100,
        rows=600,
        kind="caption",
        knows_all=True,
        is_structured=True,
        words="describes the picture; its teacher learned from 600 captions",
    ),
)
STARTED = (
    StartedCase(
        name="avdigits",
        folder="avdigits",
        target="digit",
        labels=10,
        drop=("speaker",),
        words="digits 5 to 9 after 0 to 4, 10 rows each",
    ),
)


def main() -> None:
    """Run what is asked for and write the section."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", help="names of datasets")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    asked = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"The datasets are not here: no folder {DATA} (set POLYMODAL_DATA).")
    logging.disable(logging.WARNING)
    for seed in asked.seeds:
        for case in (*TAUGHT, *STARTED):
            if asked.only is None or case.name in asked.only:
                measure(case, seed)
    replace_section(REPOSITORY / "docs" / "benchmarks.md", "distillation", section())


def measure(case: TaughtCase | StartedCase, seed: int) -> None:
    """Train the runs of a case with one seed, unless that was done before.

    Args:
        case: The case.
        seed: Of the rows with labels and of the training.
    """
    file = result_file(case, seed)
    if file.is_file():
        return
    scores = taught(case, seed) if isinstance(case, TaughtCase) else started(case, seed)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
    print(file.stem, scores, flush=True)


def taught(case: TaughtCase, seed: int) -> Scores:
    """Score a student alone, with a teacher on its rows with labels, and with it on all rows.

    Args:
        case: The case.
        seed: Of the rows with labels and of the training.

    Returns:
        Run to the final answer's and the network's score.
    """
    whole, test = (read_table(DATA / case.folder / name) for name in case.files)
    whole = whole.take(np.arange(case.rows or whole.num_rows))
    labelled = np.sort(np.random.default_rng(seed).permutation(whole.num_rows)[: case.labels])
    few, all_rows = whole.take(labelled), without_labels(whole, case.target, labelled)
    kinds = {} if case.kind is None else {case.target: case.kind}
    fit = partial(polymodal.fit, target=case.target, test=test, seed=seed, modality=kinds, **COMMON)
    student = partial(fit, drop=(*case.drop, *case.student_drop))
    teacher = RUNS / f"teacher-{case.name}{'' if case.knows_all else f'-{seed}'}"
    runs: dict[str, Callable[[], polymodal.Model]] = {
        "teacher": lambda: kept(teacher, fit, whole if case.knows_all else few, drop=case.drop),
        "alone": lambda: student(few),
        "labelled": lambda: student(few, teacher=teacher),
        "unlabelled": lambda: student(all_rows, teacher=teacher),
    }
    if case.is_structured:
        del runs["labelled"]  # rows with a truth keep it
    return {name: scores_of(run(), case.target, case.metric) for name, run in runs.items()}


def kept(folder: Path, fit: Callable[..., polymodal.Model], table: Table, **options: Any) -> polymodal.Model:
    """Return the run of a folder, trained now if it is not there.

    Args:
        folder: The run folder.
        fit: ``polymodal.fit`` with all other options.
        table: Rows to learn from.
        **options: Further options.
    """
    if (folder / "model" / "model.json").is_file():
        return polymodal.load(folder)
    shutil.rmtree(folder, ignore_errors=True)
    return fit(table, output=folder, **options)


def started(case: StartedCase, seed: int) -> Scores:
    """Score runs from scratch, and from tuned and frozen encoders of a run that learned other classes.

    Args:
        case: The case.
        seed: Of the rows with labels and of the training.

    Returns:
        Run to the final answer's and the network's accuracy.
    """
    whole, test = (read_table(DATA / case.folder / name) for name in ("train.csv", "test.csv"))
    classes = sorted({str(cell) for cell in whole.columns[case.target]})
    first = set(classes[: (len(classes) + 1) // 2])
    earlier, later, test = (
        of_classes(whole, case.target, first),
        *(of_classes(table, case.target, set(classes) - first) for table in (whole, test)),
    )
    few = later.take(rows_of_classes(later, case.target, case.labels, seed))
    output = RUNS / f"earlier-{case.name}"
    kept(output, polymodal.fit, earlier, target=case.target, test=False, drop=case.drop, **COMMON)
    fit = partial(polymodal.fit, few, target=case.target, test=test, seed=seed, drop=case.drop, **COMMON)
    runs: Mapping[str, Callable[[], polymodal.Model]] = {
        "scratch": fit,
        "tuned": partial(fit, init_from=output),
        "frozen": partial(fit, init_from=output, settings={"init_frozen": True}),
    }
    return {name: scores_of(run(), case.target, "accuracy") for name, run in runs.items()}


def without_labels(table: Table, target: str, labelled: NDArray[np.int64]) -> Table:
    """Return a table in which some rows alone keep their label.

    Args:
        table: All rows.
        target: The column of the labels.
        labelled: int64, rows that keep it.
    """
    kept = set(labelled.tolist())
    cells = [cell if row in kept else None for row, cell in enumerate(table.columns[target])]
    return dataclasses.replace(table, columns={**table.columns, target: cells})


def of_classes(table: Table, target: str, classes: set[str]) -> Table:
    """Return the rows of some classes.

    Args:
        table: All rows.
        target: The column of the classes.
        classes: Which.
    """
    return table.take(np.array([row for row, cell in enumerate(table.columns[target]) if str(cell) in classes]))


def rows_of_classes(table: Table, target: str, number: int, seed: int) -> NDArray[np.int64]:
    """Draw the same number of rows of each class.

    Args:
        table: The rows.
        target: The column of the classes.
        number: Rows of each.
        seed: Of the draw.

    Returns:
        int64, rising.
    """
    labels = np.array([str(cell) for cell in table.columns[target]])
    random = np.random.default_rng(seed)
    drawn = [random.permutation(np.flatnonzero(labels == label))[:number] for label in np.unique(labels)]
    return np.sort(np.concatenate(drawn))


def scores_of(model: polymodal.Model, target: str, metric: str) -> dict[str, float]:
    """Return a model's test scores.

    Args:
        model: The model.
        target: The column it predicts.
        metric: Name of the metric.

    Returns:
        ``answer``, the final answer's, and ``network``, its network's alone.
    """
    summary = model.summary()
    answer = summary["targets"][target]
    return {"answer": answer[metric], "network": summary["fusion"].get(target, answer)[metric]}


def result_file(case: TaughtCase | StartedCase, seed: int) -> Path:
    """Return where the scores of a case and seed are kept.

    Args:
        case: The case.
        seed: The seed.
    """
    kind = "taught" if isinstance(case, TaughtCase) else "started"
    return RESULTS / f"{kind}-{case.name}-{seed}.json"


def section() -> str:
    """Return both tables of all finished runs as Markdown."""
    lines = [
        "Command: `make bench-distillation` (`--preset fast`; mean ± sd over the seeds, each of which draws other rows",
        "with labels; a quarter of these are validation rows; test rows as they come with the dataset). Scores are of",
        "the final answer, in brackets of the network alone.",
        "",
        "A student with few labels, with `--teacher` on the rows with labels, and on all rows of the table too:",
        "",
        "| dataset | metric | student | labels | teacher | student alone | taught, labelled rows | "
        "taught, all rows | seeds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for case in TAUGHT:
        cells = [case.name, case.metric, case.words, str(case.labels)]
        lines.append(row(cells, finished(case), ("teacher", "alone", "labelled", "unlabelled")))
    lines += [
        "",
        "A run with few labels that starts from the encoders (`--init-from`) of a run on other classes of the same",
        "dataset (accuracy):",
        "",
        "| dataset | what is told apart | from scratch | encoders tuned | encoders frozen | seeds |",
        "|---|---|---|---|---|---|",
    ]
    for started_case in STARTED:
        cells = [started_case.name, started_case.words]
        lines.append(row(cells, finished(started_case), ("scratch", "tuned", "frozen")))
    return "\n".join(lines)


def finished(case: TaughtCase | StartedCase) -> list[Scores]:
    """Return the scores of a case, one a seed.

    Args:
        case: The case.
    """
    pattern = result_file(case, 0).name.replace("-0.json", "-*.json")
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob(pattern))]


def row(cells: list[str], found: list[Scores], runs: tuple[str, ...]) -> str:
    """Return a row of a table.

    Args:
        cells: The first cells.
        found: Scores, one a seed.
        runs: Names of the runs, one a further cell.
    """
    scores = [_spread(found, run) for run in runs] if found else ["not measured yet"] + [""] * (len(runs) - 1)
    return f"| {' | '.join([*cells, *scores, str(len(found))])} |"


def _spread(found: list[Scores], run: str) -> str:
    if run not in found[0]:
        return "–"
    answers, networks = ([scores[run][part] for scores in found] for part in ("answer", "network"))
    deviation = f" ± {statistics.stdev(answers):.3f}" if len(answers) > 1 else ""
    return f"{statistics.mean(answers):.3f}{deviation} ({statistics.mean(networks):.3f})"


if __name__ == "__main__":
    main()
