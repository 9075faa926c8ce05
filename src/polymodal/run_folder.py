"""The folder a run leaves behind: model, report, metrics, configuration and log.

::

    runs/clothing/
      model/          safetensors + JSON + text; loads with polymodal.load
      report.html     one file, opens without a network
      metrics.json    everything the report says, as JSON
      run.yaml        the whole resolved configuration; --config run.yaml repeats the run
      log.txt         what happened when
      training.safetensors    only while training: the state --resume goes on from
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.batches import Examples
from polymodal.checkpoint import save_model
from polymodal.config import RunConfig, load_config, save_config
from polymodal.edits import Part, word_differences
from polymodal.errors import ConfigError
from polymodal.gallery import Gallery, GalleryCell, GalleryRow, pick_graded, pick_rows
from polymodal.report import write_report
from polymodal.run import Run
from polymodal.targets import AnyTarget, StructuredTarget
from polymodal.targets.base import Prediction
from polymodal.targets.structured import values_of

MODEL_FOLDER, STATE_FILE = "model", "training.safetensors"
GALLERY_ROWS = 6
SHOWN_NUMBERS = 6


def check_folder(folder: Path, config: RunConfig, resume: bool) -> None:
    """Check that a run may write into a folder, and note its configuration there.

    Args:
        folder: The run's folder; made if it is not there.
        config: The configuration of the run.
        resume: Whether an unfinished run there is to go on.

    Raises:
        ConfigError: If the folder holds another run.
    """
    asked = folder / "asked.yaml"
    if resume and asked.is_file():
        before, now = load_config(asked), json.loads(config.model_dump_json())
        changed = [name for name in now if now[name] != before.get(name)]
        if changed:
            raise ConfigError(
                f"The run in {folder} was started with another {changed[0]!r}: {before.get(changed[0])!r}, "
                f"now {now[changed[0]]!r}. Repeat its options to resume it, or choose another --output."
            )
        return
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ConfigError(_occupied(folder, holds_run=asked.is_file(), resume=resume))
    folder.mkdir(parents=True, exist_ok=True)
    save_config(config, asked)


def _occupied(folder: Path, holds_run: bool, resume: bool) -> str:
    if not folder.is_dir():
        return f"The output {folder} is a file. Choose another --output."
    if resume:
        return f"The folder {folder} holds no unfinished run to resume. Leave out --resume and choose another --output."
    advice = ", or add --resume to go on with the run it holds" if holds_run else ""
    return f"The folder {folder} is not empty. Choose another --output or remove it{advice}."


def write_run(run: Run, folder: Path, log: list[str]) -> None:
    """Write everything a run leaves behind.

    Args:
        run: The finished run.
        folder: The run's folder.
        log: Lines of what happened.
    """
    save_model(run.model, folder / MODEL_FOLDER)
    save_config(run.model.config, folder / "run.yaml")
    write_text(
        folder / "metrics.json", json.dumps({**summary_of(run.model.record), "record": run.model.record}, indent=1)
    )
    examples = run.prepared.splits[run.split]
    gallery = build_gallery(run, examples)
    write_report(run.model.record, gallery, folder / "report.html", run.prepared.tables[run.split].folder)
    write_text(folder / "log.txt", "\n".join(log) + "\n")
    for leftover in (STATE_FILE, "asked.yaml"):
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


def summary_of(record: dict[str, Any]) -> dict[str, Any]:
    """Return the object that ``--json`` prints.

    Args:
        record: The run's record, or the same parts of an evaluation.

    Returns:
        Rows, scores by target, stream, baseline and missing stream, intervals, broken cells, seconds.
    """
    evaluation = record["evaluation"]
    scores = {name: evaluation.get(name, {}) for name in ("targets", "fusion", "streams", "baselines", "missing")}
    return {
        "rows": {table["split"]: table["rows"] for table in record["tables"]},
        "split": evaluation["split"],
        **scores,
        "intervals": evaluation.get("intervals", {}),
        "calibration": {
            name: {key: found[key] for key in ("ece_before", "ece_after")}
            for name, found in evaluation.get("calibration", {}).items()
        },
        "decision": evaluation.get("decision", {}),
        "broken_cells": record["broken_cells"],
        "set_aside": sum(table["set_aside"] for table in record["tables"]),
        "notices": record["notices"],
        "seconds": record["seconds"]["total"],
    }


def build_gallery(run: Run, examples: Examples) -> Gallery:
    """Choose right and worst-wrong rows of every target.

    Args:
        run: The finished run.
        examples: The rows that were judged.

    Returns:
        Target to rows.
    """
    return {
        name: _target_gallery(run, examples, name, target, run.evaluation.predictions[name])
        for name, target in run.model.targets.items()
    }


def _target_gallery(
    run: Run, examples: Examples, name: str, target: AnyTarget, prediction: Prediction
) -> dict[str, list[GalleryRow]]:
    known = np.flatnonzero(examples.known[name])
    picked, truths = _picked(examples, name, target, prediction[known], known)

    def shown(places: NDArray[np.int64]) -> list[GalleryRow]:
        return [
            _gallery_row(run, examples, target, truths[place], prediction[known[place]], int(known[place]))
            for place in places
        ]

    return {"right": shown(picked[0]), "wrong": shown(picked[1])}


def _picked(
    examples: Examples, name: str, target: AnyTarget, said: Prediction, known: NDArray[np.int64]
) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], list[Cell]]:
    """Return the places of right and of wrong rows, and the truth of every place."""
    truth, cells = examples.truth[name][known], [examples.cells[name][examples.rows[place]] for place in known]
    if isinstance(target, StructuredTarget):
        cells = target.references(cells, examples.source(known))
        return pick_graded(target.quality(cells, values_of(said)), GALLERY_ROWS), cells
    if target.kind == "number":
        return pick_rows(truth.tolist(), said.tolist(), None, None, GALLERY_ROWS), cells
    if target.kind == "categories":
        labels, correct = target.decode(said), ((said >= 0.5) == (truth > 0.5)).all(axis=1)
        confidence = np.maximum(said, 1 - said).min(axis=1)
        return pick_rows(labels, labels, confidence, correct, GALLERY_ROWS), cells
    found = said.argmax(axis=1)
    return pick_rows(truth.tolist(), found.tolist(), said.max(axis=1), found == truth, GALLERY_ROWS), cells


def _gallery_row(
    run: Run, examples: Examples, target: AnyTarget, truth: Cell, prediction: Any, place: int
) -> GalleryRow:
    row = int(examples.rows[place])
    columns = run.model.schema.columns
    is_number = target.kind == "number"
    label, certain = _label(target, prediction)
    return GalleryRow(
        row=row + 1,
        truth=f"{float(truth):.4g}" if is_number else _said(truth),
        prediction=f"{label:.4g}" if is_number else _said(label),
        probability=certain,
        cells=tuple(GalleryCell(c.name, c.modality, examples.cells[c.name][row]) for c in columns),
        differences=_differences(truth, label) if target.kind == "transcript" else (),
    )


def _differences(truth: Cell, label: Cell) -> tuple[Part, ...]:
    parts = word_differences(str(truth), str(label))
    return tuple(parts) if any(kind != "same" for kind, _ in parts) else ()


def _label(target: AnyTarget, prediction: Any) -> tuple[Cell, float | None]:
    """Return one row's plain prediction and how sure it is."""
    if isinstance(target, StructuredTarget):
        return prediction.value, prediction.confidence
    certain = float(prediction.max()) if target.kind == "category" else None
    return target.decode(prediction[None])[0], certain


def _said(label: Cell) -> str:
    if isinstance(label, list) and label and isinstance(label[0], float):
        more = ", ..." if len(label) > SHOWN_NUMBERS else ""
        return ", ".join(f"{number:.3g}" for number in label[:SHOWN_NUMBERS]) + more
    return (" | ".join(map(str, label)) or "none") if isinstance(label, list) else str(label)
