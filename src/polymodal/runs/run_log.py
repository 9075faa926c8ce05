"""``log.txt`` of a run folder: it grows as the run goes, and a resumed run adds to it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from polymodal.progress import LineProgress, Progress, format_line, format_seconds

LOG_FILE = "log.txt"


@contextmanager
def open_run_log(folder: Path, command: str | None, resume: bool) -> Iterator[Progress]:
    """Add to the log of a run; each line is written at once.

    Args:
        folder: The run's folder; it exists.
        command: The command line, if there is one.
        resume: Whether the run is resumed.

    Yields:
        Progress whose lines go to the log.

    Raises:
        OSError: If the log cannot be opened.
    """
    with (folder / LOG_FILE).open("a", encoding="utf-8", buffering=1) as file:

        def write(text: str, level: int) -> None:
            with suppress(OSError):  # a full disk: what counts is written by others, who say so
                file.write(format_line(text, level) + "\n")

        log = LineProgress(write)
        log.log(f"{'resumed' if resume else 'started'}: {command or 'polymodal.fit'}")
        try:
            yield log
        except BaseException as error:
            log.log(f"stopped: {str(error) or type(error).__name__}")
            raise


def summary_lines(report_data: Mapping[str, Any]) -> Iterable[str]:
    """Describe a finished run in the last lines of its log.

    Args:
        report_data: The report data of the run.

    Yields:
        Every broken cell, the primary metric of each target, and the duration.
    """
    for cell in report_data["broken_cells"]:
        yield f"broken: {json.dumps(cell, ensure_ascii=False)}"
    evaluation = report_data["evaluation"]
    for info in report_data["targets_info"]:
        metric = info["primary_metric"]
        value = evaluation["targets"].get(info["name"], {}).get(metric)
        if value is not None:
            yield f"{info['name']}: {metric} {value:.4g} on {evaluation['rows']:,} {evaluation['split']} rows"
    yield f"finished in {format_seconds(report_data['seconds']['total'])}"
