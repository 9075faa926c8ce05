"""Decision levels side by side on many small tables, written to docs/benchmarks.md.

Run it with ``make bench-decisions``, or in two steps::

    python benchmarks/decisions.py --dump runs/decisions
    python benchmarks/decisions.py --from runs/decisions
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from decision_dumps import dump_paths, dump_run, save_dump
from decision_pools import DATA
from decision_tables import TABLES, DecisionTable

REPOSITORY = Path(__file__).resolve().parents[1]
RUNS = REPOSITORY / "runs" / "decisions"
SEEDS = (0, 1, 2)


def main() -> None:
    """Train what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dump", type=Path, metavar="FOLDER", help="train, keep all predictions, and stop")
    parser.add_argument("--only", nargs="*", default=[""], help="names of tables, or their beginnings")
    parser.add_argument("--seeds", nargs="*", type=int, default=SEEDS)
    asked = parser.parse_args()
    chosen = [table for table in TABLES if any(table.name.startswith(only) for only in asked.only)]
    make_dumps(chosen, asked.seeds, asked.dump or RUNS)


def make_dumps(tables: list[DecisionTable], seeds: list[int], folder: Path) -> None:
    """Train on every table that has no dump yet.

    Args:
        tables: The tables.
        seeds: Seeds of each.
        folder: Where dumps are kept.
    """
    for seed in seeds:
        for table in tables:
            if dump_paths(folder, table.name, seed)[0].is_file():
                continue
            if table.data is not None and not (DATA / table.data).is_dir():
                print(f"{table.name}: left out, no folder {DATA / table.data} (set POLYMODAL_DATA)", file=sys.stderr)
                continue
            started = time.perf_counter()
            dump = dump_run(table, seed)
            save_dump(folder, dump)
            rows = f"{dump.about['train_rows']} + {len(dump.validation.truth)} + {len(dump.test.truth)} rows"
            print(f"{table.name}, seed {seed}: {rows}, {time.perf_counter() - started:.1f} s", flush=True)


if __name__ == "__main__":
    main()
