"""The page in a browser: nothing is wider than a phone, and charts answer to the pointer."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from test_page import CHROMIUM, digits_gallery, digits_record, leaf_record
from test_stress_page import stress_report

from polymodal.report.page import write_report

PHONE = 390
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
MEASURE = """<script>window.addEventListener("load", function () {
  var mark = document.querySelector("svg.chart [data-tip]"), box = mark.getBoundingClientRect();
  mark.closest("svg").dispatchEvent(new PointerEvent("pointermove", {clientX: box.left, clientY: box.top + 3}));
  document.body.dataset.measured = JSON.stringify({
    width: document.documentElement.scrollWidth, tip: document.querySelector(".tip").textContent});
});</script></body>"""
FRAME = """<body><iframe src="page.html" style="width: {}px; height: 900px; border: 0"></iframe><script>
window.addEventListener("load", function () {{
  document.body.dataset.measured = document.querySelector("iframe").contentDocument.body.dataset.measured;
}});</script></body>"""


def measured(record: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Open a report at the width of a phone; return how wide it is and what its first chart says to the pointer."""
    write_report(record, digits_gallery(2), folder / "page.html")
    html = POLICY.sub("", (folder / "page.html").read_text(encoding="utf-8")).replace("</body>", MEASURE)
    (folder / "page.html").write_text(html, encoding="utf-8")
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


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not on PATH: the report is not opened in a browser")
@pytest.mark.parametrize("make", [digits_record, leaf_record, stressed_record])
def test_nothing_is_wider_than_a_phone_and_charts_answer_to_the_pointer(make: Any, tmp_path: Path) -> None:
    found = measured(make(), tmp_path)
    assert found["width"] == PHONE
    assert re.search(r"\d", found["tip"])
