"""The demo's tables: what they promise, and a run over a few of their rows."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from polymodal import demo


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> tuple[Path, Path]:
    return demo.write_tables(tmp_path_factory.mktemp("demo"), num_rows=300)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_a_quarter_of_the_cells_is_missing(tables):
    rows = read(tables[0])
    cells = [cell for row in rows for name, cell in row.items() if name != "digit"]
    assert np.mean([not cell for cell in cells]) == pytest.approx(0.25, abs=0.03)
    assert all(row["digit"] in demo.WORDS for row in rows)


def test_tables_share_no_row(tables):
    train, new = ({row["picture"] for row in read(path)} - {""} for path in tables)
    assert not train & new
    assert len(read(tables[0])) + len(read(tables[1])) == 300


def test_media_can_be_read(tables):
    for row in read(tables[0])[:40]:
        if row["picture"]:
            assert np.asarray(Image.open(tables[0].parent / row["picture"])).shape == (16, 16)
        if row["tone"]:
            samples, rate = soundfile.read(tables[0].parent / row["tone"])
            assert rate == 8000
            assert 0.29 <= len(samples) / rate <= 0.61


def test_the_same_seed_writes_the_same_table(tmp_path):
    first, second = (demo.write_tables(tmp_path / name, seed=3, num_rows=12)[0] for name in ("a", "b"))
    assert first.read_text() == second.read_text()
    for path in sorted((tmp_path / "a").rglob("*.png")):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_a_tone_holds_its_two_frequencies():
    random = np.random.default_rng(0)
    spectrum = sum(np.abs(np.fft.rfft(demo.play_tone(5, random), 8000)) for _ in range(30))
    for low, high, tone in ((690, 990, 770), (1190, 1500, 1336)):
        assert abs(low + np.argmax(spectrum[low:high]) - tone) < 20


def test_words_are_misspelled_but_never_empty():
    random = np.random.default_rng(0)
    words = [demo.misspell("seven", random) for _ in range(200)]
    assert min(map(len, words)) >= 2
    assert np.mean([word == "seven" for word in words]) < 0.1


@pytest.mark.parametrize("name", ["train.csv", "new.csv", "pictures"])
def test_what_is_of_no_demo_is_left_alone(tmp_path, name, monkeypatch, capsys):
    (tmp_path / name).mkdir() if name == "pictures" else (tmp_path / name).write_text("a,b\n1,2\n")
    monkeypatch.setattr(sys, "argv", ["demo", "--output", str(tmp_path), "--rows", "12"])
    with pytest.raises(SystemExit, match=r"^2$"):
        demo.main()
    said = capsys.readouterr().err
    assert said == f"The folder {tmp_path} holds '{name}', which is of no demo. Choose another --output.\n"
    assert {path.name for path in tmp_path.iterdir()} <= {name, "polymodal-cache"}


@pytest.mark.slow
def test_the_demo_trains_prints_its_table_and_keeps_earlier_runs(tmp_path):
    earlier = tmp_path / "demo" / "run"
    earlier.mkdir(parents=True)
    (earlier / "report.html").write_text("of an earlier demo")
    command = [sys.executable, "-m", "polymodal.demo", "--output", "demo", "--rows", "120"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "$ polymodal train demo/train.csv --target digit" in result.stdout
    for name in ("picture", "tone", "note", "tabular", "prior"):
        assert name in result.stdout
    assert (earlier / "report.html").read_text() == "of an earlier demo"
    assert (tmp_path / "demo" / "run-2" / "report.html").stat().st_size > 10_000


def test_the_first_run_of_a_demo_is_named_run_and_a_second_replaces_its_tables(tmp_path, monkeypatch, capsys):
    trained = []
    monkeypatch.setattr("polymodal.cli.main.app", trained.append)
    monkeypatch.setattr(sys, "argv", ["demo", "--output", str(tmp_path / "demo"), "--rows", "12", "--seed", "3"])
    for _ in range(2):
        demo.main()
    assert [command[command.index("--output") + 1] for command in trained] == [str(tmp_path / "demo" / "run")] * 2
    assert all(command[-2:] == ["--seed", "3"] for command in trained)
