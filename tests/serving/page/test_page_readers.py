"""The page for every reader: phones, keyboards, screen readers, two languages, dark rooms; and nothing leaves it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHECKS = (Path(__file__).parent / "checks.js").read_text("utf-8")
UNNAMED, FAINT = f"() => {{ {CHECKS} return unnamed(); }}", f"() => {{ {CHECKS} return faint(); }}"


def ask(page: Page) -> None:
    """Fill in the example and wait for the answer, its reasons and similar rows."""
    page.locator("#form .buttons button").nth(1).click()
    page.locator("[data-column=sound] .preview").wait_for()
    page.locator("#form .primary").click()
    page.locator("#answer-body .value").first.wait_for()
    tools = page.locator("#answer-body > .buttons button")
    tools.first.click()
    page.locator(".explanation").wait_for()
    tools.last.click()
    page.locator(".near-row").first.wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_is_named_and_readable(open_page: Callable[..., Page], address: str, scheme: str) -> None:
    page = open_page(address, color_scheme=scheme)
    page.wait_for_selector("#form .primary")
    page.locator("[data-column=size] input[type=text]").fill("1e9")
    assert page.evaluate(UNNAMED) == []
    assert page.evaluate(FAINT) == []
    ask(page)
    assert page.evaluate(UNNAMED) == []
    assert page.evaluate(FAINT) == []
    assert page.locator("#status[aria-live=polite]").count() == 1
    page.get_by_role("tab", name="A whole table").click()
    assert page.evaluate(UNNAMED) == []
    assert page.evaluate(FAINT) == []


def test_phone_never_scrolls_sideways(open_page: Callable[..., Page], address: str) -> None:
    page = open_page(address, width=360, height=740, has_touch=True)
    page.wait_for_selector("#form .primary")
    ask(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_role("tab", name="A whole table").click()
    table = "size,note,a_column_with_a_very_long_name_that_nobody_knows\n" + "1,it barks at the gate,x\n" * 3
    page.locator("#panel-table input[type=file]").first.set_input_files(
        {"name": "a.csv", "mimeType": "text/csv", "buffer": table.encode()}
    )
    page.get_by_role("button", name="Predict all rows").click()
    page.locator(".results table").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_chinese_by_the_browser_and_by_a_switch(open_page: Callable[..., Page], address: str) -> None:
    page = open_page(address, locale="zh-CN")
    page.get_by_role("button", name="预测", exact=True).wait_for()
    assert page.evaluate("document.documentElement.lang") == "zh-Hans"
    page.locator("[data-column=note] textarea").fill("it barks at the gate")
    page.get_by_role("button", name="预测", exact=True).click()
    page.locator("#answer-body", has_text="缺失").wait_for()
    page.get_by_role("button", name="English").click()
    assert "Absent:" in page.locator("#answer-body").inner_text()
    assert page.locator("[data-column=note] textarea").input_value() == "it barks at the gate"
    page.reload()
    page.get_by_role("button", name="Predict", exact=True).wait_for()  # the choice is remembered


def test_keyboard_alone_is_enough(page: Page) -> None:
    focused = "document.activeElement.id || document.activeElement.textContent"
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        column = page.evaluate("document.activeElement.closest('[data-column]')?.dataset.column ?? ''")
        is_textarea = page.evaluate("document.activeElement.tagName") == "TEXTAREA"
        seen.append(column)
        if column == "note" and is_textarea:
            page.keyboard.type("it barks at the gate")
        outline = page.evaluate(
            "(() => { const zone = document.activeElement.closest('.zone') ?? document.activeElement; "
            "return getComputedStyle(zone).outlineStyle; })()"
        )
        assert outline != "none", page.evaluate(focused)
        if page.evaluate(focused) == "Predict":
            break
    assert [*dict.fromkeys(filter(None, seen))] == ["photo", "sound", "note", "code", "size", "colour", "day"]
    page.keyboard.press("Enter")
    page.locator("#answer-body .value").first.wait_for()
    assert page.evaluate(focused) == "answer"
    page.get_by_role("tab", name="One row").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == "tab-table"
    assert page.locator("#panel-table").is_visible()


def test_motion_is_reduced_where_asked(open_page: Callable[..., Page], address: str) -> None:
    page = open_page(address, reduced_motion="reduce")
    page.get_by_role("button", name="Record").click()
    page.locator(".record.on").wait_for()
    assert page.locator(".record .dot").evaluate("dot => getComputedStyle(dot).animationName") == "none"


def test_no_request_leaves_the_server(page: Page, address: str) -> None:
    asked: list[str] = []
    page.context.on("request", lambda request: asked.append(request.url))
    page.reload()
    page.wait_for_selector("#form .primary")
    ask(page)
    assert {url.rsplit("/", 1)[1] for url in asked} >= {"main.js", "schema", "predict", "explain", "search"}
    assert [url for url in asked if not url.startswith((f"{address}/", "data:", f"blob:{address}/"))] == []
