"""The model that is served now, and its replacement by a newer one without a lost request."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable
from pathlib import Path

from polymodal.errors import PolymodalError
from polymodal.serving.served_model import ServedModel, Stamp, stamp

LOGGER = logging.getLogger("polymodal.serving")
POLL_S = 1.0


def settle_memory() -> None:
    """Collect garbage, and leave what is loaded out of later collections.

    Each full collection would visit the model and all packages, and all requests would wait some 40 ms for it.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


class ModelSlot:
    """Holds the model, and loads a new one when its folder was replaced or a reload was asked for.

    Requests keep the model that they were read for until they are answered. A new model that cannot be loaded changes
    nothing; it is tried again when the folder changes again.

    Attributes:
        current: The model that new requests get.
    """

    def __init__(
        self, current: ServedModel, path: Path, load: Callable[[], ServedModel], observe: Callable[[bool], None]
    ) -> None:
        """Begin with a loaded model.

        Args:
            current: The model.
            path: Its folder.
            load: Loads the folder again.
            observe: Called after each reload with whether it worked.
        """
        self.current = current
        self._path = path
        self._load = load
        self._observe = observe
        self._stamp: Stamp | None = stamp(path)
        self._asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look for a new model; call it in the event loop."""
        self._task = asyncio.get_running_loop().create_task(self._watch())

    async def stop(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def reload(self) -> None:
        """Ask for a reload, whether or not the folder has changed."""
        self._stamp = None
        self._asked.set()

    def look(self) -> None:
        """Ask for a reload if the folder was replaced."""
        found = stamp(self._path)
        if found is not None and found != self._stamp:
            self._asked.set()

    async def _watch(self) -> None:
        while True:
            try:
                await asyncio.wait_for(self._asked.wait(), POLL_S)
            except TimeoutError:
                self.look()
                continue
            self._asked.clear()
            await self._replace()

    async def _replace(self) -> None:
        self._stamp = stamp(self._path)  # before the files are read: what changes meanwhile is loaded again
        try:
            self.current = await asyncio.to_thread(self._load)
        except PolymodalError as error:
            LOGGER.error("reload failed", extra={"fields": {"reason": str(error)}})
            is_loaded = False
        except Exception as error:  # whatever a half-written folder makes a reader raise, the old model goes on
            LOGGER.error("reload failed", extra={"fields": {"reason": type(error).__name__}})
            is_loaded = False
        else:
            LOGGER.info("model loaded", extra={"fields": {"model": self.current.name, "version": self.current.version}})
            is_loaded = True
            settle_memory()
        self._observe(is_loaded)
