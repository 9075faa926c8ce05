"""A whole table on the page: chosen, sent in chunks, shown and downloaded."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route


def choose(page: Page, content: str | bytes, name: str = "rows.csv") -> None:
    page.get_by_role("tab", name="A whole table").click()
    buffer = content.encode() if isinstance(content, str) else content
    file = {"name": name, "mimeType": "text/csv", "buffer": buffer}
    page.get_by_label("Table as a CSV file").set_input_files(file)  # type: ignore[arg-type]


def download(page: Page) -> list[dict[str, str]]:
    """Download the answers; returns the rows of the file."""
    with page.expect_download() as given:
        page.get_by_role("button", name="Download with answers").click()
    assert given.value.suggested_filename == "rows-predicted.csv"
    return list(csv.DictReader(io.StringIO(Path(given.value.path()).read_text(encoding="utf-8-sig"))))


def test_rows_are_answered_in_chunks_and_downloaded(page: Page) -> None:
    sizes: list[int] = []
    page.on("request", lambda request: request.post_data and sizes.append(len(json.loads(request.post_data)["rows"])))
    rows = [f'"it barks, day {day}",{day}.5,x,dog' for day in range(40)]
    rows[7] = rows[7].replace("7.5", "seven")
    choose(page, "note,size,extra,kind\n" + "\n".join(rows) + "\n")
    page.locator(".csv-facts b", has_text="rows.csv").wait_for()
    facts = page.locator(".csv-facts").inner_text()
    assert "40 rows, 4 columns" in facts
    assert "absent in every row: photo, sound, code, colour, and day" in facts
    assert "not sent: extra" in facts
    assert "The truth is not sent: kind" in facts
    page.get_by_role("button", name="Predict all rows").click()
    page.locator("[role=status]", has_text="Done: 40 rows, of which 1 refused").wait_for()
    assert len(sizes) > 1
    assert max(sizes) < 40
    found = download(page)
    assert [row["note"] for row in found] == [f"it barks, day {day}" for day in range(40)]
    assert "size" in found[7]["problem"]
    assert found[7]["predicted_kind"] == ""
    others = found[:7] + found[8:]
    assert {row["predicted_kind"] for row in others} <= {"cat", "dog", "owl"}
    assert all(float(row["predicted_weight"]) > 0 and not row["problem"] for row in others)
    page.get_by_label("Only the 1 row with a problem").check()
    assert page.locator(".results tbody tr").count() == 1
    assert "seven" in page.locator(".results tbody tr").inner_text()


def test_files_that_a_table_names_are_chosen_and_sent(page: Page, serving_folder: Path) -> None:
    first, second = sorted((serving_folder / "photos").iterdir())[:2]
    choose(page, f"photo,note\nphotos/{first.name},a cat\nphotos/{second.name},a dog\n")
    page.locator(".csv-facts", has_text="names 2 files that are not chosen yet").wait_for()
    page.get_by_label("Drop or choose the files that the table names").set_input_files([first, second])
    page.locator(".csv-facts", has_text="not chosen yet").wait_for(state="hidden")
    with page.expect_request("**/predict") as sent:
        page.get_by_role("button", name="Predict all rows").click()
    assert json.loads(sent.value.post_data or "")["rows"][1]["photo"]["type"] == "image/png"
    page.locator("[role=status]", has_text="Done: 2 rows").wait_for()
    assert [row["problem"] for row in download(page)] == ["", ""]


def test_busy_server_is_waited_for_and_a_lost_one_can_be_continued(page: Page) -> None:
    answers: list[Any] = [
        lambda route: route.fulfill(status=429, headers={"Retry-After": "0"}, json={"error": "Busy."}),
        lambda route: route.abort(),
    ]

    def answer(route: Route) -> None:
        answers.pop(0)(route) if answers else route.continue_()

    page.route("**/predict", answer)
    choose(page, "note\n" + "it barks\n" * 20)
    page.get_by_role("button", name="Predict all rows").click()
    page.locator("#banner", has_text="cannot be reached").wait_for()
    page.get_by_role("button", name="Continue").click()
    page.locator("[role=status]", has_text="Done: 20 rows").wait_for()
    assert len(download(page)) == 20


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "The file is empty"),
        ("note,size\n", "no rows"),
        ("a,b\n1,2\n", "No column of the file"),
        ("note,note\n1,2\n", "Two columns are named “note”"),
        ("note,size\nit barks\n", "Row 1 has 1 cells; the header has 2"),
        ('note,size\n"it barks,1\n', "quotation mark"),
    ],
)
def test_tables_that_cannot_be_read_say_why(page: Page, content: str, sentence: str) -> None:
    choose(page, content)
    page.locator(".batch .problem", has_text=sentence).wait_for()
    assert page.get_by_role("button", name="Predict all rows").is_disabled()


def test_tables_of_spreadsheets_are_read(page: Page) -> None:
    found = page.evaluate(
        """async () => {
          const { decodeText, parseTable, writeTable } = await import("/page/csv.js");
          const bytes = (text) => new TextEncoder().encode(text).buffer;
          return [
            parseTable('a;b\\r\\n"x;1";\\r\\n'),
            parseTable('a\\tb\\n"say ""hi""\\nthere"\\t2'),
            decodeText(new Uint8Array([0xe9]).buffer, "en"),
            decodeText(bytes("\\ufeffé"), "en").encoding,
            parseTable(writeTable(["a", "b"], [['x,"1"\\n', ["p", "q"]], [null, 1.5]])),
          ];
        }"""
    )
    assert found[0] == {"columns": ["a", "b"], "rows": [["x;1", ""]]}
    assert found[1] == {"columns": ["a", "b"], "rows": [['say "hi"\nthere', "2"]]}
    assert found[2] == {"text": "é", "encoding": "windows-1252"}
    assert found[3] == "utf-8"
    assert found[4] == {"columns": ["a", "b"], "rows": [['x,"1"\n', "p|q"], ["", "1.5"]]}
