"""The folder of a compression.

::

    runs/clothing-compressed/
      model/              the chosen model in PyTorch; loads with polymodal.load
      bundle/             the chosen model for ONNX Runtime, where it was exported
      compression.html    every point that was tried, with a chart
      compression.json    the same as JSON
      pareto.svg          the chart alone
      networks/           students that were trained: the same command with other limits uses them again
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polymodal.atomic_files import atomic_folder, remove_temporaries, write_text
from polymodal.compression.bundles import write_candidate_bundle
from polymodal.compression.candidate import Candidate, with_calibrations
from polymodal.compression.deployed import MAX_REFERENCE_SHARE, keeps_reference, slimmed
from polymodal.compression.page import pareto_svg, write_page
from polymodal.compression.points import Compression
from polymodal.compression.search import Search
from polymodal.compression.work import WORK_FOLDER, Work
from polymodal.errors import ConfigError
from polymodal.export.export_bundle import CONTENTS as CONTENTS_OF_BUNDLE
from polymodal.model.checkpoint import save_model
from polymodal.model.evaluation import evaluate_examples
from polymodal.model.fit_reference import fit_reference
from polymodal.model.saved_parts import MODEL_FOLDER
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import Progress
from polymodal.runs.folder_lock import entries, locked_folder

BUNDLE_FOLDER = "bundle"
PAGE, DATA_FILE, CHART = "compression.html", "compression.json", "pareto.svg"
CONTENTS = frozenset({MODEL_FOLDER, PAGE, DATA_FILE, CHART, WORK_FOLDER, BUNDLE_FOLDER})


@contextmanager
def open_output(folder: Path | None, original: Path | None) -> Iterator[Work]:
    """Hold the folder of a compression; no other one may write there meanwhile.

    Args:
        folder: The folder; made if it is not there. None: nothing is written.
        original: The model folder of the original; None where it has none.

    Yields:
        Where trained networks are kept.

    Raises:
        ConfigError: If the folder holds anything else, or another compression is writing to it.
        OSError: If the folder cannot be written to.
    """
    if folder is None:
        yield Work(None, original)
        return
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"The output {folder} is a file. Choose another --output.")
    with locked_folder(folder):
        found = entries(folder)
        if found - CONTENTS or (MODEL_FOLDER in found and DATA_FILE not in found):
            raise ConfigError(f"The folder {folder} holds something else than a compression. Choose another --output.")
        remove_temporaries(folder)
        yield Work(folder / WORK_FOLDER, original)


def write_outputs(found: Compression, search: Search, folder: Path | None, progress: Progress) -> Compression:
    """Write the chosen model, the comparison and its page.

    Args:
        found: The compression.
        search: What was tried.
        folder: The folder; None writes nothing.
        progress: Reports progress.

    Returns:
        The compression with its folder.

    Raises:
        OSError: If it cannot be written: disk full, no permission. What was trained is kept.
    """
    if folder is None or (found.chosen is None and (folder / MODEL_FOLDER).is_dir()):
        return found  # an earlier model with looser limits is kept, with its page
    with progress.phase("writing", None):
        if found.chosen is not None:
            found = dataclasses.replace(found, notices=[*found.notices, *_write_models(search, found.chosen, folder)])
        found = dataclasses.replace(found, folder=folder)
        write_text(folder / CHART, pareto_svg(found))
        write_page(found, folder / PAGE)
        write_text(
            folder / DATA_FILE, json.dumps(found.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        )
    return found


def _write_models(search: Search, name: str, folder: Path) -> list[str]:
    """Write the chosen model, and where it was exported its bundle too; say what both lack beside the original."""
    candidate = search.candidates[name]
    model, notices = _finished(search, candidate.exported_from or candidate)
    save_model(model, folder / MODEL_FOLDER)
    if candidate.bundle is None:
        shutil.rmtree(folder / BUNDLE_FOLDER, ignore_errors=True)  # of an earlier choice
        return notices
    exported, _ = _finished(search, candidate)
    with atomic_folder(folder / BUNDLE_FOLDER, CONTENTS_OF_BUNDLE) as temporary:
        write_candidate_bundle(candidate, exported, temporary)
    return [*notices, f"{BUNDLE_FOLDER}/ is what was chosen and measured; {MODEL_FOLDER}/ is the same in PyTorch."]


def _finished(search: Search, candidate: Candidate) -> tuple[TrainedModel, list[str]]:
    """Return a model with its own scores, and what it lacks beside the original, in sentences."""
    split = "validation" if search.rows.test is None else "test"
    calibrated = with_calibrations(candidate)
    evaluation = evaluate_examples(calibrated, search.test_rows(candidate), split, search.cache).report
    model = slimmed(calibrated, evaluation)
    notices = ["Charts' data of the original's report are not part of the compressed model."]
    point = next((one for one in search.points if one.name == candidate.name), search.points[0])
    if keeps_reference(search.work.original, point.num_bytes):
        return fit_reference(model, candidate.train, candidate.validation, candidate.held_out), notices
    return model, [
        *notices,
        "The compressed model remembers no rows of the original: `polymodal drift` and --unusual need them, and "
        f"they would take more than {MAX_REFERENCE_SHARE:.0%} of its bytes.",
    ]
