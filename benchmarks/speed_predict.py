"""Speed of prediction: one row, 100,000 rows and a cold process, written to docs/benchmarks.md.

Run it with ``make bench-speed``, or with fewer rows::

    python benchmarks/speed_predict.py --rows 10000

The models are trained here, without baselines, so that the network decides and both sides run it.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measuring import seconds
from sections import replace_section

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("POLYMODAL_DATA", REPOSITORY.parent / "shared" / "data"))
ROWS, FEW_ROWS, TRAINING_ROWS = 100_000, 10_000, 2000
GOES, ONE_ROW_GOES, STARTS, THREADS = 5, 50, 5, 2
MOST_RATIO, LEAST_SHARE, MOST_MB = 1.5, 0.7, 200
TEXTS = ["title", "review_text"]
MOST_S = {"import polymodal": 0.15, "polymodal --help": 0.3, "polymodal predict": 2.5}


def main() -> None:
    """Measure and write the section, or do one part in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=ROWS, help="fewer rows, for a try")
    parser.add_argument("--memory", nargs=2, metavar=("MODEL", "TABLE"), help="predict, and print the peak in MB")
    asked = parser.parse_args()
    if asked.memory:
        print(peak_mb(*asked.memory))
    elif not (DATA / "clothing").is_dir():
        print(f"Nothing was measured: the dataset is not here, no folder {DATA / 'clothing'} (set POLYMODAL_DATA).")
    else:
        with tempfile.TemporaryDirectory() as scratch:
            os.environ["POLYMODAL_CACHE"] = str(Path(scratch) / "cache")
            text = measure_all(Path(scratch), asked.rows)
        print(text)
        if asked.rows == ROWS:
            replace_section(REPOSITORY / "docs" / "benchmarks.md", "prediction", text)


def measure_all(scratch: Path, num_rows: int) -> str:
    """Train the models and measure everything.

    Args:
        scratch: An empty folder.
        num_rows: Rows of the long table.

    Returns:
        The section as Markdown.
    """
    import torch

    torch.set_num_threads(THREADS)
    models = {name: train(scratch / name) for name, train in MODELS.items() if (DATA / SOURCES[name]).is_dir()}
    one_row = {name: measure_one_row(model, SOURCES[name]) for name, model in models.items()}
    few, many = (write_rows(scratch / f"{count}.csv", count) for count in (FEW_ROWS, num_rows))
    one = write_rows(scratch / "1.csv", 1)
    pairs = measure_many(models["table and texts"], many, num_rows)
    peaks = [memory_of(scratch / "table and texts", path) for path in (few, many)]
    starts = measure_starts(scratch / "table and texts", one)
    return report(one_row, pairs, peaks, starts, num_rows)


def train_table(folder: Path) -> Any:
    """Train on numbers and categories of clothing."""
    return train(folder, clothing(TRAINING_ROWS).drop(TEXTS), "recommended")


def train_texts(folder: Path) -> Any:
    """Train on clothing, its two texts included."""
    return train(folder, clothing(TRAINING_ROWS), "recommended")


def train_digits(folder: Path) -> Any:
    """Train on pictures and sounds of digits."""
    import numpy as np

    from polymodal.data.tables.table import read_table

    table = read_table(DATA / "avdigits" / "train.csv")
    return train(folder, table.take(np.arange(0, table.num_rows, 10)).drop(["speaker"]), "digit")


def train(folder: Path, table: Any, target: str) -> Any:
    """Train one epoch of the default network.

    Args:
        folder: Run folder to write.
        table: Rows.
        target: Column to predict.

    Returns:
        The model.
    """
    import polymodal

    settings = {"train.epochs": 1, "baselines": False}
    return polymodal.fit(table, target=target, test=False, settings=settings, output=folder)


MODELS: dict[str, Callable[[Path], Any]] = {
    "table": train_table,
    "table and texts": train_texts,
    "picture and sound": train_digits,
}
SOURCES = {"table": "clothing", "table and texts": "clothing", "picture and sound": "avdigits"}


def clothing(num_rows: int) -> Any:
    """Return rows of clothing, repeated as often as needed.

    Args:
        num_rows: How many.

    Returns:
        A table without ``rating``, which nearly gives the label away.
    """
    import numpy as np

    from polymodal.data.tables.table import read_table

    table = read_table(DATA / "clothing" / "train.csv").drop(["rating"])
    return table.take(np.arange(num_rows) % table.num_rows)


def write_rows(path: Path, num_rows: int) -> Path:
    """Write rows of clothing without their label.

    Args:
        path: CSV file to write.
        num_rows: How many.

    Returns:
        The path.
    """
    from polymodal.cli.prediction_files import open_output

    with open_output(str(path)) as write:
        write(clothing(num_rows).drop(["recommended"]).columns, ())
    return path


def measure_one_row(model: Any, source: str) -> tuple[float, float, float, float]:
    """Time a warm prediction of one row against the bare network on data_module tensors, in turns.

    Args:
        model: The model.
        source: The dataset whose first test row is predicted.

    Returns:
        Medians: milliseconds of both, their ratio, and the ratio with the decoding of the cells taken off.
    """
    import torch

    from polymodal.data.tables.table import read_table
    from polymodal.model.collate import collate

    row, network = first_row(source), model.trained.network
    preprocessor = model.trained.preprocessor
    batch = collate({name: preprocessor.transform(read_table([row]))[0][name] for name in network.streams}, slice(None))

    def bare() -> None:
        with torch.inference_mode():
            network(batch)

    sides = (lambda: model.predictions([row]), bare, lambda: preprocessor.transform(read_table([row])))
    times = [[seconds(side) for side in sides] for _ in range(ONE_ROW_GOES + 5)][5:]
    whole, alone = (1000 * statistics.median(go[side] for go in times) for side in (0, 1))
    ratio = statistics.median(go[0] / go[1] for go in times)
    return whole, alone, ratio, statistics.median((go[0] - go[2]) / go[1] for go in times)


def first_row(source: str) -> dict[str, Any]:
    """Return the first test row of a dataset that has all cells.

    Args:
        source: The dataset.

    Returns:
        Column to cell; files by their full path.
    """
    from polymodal.data.tables.table import read_table

    table = read_table(DATA / source / "test.csv")
    rows = zip(*table.columns.values(), strict=True)
    cells = next(cells for cells in rows if None not in cells)
    row = dict(zip(table.columns, cells, strict=True))
    return {name: str(DATA / source / cell) if name in ("image", "audio") else cell for name, cell in row.items()}


def measure_many(model: Any, path: Path, num_rows: int) -> list[tuple[float, float, float]]:
    """Predict a long file to a file, and after every fifth of it run the bare network on as many data_module rows.

    Args:
        model: The model.
        path: The rows.
        num_rows: How many they are.

    Returns:
        Rows a second of each go: predicted; bare network, rows in order; bare network, rows by length.
    """
    import numpy as np

    from polymodal.cli.prediction_files import open_output
    from polymodal.model.batches import length_order

    columns, _ = model.trained.preprocessor.transform(clothing(FEW_ROWS))
    orders = np.arange(FEW_ROWS), length_order(columns)
    run_bare(model, columns, orders[0][:512])
    parts, goes = iter(model.predict_batches(path)), []
    with open_output(str(path.with_suffix(".out.csv"))) as write:
        for number in range(GOES):
            done, started = 0, time.perf_counter()
            while done < num_rows / GOES and (found := next(parts, None)) is not None:
                write(found.to_columns(), found.records)
                done += len(found)
            rate = done / (time.perf_counter() - started)
            plain, sorted_ = (FEW_ROWS / seconds(lambda o=order: run_bare(model, columns, o)) for order in orders)
            goes.append((rate, plain, sorted_))
            print(f"go {number}: {rate:.0f}, {plain:.0f}, {sorted_:.0f} rows/s", flush=True)
    return goes


def run_bare(model: Any, columns: Any, order: Any) -> None:
    """Run the bare network over data_module arrays.

    Args:
        model: The model.
        columns: Stream to arrays.
        order: Row indices.
    """
    import torch

    from polymodal.model.batches import BATCH_ROWS
    from polymodal.model.collate import collate

    with torch.inference_mode():
        for start in range(0, len(order), BATCH_ROWS):
            model.trained.network(collate(columns, order[start : start + BATCH_ROWS]))


def memory_of(model: Path, table: Path) -> float:
    """Predict in a process of its own.

    Args:
        model: Run folder.
        table: Rows.

    Returns:
        The process's peak in MB.
    """
    command = [sys.executable, __file__, "--memory", str(model), str(table)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def peak_mb(model: str, table: str) -> float:
    """Predict a file to a file.

    Args:
        model: Run folder.
        table: Rows.

    Returns:
        This process's peak in MB.
    """
    import torch

    import polymodal
    from polymodal.cli.prediction_files import open_output

    torch.set_num_threads(THREADS)
    with open_output(f"{table}.memory.csv") as write:
        for found in polymodal.load(model).predict_batches(table):
            write(found.to_columns(), found.records)
    return own_peak_kb() / 2**10


def own_peak_kb() -> int:
    """Return the peak of this process's memory, its parent's left out (which Linux's getrusage counts in)."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (2**10 if sys.platform == "darwin" else 1)
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM:"))


def measure_starts(model: Path, table: Path) -> dict[str, float]:
    """Time cold processes, in turns, after one that warms the disk.

    Args:
        model: Run folder.
        table: One row.

    Returns:
        What is started to its median seconds.
    """
    command = str(Path(sys.executable).with_name("polymodal"))
    asked = {
        "import polymodal": [sys.executable, "-c", "import polymodal"],
        "polymodal --help": [command, "--help"],
        "polymodal predict": [command, "predict", str(model), str(table)],
    }
    variables = {**os.environ, "OMP_NUM_THREADS": str(THREADS)}

    def start(words: list[str]) -> float:
        return seconds(lambda: subprocess.run(words, capture_output=True, check=True, env=variables))

    goes = [{name: start(words) for name, words in asked.items()} for _ in range(STARTS + 1)][1:]
    return {name: statistics.median(go[name] for go in goes) for name in asked}


def report(
    one_row: dict[str, tuple[float, float, float, float]],
    pairs: list[tuple[float, float, float]],
    peaks: list[float],
    starts: dict[str, float],
    num_rows: int,
) -> str:
    """Return the section as Markdown.

    Args:
        one_row: Model to what ``measure_one_row`` returned.
        pairs: What ``measure_many`` returned.
        peaks: Peak MB with few and with many rows.
        starts: What is started to seconds.
        num_rows: How many rows are many.

    Returns:
        Four tables.
    """
    rates = [statistics.median(go[side] for go in pairs) for side in range(3)]
    shares = [statistics.median(go[0] / go[side] for go in pairs) for side in (1, 2)]
    lines = [
        f"Command: `make bench-speed` (two threads; medians of {ONE_ROW_GOES} calls, {GOES} goes of",
        f"{num_rows // GOES:,} rows and {STARTS} starts, the sides in turns; ratios are medians over the goes).",
        "Models of one epoch, without baselines, so that the network decides.",
        "",
        "One row, warm: `Model.predictions` of a list of one dict, against the bare network on data_module tensors.",
        "",
        "| model | polymodal | bare network | ratio | without decoding | must be at most |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {whole:.2f} ms | {alone:.2f} ms | {ratio:.2f} | {undecoded:.2f} | {MOST_RATIO} |"
        for name, (whole, alone, ratio, undecoded) in one_row.items()
    ]
    lines += [
        "",
        f"{num_rows:,} rows of clothing with two texts, from a CSV file to a CSV file, against the bare network on",
        "data_module arrays in batches of 256.",
        "",
        "| bare network's rows | polymodal | bare network | ratio | must be at least |",
        "|---|---|---|---|---|",
        f"| in the table's order | {rates[0]:,.0f} rows/s | {rates[1]:,.0f} rows/s | {shares[0]:.2f} | {LEAST_SHARE} |",
        f"| by length | {rates[0]:,.0f} rows/s | {rates[2]:,.0f} rows/s | {shares[1]:.2f} | – |",
        "",
        "| rows | peak memory | must be at most |",
        "|---|---|---|",
        f"| {FEW_ROWS:,} | {peaks[0]:.0f} MB | – |",
        f"| {num_rows:,} | {peaks[1]:.0f} MB | {peaks[0] + MOST_MB:.0f} MB |",
        "",
        "| cold process | seconds | must be at most |",
        "|---|---|---|",
    ]
    shown = {"polymodal predict": "`polymodal predict` of one row"}
    lines += [f"| {shown.get(name, f'`{name}`')} | {s:.2f} | {MOST_S[name]} |" for name, s in starts.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
