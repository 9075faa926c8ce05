"""The demo: handwritten digits that are seen, heard as keypad tones and spelled with typos, offline.

Run it with ``make demo``, or ``python -m polymodal.demo --output demo``. The pictures are
scikit-learn's bundled digits (UCI, Alpaydin and Kaynak 1998); the tones follow ITU-T Q.23 (DTMF).
No column alone gives the digit away, and a quarter of all cells is missing.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import io
from pathlib import Path
from typing import Any

import numpy as np
import typer
from numpy.random import Generator
from numpy.typing import NDArray

from polymodal.atomic_files import atomic_file
from polymodal.cli.arguments import exits, printing
from polymodal.cli.console import print_line
from polymodal.cli.options import choose_run_folder
from polymodal.errors import ConfigError

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LOW_HZ, HIGH_HZ = (697, 770, 852, 941), (1209, 1336, 1477)
KEYS = ("123", "456", "789", "*0#")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
OPENINGS = ("it says", "looks like a", "I read", "this must be a", "maybe a")
PAPERS = ("plain", "lined", "squared")
COLUMNS = ("picture", "tone", "note", "ink", "seconds", "paper", "written_on", "digit")
TABLES, MEDIA = ("train.csv", "new.csv"), ("pictures", "tones")
SAMPLE_RATE_HZ = 8000
MISSING_SHARE = 0.25
NUM_NEW = 297
FIRST_DAY = datetime.date(2024, 1, 1)


def draw_picture(pixels: NDArray[np.float64], random: Generator) -> NDArray[np.uint8]:
    """Corrupt the picture of a digit: noise, and a uniform square.

    Args:
        pixels: ``[8, 8]``, 0 (paper) to 16 (ink).
        random: Random generator.

    Returns:
        uint8 ``[16, 16]``, 255 = ink.
    """
    picture = np.kron(pixels / 16, np.ones((2, 2))) + random.normal(0, 0.3, (16, 16))
    top, left = random.integers(0, 11, 2)
    picture[top : top + 6, left : left + 6] = random.uniform(0, 1)
    return np.asarray(np.clip(picture, 0, 1) * 255, dtype=np.uint8)


def play_tone(digit: int, random: Generator) -> NDArray[np.float32]:
    """Synthesise the tone of a telephone key in a noisy clip.

    Args:
        digit: 0 to 9.
        random: Random generator.

    Returns:
        float32 ``[samples]`` within ±1, 0.3 to 0.6 s at 8 kHz.
    """
    row, column = next((r, keys.index(str(digit))) for r, keys in enumerate(KEYS) if str(digit) in keys)
    num_samples = int(random.uniform(0.3, 0.6) * SAMPLE_RATE_HZ)
    seconds = np.arange(num_samples) / SAMPLE_RATE_HZ
    pressed = seconds > random.uniform(0, 0.2)
    detuned = random.uniform(0.99, 1.01)
    tone = np.sin(2 * np.pi * LOW_HZ[row] * detuned * seconds) + np.sin(2 * np.pi * HIGH_HZ[column] * detuned * seconds)
    loudness = 10 ** random.uniform(-1.9, -0.9)
    return np.asarray(np.clip(loudness * tone * pressed + random.normal(0, 0.2, num_samples), -1, 1), dtype=np.float32)


def misspell(word: str, random: Generator) -> str:
    """Put one to three typos into a word: a letter lost, doubled, replaced, or two swapped.

    Args:
        word: The right spelling.
        random: Random generator.

    Returns:
        The wrong spelling; at least one letter long.
    """
    letters = list(word)
    for _ in range(random.integers(1, 4)):
        index, kind = int(random.integers(len(letters))), random.integers(4)
        if kind == 0 and len(letters) > 2:
            del letters[index]
        elif kind == 1:
            letters.insert(index, letters[index])
        elif kind == 2:
            letters[index] = LETTERS[random.integers(len(LETTERS))]
        else:
            letters[index - 1], letters[index] = letters[index], letters[index - 1]
    return "".join(letters)


def describe(digit: int, pixels: NDArray[np.float64], random: Generator) -> dict[str, str]:
    """Make the number, category and date columns; each is weakly correlated with the digit.

    Args:
        digit: 0 to 9.
        pixels: ``[8, 8]``, the clean picture.
        random: Random generator.

    Returns:
        Column name to cell.
    """
    paper = digit % 3 if random.random() < 0.5 else random.integers(3)
    day = FIRST_DAY + datetime.timedelta(weeks=int(random.integers(52)), days=int(random.integers(5)) + (digit > 7))
    return {
        "ink": f"{pixels.sum() + random.normal(0, 20):.1f}",
        "seconds": f"{0.5 + 0.1 * len(WORDS[digit]) + random.gamma(2, 0.1):.2f}",
        "paper": PAPERS[paper],
        "written_on": day.isoformat(),
    }


def write_row(folder: Path, number: int, digit: int, pixels: NDArray[np.float64], random: Generator) -> dict[str, str]:
    """Write one row's media files.

    Args:
        folder: Where the table stands.
        number: The row's number; it names the files.
        digit: 0 to 9.
        pixels: ``[8, 8]``, the clean picture.
        random: Random generator.

    Returns:
        Column name to cell; a quarter of them empty.
    """
    import soundfile
    from PIL import Image

    ending = "flac" if number % 2 else "wav"
    row = {"picture": f"pictures/{number:04d}.png", "tone": f"tones/{number:04d}.{ending}"}
    Image.fromarray(draw_picture(pixels, random)).save(folder / row["picture"])
    tone = io.BytesIO()  # a full disk is an OSError for Python alone
    soundfile.write(tone, play_tone(digit, random), SAMPLE_RATE_HZ, format=ending.upper(), subtype="PCM_16")
    (folder / row["tone"]).write_bytes(tone.getvalue())
    row["note"] = f"{random.choice(OPENINGS)} {misspell(WORDS[digit], random)}"
    row |= describe(digit, pixels, random)
    kept = {name: cell if random.random() >= MISSING_SHARE else "" for name, cell in row.items()}
    return kept | {"digit": WORDS[digit]}


def write_tables(folder: Path, seed: int = 0, num_rows: int | None = None) -> tuple[Path, Path]:
    """Write the demo's tables and their media files.

    Args:
        folder: Where to; made if it is not there.
        seed: Fixes every random choice.
        num_rows: Rows of both tables together; None means all 1,797 digits.

    Returns:
        ``train.csv`` and ``new.csv``, about one row in six in the latter.

    Raises:
        ConfigError: If the folder holds other files of these names.
    """
    from sklearn.datasets import load_digits

    _check_folder(folder)
    train, new = (folder / name for name in TABLES)
    folder.mkdir(parents=True, exist_ok=True)
    _write_csv(train, [])  # if it is killed from here on, the folder is known as a demo's
    for name in MEDIA:
        (folder / name).mkdir(exist_ok=True)
    random, digits = np.random.default_rng(seed), load_digits()
    chosen = random.permutation(len(digits.target))[:num_rows]
    rows = [
        write_row(folder, number, int(digits.target[index]), digits.images[index], random)
        for number, index in enumerate(chosen, 1)
    ]
    num_new = NUM_NEW * len(rows) // len(digits.target)
    return _write_csv(train, rows[num_new:]), _write_csv(new, rows[:num_new])


def _check_folder(folder: Path) -> None:
    """Check that what is replaced is an earlier demo, whose table says so."""
    foreign = [name for name in TABLES if (folder / name).exists() and not _is_table(folder / name)]
    if not (folder / TABLES[0]).exists():
        foreign += [name for name in MEDIA if (folder / name).exists()]
    if foreign:
        raise ConfigError(f"The folder {folder} holds {foreign[0]!r}, which is of no demo. Choose another --output.")


def _is_table(path: Path) -> bool:
    """Whether a file is one of the demo's tables."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.readline().strip() == ",".join(COLUMNS).encode()


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def main() -> None:
    """Write the tables, then run the command that a user would type."""
    parser = argparse.ArgumentParser(prog="python -m polymodal.demo", description="Digits seen, heard and spelled.")
    parser.add_argument("--output", type=Path, default=Path("demo"), help="folder of the tables and the run")
    parser.add_argument("--rows", type=int, default=None, help="rows of both tables; default: all 1,797 digits")
    parser.add_argument("--seed", type=int, default=0, help="fixes every random choice")
    options = parser.parse_args()
    with printing():
        try:
            _run(options)
        except typer.Exit as ended:
            raise SystemExit(ended.exit_code) from None


def _run(options: argparse.Namespace) -> None:
    with exits("Stopped."):
        command = _prepare(options)
    from polymodal.cli.main import app

    app(command)


def _prepare(options: argparse.Namespace) -> list[str]:
    """Write the tables and return the command; its run stands beside those of earlier demos."""
    train, new = write_tables(options.output, options.seed, options.rows)
    print_line(f"Wrote {train} and {new}: digits seen, heard and spelled; a quarter of the cells is missing.")
    run = choose_run_folder("run", resume=False, runs=options.output)
    command = ["train", str(train), "--target", "digit", "--preset", "fast", "--output", str(run)]
    print_line(f"$ polymodal {' '.join(command)}")
    return [*command, "--seed", str(options.seed)]


if __name__ == "__main__":
    main()
