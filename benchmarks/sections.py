"""The sections of docs/benchmarks.md: each benchmark rewrites its own."""

from __future__ import annotations

import re
from pathlib import Path

HEADER = "# Benchmarks\n\nEach section is written by the command it names.\n"


def replace_section(path: Path, name: str, text: str) -> None:
    """Write a section, leaving the others as they are.

    Args:
        path: The document; made if it is not there.
        name: The section's name.
        text: Its Markdown.
    """
    document = path.read_text(encoding="utf-8") if path.is_file() else HEADER
    section = f"<!-- begin {name} -->\n## {name.capitalize()}\n\n{text}\n<!-- end {name} -->"
    pattern = re.compile(f"<!-- begin {name} -->.*?<!-- end {name} -->", re.DOTALL)
    found = pattern.search(document)
    document = (
        document.rstrip() + "\n\n" + section + "\n" if found is None else pattern.sub(lambda _: section, document)
    )
    path.write_text(document, encoding="utf-8")
