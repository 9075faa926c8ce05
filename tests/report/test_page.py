from __future__ import annotations

import base64
import hashlib
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polymodal.report.charts import Line, line_chart, nice_ticks
from polymodal.report.gallery import Gallery, GalleryCell, GalleryRow
from polymodal.report.page import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WORDS = ("zero", "one", "two", "three", "fuor", "five", "six", "seven", "eihgt", "nine")
NASTY = "<script>alert(1)</script>"


def base_record(title: str, streams: dict[str, str], targets: list[dict[str, Any]]) -> dict[str, Any]:
    """What every run records, whatever its targets: fused from the given stream names and modalities."""
    return {
        "version": "0.1.0",
        "created": "2026-11-21T01:44:00+00:00",
        "command": "polymodal train train.csv --target " + " --target ".join(t["name"] for t in targets) + " --seed 7",
        "title": title,
        "seed": 7,
        "seconds": {"total": 83.4, "read": 1.2, "decode": 9.7, "train": 61.0, "baselines": 7.1, "evaluate": 4.4},
        "tables": [
            {"name": "train.csv", "split": "train", "rows": 4000, "set_aside": 12},
            {"name": "train.csv", "split": "validation", "rows": 500, "set_aside": 0},
            {"name": "test.csv", "split": "test", "rows": 1000, "set_aside": 0},
        ],
        "columns": [
            {"name": name, "modality": modality, "stream": name, "reason": f"the cells are {modality} files",
             "missing": 0, "broken": 0, "rows": 5500}
            for name, modality in streams.items()
        ],
        "streams": [
            {"name": name, "modality": modality, "encoder": "cnn", "columns": [name], "parameters": 181_248}
            for name, modality in streams.items()
        ],
        "fusion": {"name": "transformer", "parameters": 412_800},
        "parameters": 795_210,
        "targets_info": targets,
        "history": history(targets, list(streams)),
        "best_epoch": 14,
        "evaluation": {
            "split": "test", "rows": 1000, "targets": {}, "intervals": {}, "fusion": {}, "streams": {},
            "baselines": {}, "member_intervals": {}, "missing": {}, "curves": {}, "confusion": {},
            "residuals": {}, "per_label": {}, "calibration": {}, "decision": {},
        },
        "broken_cells": [],
        "notices": [],
        "config": {"preset": "balanced", "seed": 7, "train": {"epochs": 20, "batch_size": 64}, "drop": ["speaker"]},
    }  # fmt: skip


def history(targets: list[dict[str, Any]], streams: list[str]) -> list[dict[str, Any]]:
    def score(epoch: int, ceiling: float) -> float:
        return ceiling * (1 - 0.85 * float(np.exp(-epoch / 3.5)))

    return [
        {
            "epoch": epoch,
            "train_loss": 2.3 * float(np.exp(-epoch / 5)) + 0.15,
            "validation_loss": 2.2 * float(np.exp(-epoch / 5)) + 0.24 + 0.004 * epoch,
            "validation_score": {t["name"]: score(epoch, 0.98) for t in targets},
            "stream_scores": {
                t["name"]: {s: score(epoch, 0.95 - 0.13 * i) for i, s in enumerate(streams)} for t in targets
            },
            "learning_rate": 1e-3,
            "seconds": 3.1,
        }
        for epoch in range(1, 19)
    ]


def category_target(name: str, classes: list[str], counts: list[int], metric: str = "accuracy") -> dict[str, Any]:
    return {"name": name, "kind": "category", "classes": classes, "counts": counts, "imbalance": None,
            "primary_metric": metric, "higher_is_better": True}  # fmt: skip


def scores(value: float) -> dict[str, float]:
    return {"accuracy": value, "balanced_accuracy": value - 0.002, "macro_f1": value - 0.004,
            "log_loss": 1.9 * (1.02 - value), "ece": 0.02}  # fmt: skip


def confusion(labels: list[str], seed: int = 0, errors: float = 0.03) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    counts = np.diag(generator.integers(80, 120, len(labels)))
    for _ in range(int(counts.sum() * errors)):
        truth, prediction = generator.integers(len(labels), size=2)
        counts[truth, prediction] += 1
    return {"labels": labels, "counts": counts.tolist()}


def calibration() -> dict[str, Any]:
    bins = [
        {"confidence": 0.05 + 0.1 * i, "accuracy": min(1.0, 0.02 + 0.1 * i + 0.03 * (i % 3)), "count": 8 + i**3}
        for i in range(2, 10)
    ]
    bins.append({"confidence": 0.02, "accuracy": 0.0, "count": 0})
    return {"bins": bins, "ece_before": 0.041, "ece_after": 0.012}


def digits_record() -> dict[str, Any]:
    """Ten classes from fused pictures and sounds, with missing and broken cells; fusion wins."""
    streams = {"picture": "image", "tone": "audio", "tabular": "tabular"}
    record = base_record("Handwritten and spoken digits", streams, [
        category_target("digit", [str(i) for i in range(10)], [402, 411, 398, 405, 396, 380, 402, 410, 391, 405]),
    ])  # fmt: skip
    for column, missing in zip(record["columns"], (1370, 1402, 90), strict=True):
        column["missing"] = missing
    record["columns"][1]["broken"] = 63
    evaluation = record["evaluation"]
    evaluation["targets"]["digit"] = scores(0.983)
    evaluation["intervals"]["digit"] = {"accuracy": [0.974, 0.990]}
    evaluation["fusion"]["digit"] = scores(0.979)
    evaluation["streams"]["digit"] = {"picture": scores(0.951), "tone": scores(0.913), "tabular": scores(0.42)}
    evaluation["baselines"]["digit"] = {
        "majority": scores(0.103), "logistic": scores(0.932), "gradient_boosting": scores(0.941)
    }  # fmt: skip
    evaluation["member_intervals"]["digit"] = {
        "fusion": [0.969, 0.987], "stream:picture": [0.937, 0.963], "stream:tone": [0.894, 0.93],
        "stream:tabular": [0.39, 0.45], "baseline:logistic": [0.915, 0.947],
    }  # fmt: skip
    evaluation["missing"]["digit"] = {"picture": scores(0.907), "tone": scores(0.949), "tabular": scores(0.981)}
    evaluation["curves"]["digit"] = {
        "picture": [[s, 0.983 - 0.076 * s] for s in (0, 0.25, 0.5, 0.75, 1.0)],
        "tone": [[s, 0.983 - 0.034 * s] for s in (0, 0.25, 0.5, 0.75, 1.0)],
        "tabular": [[s, 0.983 - 0.002 * s] for s in (0, 0.25, 0.5, 0.75, 1.0)],
    }
    evaluation["confusion"]["digit"] = confusion([str(i) for i in range(10)])
    evaluation["calibration"]["digit"] = calibration()
    evaluation["decision"]["digit"] = {
        "weights": {"fusion": 0.71, "stream:picture": 0.18, "baseline:gradient_boosting": 0.11}, "note": ""
    }  # fmt: skip
    record["broken_cells"] = [
        {"table": "train.csv", "row": 7 + 3 * i, "column": "tone", "reason": "not a sound file (all bytes are zero)"}
        for i in range(63)
    ]  # fmt: skip
    record["notices"] = ["The column “id” was ignored: all 5,500 values differ."]
    return record


def price_record() -> dict[str, Any]:
    """A number from one stream."""
    target = {"name": "price", "kind": "number", "classes": None, "counts": None, "imbalance": None,
              "primary_metric": "rmse", "higher_is_better": False}  # fmt: skip
    record = base_record("House prices", {"tabular": "tabular"}, [target])
    generator = np.random.default_rng(3)
    truth = generator.lognormal(12, 0.35, 900)
    prediction = truth * generator.normal(1, 0.09, 900)
    evaluation = record["evaluation"]
    evaluation["targets"]["price"] = {"rmse": 18432.7, "mae": 12093.2, "mape": 0.071, "r2": 0.912}
    evaluation["intervals"]["price"] = {"rmse": [16920.1, 20011.0]}
    evaluation["streams"]["price"] = {"tabular": evaluation["targets"]["price"]}
    evaluation["baselines"]["price"] = {
        "mean": {"rmse": 62011.0, "mae": 46120.0, "mape": 0.31, "r2": -0.0004},
        "gradient_boosting": {"rmse": 15903.9, "mae": 10830.0, "mape": 0.064, "r2": 0.931},
    }
    evaluation["residuals"]["price"] = {"truth": truth.tolist(), "prediction": prediction.tolist()}
    evaluation["decision"]["price"] = {"weights": {"fusion": 1.0}, "note": ""}
    record["command"] = None
    return record


def film_record() -> dict[str, Any]:
    """Several labels a row, and a second target: fusion loses one of them."""
    genres = ["drama", "comedy", "science fiction", "documentary", "horror"]
    targets = [
        {"name": "genres", "kind": "categories", "classes": genres, "counts": [1800, 1211, 540, 320, 77],
         "imbalance": "The rarest label has 77 rows: its loss weighs more.", "primary_metric": "macro_f1",
         "higher_is_better": True},
        category_target("good", ["no", "yes"], [3700, 300], "roc_auc"),
    ]  # fmt: skip
    record = base_record("Films", {"poster": "image", "plot": "text"}, targets)
    evaluation = record["evaluation"]
    evaluation["split"] = "validation"
    for name, metric, ours, streams, baseline in (
        ("genres", "macro_f1", 0.612, {"poster": 0.41, "plot": 0.655}, 0.58),
        ("good", "roc_auc", 0.803, {"poster": 0.66, "plot": 0.799}, 0.77),
    ):
        evaluation["targets"][name] = {metric: ours, "accuracy": 0.8}
        evaluation["intervals"][name] = {metric: [ours - 0.02, ours + 0.02]}
        evaluation["fusion"][name] = {metric: ours - 0.01, "accuracy": 0.79}
        evaluation["streams"][name] = {stream: {metric: v, "accuracy": 0.7} for stream, v in streams.items()}
        evaluation["baselines"][name] = {"logistic": {metric: baseline}, "majority": {metric: 0.31}}
        evaluation["missing"][name] = {stream: {metric: ours - 0.1} for stream in streams}
    evaluation["per_label"]["genres"] = [
        {"label": genre, "precision": 0.9 - i / 10, "recall": 0.8 - i / 8, "f1": 0.84 - i / 9, "support": 400 - 90 * i}
        for i, genre in enumerate(genres)
    ]  # fmt: skip
    evaluation["confusion"]["good"] = {"labels": ["no", "yes"], "counts": [[880, 20], [60, 40]]}
    return record


def leaf_record() -> dict[str, Any]:
    """More classes than a matrix can show."""
    classes = [f"Quercus species {i:02d}" for i in range(36)]
    target = category_target("species", classes, [40 - i for i in range(36)])
    record = base_record("Leaves", {"leaf": "image", "margin": "vector"}, [target])
    evaluation = record["evaluation"]
    evaluation["targets"]["species"] = scores(0.951)
    evaluation["intervals"]["species"] = {"accuracy": [0.93, 0.97]}
    evaluation["streams"]["species"] = {"leaf": scores(0.943), "margin": scores(0.84)}
    evaluation["confusion"]["species"] = confusion(classes, errors=0.08)
    return record


def picture(seed: int) -> np.ndarray[Any, Any]:
    from sklearn.datasets import load_digits

    pixels: np.ndarray[Any, Any] = load_digits().images[seed]
    return (pixels * 15.9).astype(np.uint8)


def tone(seed: int) -> tuple[np.ndarray[Any, Any], int]:
    seconds = np.arange(8000 * (1 + seed % 2)) / 8000
    envelope = np.sin(np.pi * seconds / seconds[-1]) ** 2
    return (np.sin(2 * np.pi * (600 + 90 * seed) * seconds) * 0.5 * envelope).astype(np.float32), 8000


def digits_gallery(num: int = 8) -> Gallery:
    def row(i: int, right: bool) -> GalleryRow:
        cells = (
            GalleryCell("picture", "image", None if i == 2 else picture(i)),
            GalleryCell("tone", "audio", b"broken" if i == 1 else None if i == 4 else tone(i)),
            GalleryCell("spelled", "text", WORDS[i % len(WORDS)]),
            GalleryCell("weight", "number", 3.25 * i),
            GalleryCell("colour", "category", None if i % 3 else "blue"),
        )
        return GalleryRow(11 * i + 4, str(i % 10), str(i % 10 if right else (i + 5) % 10), 0.99 - 0.02 * i, cells)

    return {"digit": {"right": [row(i, True) for i in range(num)], "wrong": [row(i, False) for i in range(num)]}}


RECORDS = [digits_record, price_record, film_record, leaf_record]


class Page(HTMLParser):
    """Collects ids, links, addresses and tags, and checks that tags are closed."""

    VOID = frozenset({"meta", "link", "img", "br", "wbr"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.attributes: list[dict[str, str | None]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        self.attributes.append({"tag": tag, **values})
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.addresses += [value for name, value in attrs if name in ("href", "src", "srcset", "action") and value]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag


def written(record: dict[str, Any], folder: Path, gallery: Gallery | None = None) -> str:
    path = folder / "report.html"
    write_report(record, gallery or {}, path)
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("make", RECORDS)
def test_report_is_one_file_with_one_known_script_and_no_addresses(make: Any, tmp_path: Path) -> None:
    html = written(make(), tmp_path)
    page = Page(html)
    assert page.tags.count("script") == 1
    script = html.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html
    assert all(address.startswith(("#", "data:")) for address in page.addresses)
    assert not re.search(r"url\(|@import|https?://", html)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["report.html"]


@pytest.mark.parametrize("make", RECORDS)
def test_report_is_well_formed_and_its_contents_lead_somewhere(make: Any, tmp_path: Path) -> None:
    page = Page(written(make(), tmp_path))
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert {address[1:] for address in page.addresses if address.startswith("#")} <= set(page.ids)


@pytest.mark.parametrize("make", RECORDS)
def test_report_has_no_unreadable_numbers(make: Any, tmp_path: Path) -> None:
    text = re.sub(r"<style>.*?</style>", "", written(make(), tmp_path), flags=re.DOTALL)
    assert not re.search(r"\bnan\b|\binf\b|>None<|undefined", text)


def test_fused_report_shows_every_section(tmp_path: Path) -> None:
    html = written(digits_record(), tmp_path, digits_gallery())
    for words in (
        "The blend wins", "98.3%", "97.4% to 99.0%", "What the decision leans on", "gradient boosting",
        "Confusion matrix", "0.041", "0.012", "Without one stream in every row", "Most confident mistakes",
        "63 cells could not be read", "The first 50:", "batch_size: 64", "--seed 7", "Loss", "missing", "unreadable",
    ):  # fmt: skip
        assert words in html, words
    assert html.count("not a sound file") == 50
    assert "data:image/png;base64," in html
    assert "data:audio/wav;base64," in html
    assert all(image.get("alt") for image in Page(html).attributes if image["tag"] == "img")


def test_number_target_shows_residuals_and_no_classes(tmp_path: Path) -> None:
    html = written(price_record(), tmp_path)
    assert "Prediction against truth" in html
    assert "Residuals" in html
    for absent in ("Confusion matrix", "Class balance", "Calibration", "Gallery", "Broken cells", "When cells are"):
        assert absent not in html
    assert "The network loses to the gradient boosting baseline" in html
    assert "--config run.yaml" in html


def test_several_targets_have_a_block_each(tmp_path: Path) -> None:
    html = written(film_record(), tmp_path)
    assert "Target: genres" in html
    assert "Target: good" in html
    assert "Each label" in html
    assert "The fusion loses to the stream “plot”" in html
    assert "The stream “plot” alone is better than the final answer here." in html
    assert "There was no test table" in html


def test_many_classes_become_lists_of_mistakes(tmp_path: Path) -> None:
    html = written(leaf_record(), tmp_path)
    assert "Most frequent mistakes" in html
    assert 'class="confusion' not in html
    assert "36 classes, sorted" in html
    assert "The fusion is level with the stream “leaf”" in html


def test_names_are_escaped_everywhere(tmp_path: Path) -> None:
    text = repr((digits_record(), None)).replace("'digit'", repr(NASTY)).replace("'picture'", repr(NASTY))
    record: dict[str, Any] = eval(text)[0]
    record["title"] = record["notices"][0] = record["command"] = NASTY
    record["broken_cells"][0]["reason"] = NASTY
    record["evaluation"]["decision"][NASTY]["weights"] = {f"stream:{NASTY}": 1.0}
    record["evaluation"]["confusion"][NASTY]["labels"][3] = NASTY
    record["targets_info"][0]["classes"][3] = NASTY
    record["config"]["target"] = [NASTY]
    cells = tuple(GalleryCell(NASTY, kind, NASTY) for kind in ("image", "text", "category", "vector"))
    gallery = {NASTY: {"wrong": [GalleryRow(1, NASTY, NASTY, 0.9, cells)], "right": []}}
    html = written(record, tmp_path, gallery)
    assert NASTY not in html
    assert Page(html).tags.count("script") == 1
    assert html.count("&lt;script&gt;") > 20


def test_what_was_done_with_the_table_is_a_section(tmp_path: Path) -> None:
    record = digits_record()
    record["table_notices"] = [
        {"kind": kind, "columns": [], "rows": None, "of_rows": None, "sentence": f"{NASTY} {kind} {number}"}
        for kind in ("leak", "of_a_later_version")
        for number in range(6)
    ]
    record["notices"] += [notice["sentence"] for notice in record["table_notices"]]
    html = written(record, tmp_path)
    assert NASTY not in html
    assert html.count("What I did with your table") == html.count("Columns that may give the answer away") == 1
    assert "Of a later version" in html
    assert html.count("leak 0") == html.count("leak 5") == 1
    assert html.index("What I did with your table") < html.index("Scores</h2>")


def test_a_record_of_an_earlier_version_has_no_such_section(tmp_path: Path) -> None:
    assert "What I did with your table" not in written(digits_record(), tmp_path)


def test_gallery_stays_within_its_size(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    rows = [
        GalleryRow(i + 1, "1", "2", 0.5, (GalleryCell("p", "image", noise.integers(0, 255, (400, 400, 3), np.uint8)),))
        for i in range(150)
    ]
    html = written(digits_record(), tmp_path, {"digit": {"wrong": rows, "right": []}})
    assert len(html) < 3_000_000
    assert "more left out to keep this file small" in html


def test_pictures_are_found_beside_the_table(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "media").mkdir()
    Image.new("RGB", (900, 600), "teal").save(tmp_path / "media" / "a.png")
    row = GalleryRow(1, "1", "1", 0.9, (GalleryCell("picture", "image", "a.png"),))
    write_report(digits_record(), {"digit": {"right": [row], "wrong": []}}, tmp_path / "r.html", tmp_path / "media")
    assert 'width="240" height="160"' in (tmp_path / "r.html").read_text()


def test_epochs_count_from_one_whatever_number_a_run_began_with(tmp_path: Path) -> None:
    record = digits_record()
    for step in record["history"]:
        step["epoch"] -= 1  # as version 0.1 wrote them
    record["best_epoch"] = 13
    html = written(record, tmp_path)
    assert "the best on validation rows was epoch 14" in html
    assert "epoch 1: " in html
    assert "epoch 0" not in html


def test_losses_share_a_chart_only_where_they_are_the_same_quantity(tmp_path: Path) -> None:
    record = digits_record()
    assert "Loss that training minimised" in written(record, tmp_path)
    for step in record["history"]:
        step["evaluated_train_loss"] = step["train_loss"]
    html = written(record, tmp_path)
    assert "Loss on training and validation rows" in html
    assert "Loss that training minimised" not in html


def test_the_best_value_is_never_that_of_the_prior(tmp_path: Path) -> None:
    record = digits_record()
    for name, values in record["evaluation"]["baselines"]["digit"].items():
        values["recall"] = 1.0 if name == "majority" else 0.5
    record["evaluation"]["targets"]["digit"]["recall"] = 0.75
    html = written(record, tmp_path)
    assert "<b>0.750</b>" in html
    assert "<b>1.000</b>" not in html


def test_columns_of_a_family_are_one_line(tmp_path: Path) -> None:
    record = leaf_record()
    record["columns"] += [
        {"name": f"margin{i}", "modality": "number", "stream": "margin", "missing": i, "broken": 0, "rows": 700,
         "reason": f"{700 - i} of 700 cells are numbers"}
        for i in range(1, 65)
    ]  # fmt: skip
    cells = tuple(GalleryCell(f"margin{i}", "number", f"{i / 7:.3f}") for i in range(64))
    html = written(record, tmp_path, {"species": {"right": [GalleryRow(1, "a", "a", 0.9, cells)], "wrong": []}})
    assert 'margin1 … margin64 <span class="note">(64 columns)</span>' in html
    assert "margin17" not in html
    assert "margin0 … margin63" in html


def test_scores_that_are_not_finite_become_dashes(tmp_path: Path) -> None:
    record = digits_record()
    record["history"][0]["validation_loss"] = float("nan")
    record["evaluation"]["streams"]["digit"]["tone"]["accuracy"] = float("nan")
    record["evaluation"]["calibration"]["digit"]["ece_before"] = None
    assert "nan" not in re.sub(r"<style>.*?</style>", "", written(record, tmp_path), flags=re.DOTALL).lower().split()


def test_a_record_with_little_in_it_still_makes_a_report(tmp_path: Path) -> None:
    record = price_record()
    record["history"], record["best_epoch"], record["config"] = [], None, {}
    record["evaluation"] = {"split": "test", "rows": 3, "targets": {"price": {"rmse": 1.0}}}
    html = written(record, tmp_path)
    assert "Learning" not in html
    assert "nothing to compare with" in html


def test_ticks_are_round_and_inside() -> None:
    assert nice_ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert nice_ticks(3, 3) == [3]
    assert all(-7.2 <= tick <= 13.9 for tick in nice_ticks(-7.2, 13.9))


def test_line_chart_leaves_out_points_that_are_not_finite() -> None:
    chart = line_chart([Line("a", [(1, 0.5), (2, float("nan")), (3, 0.7)])], title="t", x_label="x", y_label="y")
    assert "nan" not in chart
    assert line_chart([Line("a", [(1, float("nan"))])], title="t", x_label="x", y_label="y") == ""


def open_in_browser(page: Path, folder: Path) -> tuple[str, str, set[str]]:
    """Return the page's DOM, the browser's log, and the hosts asked for (the browser's own maker left out)."""
    log = folder / "net.json"
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder / 'profile'}",
        "--enable-logging=stderr", f"--log-net-log={log}", "--dump-dom", page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=True)
    hosts = set(re.findall(r'"url":"(?:https?|wss?)://([^/"]+)', log.read_text(encoding="utf-8", errors="replace")))
    return done.stdout, done.stderr, {host for host in hosts if not re.search(r"google(apis)?\.com$|gvt1\.com$", host)}


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not on PATH: the report is not opened in a browser")
def test_browser_shows_the_report_and_fetches_nothing(tmp_path: Path) -> None:
    write_report(digits_record(), digits_gallery(2), tmp_path / "report.html")
    dom, log, hosts = open_in_browser(tmp_path / "report.html", tmp_path)
    for words in ("The blend wins", "Most confident mistakes", "Handwritten and spoken digits"):
        assert words in dom
    assert hosts == set()
    assert "Content Security Policy" not in log


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not on PATH: the check above cannot be checked")
def test_browser_check_notices_a_page_that_fetches(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text('<img src="http://pictures.invalid/a.png">')
    assert open_in_browser(tmp_path / "page.html", tmp_path)[2] == {"pictures.invalid"}


def test_broken_file_is_never_left_in_place_of_a_good_one(tmp_path: Path) -> None:
    html = written(digits_record(), tmp_path)
    with pytest.raises(KeyError):
        written({**digits_record(), "evaluation": {}}, tmp_path)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == html


def test_bytes_of_a_picture_are_encoded_again(tmp_path: Path) -> None:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(buffer, "BMP")
    row = GalleryRow(1, "1", "1", 0.9, (GalleryCell("picture", "image", buffer.getvalue()),))
    assert "image/bmp" not in written(digits_record(), tmp_path, {"digit": {"right": [row], "wrong": []}})
