"""Fusions and learning aids side by side on avdigits, written to docs/benchmarks.md.

Run it with ``make bench-compare``. Finished runs are kept in ``runs/comparisons`` and not repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from sections import replace_section

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("POLYMODAL_DATA", REPOSITORY.parent / "shared" / "data"))
RUNS = REPOSITORY / "runs" / "comparisons"
SEEDS = "0,1,2"
FILES = ("avdigits/train.csv", "--validation", "avdigits/validation.csv", "--test", "avdigits/test.csv")
COMMON = ("--target", "digit", "--group", "speaker", "--drop", "speaker", "--preset", "fast", "--seeds", SEEDS)
AIDS = {
    "OGM-GE": "train.balance=ogm_ge",
    "MMPareto": "train.balance=mmpareto",
    "Gradient-Blending": "train.balance=blending",
    "focal loss": "train.loss=focal",
    "logit-adjusted loss": "train.loss=logit_adjusted",
    "balanced sampling": "train.sampling=balanced",
    "mixup": "train.mixup=0.3",
    "mirrored pictures": "train.flip=true",
    "pretrained pictures": "train.pretrain_epochs=5",
    "no augmentation": "train.augment=false",
    "no modality dropout": "train.modality_dropout=0",
    "no own heads": "train.auxiliary_weight=0",
}
COMPARISONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "fusions": ("Fusions, 18 epochs.", ("--fusions", "all")),
    "learning aids": (
        "Learning aids, and defaults taken away, after 6 epochs only: with more, all are near 0.99.",
        (
            *("--set", "train.epochs=6"),
            *(part for name, options in AIDS.items() for part in ("--variant", f"{name}: {options}")),
        ),
    ),
}


def main() -> None:
    """Compare what is asked for and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=list(COMPARISONS), choices=list(COMPARISONS))
    asked = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"The datasets are not here: no folder {DATA} (set POLYMODAL_DATA).")
    for name in asked.only:
        found = compare(COMPARISONS[name][1], RUNS / name)
        replace_section(REPOSITORY / "docs" / "benchmarks.md", name, report(name, found))


def compare(options: tuple[str, ...], folder: Path) -> dict:
    """Run the command line and read its JSON.

    Args:
        options: Of this comparison.
        folder: Where its runs are kept.

    Returns:
        The comparison.
    """
    files = [str(DATA / part) if part.endswith(".csv") else part for part in FILES]
    command = [
        sys.executable,
        "-m",
        "polymodal",
        "compare",
        *files,
        *COMMON,
        *options,
        "--output",
        str(folder),
        "--json",
    ]
    environment = {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE", **os.environ}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
    if done.returncode:
        sys.exit(done.returncode)
    return json.loads(done.stdout)


def report(name: str, found: dict) -> str:
    """Return a comparison as Markdown.

    Args:
        name: Its name.
        found: The comparison.

    Returns:
        A table and its command.
    """
    title, options = COMPARISONS[name]
    lines = [
        f"Command: `make bench-compare`. {title}",
        f"Accuracy on {found['num_rows']} test rows of an unseen speaker, mean ± sd over the seeds. `best stream`:",
        "of the same networks, alone; `in the end`: with the decision level.",
        "",
        "| | accuracy | in the end | best stream | parameters of the fusion | seeds |",
        "|---|---|---|---|---|---|",
    ]
    lines += [row(one) for one in found["rows"]]
    shown = " ".join(f"'{part}'" if " " in part else part for part in (*FILES, *COMMON, *options))
    return "\n".join([*lines, "", "```", f"polymodal compare {shown}", "```"])


def row(found: dict) -> str:
    """Return a row of the table.

    Args:
        found: A variant.

    Returns:
        Markdown.
    """
    spread = "" if found["spread"] is None else f" ± {found['spread']:.4f}"
    cells = [found["variant"], f"{found['score']:.4f}{spread}", f"{found['final']:.4f}"]
    cells += [f"{found['best_stream_score']:.4f}", f"{found['fusion_parameters']:,}", str(len(found["seeds"]))]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
