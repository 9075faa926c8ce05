"""How much smaller and faster models get on real datasets, written to docs/benchmarks.md.

Run it with ``make bench-compression``, or for some datasets and seeds only::

    python benchmarks/compression.py --only leaf movingdigits --seeds 0

What finished runs said is kept in ``benchmarks/results/compression`` and not repeated; remove a file to repeat it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

from quality import CASES, DATA, Case, polymodal, train_arguments
from sections import replace_section

REPOSITORY = Path(__file__).resolve().parents[1]
RUNS = REPOSITORY / "runs" / "compression"
RESULTS = REPOSITORY / "benchmarks" / "results" / "compression"
NAMES = ("avdigits", "clothing, from scratch", "clothing, frozen MiniLM", "leaf", "movingdigits")
MAX_DROP = "0.5%"
SMALLER, FASTER, LOST = 4.0, 2.0, 0.5
"""The goal: so many times smaller and faster, and no more points lost."""
THREADS = 1


def main() -> None:
    """Compress what is asked for and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=list(NAMES), help="names, or their beginnings")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    asked = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"The datasets are not here: no folder {DATA} (set POLYMODAL_DATA).")
    for case in CASES:
        if case.name in NAMES and any(case.name.startswith(only) for only in asked.only):
            for seed in asked.seeds:
                run_case(case, seed)
    replace_section(REPOSITORY / "docs" / "benchmarks.md", "compression", report())


def run_case(case: Case, seed: int) -> None:
    """Train and compress one case with one seed, unless that was done before.

    Args:
        case: The dataset.
        seed: The seed.
    """
    folder, result = RUNS / slug(case) / str(seed), result_file(case, seed)
    if result.is_file():
        return
    print(f"{case.name}, seed {seed} ...", flush=True)
    if not (folder / "model" / "model.json").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        arguments = [*train_arguments(case), "--seed", str(seed), "--output", str(folder), "--json", "-q"]
        polymodal("train", *arguments, threads=THREADS)
    found = polymodal("compress", str(folder), "--max-drop", MAX_DROP, "--json", "-q", threads=THREADS)
    keep(found, result)
    print(found["sentence"], flush=True)


def keep(found: dict[str, Any], result: Path) -> None:
    """Keep what a compression found, without this machine's folders.

    Args:
        found: What ``polymodal compress --json`` printed.
        result: The file.
    """
    result.parent.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in found.items() if name not in ("folder", "command")}
    result.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def slug(case: Case) -> str:
    """Return the name of a case's folder.

    Args:
        case: The dataset.
    """
    return case.name.replace(", ", "-").replace(" ", "-")


def result_file(case: Case, seed: int) -> Path:
    """Return where the result of a run is kept.

    Args:
        case: The dataset.
        seed: The seed.
    """
    return RESULTS / slug(case) / f"{seed}.json"


def report() -> str:
    """Return the table of all finished runs as Markdown."""
    lines = [
        f"Command: `make bench-compression` (`polymodal compress RUN --max-drop {MAX_DROP}`, one thread of a CPU;",
        "medians over the seeds; points are lost by the target that loses most). One row is timed by",
        f"`Model.predict`, warm. The goal is {SMALLER:g} × smaller and {FASTER:g} × faster with at most {LOST:g}",
        "points lost on three of five; misses are in bold.",
        "",
        "| dataset | chosen | size | smaller | one row | faster | network | lost, validation | test | tried | seeds |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for case in (case for case in CASES if case.name in NAMES):
        found = [json.loads(path.read_text()) for path in sorted((RESULTS / slug(case)).glob("*.json"))]
        lines.append(row(case, found) if found else f"| {case.name} | not measured yet | | | | | | | | | 0 |")
    return "\n".join(lines)


def row(case: Case, found: list[dict[str, Any]]) -> str:
    """Return the row of a dataset.

    Args:
        case: The dataset.
        found: What its compressions found.
    """
    pairs = [(one["points"][0], _chosen(one)) for one in found]
    smaller = statistics.median(before["num_bytes"] / after["num_bytes"] for before, after in pairs)
    faster = statistics.median(before["ms"] / after["ms"] for before, after in pairs)
    lost = statistics.median(after["drop"] for _, after in pairs)
    on_test = statistics.median(max(s["drop"] for s in one["test"]["chosen"].values()) for one in found)
    sizes = [statistics.median(point["num_bytes"] for point in points) / 1e6 for points in zip(*pairs, strict=True)]
    times = [statistics.median(point["ms"] for point in points) for points in zip(*pairs, strict=True)]
    names = ", ".join(dict.fromkeys(after["name"] for _, after in pairs))
    alone = [[point["network_ms"] or 0.0 for point in points] for points in zip(*pairs, strict=True)]
    cells = [
        case.name,
        names,
        f"{sizes[0]:.2f} → {sizes[1]:.2f} MB",
        _marked(f"{smaller:.1f} ×", smaller >= SMALLER),
        f"{times[0]:.1f} → {times[1]:.1f} ms",
        _marked(f"{faster:.1f} ×", faster >= FASTER),
        f"{statistics.median(alone[0]):.1f} → {statistics.median(alone[1]):.1f} ms",
        f"{lost:+.2f}",
        _marked(f"{on_test:+.2f}", on_test <= LOST),
        ", ".join(sorted({_network(point) for one in found for point in one["points"]})),
        str(len(found)),
    ]
    return f"| {' | '.join(cells)} |"


def _network(point: dict[str, Any]) -> str:
    """Return the name of a point's network."""
    name = str(point["name"]).split(", ")[0]
    return name if name.startswith(("student", "pruned")) else "original"


def _chosen(found: dict[str, Any]) -> dict[str, Any]:
    return next(point for point in found["points"] if point["name"] == found["chosen"])


def _marked(text: str, is_reached: bool) -> str:
    return text if is_reached else f"**{text}**"


if __name__ == "__main__":
    main()
