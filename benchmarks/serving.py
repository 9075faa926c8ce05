"""The server under load, on loopback, against the same graphs in ONNX Runtime alone; written to docs/benchmarks.md.

Run it with ``make bench-serving``, or shorter::

    python benchmarks/serving.py --seconds 5 --fuzzed 1000

A small model of the clothing reviews (text and table) is trained without baselines and exported, so that both sides run
the same graphs. The server has one process; the load comes from another one.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import schemathesis

import polymodal
from polymodal.data.tables.table import Table, read_table
from polymodal.export.export_bundle import export_bundle
from polymodal.progress import SilentProgress
from sections import replace_section
from speed_bundle import recorded_graphs

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("POLYMODAL_DATA", REPOSITORY.parent / "shared" / "data"))
COLUMNS = ("title", "review_text", "age", "positive_feedback_count", "division_name", "department_name")
TARGET = "recommended"
TRAINING_ROWS, BATCH, ROWS_A_REQUEST, QUEUE = 1500, 64, 64, 64
LEAST_SHARE, MOST_TIMES, MOST_MEMORY, MOST_REFUSAL_S = 0.7, 5.0, 1.2, 0.05


def main() -> None:
    """Measure and write the section."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10, help="length of each load")
    parser.add_argument("--overload", type=float, default=120, help="length of the load of twice the capacity")
    parser.add_argument("--fuzzed", type=int, default=10_000, help="number of random requests")
    parser.add_argument("--dry", action="store_true", help="print, and write nothing")
    asked = parser.parse_args()
    if not (DATA / "clothing").is_dir():
        print(f"Nothing was measured: the dataset is not here, no folder {DATA / 'clothing'} (set POLYMODAL_DATA).")
        return
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["POLYMODAL_CACHE"] = str(Path(scratch) / "cache")
        text = measure_all(Path(scratch), asked)
    print(text)
    if not asked.dry:
        replace_section(REPOSITORY / "docs" / "benchmarks.md", "serving", text)


def measure_all(scratch: Path, asked: argparse.Namespace) -> str:
    """Train, export, serve and measure everything; returns the section."""
    bundle, table = make_bundle(scratch)
    model = polymodal.load(bundle)
    bare, bare_row_s = bare_rate(model, table, asked.seconds)
    single, many = write_requests(scratch, model, table)
    with serving(bundle) as (process, port):
        started_kb = memory_kb(process)
        saturated = load(port, many, asked.seconds, connections=4)
        by_row = load(port, single, asked.seconds, connections=32)
        alone = load(port, single, asked.seconds / 2, connections=1)
        capacity = by_row["200"]["count"] / by_row["wall_s"]
        half = load(port, single, asked.seconds, connections=64, rate=capacity / 2)
        before_kb = memory_kb(process)
        twice = load(port, single, asked.overload, connections=256, rate=2 * capacity)
        after_kb = memory_kb(process)
        fuzzed = fuzz(port, asked.fuzzed)
    rate = saturated["200"]["count"] * ROWS_A_REQUEST / saturated["wall_s"]
    refused = twice.get("429", {"count": 0, "p99": 0.0})
    rows = [
        ("rows a second, ONNX Runtime alone on prepared arrays, batches of 64 in their order", f"{bare:,.0f}", ""),
        (f"rows a second, requests of {ROWS_A_REQUEST} rows", f"{rate:,.0f}", f"≥ {LEAST_SHARE * bare:,.0f}"),
        ("share of ONNX Runtime alone", f"{rate / bare:.2f}", f"≥ {LEAST_SHARE}"),
        ("requests a second, one row each, 32 connections", f"{capacity:,.0f}", ""),
        ("one row, one connection: median", ms(alone["200"]["p50"]), ""),
        ("one row, ONNX Runtime alone: median", ms(bare_row_s), ""),
        ("half of that capacity: p50, p99", f"{ms(half['200']['p50'])}, {ms(half['200']['p99'])}", "p99 ≤ "
         + ms(MOST_TIMES * alone["200"]["p50"])),
        (f"twice that capacity for {asked.overload:.0f} s: answered, refused with 429, other",
         f"{twice['200']['count']:,}, {refused['count']:,}, {others(twice):,}", "other: 0"),
        ("wrong answers, of all of them", str(sum(one["wrong"] for one in (saturated, by_row, half, twice))), "0"),
        ("refusals: p50, p99", f"{ms(refused.get('p50', 0.0))}, {ms(refused['p99'])}", f"≤ {ms(MOST_REFUSAL_S)}"),
        ("memory: start, before and after the overload",
         f"{started_kb / 1024:.0f}, {before_kb / 1024:.0f}, {after_kb / 1024:.0f} MB",
         f"≤ {MOST_MEMORY * before_kb / 1024:.0f} MB"),
        (f"{sum(fuzzed.values()):,} requests of schemathesis: by status",
         ", ".join(f"{status}: {number:,}" for status, number in fuzzed.items()), "no 5xx"),
    ]  # fmt: skip
    lines = ["| | measured | goal |", "|---|---|---|", *(f"| {a} | {b} | {c} |" for a, b, c in rows)]
    return f"`make bench-serving`. {describe(bundle)}\n\n" + "\n".join(lines)


def ms(seconds: float) -> str:
    """Format seconds as milliseconds."""
    return f"{1000 * seconds:.1f} ms"


def others(found: Mapping[str, Any]) -> int:
    """Count what was neither answered nor refused."""
    return sum(one["count"] for status, one in found.items() if status.isdigit() and status not in ("200", "429"))


def describe(bundle: Path) -> str:
    """Say what was measured, on what."""
    size = sum(path.stat().st_size for path in bundle.glob("graphs/*.onnx"))
    return (
        f"Clothing reviews, text and table, a bundle without baselines, {size / 1e6:.1f} MB of graphs. "
        f"{os.cpu_count()} cores, of which the load generator needs one; load average at the end "
        f"{os.getloadavg()[0]:.1f}."
    )


def make_bundle(scratch: Path) -> tuple[Path, Table]:
    """Train a small model and export it; returns its folder and rows to ask."""
    files = sorted((DATA / "clothing").glob("*.csv")) + sorted((DATA / "clothing").glob("*.parquet"))
    table = read_table(next(file for file in files if "train" in file.name.lower() or len(files) == 1))
    names = [name for name in (*COLUMNS, TARGET) if name in table.columns]
    rows = Table({name: table.columns[name][:TRAINING_ROWS] for name in names}, None, "clothing")
    target = TARGET if TARGET in names else names[-1]
    settings = {"baselines": False, "train.epochs": 2, "width": 64}
    model = polymodal.fit(rows, target=target, settings=settings, output=scratch / "run", progress=SilentProgress())
    export_bundle(model.trained, scratch / "bundle", rows, SilentProgress())
    return scratch / "bundle", Table({n: c for n, c in rows.columns.items() if n != target}, None, "clothing")


def bare_rate(model: Any, table: Table, duration_s: float) -> tuple[float, float]:
    """Return rows a second of the graphs alone on prepared arrays, and the median seconds of one row.

    The rows of a batch are in their order, padded to the longest, as a caller of ONNX Runtime would give them.
    """
    many, one = bare_graphs(model, table.take(range(BATCH))), bare_graphs(model, table.take(range(1)))
    rates, until = [], time.perf_counter() + duration_s
    while time.perf_counter() < until:
        rates.append(BATCH / seconds_of(many))
    return statistics.median(rates), statistics.median(seconds_of(one) for _ in range(100))


def bare_graphs(model: Any, table: Table) -> list[tuple[Callable[[dict[str, Any]], Any], dict[str, Any]]]:
    """Return the graphs that predict some rows at once, with their arrays."""
    columns, _ = model.trained.preprocessor.transform(table)
    with recorded_graphs() as graphs:
        model.trained.network._run_batch(columns, np.arange(table.num_rows), [frozenset()])
    return graphs


def seconds_of(graphs: list[tuple[Callable[[dict[str, Any]], Any], dict[str, Any]]]) -> float:
    """Return how long the graphs take."""
    started = time.perf_counter()
    for run, arrays in graphs:
        run(arrays)
    return time.perf_counter() - started


def write_requests(scratch: Path, model: Any, table: Table) -> tuple[Path, Path]:
    """Write requests of one row, and of many, with the labels that are expected."""
    labels = next(iter(model.predictions(table).labels.values()))
    rows = [plain(dict(zip(table.columns, cells, strict=True))) for cells in zip(*table.columns.values(), strict=True)]
    single = [({"rows": [row]}, [label]) for row, label in zip(rows[:500], labels[:500], strict=True)]
    starts = range(0, len(rows) - ROWS_A_REQUEST, ROWS_A_REQUEST)
    many = [({"rows": rows[a : a + ROWS_A_REQUEST]}, labels[a : a + ROWS_A_REQUEST]) for a in starts]
    paths = scratch / "single.json", scratch / "many.json"
    for path, requests in zip(paths, (single, many), strict=True):
        path.write_text(json.dumps(requests), encoding="utf-8")
    return paths


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as JSON: absent cells are null."""
    return {name: None if cell is None or cell != cell else cell for name, cell in row.items()}


@contextmanager
def serving(bundle: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run the server in a process."""
    options = ["--port", "0", "--quiet", "--queue", str(QUEUE), "--max-rows", str(ROWS_A_REQUEST)]
    command = [sys.executable, "-W", "ignore", "-m", "polymodal", "serve", str(bundle), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    found = re.search(r":(\d+)$", process.stdout.readline().strip())
    assert found is not None
    try:
        yield process, int(found[1])
    finally:
        process.terminate()
        process.wait(60)


def memory_kb(process: subprocess.Popen[str]) -> int:
    """Return the resident memory of a process."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1])  # type: ignore[index]


def load(port: int, requests: Path, seconds: float, *, connections: int, rate: float = 0) -> dict[str, Any]:
    """Load the server from another process."""
    options = ["--connections", str(connections), "--seconds", str(seconds), "--rate", str(rate)]
    command = [sys.executable, str(REPOSITORY / "benchmarks" / "serving_load.py"), str(port), str(requests), *options]
    return dict(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


def fuzz(port: int, number: int) -> dict[int, int]:
    """Send requests that the OpenAPI document allows and others that it does not, drawn by schemathesis.

    Args:
        port: The server's port.
        number: Requests in all.

    Returns:
        Status to the number of answers.
    """
    found: Counter[int] = Counter()
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    asked = [(one, mode) for one in operations if one.method == "post" for mode in schemathesis.GenerationMode]
    checks = list(hypothesis.HealthCheck)
    for operation, mode in asked:

        @hypothesis.settings(
            max_examples=number // len(asked),
            deadline=None,
            database=None,
            phases=[hypothesis.Phase.generate],
            suppress_health_check=checks,
        )
        @hypothesis.seed(0)
        @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: schemathesis.Case) -> None:
            found[case.call().status_code] += 1

        ask()
    return dict(sorted(found.items()))


if __name__ == "__main__":
    main()
