"""The page of a stress test, one self-contained file."""

from __future__ import annotations

from pathlib import Path

from polymodal.atomic_files import write_text
from polymodal.report.page import render
from polymodal.report.stress_sections import describe_stress
from polymodal.robustness import StressReport
from polymodal.version import VERSION


def write_stress_page(found: StressReport, path: Path) -> None:
    """Write the page.

    Args:
        found: The stress test.
        path: The HTML file; replaced atomically.
    """
    values = {"stress": describe_stress(found), "title": found.table, "version": VERSION}
    write_text(path, render("stress.html", values))
