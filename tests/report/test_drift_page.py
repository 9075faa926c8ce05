"""The page of a comparison with the training rows: whole, self-contained, the worst first."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from polymodal.drift.comparison import Chart, Comparison, Drift
from polymodal.report.drift_page import write_drift
from polymodal.report.pair_charts import pair_histogram

NASTY = "<script>alert(1)</script>"


def comparison(column: str, measure: str = "value", *, drifted: bool = True, shares: bool = False) -> Comparison:
    chart = Chart("numbers", "", [0.0, 1.0, 2.0], [], [0.5, 0.5], [0.1, 0.9])
    if shares:
        chart = Chart("shares", "", [], ["red", NASTY], [0.7, 0.3], [0.2, 0.8])
    return Comparison(
        column,
        "input",
        "number",
        measure,
        "Kolmogorov-Smirnov",
        0.4,
        1e-9,
        f"{measure} of {column} has changed",
        chart,
        adjusted_p_value=1e-8 if drifted else 0.7,
        is_drifted=drifted,
        new_values=[(NASTY, 0.5)] if shares else [],
    )


def drift(*comparisons: Comparison) -> Drift:
    return Drift(
        table="new.csv",
        rows=120,
        compared_rows=100,
        reference="train.csv",
        reference_rows=1000,
        alpha=0.05,
        min_effect=0.05,
        comparisons=list(comparisons),
        notices=["100 of the 120 rows were drawn at random."],
        created="2026-11-30T08:00:00+00:00",
        seconds=1.0,
    )


class Outline(HTMLParser):
    """Collects headings, links, and what is left open."""

    def __init__(self) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.references: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids += [values["id"] or ""] if "id" in values else []
        self.references += [value for name, value in attrs if name in ("href", "src") and value]
        if tag not in ("meta", "link", "br", "rect", "path", "line", "img", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("h1", "h2"):
            self.headings.append(data)


def write(found: Drift, folder: Path) -> tuple[str, Outline]:
    write_drift(found, folder / "drift.html", "polymodal drift run new.csv")
    text, outline = (folder / "drift.html").read_text(encoding="utf-8"), Outline()
    outline.feed(text)
    return text, outline


def test_drifted_columns_have_sections_the_worst_first(tmp_path: Path) -> None:
    found = drift(comparison("size"), comparison("size", "missing"), comparison("age"), comparison("x", drifted=False))
    text, outline = write(found, tmp_path)
    assert outline.headings == ["new.csv: drift", "size", "age", "Not drifted", "All tests", "About"]
    assert "Drift in size, age: 3 of 4 tests find a difference." in text
    assert "drawn at random" in text
    assert text.count('<svg class="chart"') == 4
    assert outline.open == []


def test_the_page_is_self_contained_and_escaped(tmp_path: Path) -> None:
    text, outline = write(drift(comparison(NASTY, shares=True)), tmp_path)
    assert NASTY not in text
    assert "&lt;script&gt;alert(1)" in text
    assert all(reference.startswith(("#", "data:")) for reference in outline.references)
    assert {reference[1:] for reference in outline.references if reference.startswith("#")} <= set(outline.ids)
    assert "default-src 'none'" in text


def test_a_page_without_drift_or_tests_says_so(tmp_path: Path) -> None:
    text, outline = write(drift(comparison("x", drifted=False)), tmp_path)
    assert outline.headings[0] == "new.csv: no drift"
    assert "No drift: none of 1 test finds" in text
    assert "Nothing could be compared" in write(drift(), tmp_path)[0]


def test_a_pair_of_histograms_names_both_shares() -> None:
    chart = pair_histogram([0, 1, 2], [0.25, 0.75], [1.0, 0.0], title="t", x_label="size")
    assert "0 to 1: training 25.0%, new 100.0%" in chart
    assert chart.count('<rect class="before"') == 2


@pytest.mark.parametrize("edges", [[0.0, 1e-9, 2e-9], [-1e12, 0, 1e12]])
def test_histograms_of_any_scale_have_ticks(edges: list[float]) -> None:
    assert "<text" in pair_histogram(edges, [0.5, 0.5], [0.5, 0.5], title="t", x_label="x")
