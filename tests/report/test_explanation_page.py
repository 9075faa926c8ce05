"""What a person sees of an explanation: the page, its cells with heat, and the figures."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
from pathlib import Path

import explained_examples as examples
import numpy as np
import pytest
from explained_examples import NASTY, explanation, row, source, summary
from PIL import Image
from test_page import Page

from polymodal.errors import ConfigError
from polymodal.explain.explanation import CellParts, Part
from polymodal.progress import SilentProgress
from polymodal.report.explained_cells import render_cells
from polymodal.report.explanation_folder import write_explanation_folder
from polymodal.report.explanation_page import explanation_html, write_explanation
from polymodal.report.heat import Heat, effect_text, scalar_text


def rendered(parts: CellParts, **cells: object) -> str:
    """Return the heat of one cell."""
    shown = row(cells=[parts])
    streams = {parts.stream: examples.STREAMS[parts.stream]}
    return str(render_cells(source(explanation([shown], streams=streams), examples.table(**cells)), shown))


def test_page_is_one_valid_file_that_tells_the_answer_and_what_decided(tmp_path: Path) -> None:
    write_explanation(explanation(), examples.table(), tmp_path / "why.html", examples.MODALITIES)
    html = (tmp_path / "why.html").read_text(encoding="utf-8")
    page = Page(html)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert all(address.startswith("data:") or address.removeprefix("#") in page.ids for address in page.addresses)
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html.replace("&#39;", "'")
    assert "90.0% sure, 25.0% without any input." in html
    assert "“review” speaks for it most (+40.0 points), “tabular” speaks against it (−10.0 points)." in html
    assert "Only 1 of 9 rows is explained." in html
    assert "each can stand in for the other" in html
    assert "both together (synergy): 0.30 bits" in html
    assert ">unreadable<" not in html


def test_hostile_cells_are_text() -> None:
    shown = row(answer=NASTY, explained=NASTY, truth=f"not {NASTY}")
    html = explanation_html(source(explanation([shown], table=NASTY, notices=[NASTY])))
    assert "alert(1)" in html
    assert NASTY not in html


def test_words_are_coloured_by_sign_and_strength_and_differ_without_colour() -> None:
    html = rendered(examples.words())
    assert '<span class="word for" style="--p:55%" title="+20.0 points">lovely</span> &lt;b&gt;' in html
    assert '<span class="word against" style="--p:41%" title="−15.0 points">not</span>' in html
    assert ">dress</span>" not in html
    assert re.search(r"For it:</span> <b>lovely</b> \+20\.0 points, <b>red</b> \+5\.0 points\.", html)


def test_overlapping_and_impossible_words_do_not_repeat_the_text() -> None:
    parts = [Part("a", {"start": 0, "end": 8}, 0.1), Part("b", {"start": 2, "end": 9}, 0.1),
             Part("c", {"start": 900, "end": 990}, 0.1)]  # fmt: skip
    html = rendered(CellParts("review", "review", "words", "owen", parts))
    (quoted,) = re.findall(r"<blockquote.*?</blockquote>", html)
    assert re.sub(r"<[^>]+>", "", quoted) == "a lovely &lt;b&gt;red&lt;/b&gt; dress, not cheap"


def test_regions_lie_where_they_are_on_the_picture_and_those_against_are_hatched() -> None:
    html = rendered(examples.regions())
    assert re.search(r'<rect class="for" x="0\.0" y="0\.0" width="50\.0" height="100\.0" fill-opacity="0\.8">', html)
    assert re.search(r'<rect class="against" x="50\.0" [^>]*fill-opacity="0\.27">', html)
    assert html.count("<path") == 1
    assert "Picture in column photo, with heat" in html


def test_frames_of_a_video_have_the_heat_of_their_time() -> None:
    html = rendered(examples.regions("film", ((0.0, 0.6), (0.6, 1.2))))
    frames = html.split('class="frame"')[1:]
    assert len(frames) == 8
    assert all(frame.split("</svg>")[0].count("<rect") == 2 for frame in frames)
    assert "(0.0, 0.6)" in frames[0]
    assert "(0.6, 1.2)" in frames[-1]
    assert 'class="heated film" data-hottest="0"' in html


def test_sound_plays_under_its_heat() -> None:
    html = rendered(examples.bands())
    assert "<audio controls" in html
    assert "data:audio/wav;base64," in html
    assert "0 to 2 kHz" in html
    assert html.count('<rect class="for"') == 2 + 2
    assert html.count('<rect class="against"') == 2


def test_channels_points_and_numbers_have_heat() -> None:
    series = rendered(examples.steps())
    assert [f"channel {channel}" in series for channel in range(3)] == [True] * 3
    assert series.count('<rect class="against"') == 4
    cloud = rendered(examples.points())
    assert cloud.count('class="points for"') == 2
    assert cloud.count('class="points against"') == 2
    assert "from the side" in cloud
    assert rendered(examples.ranges()).split("</svg>")[0].count("<rect") == 2


def test_columns_have_bars_and_their_cells() -> None:
    html = rendered(examples.columns())
    assert re.search(r"price</th><td>9\.5</td>.*?\+2\.0</td>", html)
    assert "2 values" in html
    assert 'class="effect against"' in html


@pytest.mark.parametrize("parts", examples.cells()[:7])
def test_absent_broken_and_unknown_cells_are_named(parts: CellParts) -> None:
    column = str(parts.column)
    assert "missing" in rendered(parts, **{column: None})
    assert (
        "unreadable" in rendered(parts, **{column: b"nonsense" if column != "review" else None}) or column == "review"
    )
    lacking = examples.table()
    lacking = dataclasses.replace(lacking, columns={n: c for n, c in lacking.columns.items() if n != column})
    shown = row(number=3, cells=[parts])
    assert "missing" in str(render_cells(source(explanation([shown]), lacking), shown))


def test_cells_without_parts_are_shown_as_in_the_gallery() -> None:
    shown = row(cells=[])
    html = str(render_cells(source(explanation([shown])), shown))
    assert "Picture in column photo" in html
    assert "<audio" in html
    assert "<dt>price</dt>" in html


def test_row_with_nothing_present_is_the_prior() -> None:
    streams = dict.fromkeys(examples.STREAMS, 0.0)
    shown = row(value=0.25, streams=streams, absent=list(streams), cells=[], changes=[], neighbours=[])
    html = explanation_html(source(explanation([shown])))
    assert "Nothing is present in this row" in html
    assert "What would change it" not in html


def test_two_hundred_streams_are_told_in_a_few_lines(tmp_path: Path) -> None:
    streams = {f"s{place}": 0.003 if place else 0.1 for place in range(200)}
    bounds = {"mean": 0.1, "low": 0.05, "high": 0.2}
    shown = explanation(
        [row(value=0.25 + sum(streams.values()), streams=streams, cells=[])],
        streams={name: [name] for name in streams},
        summaries=[dataclasses.replace(summary(), importance=dict.fromkeys(streams, bounds))],
    )
    html = explanation_html(source(shown))
    assert "200 streams (s0, s1, s2, s3, s4, s5, …)" in html
    assert re.search(r"186 more streams</th>.*?\+55\.8 points", html)
    assert "185 more streams</summary>" in html
    write_explanation_folder(source(shown), tmp_path / "why", SilentProgress())


def test_constant_predictions_and_no_summary_are_shown() -> None:
    shown = row(value=0.25, streams=dict.fromkeys(examples.STREAMS, 0.0))
    empty = dataclasses.replace(summary(), importance={}, interactions={}, information=[], information_note="")
    assert "No stream changes the answer" in explanation_html(source(explanation([shown], summaries=[empty])))


def test_numbers_are_told_in_their_unit() -> None:
    shown = row(answer=12.5, explained="value", value=12.5, prior=10.0, truth="11")
    html = explanation_html(source(explanation([shown], unit="value")))
    assert "Without any input it is 10." in html
    assert "“review” raises it most (+0.4), “tabular” lowers it (−0.1)." in html
    assert "The truth: <b>11</b>" in html
    assert "+0.4" in html
    assert not re.search(r"[+−][\d.]+ points", html)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(0.123, "probability", "+12.3 points"), (-0.0001, "probability", "0.0 points"), (-2.5, "value", "−2.5"),
     (float("nan"), "value", "–")],
)  # fmt: skip
def test_effects_have_a_sign_and_a_unit(value: float, unit: str, text: str) -> None:
    assert effect_text(value, unit) == text


def test_certainty_is_never_told_as_a_hundred_percent() -> None:
    assert [scalar_text(value, "probability") for value in (0.99999, 0.923, 0.0)] == ["> 99.9%", "92.3%", "< 0.1%"]


def test_weak_parts_have_no_heat_and_nan_has_none() -> None:
    heat = Heat(1.0, "value")
    assert [heat.side(value) for value in (0.5, -0.5, 0.01, float("nan"))] == ["for", "against", "", ""]


def test_page_is_bounded_and_says_what_it_leaves_out() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3)).astype(np.uint8)
    rows = [row(number, cells=[examples.regions()]) for number in range(1, 31)]
    whole = source(explanation(rows), examples.table(30, photo=noise))
    html = explanation_html(whole, max_bytes=400_000)
    assert len(html) < 560_000
    assert re.search(r"\d+ explanations of further rows are left out", html)
    assert 'id="row-1"' in html


def test_thousands_of_plain_rows_are_bounded_too() -> None:
    rows = [row(number, cells=[], changes=[]) for number in range(1, 401)]
    plain = dataclasses.replace(explanation(rows), streams={"price": ["price"]})
    html = explanation_html(source(plain, examples.table(400)), max_bytes=300_000)
    assert len(html) < 500_000
    assert "left out of this page" in html


def test_explained_box_is_drawn_on_its_picture() -> None:
    boxes = [{"label": "cell", "box": [4.0, 6.0, 20.0, 18.0], "score": 0.9}]
    shown = row(answer=boxes, explained="cell at 4, 6, 20, 18", truth=json.dumps(boxes), cells=[examples.regions()])
    html = str(render_cells(source(explanation([shown], unit="confidence")), shown))
    assert '<rect class="item" x="12.50" y="25.00" width="50.00" height="50.00"/>' in html
    page = explanation_html(source(explanation([shown], unit="confidence")))
    assert "1 cell" in page


def test_folder_holds_page_json_and_figures(tmp_path: Path) -> None:
    write_explanation_folder(source(), tmp_path / "why", SilentProgress())
    found = {path.relative_to(tmp_path / "why").as_posix() for path in (tmp_path / "why").rglob("*") if path.is_file()}
    assert found == {"explanation.html", "explanation.json", "figures/importance-kind.svg"} | {
        f"figures/row-0001-kind-{name}" for name in ("streams.svg", "photo.png", "film.png", "voice.png")
    }
    saved = json.loads((tmp_path / "why" / "explanation.json").read_text(encoding="utf-8"))
    assert saved == json.loads(json.dumps(explanation().to_json()))
    with Image.open(tmp_path / "why" / "figures" / "row-0001-kind-photo.png") as image:
        assert image.size == (480, 360)
        plain = np.asarray(Image.fromarray(examples.picture()).resize((480, 360), Image.Resampling.NEAREST))
        assert (np.asarray(image)[:, :230].mean(axis=(0, 1)) - plain[:, :230].mean(axis=(0, 1)))[0] > 10
    assert "<svg xmlns" in (tmp_path / "why" / "figures" / "row-0001-kind-streams.svg").read_text(encoding="utf-8")


def test_folder_is_replaced_whole_but_never_another_ones(tmp_path: Path) -> None:
    write_explanation_folder(source(), tmp_path / "why", SilentProgress())
    write_explanation_folder(source(explanation([row(2, cells=[])])), tmp_path / "why", SilentProgress())
    assert not list((tmp_path / "why" / "figures").glob("row-0001*"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(ConfigError, match="something else than an explanation"):
        write_explanation_folder(source(), tmp_path / "mine", SilentProgress())


def test_names_of_figures_are_safe_and_told_apart(tmp_path: Path) -> None:
    target = "../../odd / näme"
    rows = [row(target=target, explained=item, cells=[]) for item in ("a", "b")]
    shown = explanation(rows, summaries=[summary(target)], units={target: "probability"})
    write_explanation_folder(source(shown), tmp_path / "why", SilentProgress())
    names = sorted(path.name for path in (tmp_path / "why" / "figures").iterdir())
    assert names == ["importance-odd-näme.svg", "row-0001-odd-näme-2-streams.svg", "row-0001-odd-näme-streams.svg"]
