"""The files of the page: headers, languages, and that all of them are served and none is long."""

from __future__ import annotations

import re
from importlib.resources import files

import httpx
import pytest

from polymodal.serving.page_files import read_page_files

FOLDER = files("polymodal.serving") / "page"
SCRIPTS = {entry.name: entry.read_text("utf-8") for entry in FOLDER.iterdir() if entry.name.endswith(".js")}
KEY = re.compile(r'^  (?:"([\w.-]+)"|(\w+)):', re.MULTILINE)


def keys_of(language: str) -> list[str]:
    return [quoted or plain for quoted, plain in KEY.findall(SCRIPTS[f"messages-{language}.js"])]


def placeholders(language: str) -> dict[str, set[str]]:
    _, *pieces = re.split(r'^  (?=["\w])', SCRIPTS[f"messages-{language}.js"], flags=re.MULTILINE)
    return {"".join(*KEY.findall(f"  {piece}")): set(re.findall(r"\{(\w+)\}", piece)) for piece in pieces}


def test_both_languages_say_the_same_things() -> None:
    assert keys_of("en") == keys_of("zh")
    assert len(set(keys_of("en"))) == len(keys_of("en"))
    assert placeholders("en") == placeholders("zh")


def test_every_message_is_there_and_used() -> None:
    code = "\n".join(text for name, text in SCRIPTS.items() if not name.startswith("messages-"))
    code += (FOLDER / "index.html").read_text("utf-8")
    used = set(re.findall(r'\b(?:t|key|tLabel|tPlaceholder|tTitle|prompt): "([\w.-]+)"', code))
    used |= set(re.findall(r'data-t(?:-\w+)?="([\w.-]+)"', code))
    used |= set(re.findall(r'\b(?:say|announce|t|tell|finish)\((?:[\w.()"]+, )?"([\w.-]+)"', code))
    assert used - set(keys_of("en")) == set()
    unused = {key for key in keys_of("en") if f'"{key}"' not in code}
    assert {key.partition(".")[0] for key in unused} <= {"kind", "paste", "heat", "shares"}  # made of two parts


def test_files_are_short() -> None:
    assert {name for name, text in SCRIPTS.items() if text.count("\n") > 400} == set()


def test_nothing_inline_and_nothing_from_elsewhere() -> None:
    index = (FOLDER / "index.html").read_text("utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|https?:", index)
    for name, text in SCRIPTS.items():
        assert not re.findall(r"https?://(?!www\.w3\.org/)|\beval\(|innerHTML|insertAdjacentHTML", text), name


@pytest.mark.parametrize("path", sorted(read_page_files()))
def test_files_are_served_with_a_strict_policy(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    again = client.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path", ["/page/", "/page/../app.py", "/page/%2e%2e/app.py", "/page/none.js", "/page/index.html"]
)
def test_no_other_file_is_served(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 404
