"""Publishing a run or a bundle on the Hugging Face hub."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from polymodal.bundle.load_bundle import is_bundle
from polymodal.bundle.push_bundle import Pushed, push_bundle, read_token
from polymodal.progress import LoggingProgress, Progress


def push(
    path: str | Path,
    repository: str,
    *,
    table: Any = None,
    license: str = "unknown",
    progress: Progress | None = None,
    **options: Any,
) -> Pushed:
    """Publish a bundle; a run is exported first.

    Args:
        path: A bundle, a run folder, or the model folder in it.
        repository: ``OWNER/NAME`` on the hub.
        table: Rows to check the export of a run with; None: the first ones of the table it was trained on.
        license: Licence of a run's model for its card, by the hub's identifier.
        progress: Reports progress; None: ``logging``, by the logger ``polymodal``.
        **options: Those of ``polymodal.bundle.push_bundle.push_bundle``: private, token_env, revision, message.

    Returns:
        What was published.

    Raises:
        CheckpointError: If there is no model, or a damaged one.
        ConfigError: If a run cannot be exported, there is no token, or the hub refuses.
    """
    progress = progress or LoggingProgress()
    if is_bundle(Path(path)):
        return _push(Path(path), repository, progress, options)
    from polymodal.runs.model import load

    read_token(options.get("token_env"))
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "bundle"
        load(path, "cpu").export(bundle, table=table, format="huggingface", license=license, progress=progress)
        return _push(bundle, repository, progress, options)


def _push(folder: Path, repository: str, progress: Progress, options: dict[str, Any]) -> Pushed:
    with progress.phase(f"push to {repository}", None):
        return push_bundle(folder, repository, **options)
