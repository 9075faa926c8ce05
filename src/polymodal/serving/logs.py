"""Structured logs: one JSON object a line, on standard error, without anything of a request's cells."""

from __future__ import annotations

import json
import logging
import time
import traceback
from typing import Any

LOGGER = logging.getLogger("polymodal.serving")


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object; of an exception the type and the places, never its message."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record.

        Args:
            record: The record; its ``fields`` are added.

        Returns:
            One line.
        """
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "process": record.process,
        }
        line |= getattr(record, "fields", {})
        return json.dumps(line, ensure_ascii=True, default=str)


def error_fields(error: BaseException) -> dict[str, Any]:
    """Describe an unexpected error without its message, which may hold a cell.

    Args:
        error: The error.

    Returns:
        Its type and the places it passed, the innermost last.
    """
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    return {"error": type(error).__name__, "places": [f"{frame.name}:{frame.lineno}" for frame in frames]}


def start_logs(is_quiet: bool) -> None:
    """Log to standard error.

    Args:
        is_quiet: Whether nothing but errors is logged.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    level = logging.ERROR if is_quiet else logging.INFO
    for name, least in (("polymodal.serving", level), ("uvicorn.error", logging.ERROR)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(least)
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # it tells of every damaged body
    logging.getLogger("uvicorn.access").handlers = []
    logging.getLogger("uvicorn.access").propagate = False
