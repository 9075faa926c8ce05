"""One row on the page, as a person uses it: fill in, record, leave out, read the answer and its reasons."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import soundfile

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Route

COLUMNS = ["photo", "sound", "note", "code", "size", "colour", "day"]


def field(page: Page, column: str) -> Locator:
    return page.locator(f"[data-column={column}]")


def box(page: Page, column: str) -> Locator:
    return field(page, column).locator("input:not([type=checkbox]), textarea").first


def predict(page: Page) -> dict[str, Any]:
    """Press Predict; returns the row that was sent."""
    with page.expect_request("**/predict") as sent:
        page.get_by_role("button", name="Predict", exact=True).click()
    return dict(json.loads(sent.value.post_data or "")["rows"][0])


def fill_example(page: Page) -> None:
    page.get_by_role("button", name="Start from an example").click()
    field(page, "sound").locator(".preview").wait_for()
    field(page, "photo").locator(".preview").wait_for()


@pytest.fixture
def photo(serving_folder: Path) -> Path:
    """A picture of the training table."""
    return sorted((serving_folder / "photos").iterdir())[0]


def test_each_column_has_a_field_that_may_be_left_out(page: Page) -> None:
    fields = page.locator("[data-column]")
    assert [fields.nth(place).get_attribute("data-column") for place in range(fields.count())] == COLUMNS
    assert page.get_by_role("checkbox").count() == len(COLUMNS)
    assert page.get_by_role("heading", level=1).inner_text() == "run"
    assert "kind, tags, and weight" in page.locator("#lead").inner_text()
    assert field(page, "colour").locator("option").count() == 3
    assert "The model has seen" in field(page, "size").inner_text()


def test_uploaded_picture_is_shown_sent_and_answered(page: Page, photo: Path, client: httpx.Client) -> None:
    box(page, "photo").set_input_files(photo)
    assert field(page, "photo").locator("img").evaluate("image => image.naturalWidth") == 12
    sent = predict(page)
    assert base64.b64decode(sent["photo"]["base64"]) == photo.read_bytes()
    page.locator("#answer-body .value").first.wait_for()
    truth = client.post("/predict", json={"rows": [sent]}).json()["rows"][0]["predictions"]["kind"]
    assert truth["value"] in page.locator("#answer-body .value").first.inner_text()
    assert f"{100 * truth['confidence']:.1f} %" in page.locator("#answer-body").inner_text()
    assert "Absent: sound, note, code, size, colour, and day" in page.locator("#answer-body").inner_text()


def test_sound_is_recorded_as_wav(page: Page) -> None:
    page.get_by_role("button", name="Record").click()
    page.locator(".clock", has_text=re.compile(r"0\.[3-9]|[1-9]\.")).wait_for()
    page.get_by_role("button", name="Stop recording").click()
    field(page, "sound").locator("audio").wait_for()
    sent = predict(page)
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(sent["sound"]["base64"])))
    assert sent["sound"]["type"] == "audio/wav"
    assert len(samples) > 0.2 * rate
    assert samples.std() > 0.01
    page.locator("#answer-body .value").first.wait_for()
    assert "sound could not be read" not in page.locator("#answer-body").inner_text()


def test_absent_cells_are_sent_as_null_and_named(page: Page) -> None:
    fill_example(page)
    field(page, "photo").get_by_label("I don’t have this").check()
    box(page, "note").fill("")
    assert box(page, "photo").is_disabled()
    sent = predict(page)
    assert (sent["photo"], sent["note"]) == (None, None)
    assert sent["sound"] is not None
    page.locator("#answer-body", has_text="Absent: photo and note.").wait_for()


def test_file_that_is_no_picture_is_told(page: Page) -> None:
    box(page, "photo").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": b"this is no picture"})
    predict(page)
    page.locator(".problem:visible, .remarks .broken").first.wait_for()
    assert "photo" in page.locator(".wrong, .remarks .broken").first.inner_text()


def test_wrong_number_is_told_beside_its_field_and_not_sent(page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    box(page, "size").fill("twelve")
    page.get_by_role("button", name="Predict", exact=True).click()
    assert "must be a number" in field(page, "size").locator(".problem").inner_text()
    assert box(page, "size").evaluate(
        "box => box === document.activeElement && box.getAttribute('aria-invalid') === 'true'"
    )
    assert not asked
    box(page, "size").fill("1e9")
    assert "Outside of what the model has seen" in field(page, "size").inner_text()


def test_sentence_of_the_server_stands_beside_its_field(page: Page) -> None:
    box(page, "code").fill('{"a": 1}')
    predict(page)
    problem = field(page, "code").locator(".problem:visible")
    problem.wait_for()
    assert "expected" in problem.inner_text()
    assert box(page, "code").evaluate("box => box === document.activeElement")


def test_busy_server_is_told_and_asked_again(page: Page) -> None:
    def refuse(route: Route) -> None:
        route.fulfill(
            status=503, headers={"Retry-After": "7"}, json={"error": "Too many rows wait.", "request_id": "r"}
        )

    page.route("**/predict", refuse, times=1)
    box(page, "note").fill("it barks at the gate")
    predict(page)
    banner = page.locator("#banner", has_text="The server is busy. Try again in 7 s")
    banner.get_by_role("button", name="Try again").click()
    page.locator("#answer-body .value").first.wait_for()
    assert page.locator("#banner").inner_text() == ""
    box(page, "note").fill("it purrs on the sofa")
    assert page.get_by_text("The input has changed since").is_visible()


def test_unreachable_server_is_told(page: Page) -> None:
    page.context.set_offline(True)
    predict(page)
    page.locator("#banner", has_text="The server cannot be reached").wait_for()


def test_certainty_is_chosen(page: Page) -> None:
    fill_example(page)
    predict(page)
    slider = page.get_by_label("Certainty")
    slider.focus()
    with page.expect_request("**/predict") as sent:
        slider.press("End")
    assert json.loads(sent.value.post_data or "")["coverage"] == 0.99
    page.locator("output", has_text="99 %").wait_for()
    assert page.locator(".promised").count() >= 2  # the set of kinds, the interval of weights


def test_reasons_are_drawn_on_the_inputs(page: Page, photo: Path) -> None:
    fill_example(page)
    box(page, "photo").set_input_files(photo)
    box(page, "note").fill("it barks at the gate")
    predict(page)
    page.get_by_role("button", name="Explain kind").click()
    reasons = page.locator(".explanation")
    reasons.wait_for()
    assert reasons.locator("tr", has_text="photo").count() == 1
    assert reasons.locator(".frame rect.for, .frame rect.against").count() >= 1
    assert "it barks at the gate" in reasons.locator(".words").evaluate(
        "words => { const own = words.cloneNode(true); own.querySelectorAll('.hidden').forEach(part => part.remove()); "
        "return own.textContent; }"
    )
    assert reasons.locator(".wave rect").count() >= 1
    reasons.get_by_label("Show the heat").uncheck()
    assert reasons.locator(".frame .over").is_hidden()


def test_nearest_rows_of_the_index_are_listed(page: Page) -> None:
    box(page, "note").fill("it barks at the gate")
    predict(page)
    page.get_by_role("button", name="Similar rows").click()
    page.locator(".near-row").first.wait_for()
    assert page.locator(".near-row").count() == 6
    assert "similarity" in page.locator(".near-row").first.inner_text()


def test_key_is_asked_for_where_the_server_wants_one(open_page: Callable[..., Page], keyed_address: str) -> None:
    page = open_page(keyed_address)
    page.get_by_label("This server asks for an API key").fill("wrong")
    page.get_by_role("button", name="Use it").click()
    page.get_by_label("This server asks for an API key").fill("secret-of-the-test")
    page.get_by_role("button", name="Use it").click()
    box(page, "note").fill("it barks at the gate")
    predict(page)
    page.locator("#answer-body .value").first.wait_for()


def with_schema(page: Page, change: Callable[[dict[str, Any]], None]) -> None:
    """Open the page again with another schema."""

    def answer(route: Route) -> None:
        schema = route.fetch().json()
        change(schema)
        route.fulfill(json=schema)

    page.route("**/schema", answer, times=1)
    page.reload()
    page.wait_for_selector("#form .primary")


def test_files_beyond_the_limits_are_told_before_they_are_sent(page: Page, photo: Path) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/predict") else None)
    with_schema(page, lambda schema: schema["limits"].update(max_pixels=100))
    box(page, "photo").set_input_files(photo)
    field(page, "photo").get_by_text("This picture has 144 pixels; the server reads at most 100").first.wait_for()
    page.get_by_role("button", name="Predict", exact=True).click()
    assert "144 pixels" in field(page, "photo").locator(".problem").inner_text()
    with_schema(page, lambda schema: schema["limits"].update(max_body_bytes=1500))
    box(page, "photo").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": bytes(2000)})
    page.get_by_role("button", name="Predict", exact=True).click()
    field(page, "photo").locator(".problem", has_text="This file has 2 kB; the server reads at most 125 B").wait_for()
    assert not asked


def test_many_plain_columns_stand_in_a_fold_that_opens_for_a_problem(page: Page) -> None:
    def widen(schema: dict[str, Any]) -> None:
        size = next(entry for entry in schema["inputs"] if entry["column"] == "size")
        schema["inputs"] += [size | {"column": f"size{place}"} for place in range(12)]

    with_schema(page, widen)
    assert page.locator("summary", has_text="15 values").is_visible()
    assert box(page, "size3").is_hidden()
    page.locator("summary", has_text="15 values").click()
    box(page, "size3").fill("many")
    page.locator("summary", has_text="15 values").click()
    page.get_by_role("button", name="Predict", exact=True).click()
    assert field(page, "size3").locator(".problem", has_text="must be a number").is_visible()
