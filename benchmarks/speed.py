"""Speed: ``polymodal train`` against the same training written by hand, written to docs/benchmarks.md.

Run it with ``make bench-speed``, or with fewer pairs::

    python benchmarks/speed.py --pairs 2

``--check`` only shows that both sides train the same network on the same inputs.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sections import replace_section

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("POLYMODAL_DATA", REPOSITORY.parent / "shared" / "data")) / "avdigits"
MOST_RATIO, MOST_IMPORT_S, MOST_HELP_S = 1.5, 0.2, 0.4
STARTS = 10
THREADS = 2
OPTIONS = ("--target", "digit", "--group", "speaker", "--drop", "speaker", "--set", "train.patience=1000")
FROM_POLYMODAL = (
    (r"^own_encoders\.0\.stages\.(\d)\.(\d)", lambda found: f"image.stages.{3 * int(found[1]) + int(found[2])}"),
    (r"^own_encoders\.1\.stages\.(\d)\.convolution", r"audio.convolutions.\1"),
    (r"^own_encoders\.1\.stages\.(\d)\.norm", r"audio.norms.\1"),
    (r"^own_encoders\.0\.tokens", "image"),
    (r"^own_encoders\.1\.tokens", "audio"),
    (r"^fusion\.(layers\.)?", ""),
    (r"^missing_SW", "missing"),
    (r"^stream_SW", "kinds"),
    (r"\.attention\.project", ".project"),
    (r"^stream_heads\.0\.(\d)", lambda found: f"heads.{1 + int(found[1])}"),
)
"""Names of polymodal's parameters to those of ``bare_loop.Classifier``."""
UNUSED = "log_variances"
"""Weighs several targets against each other; polymodal has it with one target too."""


@dataclass(frozen=True)
class Measured:
    """One process.

    Attributes:
        wall_s: From start to end.
        cpu_s: User and system time, its own processes included.
        found: The JSON object it printed, or nothing.
    """

    wall_s: float
    cpu_s: float
    found: dict[str, Any]


def main() -> None:
    """Measure and write the section."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5, help="runs of each side, in turns")
    parser.add_argument("--epochs", type=int, default=None, help="fewer epochs than polymodal's own, for a try")
    parser.add_argument("--check", action="store_true", help="only compare the two networks")
    asked = parser.parse_args()
    if not DATA.is_dir():
        print(f"Nothing was measured: the dataset is not here, no folder {DATA} (set POLYMODAL_DATA).")
        return
    if asked.check:
        check_same_network()
        return
    pairs = [measure_pair(number, asked.epochs) for number in range(asked.pairs)]
    starts = {
        "python -c 'import polymodal'": measure_starts([sys.executable, "-c", "import polymodal"]),
        "polymodal --help": measure_starts([polymodal_command(), "--help"]),
    }
    text = report(pairs, starts)
    print(text)
    if asked.epochs is None:
        replace_section(REPOSITORY / "docs" / "benchmarks.md", "speed", text)


def measure_pair(number: int, epochs: int | None) -> tuple[Measured, Measured]:
    """Run both sides once, one after the other.

    Args:
        number: The pair's number; also the seed.
        epochs: Epochs of both; None leaves the choice to polymodal.

    Returns:
        polymodal and the bare loop.
    """
    with tempfile.TemporaryDirectory() as scratch:
        framework, settings = measure_polymodal(Path(scratch), number, epochs)
    bare = measure_bare(settings, number)
    check_fair(bare, settings)
    ratio = framework.wall_s / bare.wall_s
    print(
        f"pair {number}: polymodal {framework.wall_s:.1f} s, by hand {bare.wall_s:.1f} s, ratio {ratio:.2f}", flush=True
    )
    return framework, bare


def measure_polymodal(scratch: Path, seed: int, epochs: int | None) -> tuple[Measured, dict[str, Any]]:
    """Train with polymodal, with nothing decoded beforehand.

    Args:
        scratch: An empty folder.
        seed: The seed.
        epochs: Epochs, or None.

    Returns:
        The measurement, and the run's epochs, batch size and so on, as ``settings_of`` says.
    """
    files = [str(DATA / "train.csv"), "--validation", str(DATA / "validation.csv"), "--test", str(DATA / "test.csv")]
    command = [polymodal_command(), "train", *files, *OPTIONS, "--seed", str(seed)]
    command += ["--output", str(scratch / "run"), "--json"]
    command += [] if epochs is None else ["--set", f"train.epochs={epochs}"]
    measured = measure(command, {"POLYMODAL_CACHE": str(scratch / "cache")})
    return measured, settings_of(scratch / "run", seed)


def settings_of(run: Path, seed: int) -> dict[str, Any]:
    """Read what a run of polymodal chose, for the other side to do the same.

    Args:
        run: The run's folder.
        seed: Its seed.

    Returns:
        epochs, batch_size, frames, held_out, parameters, rows and epochs_run.
    """
    import yaml

    import polymodal

    config = yaml.safe_load((run / "run.yaml").read_text(encoding="utf-8"))
    model = polymodal.load(run).trained
    record = model.record
    return {
        "epochs": config["train"]["epochs"],
        "batch_size": config["train"]["batch_size"],
        "frames": encoder_of(model, "audio").frames,
        "held_out": held_out_speaker(seed),
        "parameters": record["parameters"] - model.network.get_parameter(UNUSED).numel(),
        "rows": next(part["rows"] for part in record["tables"] if part["split"] == "train"),
        "epochs_run": len(record["history"]),
    }


def encoder_of(model: Any, stream: str) -> Any:
    """Return a stream's encoder.

    Args:
        model: A trained model.
        stream: The stream.

    Returns:
        The module.
    """
    return dict(zip(model.network.streams, model.network.encoders, strict=True))[stream]


def held_out_speaker(seed: int) -> str:
    """Return the speaker that ``--group speaker`` holds out for validation.

    Args:
        seed: The run's seed.

    Returns:
        The speaker's name.
    """
    from polymodal.prepare import HELD_OUT_SHARE
    from polymodal.splits import split_rows
    from polymodal.table import concatenate, read_table

    table = concatenate([read_table(DATA / "train.csv"), read_table(DATA / "validation.csv")])
    fractions = {"validation": HELD_OUT_SHARE}
    rows = split_rows(table, targets=["digit"], group="speaker", fractions=fractions, seed=seed)["validation"]
    (speaker,) = {table.columns["speaker"][row] for row in rows}
    return str(speaker)


def measure_bare(settings: dict[str, Any], seed: int) -> Measured:
    """Run the bare loop with the settings of polymodal's run.

    Args:
        settings: From ``settings_of``.
        seed: The seed.

    Returns:
        The measurement.
    """
    command = [sys.executable, str(REPOSITORY / "benchmarks" / "bare_loop.py"), "--data", str(DATA)]
    command += ["--epochs", str(settings["epochs"]), "--batch-size", str(settings["batch_size"])]
    command += ["--frames", str(settings["frames"]), "--held-out", settings["held_out"]]
    return measure([*command, "--threads", str(THREADS), "--seed", str(seed)], {})


def check_fair(bare: Measured, settings: dict[str, Any]) -> None:
    """Stop if the two sides did not do the same work.

    Args:
        bare: The bare loop's run.
        settings: From ``settings_of``.
    """
    done = {"epochs": settings["epochs"], **{name: bare.found[name] for name in ("parameters", "rows")}}
    asked = {"epochs": settings["epochs_run"], "parameters": settings["parameters"], "rows": settings["rows"]}
    if done != asked:
        sys.exit(
            f"The comparison is not fair: polymodal did {asked}, bare_loop.py {done}. Bring the latter up to date."
        )


def measure(command: list[str], environment: dict[str, str]) -> Measured:
    """Run a process with two threads.

    Args:
        command: The process.
        environment: Further variables.

    Returns:
        Its time and what it printed.
    """
    variables = {**os.environ, "OMP_NUM_THREADS": str(THREADS), **environment}
    with tempfile.TemporaryFile("w+") as errors:
        started, before = time.perf_counter(), os.times()
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=variables)
        wall_s, after = time.perf_counter() - started, os.times()
        errors.seek(0)
        if done.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{errors.read()}")
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    return Measured(wall_s, cpu_s, json.loads(done.stdout) if done.stdout.startswith("{") else {})


def measure_starts(command: list[str]) -> float:
    """Return the median wall time of a short process, after one run that warms the disk.

    Args:
        command: The process.

    Returns:
        Seconds.
    """
    return statistics.median([measure(command, {}).wall_s for _ in range(STARTS + 1)][1:])


def polymodal_command() -> str:
    """Return the command line's path beside this Python."""
    return str(Path(sys.executable).with_name("polymodal"))


def report(pairs: list[tuple[Measured, Measured]], starts: dict[str, float]) -> str:
    """Return the section as Markdown.

    Args:
        pairs: polymodal and the bare loop.
        starts: Command to seconds.

    Returns:
        Two tables and how they were made.
    """
    wall = statistics.median(framework.wall_s / bare.wall_s for framework, bare in pairs)
    cpu = statistics.median(framework.cpu_s / bare.cpu_s for framework, bare in pairs)
    lines = [
        f"Command: `make bench-speed` (two threads; medians of {len(pairs)} runs of each side, in turns; the ratios",
        "are medians over the pairs).",
        "",
        "Training on avdigits as a whole process, files decoded anew: `polymodal train` with everything it does,",
        "against `benchmarks/bare_loop.py`, plain PyTorch with the same network, epochs and augmentations.",
        "",
        "| | polymodal train | by hand | ratio | must be at most |",
        "|---|---|---|---|---|",
        f"| wall time | {middle(pairs, 0, 'wall_s')} | {middle(pairs, 1, 'wall_s')} | {wall:.2f} | {MOST_RATIO} |",
        f"| processor time | {middle(pairs, 0, 'cpu_s')} | {middle(pairs, 1, 'cpu_s')} | {cpu:.2f} | – |",
        f"| test accuracy | {accuracy([one.found['targets']['digit'] for one, _ in pairs])} "
        f"| {accuracy([bare.found for _, bare in pairs])} | – | – |",
        "",
        f"Starting, medians of {STARTS}:",
        "",
        "| command | seconds | must be at most |",
        "|---|---|---|",
    ]
    limits = (MOST_IMPORT_S, MOST_HELP_S)
    lines += [f"| `{name}` | {s:.2f} | {most} |" for (name, s), most in zip(starts.items(), limits, strict=True)]
    shown = "polymodal train avdigits/train.csv --validation avdigits/validation.csv --test avdigits/test.csv"
    return "\n".join([*lines, "", "```", f"{shown} {' '.join(OPTIONS)}", "```"])


def middle(pairs: list[tuple[Measured, Measured]], side: int, name: str) -> str:
    """Return a side's median time as text.

    Args:
        pairs: polymodal and the bare loop.
        side: 0 or 1.
        name: Field of ``Measured``.

    Returns:
        Seconds.
    """
    return f"{statistics.median(getattr(pair[side], name) for pair in pairs):.1f} s"


def accuracy(found: list[dict[str, Any]]) -> str:
    """Return the mean accuracy as text.

    Args:
        found: Objects with an accuracy.

    Returns:
        Four digits.
    """
    return f"{statistics.mean(one['accuracy'] for one in found):.4f}"


def check_same_network() -> None:
    """Show that both sides have the same parameters, inputs and outputs; stop where they have not."""
    import numpy as np
    import torch

    import bare_loop
    import polymodal
    from polymodal.batches import batch_of
    from polymodal.cache import ArrayCache
    from polymodal.table import read_table

    with tempfile.TemporaryDirectory() as scratch:
        _, settings = measure_polymodal(Path(scratch), 0, epochs=1)
        model = polymodal.load(Path(scratch) / "run").trained
    table = read_table(DATA / "test.csv").take(np.arange(64))
    columns, _ = model.preprocessor.transform(table, ArrayCache(None))
    image = model.preprocessor.modalities["image"]
    bare = bare_loop.Classifier(image.mean[0], image.std[0], settings["frames"]).eval()
    bare.load_state_dict({name: value for name, value in renamed(model.network).items() if name != UNUSED})
    rows = bare_loop.Rows(DATA, bare_loop.read_rows(DATA / "test.csv")[:64], THREADS)
    model.network.eval()
    for hidden in torch.tensor([[False, False], [True, False], [False, True]]):
        with torch.inference_mode():
            outputs = model.network(batch_of(columns, slice(None)), hidden.expand(64, 2))
            found = bare(rows.images, rows.clips, rows.lengths, hidden.expand(64, 2))
        ours = [outputs.fused["digit"], *outputs.streams["digit"].values()]
        furthest = max(float((a - b).abs().max()) for a, b in zip(ours, found, strict=True))
        print(f"hidden {hidden.tolist()}: largest difference of any logit {furthest:.2e}")
        if furthest > 5e-3:
            sys.exit("The two networks do not agree. Bring bare_loop.py up to date.")
    print(f"Both networks have {settings['parameters']:,} parameters ({UNUSED} aside).")


def renamed(network: Any) -> dict[str, Any]:
    """Return polymodal's parameters under the bare network's names.

    Args:
        network: polymodal's network.

    Returns:
        Name to tensor.
    """
    found = {}
    for name, value in network.named_parameters():
        for pattern, replacement in FROM_POLYMODAL:
            name = re.sub(pattern, replacement, name)
        found[name] = value
    return found


if __name__ == "__main__":
    main()
