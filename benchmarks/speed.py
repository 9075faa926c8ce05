"""Speed: ``polymodal train`` against scripts that do the same, written to docs/benchmarks.md.

Run it with ``make bench-speed``, or some parts of it with fewer pairs::

    python benchmarks/speed.py --only steady short --pairs 2

Both sides of a pair run one after the other, and every ratio is the median over the pairs. What was measured is kept
in ``benchmarks/results/speed`` and not repeated; remove a file to repeat its pair. ``--check`` only shows that
``bare_loop.py`` trains the same network on the same inputs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from measuring import (
    DATA,
    OPTIONS,
    REPOSITORY,
    THREADS,
    Measured,
    measure,
    measure_polymodal,
    measure_start,
    polymodal_command,
)
from same_network import check_fair, check_same_network, settings_of
from sections import replace_section
from speed_tables import Line, Part, Result, number_of, row

RESULTS = REPOSITORY / "benchmarks" / "results" / "speed"
KERAS = REPOSITORY / ".venv-keras"
KERAS_PACKAGES = ("tensorflow-cpu==2.21.0", "pillow", "soundfile")
SHORT_EPOCHS, STEADY_EPOCHS = 3, 6
SHARED_BATCH = 256
"""Rows of a batch that two processes share."""
LARGE_BATCH = ("--set", "train.batch_size=256", "--set", "train.learning_rate=0.0015")
"""Of frozen MiniLM: small batches spend much of a step on Python."""
STARTS = 10
START_COMMANDS = {
    "python -c 'import polymodal'": [sys.executable, "-c", "import polymodal"],
    "polymodal --help": [polymodal_command(), "--help"],
}


def main() -> None:
    """Measure what is asked for and write the section."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=list(PARTS), choices=list(PARTS), help="parts to measure")
    parser.add_argument("--pairs", type=int, default=5, help="runs of each side, in turns")
    parser.add_argument("--check", action="store_true", help="only compare the two networks")
    asked = parser.parse_args()
    if not DATA.is_dir():
        print(f"Nothing was measured: the dataset is not here, no folder {DATA} (set POLYMODAL_DATA).")
        return
    if asked.check:
        check_same_network()
        return
    skipped = {name: reason for name in asked.only if (reason := measure_part(name, asked.pairs))}
    text = report(skipped)
    print(text)
    replace_section(REPOSITORY / "docs" / "benchmarks.md", "speed", text)


def measure_part(name: str, pairs: int) -> str:
    """Measure the pairs of a part that were not measured before.

    Args:
        name: The part.
        pairs: How many there shall be.

    Returns:
        Why it was left out, or nothing.
    """
    for number in range(pairs):
        file = RESULTS / name / f"{number}.json"
        if file.is_file():
            continue
        print(f"{name}, pair {number} ...", flush=True)
        found = PARTS[name].measure(number)
        if isinstance(found, str):
            return found
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        for line in PARTS[name].lines:
            print(f"  {line.what}: {number_of(found, line.ours) / number_of(found, line.theirs):.2f}", flush=True)
    return ""


def measure_whole(seed: int, *settings: str) -> Result:
    """Train once with polymodal, with nothing decoded beforehand, and once by hand.

    Args:
        seed: The seed.
        *settings: Further options of polymodal's training.

    Returns:
        Sides ``polymodal`` and ``bare``.
    """
    with tempfile.TemporaryDirectory() as scratch:
        ours = measure_polymodal(Path(scratch), [*OPTIONS, *settings, "--seed", str(seed)])
        bare = measure_bare(settings_of(Path(scratch) / "run", seed), seed)
    return {"polymodal": ours.state(), "bare": bare.state()}


def measure_steady(seed: int) -> Result:
    """Train a few epochs on both sides; the numbers are of the epochs after the first.

    Args:
        seed: The seed.

    Returns:
        Sides ``polymodal`` and ``bare``, with the median epoch.
    """
    found = measure_whole(seed, "--set", f"train.epochs={STEADY_EPOCHS}", "--set", "baselines=false")
    return {name: with_median_epoch(side) for name, side in found.items()}


def measure_short(seed: int) -> Result:
    """Train three epochs, first with nothing decoded, then again, then by hand.

    Args:
        seed: The seed.

    Returns:
        Sides ``first``, ``second`` and ``bare``.
    """
    options = [*OPTIONS, "--set", f"train.epochs={SHORT_EPOCHS}", "--seed", str(seed)]
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        first = measure_polymodal(scratch, options)
        bare = measure_bare(settings_of(scratch / "run", seed), seed)
        (scratch / "run").rename(scratch / "before")
        second = measure_polymodal(scratch, options)
    return {"first": first.state(), "second": second.state(), "bare": bare.state()}


def measure_processes(seed: int) -> Result:
    """Train with one process, with two on the same batches, and, as the most the machine gives, with two apart.

    Args:
        seed: The seed.

    Returns:
        Sides ``one``, ``two`` and ``apart``, with the median epoch; two apart do two epochs in that time.
    """
    launch = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "polymodal")
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(2) as pool:
        scratch = Path(name)
        one = measure_one_thread(scratch / "one", SHARED_BATCH, seed)
        two = measure_one_thread(scratch / "two", SHARED_BATCH, seed, launch)
        folders = [scratch / "first", scratch / "second"]
        apart = list(pool.map(lambda folder: measure_one_thread(folder, SHARED_BATCH // 2, seed), folders))
    together = sum(side["epochs_a_second"] for side in apart)
    return {"one": one, "two": two, "apart": {"sides": apart, "epochs_a_second": together}}


def measure_one_thread(scratch: Path, batch_size: int, seed: int, program: tuple[str, ...] = ()) -> dict[str, Any]:
    """Train with one thread a process and nothing but the network.

    Args:
        scratch: A folder to be made, of the run and of what it decodes.
        batch_size: Rows of a batch, of all processes together.
        seed: The seed.
        program: What stands in place of ``polymodal``.

    Returns:
        The measurement, with the median epoch.
    """
    scratch.mkdir()
    options = ["--target", "digit", "--drop", "speaker", "--set", "num_threads=1", "--set", "baselines=false"]
    options += ["--set", f"train.batch_size={batch_size}", "--set", f"train.epochs={STEADY_EPOCHS}"]
    return with_median_epoch(measure_polymodal(scratch, [*options, "--seed", str(seed)], program=program).state())


def with_median_epoch(side: dict[str, Any]) -> dict[str, Any]:
    """Add the median epoch after the first to a measurement.

    Args:
        side: The measurement, as plain JSON.

    Returns:
        The same with ``epoch_s`` and ``epochs_a_second``.
    """
    epoch_s = statistics.median(side["found"]["epochs_s"][1:])
    return {**side, "epoch_s": epoch_s, "epochs_a_second": 1 / epoch_s}


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
    bare = measure([*command, "--threads", str(THREADS), "--seed", str(seed)])
    check_fair(bare, settings)
    return bare


def measure_keras(seed: int) -> Result | str:
    """Train small CNNs and their features side by side, with polymodal and with Keras.

    Args:
        seed: The seed.

    Returns:
        Sides ``polymodal``, ``same_job`` (without baselines, which the script does not fit either) and ``keras``, or
        why there is no Keras.
    """
    problem = make_keras()
    if problem:
        return problem
    options = ["--target", "digit", "--drop", "speaker", "--fusion", "concat", "--encoder", "image=cnn"]
    options += ["--encoder", "audio=cnn", "--set", f"train.epochs={SHORT_EPOCHS}", "--set", "train.batch_size=64"]
    with tempfile.TemporaryDirectory() as scratch:
        ours = measure_polymodal(Path(scratch), [*options, "--seed", str(seed)])
        (Path(scratch) / "run").rename(Path(scratch) / "before")
        plain = ["--set", "baselines=false", "--seed", str(seed)]
        bare = measure_polymodal(Path(scratch), [*options, *plain], cache="another")
    script = [str(KERAS / "bin" / "python"), str(REPOSITORY / "benchmarks" / "keras_script.py"), "--data", str(DATA)]
    script += ["--epochs", str(SHORT_EPOCHS), "--batch-size", "64", "--threads", str(THREADS), "--seed", str(seed)]
    return {"polymodal": ours.state(), "same_job": bare.state(), "keras": measure(script).state()}


def make_keras() -> str:
    """Make the virtual environment of the Keras script, once.

    Returns:
        Why it cannot be made, or nothing.
    """
    made = KERAS / "made"
    if made.is_file():
        return ""
    python, pip = KERAS / "bin" / "python", ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    for command in ([sys.executable, "-m", "venv", str(KERAS)], [str(python), *pip, *KERAS_PACKAGES]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            return f"TensorFlow could not be installed for the Keras script: {' '.join(last)}"
    made.touch()
    return ""


def measure_frozen(seed: int) -> Result | str:
    """Train on clothing with MiniLM frozen: its outputs are computed once, before the first epoch.

    Args:
        seed: The seed.

    Returns:
        Side ``polymodal``, with the two phases, or why there is no MiniLM.
    """
    from quality import CASES, minilm_folder

    case = next(case for case in CASES if case.name == "clothing, frozen MiniLM")
    options = [option.replace("MINILM", str(minilm_folder())) for option in case.options]
    with tempfile.TemporaryDirectory() as scratch:
        options = ["--target", case.target, *options, *LARGE_BATCH, "--seed", str(seed)]
        ours = measure_polymodal(Path(scratch), options, DATA.with_name(case.folder)).state()
    phases = ours["found"]["phases"]
    return {"polymodal": {**ours, "embedding_s": phases["precompute"], "training_s": phases["train"]}}


def measure_starts(_: int) -> Result:
    """Start short processes.

    Returns:
        Command to side with its median seconds.
    """
    return {name: {"wall_s": measure_start(command, STARTS)} for name, command in START_COMMANDS.items()}


TRAIN = "`polymodal train` with everything it does, against `bare_loop.py`: plain PyTorch, the same network and rows"
PARTS: dict[str, Part] = {
    "steady": Part(
        measure_steady,
        (
            Line(
                "training throughput ÷ hand-written loop",
                "at least 0.95",
                "polymodal.epochs_a_second",
                "bare.epochs_a_second",
            ),
        ),
        f"steady: epochs 2 to {STEADY_EPOCHS} with their look at validation; the loop has its tensors in memory.",
    ),
    "short": Part(
        measure_short,
        (
            Line("whole process, 3 epochs, first run ÷ by hand", "at most 1.0", "first.wall_s", "bare.wall_s"),
            Line("the same, processor time", "", "first.cpu_s", "bare.cpu_s"),
            Line("whole process, 3 epochs, second run ÷ by hand", "at most 0.7", "second.wall_s", "bare.wall_s"),
            Line("the same, processor time", "", "second.cpu_s", "bare.cpu_s"),
        ),
        f"short: {TRAIN}, decoded anew in the first run and by hand.",
    ),
    "train": Part(
        measure_whole,
        (
            Line("whole process, all epochs ÷ by hand", "at most 1.5", "polymodal.wall_s", "bare.wall_s"),
            Line("the same, processor time", "", "polymodal.cpu_s", "bare.cpu_s"),
        ),
        "train: the same with the epochs that polymodal chooses.",
    ),
    "keras": Part(
        measure_keras,
        (
            Line("textbook Keras script ÷ polymodal, 3 epochs", "at least 2", "keras.wall_s", "same_job.wall_s"),
            Line("the same, with polymodal's baselines", "", "keras.wall_s", "polymodal.wall_s"),
        ),
        "keras: image CNN and audio CNN, side by side, dense layers (`keras_script.py`, TensorFlow in an environment "
        "of its own), against `--fusion concat --encoder image=cnn --encoder audio=cnn --set baselines=false`; whole "
        "processes, nothing decoded beforehand.",
    ),
    "frozen": Part(
        measure_frozen,
        (
            Line(
                "frozen MiniLM on clothing: training after embedding ÷ embedding",
                "at most 0.5",
                "polymodal.training_s",
                "polymodal.embedding_s",
            ),
        ),
        "frozen: 4 epochs on 18,788 rows in batches of 256; the phases `train` and `precompute` of one run.",
    ),
    "processes": Part(
        measure_processes,
        (
            Line(
                "2 processes ÷ 1 process, one thread each, training throughput",
                "at least 1.8",
                "two.epochs_a_second",
                "one.epochs_a_second",
            ),
            Line(
                "2 processes that know nothing of each other ÷ 1, the same",
                "",
                "apart.epochs_a_second",
                "one.epochs_a_second",
            ),
        ),
        f"processes: avdigits, {SHARED_BATCH} rows a batch in all; epochs 2 to {STEADY_EPOCHS} with their look at "
        f"validation. Apart: two trainings at once, of {SHARED_BATCH // 2} rows a batch: what the cores give.",
    ),
    "starts": Part(measure_starts, (), f"Starting, medians of {STARTS}:"),
}
START_GOALS_S = {"python -c 'import polymodal'": 0.15, "polymodal --help": 0.3}


def results(name: str) -> list[Result]:
    """Return all pairs of a part that were measured.

    Args:
        name: The part.
    """
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted((RESULTS / name).glob("*.json"))]


def report(skipped: dict[str, str]) -> str:
    """Return the section as Markdown.

    Args:
        skipped: Part to why it was not measured.

    Returns:
        Tables and how they were made.
    """
    lines = ["Command: `make bench-speed` (two threads; the sides of a pair run one after the other).", ""]
    lines += [
        "| measure | ratio, median (range) | goal | numerator | denominator | pairs |",
        "|---|---|---|---|---|---|",
    ]
    lines += [row(line, found) for name, part in PARTS.items() if (found := results(name)) for line in part.lines]
    lines += ["", *(f"- {part.note}" for name, part in PARTS.items() if part.lines and results(name))]
    lines += [f"- {name} was left out: {reason}" for name, reason in skipped.items()]
    starts = results("starts")
    if starts:
        lines += ["", PARTS["starts"].note, "", "| command | seconds | must be at most |", "|---|---|---|"]
        lines += [start_row(name, starts) for name in START_COMMANDS]
    shown = "polymodal train avdigits/train.csv --validation avdigits/validation.csv --test avdigits/test.csv"
    return "\n".join([*lines, "", "```", f"{shown} {' '.join(OPTIONS)}", "```"])


def start_row(name: str, found: list[Result]) -> str:
    """Return a line of the table of starts.

    Args:
        name: The command.
        found: All measurements.

    Returns:
        Markdown.
    """
    return f"| `{name}` | {statistics.median(one[name]['wall_s'] for one in found):.2f} | {START_GOALS_S[name]} |"


if __name__ == "__main__":
    main()
