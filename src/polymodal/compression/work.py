"""Trained networks of a compression, with which an interrupted one goes on, and one with other limits begins."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from polymodal.atomic_files import write_text
from polymodal.config.run_config import PartConfig
from polymodal.errors import PolymodalError
from polymodal.model.checkpoint import load_model, save_model
from polymodal.model.manifest import MANIFEST_FILE
from polymodal.model.trained_model import TrainedModel
from polymodal.version import VERSION

WORK_FOLDER = "networks"
KEY_FILE = "key.txt"


@dataclass(frozen=True)
class Work:
    """A folder of trained networks.

    Attributes:
        folder: The folder; None keeps nothing.
        original: The model folder of the original; None where it has none.
    """

    folder: Path | None
    original: Path | None = None

    def opened(self, rows: Mapping[str, int]) -> Work:
        """Return the same, empty unless what is in it is of the same original, rows and version.

        Args:
            rows: Split to its number of rows.

        Returns:
            This object.
        """
        if self.folder is None:
            return self
        key = _key(self.original, rows)
        if not _holds(self.folder / KEY_FILE, key):
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            write_text(self.folder / KEY_FILE, key)
        return self

    def load(self, name: str) -> TrainedModel | None:
        """Load a network that was trained before.

        Args:
            name: Its name.

        Returns:
            The model without baselines, its decision level still to be fitted; None where it is not there or whole.
        """
        if self.folder is None or not (self.folder / name).is_dir():
            return None
        try:
            return load_model(self.folder / name, "cpu")
        except PolymodalError:
            return None

    def save(self, name: str, model: TrainedModel) -> None:
        """Keep a trained network.

        Args:
            name: Its name.
            model: The model; its baselines are not kept.

        Raises:
            OSError: If it cannot be written: disk full, no permission.
        """
        if self.folder is not None and not any(choice.is_given for choice in _parts(model)):
            bare = dataclasses.replace(model, features=None, baselines={}, report_data={})
            save_model(bare, self.folder / name)


def _parts(model: TrainedModel) -> list[PartConfig]:
    return [model.config.fusion, *model.config.encoder.values()]


def _holds(path: Path, key: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == key


def _key(original: Path | None, rows: Mapping[str, int]) -> str:
    manifest = "" if original is None else (original / MANIFEST_FILE).read_text(encoding="utf-8")
    digest = hashlib.sha256(manifest.encode()).hexdigest()
    return json.dumps({"version": VERSION, "original": digest, "rows": dict(rows)})
