"""The commands for the cache of decoded arrays: ``polymodal cache info | clear``."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from polymodal.cli.arguments import Json, exits
from polymodal.errors import parameter_error

if TYPE_CHECKING:
    from polymodal.data.cache.cache import CacheUsage

SECONDS_OF_UNIT = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}

cache_app = typer.Typer(help="What earlier runs decoded: where it lies and how large it is, or remove it.")


@cache_app.command("info")
def info_command(json: Json = False) -> None:
    """Show the cache's folder, entries, size and bound, and when the oldest entry was last used."""
    with exits("Stopped."):
        from polymodal.cli import console
        from polymodal.data.cache.cache import ArrayCache

        use = ArrayCache.default().usage()
        if json:
            console.print_json(_plain(use))
            return
        console.print_line(f"Folder:  {use.folder}")
        console.print_line(f"Entries: {use.entries:,}")
        console.print_line(f"Size:    {show_bytes(use.bytes)} of at most {show_bytes(use.max_bytes)}")
        if use.oldest_use is not None:
            console.print_line(f"Oldest:  last used {datetime.fromtimestamp(use.oldest_use):%Y-%m-%d %H:%M}")


@cache_app.command("clear")
def clear_command(
    older_than: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only what was not used for this time: 12h, 7d, 4w.")
    ] = None,
    json: Json = False,
) -> None:
    """Remove what earlier runs decoded; later runs decode it again. Runs that are at work go on undisturbed."""
    with exits("Stopped; what was removed by then is gone."):
        from polymodal.cli import console
        from polymodal.data.cache.cache import ArrayCache

        seconds = 0.0 if older_than is None else parse_age(older_than)
        removed = ArrayCache.default().clear(seconds)
        if json:
            console.print_json(_plain(removed))
        else:
            what = "entry" if removed.entries == 1 else "entries"
            console.print_line(f"{removed.entries:,} {what} removed, {show_bytes(removed.bytes)}: {removed.folder}")


def parse_age(text: str) -> float:
    """Parse an age.

    Args:
        text: A number with the unit s, m, h, d or w: ``7d``.

    Returns:
        Seconds.

    Raises:
        ConfigError: If the text is no such time.
    """
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*([smhdw])", text.strip().lower())
    if match is None:
        raise parameter_error("--older-than", "`polymodal cache clear`", "a time such as 12h, 7d or 4w", text)
    return float(match[1]) * SECONDS_OF_UNIT[match[2]]


def show_bytes(count: int) -> str:
    """Format a number of bytes.

    Args:
        count: Bytes.

    Returns:
        Such as ``1.5 GB``, in powers of 1000.
    """
    size, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def _plain(use: CacheUsage) -> dict[str, object]:
    return {
        "folder": str(use.folder),
        "entries": use.entries,
        "bytes": use.bytes,
        "max_bytes": use.max_bytes,
        "oldest_use": use.oldest_use,
    }
