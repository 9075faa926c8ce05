"""Publishing a bundle on the Hugging Face hub (no torch)."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from polymodal.bundle.load_bundle import load_bundle
from polymodal.errors import ConfigError, MissingPackageError
from polymodal.model.manifest import MANIFEST_FILE, NOT_COVERED, read_json

OLD_FILES = ("graphs/*", "baselines/*")
"""What an earlier bundle may have left in the repository."""
REFUSALS = {
    401: "it refused the token: it is wrong or has expired. Make a new one with the right to write",
    403: "the token has no right to write there. Make one that has, or name another repository",
    404: "there is no such repository or revision, or the token may not see it",
    409: "somebody else is changing the repository. Push again",
    429: "it has had too many requests. Push again later",
}


@dataclass(frozen=True)
class Pushed:
    """What was published.

    Attributes:
        repository: Address of the repository.
        commit: Its commit.
        files: Paths of the files.
        num_bytes: Their bytes.
    """

    repository: str
    commit: str
    files: tuple[str, ...]
    num_bytes: int

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {**asdict(self), "files": list(self.files)}


def push_bundle(
    folder: Path,
    repository: str,
    *,
    private: bool = False,
    token_env: str | None = None,
    revision: str | None = None,
    message: str | None = None,
) -> Pushed:
    """Publish a bundle as one commit; the repository is made if there is none.

    Nothing but the bundle's own files is sent, whatever else lies in the folder.

    Args:
        folder: The bundle.
        repository: ``OWNER/NAME`` on the hub.
        private: Whether a new repository is private.
        token_env: Environment variable that holds the token; None: that of the hub's own login, or ``HF_TOKEN``.
        revision: Branch to commit to, made if there is none; None: the main one.
        message: Message of the commit; None: one that names polymodal.

    Returns:
        What was published.

    Raises:
        CheckpointError: If the folder holds no bundle, or a damaged one.
        ConfigError: If there is no token, or the hub refuses.
        MissingPackageError: If the package huggingface_hub is not installed.
    """
    token = read_token(token_env)
    load_bundle(folder)
    files = _files(folder)
    from huggingface_hub import HfApi

    with _refusals_told(repository), _without_bars():
        api = HfApi(token=token, library_name="polymodal")
        address = str(api.create_repo(repository, private=private, exist_ok=True))
        if revision is not None:
            api.create_branch(repository, branch=revision, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            commit_message=message or "Bundle of polymodal",
            revision=revision,
            allow_patterns=list(files),
            delete_patterns=list(OLD_FILES),
        )
    num_bytes = sum((folder / name).stat().st_size for name in files)
    return Pushed(address, str(commit.oid), files, num_bytes)


def read_token(token_env: str | None) -> str:
    """Find the token of the hub: in the environment, or where its own login keeps it.

    Args:
        token_env: Environment variable that holds it; None: that of the hub's own login, or ``HF_TOKEN``.

    Returns:
        The token.

    Raises:
        ConfigError: If there is none.
        MissingPackageError: If the package huggingface_hub is not installed.
    """
    try:
        from huggingface_hub import get_token
    except ImportError:
        raise MissingPackageError("To push needs the package huggingface_hub: pip install 'polymodal[hub]'.") from None
    token = get_token() if token_env is None else os.environ.get(token_env, "").strip()
    if token:
        return token
    if token_env is not None:
        raise ConfigError(f"The environment variable {token_env} holds no token. Set it, or leave out --token-env.")
    raise ConfigError("There is no token of the hub. Log in with `hf auth login`, or set the variable HF_TOKEN.")


def _files(folder: Path) -> tuple[str, ...]:
    covered = read_json(folder / MANIFEST_FILE)["files"]
    return tuple(sorted([*covered, MANIFEST_FILE, *(name for name in NOT_COVERED if (folder / name).is_file())]))


@contextmanager
def _without_bars() -> Iterator[None]:
    """Silence the progress bars of the hub's client: the push is one phase of polymodal's own progress."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if are_progress_bars_disabled():
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where the environment asks for bars
        disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


@contextmanager
def _refusals_told(repository: str) -> Iterator[None]:
    """Turn what the client of the hub raises into one sentence, without the token."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        yield
    except HFValidationError:
        raise ConfigError(
            f"The repository {repository!r} is no name of the hub. Give OWNER/NAME, such as me/digits."
        ) from None
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        reason = REFUSALS.get(status or 0, f"it answered with the status {status}")
        raise ConfigError(f"The hub did not take {repository}: {reason}.") from None
    except Exception as error:  # its HTTP client and its uploads raise classes of their own
        inner = error.__cause__ or error
        status = getattr(getattr(inner, "response", None), "status_code", None)
        reason = REFUSALS.get(status or 0, f"{type(inner).__name__}: {_first_line(inner)}")
        raise ConfigError(f"The hub did not take {repository}: {reason}.") from None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0].rstrip(".")[:200]
