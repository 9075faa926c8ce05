"""Speed of decoding: whole columns into an empty cache, against the decoder library alone in a tight loop.

``make bench-speed`` runs it; it writes its section of docs/benchmarks.md. Both sides use all cores::

    python benchmarks/speed_decoding.py --goes 7
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: F401 - is loaded wherever training decodes, and rounds to half precision faster than NumPy

from measuring import seconds
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.decoding import decode_column
from polymodal.modalities import MODALITIES, build_settings
from polymodal.modalities.parallel import available_cpu_count
from sections import replace_section

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("POLYMODAL_DATA", REPOSITORY.parent / "shared" / "data"))
LEAST_RATIO = 0.85
LEAST_S = 1.0
"""A column has its files so many times over, as links, that the tight loop takes about so long."""


@dataclass(frozen=True)
class Subject:
    """What is decoded.

    Attributes:
        name: As the table shows it.
        modality: The modality.
        folder: Below the data.
        pattern: Of the files' names.
        settings: Of the modality.
        bare: Decodes one file with the library alone: given its path and the fitted modality.
    """

    name: str
    modality: str
    folder: str
    pattern: str
    settings: dict[str, Any]
    bare: Callable[[str, Any], Any]


def bare_picture(path: str, image: Any) -> Any:
    """Open, decode at the coarsest scale that is at least twice as large, and resize: Pillow.

    Args:
        path: The file.
        image: Tells the size.

    Returns:
        Pixels.
    """
    from PIL import Image as pillow  # noqa: N813
    from PIL.Image import Resampling

    with pillow.open(path) as picture:
        scale = min(image.height / picture.height, image.width / picture.width)
        size = (round(scale * picture.width), round(scale * picture.height))
        picture.draft(None, (2 * size[0], 2 * size[1]))
        mode = "L" if image.channels == 1 else "RGB"
        return np.asarray(picture.convert(mode).resize(size, Resampling.BILINEAR))


def bare_clip(path: str, audio: Any) -> Any:
    """Decode, mix and resample: soundfile and soxr.

    Args:
        path: The file.
        audio: Tells the rate.

    Returns:
        Samples.
    """
    import soundfile
    import soxr

    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    samples = samples.mean(axis=1) if samples.shape[1] > 1 else samples[:, 0]
    return samples if rate == audio.sample_rate_hz else soxr.resample(samples, rate, audio.sample_rate_hz)


def bare_film(path: str, video: Any) -> Any:
    """Decode up to the last wanted frame, and resize those that are wanted: PyAV and Pillow.

    Args:
        path: The file.
        video: Tells the frames and their size.

    Returns:
        Frames.
    """
    import av
    from av.video.reformatter import VideoReformatter
    from PIL import Image as pillow  # noqa: N813
    from PIL.Image import Resampling

    reformatter = VideoReformatter()  # frame.to_ndarray(format=...) makes one, with threads, for every frame
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        wanted = (np.arange(video.frames) + 0.5) * (stream.frames / video.frames)
        places, found = set(wanted.astype(int).tolist()), []
        for number, frame in enumerate(container.decode(stream)):
            if number in places:
                picture = pillow.fromarray(reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray())
                picture = picture.convert("L") if video.channels == 1 else picture
                if picture.size != (video.width, video.height):
                    picture = picture.resize((video.width, video.height), Resampling.BILINEAR)
                found.append(np.asarray(picture))
            if len(found) == len(places):
                break
    return np.stack(found)


SUBJECTS = (
    Subject("images: bccd, JPEG", "image", "bccd", "images/*.jpg", {}, bare_picture),
    Subject("images: leaf, PNG", "image", "leaf", "images/**/*.png", {}, bare_picture),
    Subject("audio: avdigits, FLAC", "audio", "avdigits", "**/*.flac", {"features": "samples"}, bare_clip),
    Subject("audio: esc10, Ogg", "audio", "esc10", "**/*.ogg", {"features": "samples"}, bare_clip),
    Subject("video: movingdigits, MP4", "video", "movingdigits", "**/*.mp4", {}, bare_film),
)


def main() -> None:
    """Measure and write the section."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--goes", type=int, default=5, help="pairs of goes, in turns")
    parser.add_argument("--only", default="", help="begin of a line of the table, for a try: nothing is written")
    asked = parser.parse_args()
    if not DATA.is_dir():
        print(f"Nothing was measured: the datasets are not here, no folder {DATA} (set POLYMODAL_DATA).")
        return
    lines = [measure(subject, asked.goes) for subject in SUBJECTS if subject.name.startswith(asked.only)]
    text = report(lines, asked.goes)
    print(text)
    if not asked.only:
        replace_section(REPOSITORY / "docs" / "benchmarks.md", "decoding", text)


def measure(subject: Subject, goes: int) -> str:
    """Time both sides in turns.

    Args:
        subject: What is decoded.
        goes: Pairs of goes.

    Returns:
        A line of the table.
    """
    folder = DATA / subject.folder
    files = sorted(str(path) for path in folder.glob(subject.pattern))
    fitted = MODALITIES[subject.modality].fit(files, build_settings(subject.modality, subject.settings), folder)
    time_bare(files, fitted, subject.bare)
    times = max(1, round(LEAST_S / min(time_bare(files, fitted, subject.bare))))
    with tempfile.TemporaryDirectory() as scratch:
        cells = [linked(path, Path(scratch), number) for number in range(times) for path in files]
        goes_s = [go(cells, Path(scratch), fitted, subject.bare) for _ in range(goes)]
    ratios = [statistics.median(go[side] / go[2] for go in goes_s) for side in range(2)]
    paces = [f"{len(cells) / statistics.median(go[side] for go in goes_s):,.0f}" for side in range(4)]
    threads, processes = (f"{pace} | {ratio:.2f}" for pace, ratio in zip(paces, ratios, strict=False))
    return f"| {subject.name} | {len(cells):,} | {paces[2]} | {threads} | {processes} | {paces[3]} |"


def linked(path: str, scratch: Path, number: int) -> str:
    """Give a file another name.

    Args:
        path: The file.
        scratch: Where.
        number: Of the name.

    Returns:
        The new path.
    """
    link = scratch / f"{number}-{abs(hash(path))}{Path(path).suffix}"
    link.symlink_to(path)
    return str(link)


def go(cells: Sequence[str], scratch: Path, fitted: Any, bare: Callable[[str, Any], Any]) -> tuple[float, ...]:
    """Time the tight loop in threads and in processes, the column, and the column again.

    Args:
        cells: Paths.
        scratch: Where the cache may lie.
        fitted: The modality.
        bare: Decodes one file with the library alone.

    Returns:
        Seconds of each.
    """
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        cache = ArrayCache(Path(folder))
        alone = time_bare(cells, fitted, bare)
        first = seconds(lambda: decode_column(fitted, cells, scratch, cache, None))
        return *alone, first, seconds(lambda: decode_column(fitted, cells, scratch, cache, None))


def time_bare(files: Sequence[str], fitted: Any, decode: Callable[[str, Any], Any]) -> tuple[float, float]:
    """Time decoding files with the library alone, on all cores.

    Args:
        files: Paths.
        fitted: The modality.
        decode: Decodes one.

    Returns:
        Seconds, in threads and in forked processes that drop what they decode.
    """
    num_cores = available_cpu_count()

    def in_threads() -> None:
        with ThreadPoolExecutor(num_cores) as pool:
            for _ in pool.map(lambda path: decode(path, fitted), files):
                pass

    def loop(part: Sequence[str]) -> None:
        for path in part:
            decode(path, fitted)

    def in_processes() -> None:
        context = multiprocessing.get_context("fork")
        processes = [context.Process(target=loop, args=(files[first::num_cores],)) for first in range(num_cores)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()

    return seconds(in_threads), seconds(in_processes)


def report(lines: list[str], goes: int) -> str:
    """Return the section as Markdown.

    Args:
        lines: Of the table.
        goes: Pairs of goes.

    Returns:
        The table and how it was made.
    """
    head = [
        f"Command: `make bench-speed` ({available_cpu_count()} cores; medians of {goes} goes of each side, in turns;",
        f"the ratio is the median of the pairs and must be at least {LEAST_RATIO}). A column is decoded into an empty",
        "cache, with all checks; the tight loop calls the decoder library alone, on as many cores, and keeps",
        "nothing: in threads, and in forked processes. `again` opens the same column from the cache, each file's times",
        "of change looked at.",
        "",
        "| column | files | files/s | in threads, files/s | ratio | in processes, files/s | ratio | again, files/s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *lines])


if __name__ == "__main__":
    main()
