"""Decision levels side by side on many small tables, written to docs/benchmarks.md.

Run it with ``make bench-decisions``, or, to train once and judge often::

    python benchmarks/decisions.py --dump runs/decisions
    python benchmarks/decisions.py --from runs/decisions

Finished runs are kept in ``runs/decisions`` and not repeated: remove the folder after a change to what is trained.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from decision_dumps import dump_paths, dump_run, load_dump, save_dump
from decision_levels import LEVELS
from decision_pools import DATA
from decision_report import details, summary
from decision_tables import TABLES, DecisionTable
from decision_verdicts import JudgedRun, judge_run
from sections import replace_section

REPOSITORY = Path(__file__).resolve().parents[1]
RUNS = REPOSITORY / "runs" / "decisions"
SEEDS = (0, 1, 2)
OWN = "polymodal"
SAME = 1e-3
"""Most that influences of rows differ by between a run's own decision and the same level fitted again on its dump."""


def main() -> None:
    """Train and judge what is asked for; write the section if that is everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dump", type=Path, metavar="FOLDER", help="train, keep all predictions there, and stop")
    parser.add_argument("--from", type=Path, metavar="FOLDER", dest="source", help="judge what is there; train nothing")
    parser.add_argument("--only", nargs="*", default=[""], help="names of tables, or their beginnings; prints only")
    parser.add_argument("--seeds", nargs="*", type=int, default=SEEDS)
    asked = parser.parse_args()
    chosen = [table for table in TABLES if any(table.name.startswith(only) for only in asked.only)]
    folder = asked.source or asked.dump or RUNS
    if asked.source is None:
        make_dumps(chosen, asked.seeds, folder)
    if asked.dump is not None:
        return
    judged = judge_dumps(chosen, asked.seeds, folder)
    text = "\n".join([*summary(judged, list(LEVELS)), "", *details(judged, list(LEVELS))])
    print(text)
    if chosen == list(TABLES) and tuple(asked.seeds) == SEEDS:
        replace_section(REPOSITORY / "docs" / "benchmarks.md", "decisions", text)


def make_dumps(tables: Sequence[DecisionTable], seeds: Sequence[int], folder: Path) -> None:
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
                _say(f"{table.name}: left out, no folder {DATA / table.data} (set POLYMODAL_DATA)")
                continue
            started = time.perf_counter()
            dump = dump_run(table, seed)
            save_dump(folder, dump)
            rows = f"{dump.about['train_rows']} + {len(dump.validation.truth)} + {len(dump.test.truth)} rows"
            _say(f"{table.name}, seed {seed}: {rows}, {time.perf_counter() - started:.1f} s")


def judge_dumps(tables: Sequence[DecisionTable], seeds: Sequence[int], folder: Path) -> dict[str, list[JudgedRun]]:
    """Judge the decision levels on all dumps that are there.

    Args:
        tables: The tables.
        seeds: Seeds of each.
        folder: Where dumps are kept.

    Returns:
        Table to its runs.
    """
    judged: dict[str, list[JudgedRun]] = {}
    for table in tables:
        paths = [dump_paths(folder, table.name, seed)[0] for seed in seeds]
        runs = [judge_run(load_dump(path), LEVELS) for path in paths if path.is_file()]
        if any(abs(run.levels[OWN] - run.own).max() > SAME for run in runs):
            _say(f"{table.name}: its runs ended with another decision than {OWN} now makes of their members")
        if runs:
            judged[table.name] = runs
        if len(runs) < len(seeds):
            _say(f"{table.name}: {len(runs)} of {len(seeds)} runs are in {folder}")
    if not judged:
        sys.exit(f"No finished run is in {folder}. Make them with --dump {folder}.")
    return judged


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
