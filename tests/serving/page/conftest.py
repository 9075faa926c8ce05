"""A browser on the page of a running server. The system's Chromium is used; nothing is downloaded."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

from loopback import running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from polymodal.serving.settings import ServerSettings

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
RATE_HZ = 16_000
WAIT_MS = 60_000
"""How long anything may take to show on a busy machine."""


@pytest.fixture(scope="module")  # while it runs, no other event loop can run in this thread
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Start the system's Chromium with a microphone that hears a tone, or skip."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(f"there is no browser here: none of {', '.join(PROGRAMS)}")
    tone = tmp_path_factory.mktemp("microphone") / "tone.wav"
    soundfile.write(tone, np.sin(np.arange(RATE_HZ) * (2 * np.pi * 440 / RATE_HZ)) / 2, RATE_HZ)
    flags = [*FLAGS, f"--use-file-for-fake-audio-capture={tone}"]
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Return a function that opens a page in a window of its own; nothing on it may fail unseen."""
    contexts: list[Any] = []
    failures: list[str] = []

    def open_at(address: str, width: int = 1280, height: int = 900, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **{"locale": "en-US"} | options)
        contexts.append(context)
        context.set_default_timeout(WAIT_MS)
        page = context.new_page()
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.on("console", lambda message: _keep_violation(message.text, failures))
        page.goto(f"{address}/")
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert not failures


def _keep_violation(text: str, failures: list[str]) -> None:
    """Keep what the browser says about scripts and the security policy; refused requests are part of some tests."""
    if "Failed to load resource" not in text:
        failures.append(text)


@pytest.fixture
def page(open_page: Callable[..., Page], address: str) -> Page:
    """The page of the server, with its form."""
    page = open_page(address)
    page.wait_for_selector("#form .primary")
    return page


@pytest.fixture(scope="session")
def keyed_address(settings: ServerSettings) -> Iterator[str]:
    """The address of a server that asks for a key."""
    with running(replace(settings, api_keys=("secret-of-the-test",))) as found:
        yield found
