"""The folder of a compression.

::

    runs/clothing-compressed/
      model/              the chosen model; loads with polymodal.load
      compression.html    every point that was tried, with a chart
      compression.json    the same as JSON
      pareto.svg          the chart alone
      networks/           students that were trained: the same command with other limits uses them again
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polymodal.atomic_files import remove_temporaries, write_text
from polymodal.compression.deployed import MAX_REFERENCE_SHARE, keeps_reference, slimmed
from polymodal.compression.page import pareto_svg, write_page
from polymodal.compression.points import Compression, find_point
from polymodal.compression.search import Search
from polymodal.compression.work import WORK_FOLDER, Work
from polymodal.errors import ConfigError
from polymodal.model.checkpoint import MODEL_FOLDER, save_model
from polymodal.model.evaluation import evaluate_examples
from polymodal.model.fit_reference import fit_reference
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import Progress
from polymodal.runs.folder_lock import entries, locked_folder

PAGE, DATA_FILE, CHART = "compression.html", "compression.json", "pareto.svg"
CONTENTS = frozenset({MODEL_FOLDER, PAGE, DATA_FILE, CHART, WORK_FOLDER, "bundle"})


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
            model, notices = _finished(search, found.chosen)
            save_model(model, folder / MODEL_FOLDER)
            found = dataclasses.replace(found, notices=[*found.notices, *notices])
        found = dataclasses.replace(found, folder=folder)
        write_text(folder / CHART, pareto_svg(found))
        write_page(found, folder / PAGE)
        write_text(
            folder / DATA_FILE, json.dumps(found.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        )
    return found


def _finished(search: Search, name: str) -> tuple[TrainedModel, list[str]]:
    """Return the chosen model with its own scores, and what it lacks beside the original, in sentences."""
    candidate = search.candidates[name]
    examples, cache = search.test_rows(candidate), search.cache
    split = "validation" if search.rows.test is None else "test"
    evaluation = evaluate_examples(candidate.model, examples, split, cache).report
    model = slimmed(candidate.model, evaluation)
    notices = ["Charts' data of the original's report are not part of the compressed model."]
    point = find_point(search.points, name)
    if keeps_reference(search.work.original, point.num_bytes):
        model = fit_reference(model, search.rows.train, candidate.validation, candidate.held_out)
    else:
        notices.append(
            "The compressed model remembers no rows of the original: `polymodal drift` and --unusual need them, and "
            f"they would take more than {MAX_REFERENCE_SHARE:.0%} of its bytes."
        )
    return model, notices
