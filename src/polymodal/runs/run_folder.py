"""The run folder: model, report, metrics, configuration and log.

::

    runs/clothing/
      model/          safetensors + JSON + text; loads with polymodal.load
      report.html     one file, opens without a network
      metrics.json    the summary and the report data as JSON
      run.yaml        the whole resolved configuration; --config run.yaml repeats the run
      log.txt         what happened when; grows as the run goes
      tensorboard/    the event file, if the run is logged to TensorBoard
      training.safetensors    only while training: the training checkpoint for --resume
      asked.yaml      only while training: the configuration that the run was started with
      .polymodal.lock only while training: held by the process that trains
      trackers.json   only while training: what experiment trackers call the run
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from polymodal.atomic_files import remove_temporaries, write_text
from polymodal.config import RunConfig, build_config, load_config, save_config
from polymodal.errors import ConfigError
from polymodal.model.checkpoint import save_model
from polymodal.model.saved_parts import MODEL_FOLDER
from polymodal.model.summary import summary_of
from polymodal.report.gallery_rows import build_gallery
from polymodal.report.page import write_report
from polymodal.report.recovered_pictures import recovered_pictures
from polymodal.runs.folder_lock import entries, locked_folder
from polymodal.runs.run import Run

STATE_FILE = "training.safetensors"
STARTED_CONFIG = "asked.yaml"
"""The configuration an unfinished run was started with."""
STARTED_FILES = (STARTED_CONFIG, "log.txt")
"""What a run writes before its first checkpoint."""
EARLIER_TEMPORARIES = ("asked.tmp", "training.tmp")
"""What a killed run of an earlier version may have left."""


@contextmanager
def open_run_folder(folder: Path, config: RunConfig, resume: bool) -> Iterator[None]:
    """Hold a folder for a run, with the run's configuration in it; no other run may write there meanwhile.

    If the run fails before it has saved a training checkpoint, nothing is left of it.

    Args:
        folder: The run's folder; made if it is not there.
        config: The configuration of the run.
        resume: Whether to resume an unfinished run there.

    Yields:
        Nothing; the run is trained and written inside.

    Raises:
        ConfigError: If the folder holds another run or anything else, or another run is writing to it.
        OSError: If the folder cannot be written to: disk full, no permission.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"The output {folder} is a file. Choose another --output.")
    with locked_folder(folder):
        _check_folder(folder, config, resume)
        remove_temporaries(folder)
        if not (folder / STATE_FILE).exists():
            save_config(config, folder / STARTED_CONFIG)
        try:
            yield
        except BaseException:
            if (folder / STARTED_CONFIG).exists() and not (folder / STATE_FILE).exists():  # else there is a run to keep
                _remove_started(folder)
            raise


def _check_folder(folder: Path, config: RunConfig, resume: bool) -> None:
    """Check that a folder is empty or holds a run to resume; one that saved no checkpoint has nothing to lose."""
    started, found = folder / STARTED_CONFIG, entries(folder)
    if found <= {*EARLIER_TEMPORARIES, *(STARTED_FILES if started.is_file() else ())}:
        return
    if not (resume and started.is_file()):
        raise ConfigError(_occupied(folder, holds_run=started.is_file(), resume=resume))
    if STATE_FILE not in found:
        return
    before, now = (json.loads(one.model_dump_json()) for one in (build_config(load_config(started)), config))
    changed = [name for name in now if now[name] != before.get(name)]
    if changed:
        raise ConfigError(
            f"The run in {folder} was started with another {changed[0]!r}: {before.get(changed[0])!r}, "
            f"now {now[changed[0]]!r}. Repeat its options to resume it, or choose another --output."
        )


def _remove_started(folder: Path) -> None:
    with suppress(OSError):  # a full or read-only disk; the next run accepts what is left
        remove_temporaries(folder)
        for name in STARTED_FILES:
            (folder / name).unlink(missing_ok=True)


def _occupied(folder: Path, holds_run: bool, resume: bool) -> str:
    if resume:
        return f"The folder {folder} holds no unfinished run to resume. Leave out --resume and choose another --output."
    advice = ", or add --resume to go on with the run it holds" if holds_run else ""
    return f"The folder {folder} is not empty. Choose another --output or remove it{advice}."


def write_run(run: Run, folder: Path) -> None:
    """Write the model, report, metrics and configuration of a run.

    Args:
        run: The finished run.
        folder: The run's folder.

    Raises:
        OSError: If it cannot be written: disk full, no permission. The run can be resumed then.
    """
    save_model(run.model, folder / MODEL_FOLDER)
    save_config(run.model.config, folder / "run.yaml")
    write_text(
        folder / "metrics.json",
        json.dumps({**summary_of(run.model.report_data), "record": run.model.report_data}, indent=1),
    )
    examples = run.data_module.splits[run.split]
    gallery = build_gallery(run.model, examples, run.evaluation.predictions)
    explained = run.explanation.with_cells if run.explanation else None
    base = run.data_module.tables[run.split].folder
    pictures = recovered_pictures(run.model, examples)
    write_report(run.model.report_data, gallery, folder / "report.html", base, explained, pictures)
    for leftover in (STATE_FILE, STARTED_CONFIG):
        (folder / leftover).unlink(missing_ok=True)
