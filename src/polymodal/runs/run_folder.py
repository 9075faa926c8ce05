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
      trackers.json   only while training: what experiment trackers call the run
"""

from __future__ import annotations

import json
from pathlib import Path

from polymodal.config import RunConfig, build_config, load_config, save_config
from polymodal.errors import ConfigError
from polymodal.model.checkpoint import MODEL_FOLDER, save_model
from polymodal.model.summary import summary_of
from polymodal.report.gallery_rows import build_gallery
from polymodal.report.page import write_report
from polymodal.runs.run import Run

STATE_FILE = "training.safetensors"
STARTED_CONFIG = "asked.yaml"
"""The configuration an unfinished run was started with."""


def check_folder(folder: Path, config: RunConfig, resume: bool) -> None:
    """Check that a run may write into a folder, and save its configuration there.

    Args:
        folder: The run's folder; made if it is not there.
        config: The configuration of the run.
        resume: Whether to resume an unfinished run there.

    Raises:
        ConfigError: If the folder holds another run.
    """
    started = folder / STARTED_CONFIG
    if resume and started.is_file():
        before, now = (json.loads(one.model_dump_json()) for one in (build_config(load_config(started)), config))
        changed = [name for name in now if now[name] != before.get(name)]
        if changed:
            raise ConfigError(
                f"The run in {folder} was started with another {changed[0]!r}: {before.get(changed[0])!r}, "
                f"now {now[changed[0]]!r}. Repeat its options to resume it, or choose another --output."
            )
        return
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ConfigError(_occupied(folder, holds_run=started.is_file(), resume=resume))
    folder.mkdir(parents=True, exist_ok=True)
    save_config(config, started)


def _occupied(folder: Path, holds_run: bool, resume: bool) -> str:
    if not folder.is_dir():
        return f"The output {folder} is a file. Choose another --output."
    if resume:
        return f"The folder {folder} holds no unfinished run to resume. Leave out --resume and choose another --output."
    advice = ", or add --resume to go on with the run it holds" if holds_run else ""
    return f"The folder {folder} is not empty. Choose another --output or remove it{advice}."


def write_run(run: Run, folder: Path) -> None:
    """Write the model, report, metrics and configuration of a run.

    Args:
        run: The finished run.
        folder: The run's folder.
    """
    save_model(run.model, folder / MODEL_FOLDER)
    save_config(run.model.config, folder / "run.yaml")
    write_text(
        folder / "metrics.json",
        json.dumps({**summary_of(run.model.report_data), "record": run.model.report_data}, indent=1),
    )
    examples = run.data_module.splits[run.split]
    gallery = build_gallery(run.model, examples, run.evaluation.predictions)
    write_report(run.model.report_data, gallery, folder / "report.html", run.data_module.tables[run.split].folder)
    for leftover in (STATE_FILE, STARTED_CONFIG):
        (folder / leftover).unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically.

    Args:
        path: The file.
        text: Its content.
    """
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
