"""The pages in a browser: nothing is wider than a phone, charts answer to the pointer, and heat to its sliders."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import explained_examples as examples
import pytest
from test_page import CHROMIUM, digits_gallery, digits_record, leaf_record
from test_stress_page import stress_report

from polymodal.report.explanation_page import write_explanation
from polymodal.report.page import write_report

PHONE = 390
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
MEASURE = """<script>window.addEventListener("load", function () {{
  var found = {{width: document.documentElement.scrollWidth}};
  {}
  document.body.dataset.measured = JSON.stringify(found);
}});</script></body>"""
POINT_AT_CHART = """
  var mark = document.querySelector("svg.chart [data-tip]"), box = mark.getBoundingClientRect();
  mark.closest("svg").dispatchEvent(new PointerEvent("pointermove", {clientX: box.left, clientY: box.top + 3}));
  found.tip = document.querySelector(".tip").textContent;"""
MOVE_SLIDERS = """
  var film = document.querySelector(".film"), slider = film.nextElementSibling.querySelector("input");
  found.frames = film.querySelectorAll(".frame").length; found.first = film.querySelectorAll(".frame.shown").length;
  slider.value = 5; slider.dispatchEvent(new Event("input"));
  found.label = film.querySelector(".frame.shown").dataset.label; found.said = slider.getAttribute("aria-valuetext");
  var heat = film.nextElementSibling.nextElementSibling.querySelector("input");
  heat.value = 0; heat.dispatchEvent(new Event("input"));
  found.opacity = getComputedStyle(film.querySelector(".shown .over")).opacity;
  var area = document.querySelector(".words .word").getBoundingClientRect();
  found.word = [area.width > 10, area.height > 10];"""
FRAME = """<body><iframe src="page.html" style="width: {}px; height: 900px; border: 0"></iframe><script>
window.addEventListener("load", function () {{
  document.body.dataset.measured = document.querySelector("iframe").contentDocument.body.dataset.measured;
}});</script></body>"""

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not on PATH: no page is opened in a browser")


def measured(folder: Path, probe: str) -> dict[str, Any]:
    """Open ``page.html`` at the width of a phone; return how wide it is and what the probe found."""
    html = POLICY.sub("", (folder / "page.html").read_text(encoding="utf-8"))
    (folder / "page.html").write_text(html.replace("</body>", MEASURE.format(probe)), encoding="utf-8")
    (folder / "frame.html").write_text(FRAME.format(PHONE), encoding="utf-8")
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
        "--allow-file-access-from-files", f"--user-data-dir={folder / 'profile'}", "--dump-dom",
        (folder / "frame.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=True)
    match = re.search(r'data-measured="([^"]*)"', done.stdout)
    assert match, done.stdout
    found: dict[str, Any] = json.loads(match[1].replace("&quot;", '"'))
    return found


def stressed_record() -> dict[str, Any]:
    return digits_record() | {"stress": stress_report().state()}


@needs_browser
@pytest.mark.parametrize("make", [digits_record, leaf_record, stressed_record])
def test_nothing_is_wider_than_a_phone_and_charts_answer_to_the_pointer(make: Any, tmp_path: Path) -> None:
    write_report(make(), digits_gallery(2), tmp_path / "page.html")
    found = measured(tmp_path, POINT_AT_CHART)
    assert found["width"] == PHONE
    assert re.search(r"\d", found["tip"])


@needs_browser
def test_explanation_fits_a_phone_and_its_sliders_choose_frame_and_heat(tmp_path: Path) -> None:
    write_explanation(examples.explanation(), examples.table(), tmp_path / "page.html", examples.MODALITIES)
    found = measured(tmp_path, MOVE_SLIDERS)
    assert found["width"] == PHONE
    assert (found["frames"], found["first"]) == (8, 1)
    assert found["label"].startswith("Frame 6 of 8")
    assert found["said"].startswith("6 of 8, ")
    assert found["opacity"] == "0"
    assert found["word"] == [True, True]
