"""Parts of installed packages: found by name, imported when they are needed, and named when they are missing."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tiny
from polymodal import plugins
from polymodal.errors import ConfigError
from polymodal.fusion import FUSIONS, FusionEntry
from polymodal.fusion.feature import SumFusion
from polymodal.plugins import FUSION_GROUP, PartTable, PartTables, installed

EXAMPLE = Path(__file__).parents[1] / "examples" / "plugin"
QUICK = ["train.epochs=1", "train.batch_size=16", "width=16", "baselines=false", "num_threads=1"]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a folder in which installed packages are looked for."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    installed.cache_clear()
    yield folder
    installed.cache_clear()


def write_package(site: Path, name: str, code: str, entry_points: str) -> None:
    module, info = name.replace("-", "_"), site / f"{name.replace('-', '_')}-1.2.dist-info"
    info.mkdir()
    (site / f"{module}.py").write_text(code, encoding="utf-8")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(entry_points, encoding="utf-8")
    importlib.invalidate_caches()


GOOD = """
from polymodal.fusion import FusionEntry
from polymodal.fusion.feature import SumFusion
ROW = FusionEntry(SumFusion, "feature", "added", "nobody")
"""


def fusions(*own: str) -> PartTable[FusionEntry]:
    return PartTable(FUSION_GROUP, FusionEntry, {name: FUSIONS[name] for name in own or ("sum",)})


def test_rows_of_installed_packages_stand_behind_the_own_ones_and_are_imported_when_looked_up(site: Path) -> None:
    write_package(site, "good-parts", GOOD, "[polymodal.fusions]\nadded = good_parts:ROW\n")
    table = fusions()
    assert list(table) == ["sum", "added"]
    assert len(table) == 2
    assert "added" in table
    assert "other" not in table
    assert "good_parts" not in sys.modules
    assert table["added"].build is SumFusion
    part = table.installed_part("added")
    assert part is not None
    assert (part.distribution, part.version) == ("good-parts", "1.2")
    assert table.installed_part("sum") is None
    with pytest.raises(KeyError):
        table["other"]


def test_tables_by_modality_read_the_modality_from_the_name(site: Path) -> None:
    points = "[polymodal.encoders]\nimage.one = good_parts:ROW\nsmell.two = good_parts:ROW\n"
    write_package(site, "good-parts", GOOD, points)
    tables = PartTables("polymodal.encoders", FusionEntry, {"image": {"own": FUSIONS["sum"]}})
    assert {modality: list(table) for modality, table in tables.items()} == {"image": ["own", "one"], "smell": ["two"]}
    with pytest.raises(KeyError):
        tables["text"]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import surely_no_such_module", r"cannot be loaded: ModuleNotFoundError: .*surely_no_such_module.*"),
        ("raise RuntimeError()", r"cannot be loaded: RuntimeError: no reason given\."),
        ("OTHER = 1", r"cannot be loaded: AttributeError: .*ROW.*"),
        ("ROW = 1", r"is no row of the table: bad_parts:ROW must be of the class FusionEntry\. Got int instead\."),
    ],
)
def test_a_broken_package_is_one_sentence_that_names_it_and_the_others_work(
    site: Path, code: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_package(site, "bad-parts", code, "[polymodal.fusions]\nbroken = bad_parts:ROW\n")
    monkeypatch.delitem(sys.modules, "bad_parts", raising=False)
    table = fusions()
    assert list(table) == ["sum", "broken"]
    assert table["sum"].build is SumFusion
    start = "The fusion 'broken' of the installed package bad-parts 1.2"
    with pytest.raises(ConfigError, match=rf"^{start} {reason} Update or uninstall bad-parts\.$"):
        table["broken"]


def test_names_that_are_taken_are_one_sentence(site: Path) -> None:
    write_package(site, "good-parts", GOOD, "[polymodal.fusions]\nsum = good_parts:ROW\n")
    assert fusions()["sum"].summary == FUSIONS["sum"].summary
    with pytest.raises(ConfigError, match=r"good-parts 1\.2 has the name of a part of polymodal itself"):
        list(fusions())
    write_package(site, "more-parts", GOOD, "[polymodal.fusions]\nsum = more_parts:ROW\n")
    installed.cache_clear()
    with pytest.raises(ConfigError, match=r"'sum' of the installed package .*-parts 1\.2 has the same name as that of"):
        list(fusions("film"))


def test_a_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        FUSIONS["mine"] = FUSIONS["sum"]  # type: ignore[index]


def test_every_group_has_a_word() -> None:
    assert set(plugins.NOUNS) == {f"polymodal.{name}" for name in ("modalities", "encoders", "fusions", "targets")}


@pytest.fixture(scope="module")
def example_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the example package into a folder of its own."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--target", str(folder), str(EXAMPLE)], check=True, capture_output=True, timeout=240)
    return folder


def polymodal(*arguments: str, site: Path | None = None) -> subprocess.CompletedProcess[str]:
    paths = [str(site)] * (site is not None) + [os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, "-m", "polymodal", *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)},
    )


@pytest.mark.slow
def test_the_example_package_is_listed_trained_saved_loaded_and_missed(example_site: Path, tmp_path: Path) -> None:
    table = tiny.only(tiny.write_table(tmp_path, rows=40), "photo", "size", "kind")
    data = str(tiny.write_csv(table, tmp_path / "data.csv"))
    listed = polymodal("list", "encoders", "--json", site=example_site)
    assert '"image: histogram"' in listed.stdout
    options = ["--target", "kind", "--fusion", "median", "--encoder", "photo=histogram"]
    options += [word for setting in [*QUICK, "encoder.photo.hyperparameters.bins=4"] for word in ("--set", setting)]
    run = str(tmp_path / "run")
    trained = polymodal("train", data, *options, "--output", run, site=example_site)
    assert trained.returncode == 0, trained.stderr
    predicted = polymodal("predict", run, data, site=example_site)
    assert predicted.returncode == 0, predicted.stderr
    assert len(predicted.stdout.splitlines()) == 41
    missed = polymodal("predict", run, data)
    assert missed.returncode == 2
    assert missed.stderr.strip().endswith(
        "needs the fusion 'median' of the package polymodal-example 0.1.0, which is not installed here. Install it: "
        "pip install polymodal-example==0.1.0"
    )
    refused = polymodal("train", data, "--target", "kind", "--fusion", "median", "--output", str(tmp_path / "other"))
    assert "'fusion' parameter of a run must be one of: transformer" in refused.stderr
