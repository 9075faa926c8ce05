"""Parts of installed packages: found by name, imported when they are needed, and named when they are missing."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import tiny
from polymodal import plugins
from polymodal.cli.main import app
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
    names = ("modalities", "encoders", "features", "fusions", "targets")
    assert set(plugins.NOUNS) == {f"polymodal.{name}" for name in names}


@pytest.fixture(scope="module")
def example_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the example package into a folder of its own."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--target", str(folder), str(EXAMPLE)], check=True, capture_output=True, timeout=240)
    return folder


def polymodal(*arguments: str, site: Path) -> subprocess.CompletedProcess[str]:
    paths = [str(site), os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, "-m", "polymodal", *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)},
    )


@pytest.mark.slow
@pytest.mark.exhaustive
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
    missed = CliRunner().invoke(app, ["predict", run, data])
    assert missed.exit_code == 2
    assert missed.stderr.strip().endswith(
        "needs the fusion 'median' of the package polymodal-example 0.1.0, which is not installed here. Install it: "
        "pip install polymodal-example==0.1.0"
    )
    other = ["--fusion", "median", "--output", str(tmp_path / "other")]
    refused = CliRunner().invoke(app, ["train", data, "--target", "kind", *other])
    assert "'fusion' parameter of a run must be one of: transformer" in refused.stderr


DOCUMENT = Path(__file__).parents[1] / "docs" / "extending.md"
SCRIPT = """
import sys
import polymodal, tiny

table = tiny.numbers_table(40)
angles = {"cat": 0.0, "dog": 90.0, "owl": 180.0}
table["bearing"] = [None if row == 3 else f"{angles[kind] + row}°" for row, kind in enumerate(table["kind"])]
table["note"] = ["word " * (1 + row % 7) + str(row) for row in range(40)]
table["way"] = [[1.0, 0.0] if kind == "cat" else [0.0, 1.0] for kind in table["kind"]]
settings = {"encoder.note.hyperparameters.hidden": 4}
model = tiny.train(
    table, "way", modality={"way": "direction"}, fusion="median", encoder={"note": "length"}, drop=["kind"],
    settings=settings, output=sys.argv[1],
)
assert model.trained.schema.modality_of("bearing") == "angle"
loaded = polymodal.load(sys.argv[1])
found = loaded.predict(table)["way"]
assert found == model.predict(table)["way"]
assert all(abs(x**2 + y**2 - 1) < 1e-6 for x, y in found)
"""


@pytest.mark.exhaustive
@pytest.mark.slow
def test_the_parts_of_the_document_are_trained_saved_and_loaded(site: Path, tmp_path: Path) -> None:
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    (site / "my_parts").mkdir()
    for code in (code for language, code in blocks if language == "python"):
        path = code.partition("\n")[0].removeprefix("# ")
        (site / path).write_text(code, encoding="utf-8")
    (declared,) = (tomllib.loads(code) for language, code in blocks if language == "toml")
    groups = declared["project"]["entry-points"]
    lines = [
        f"[{group}]\n" + "\n".join(f"{name} = {row}" for name, row in rows.items()) for group, rows in groups.items()
    ]
    write_package(site, "my-parts", "", "\n".join(lines) + "\n")
    (site / "my_parts.py").unlink()
    paths = os.pathsep.join([str(site), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "run")]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    sys.path.remove(str(site))
    installed.cache_clear()
    missed = CliRunner().invoke(app, ["predict", str(tmp_path / "run"), str(tmp_path / "none.csv")])
    assert "of the package my-parts 1.2, which is not installed here" in missed.stderr
