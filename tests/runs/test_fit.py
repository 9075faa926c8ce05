"""The Python interface, from table to predictions: what it gives, what it writes, and that it learns."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import polymodal
import tiny
from polymodal.data.tables.table import Table, read_table
from polymodal.errors import ConfigError, PolymodalError

LEARN = {"train.epochs": 10, "train.batch_size": 16, "train.learning_rate": 3e-3}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    folder = tmp_path_factory.mktemp("tiny")
    with tiny.decode_cache(folder):
        yield tiny.write_table(folder, rows=110)


@pytest.fixture(scope="module")
def written(table: Table, tmp_path_factory: pytest.TempPathFactory) -> polymodal.Model:
    """Return a model that learned three targets and wrote its run folder."""
    output = tmp_path_factory.mktemp("runs") / "run"
    return tiny.train(table, tiny.TARGETS, settings=LEARN | {"baselines": True}, output=output, command="make it so")


@pytest.mark.slow
@pytest.mark.exhaustive
def test_digits_seen_and_heard(shared_data: Path) -> None:
    """On real pictures and sounds, a short run is far better than the prior and than either stream."""
    folder = shared_data / "avdigits"
    train, test = (read_table(folder / f"{name}.csv") for name in ("train", "test"))
    train, test = (
        part.take(np.random.default_rng(0).permutation(part.num_rows)[:rows])
        for part, rows in ((train, 900), (test, 250))
    )
    model = polymodal.fit(
        train,
        target="digit",
        group="speaker",
        drop=["speaker"],
        test=test,
        settings={"train.epochs": 8, "width": 32, "settings.audio.num_mels": 24, "baselines": False, "num_threads": 1},
    )
    found = model.summary()
    accuracy = {stream: scores["accuracy"] for stream, scores in found["streams"]["digit"].items()}
    final = found["targets"]["digit"]["accuracy"]
    assert found["baselines"]["digit"]["prior"]["accuracy"] < 0.2
    assert min(accuracy.values()) > 0.3
    assert final > 0.88
    assert final > max(accuracy.values()) + 0.1
    assert found["fusion"]["digit"]["accuracy"] > max(accuracy.values()) + 0.03
    assert found["missing"]["digit"]["audio"]["accuracy"] > 0.6
    assert found["broken_cells"] == []
    assert (
        model.predict(tiny.only(test, "image"))["digit"]
        == model.predict(tiny.with_cells(test, audio=[None] * test.num_rows))["digit"]
    )


def test_every_target_beats_the_prior(written: polymodal.Model) -> None:
    found = written.summary()
    priors = {name: found["baselines"][name]["prior"] for name in tiny.TARGETS}
    assert found["targets"]["kind"]["accuracy"] > priors["kind"]["accuracy"] + 0.3
    assert found["targets"]["kind"]["log_loss"] < 0.6 * priors["kind"]["log_loss"]
    assert found["targets"]["tags"]["log_loss"] < 0.8 * priors["tags"]["log_loss"]
    assert found["targets"]["tags"]["macro_f1"] > 0.6
    assert found["targets"]["weight"]["rmse"] < 0.5 * priors["weight"]["rmse"]


def test_the_network_alone_learns_too(written: polymodal.Model) -> None:
    found = written.summary()
    assert found["fusion"]["kind"]["accuracy"] > 0.7
    assert found["fusion"]["weight"]["r2"] > 0.5


def test_every_missing_stream_leaves_more_than_the_prior(written: polymodal.Model) -> None:
    found = written.summary()
    for stream in tiny.STREAMS:
        assert found["missing"]["kind"][stream]["accuracy"] > found["baselines"]["kind"]["prior"]["accuracy"] + 0.2


def test_a_vote_may_choose_a_single_stream(table: Table) -> None:
    """Where one stream tells the truth and the others are noise, the vote follows it alone."""
    random = np.random.default_rng(0)
    noise = {
        "code": [json.dumps(random.normal(size=4).round(3).tolist()) for _ in range(table.num_rows)],
        "colour": random.choice(["red", "green"], table.num_rows).tolist(),
        "size": random.normal(size=table.num_rows).round(3).astype(str).tolist(),
    }
    data = tiny.with_cells(tiny.only(table, "sound", "code", "colour", "size", "kind"), **noise)
    model = tiny.train(data, fusion="vote", settings=LEARN)
    found = model.summary()
    weights = found["decision"]["kind"]["weights"]
    assert set(weights) <= {"stream:sound", "stream:code", "stream:tabular", "baseline:prior"}
    assert weights["stream:sound"] > 0.8
    assert found["targets"]["kind"]["accuracy"] > 0.8
    assert model.predictions(data, weights=True).weights == {}


def test_a_vote_among_good_streams_beats_the_prior(table: Table) -> None:
    given = tiny.only(table, "photo", "sound", "note", "size", "kind")
    found = tiny.train(given, fusion="vote", settings=LEARN).summary()
    assert found["targets"]["kind"]["accuracy"] > found["baselines"]["kind"]["prior"]["accuracy"] + 0.3
    assert found["fusion"]["kind"] == {}


def test_attention_gives_the_weight_of_every_stream(table: Table) -> None:
    model = tiny.train(tiny.only(table, "photo", "sound", "size", "kind"), fusion="attention")
    said = model.predict(table, weights=True)
    assert list(said) == ["kind", "weight:photo", "weight:sound", "weight:tabular"]
    weights = np.array([said[f"weight:{stream}"] for stream in ("photo", "sound", "tabular")])
    present = np.array([[cell is not None for cell in table.columns[name]] for name in ("photo", "sound", "size")])
    assert (weights[~present] == 0).all()
    np.testing.assert_allclose(weights.sum(axis=0), present.any(axis=0), atol=1e-5)
    assert list(model.predict(table)) == ["kind"]


def test_a_run_folder_holds_what_it_should(written: polymodal.Model) -> None:
    folder = written.folder
    assert folder is not None
    assert {path.name for path in folder.iterdir()} == {"model", "report.html", "metrics.json", "run.yaml", "log.txt"}
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert metrics.pop("record") == written.report_data
    assert metrics == json.loads(json.dumps(written.summary()))
    assert "make it so" in (folder / "log.txt").read_text(encoding="utf-8")
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert all(name in report for name in (*tiny.TARGETS, *tiny.STREAMS))


def test_what_was_done_with_the_table_is_in_the_run_folder(tmp_path: Path) -> None:
    columns = tiny.numbers_table(60)
    model = tiny.train(columns | {"copy": columns["kind"]}, output=tmp_path / "run")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    told = metrics["table_notices"]
    assert [(notice["kind"], notice["columns"]) for notice in told] == [("leak", ["copy"]), ("small_class", ["kind"])]
    assert told == metrics["record"]["table_notices"] == model.report_data["table_notices"]
    html, log = ((tmp_path / "run" / name).read_text(encoding="utf-8") for name in ("report.html", "log.txt"))
    assert "What I did with your table" in html
    assert all(notice["sentence"] in metrics["notices"] and notice["sentence"] in log for notice in told)


def test_a_run_folder_loads(written: polymodal.Model, table: Table) -> None:
    assert written.folder is not None
    for folder in (written.folder, str(written.folder), written.folder / "model"):
        assert polymodal.load(folder).predict(table) == written.predict(table)
    assert polymodal.load(written.folder).folder == written.folder


def test_a_model_tells_what_it_predicts(written: polymodal.Model) -> None:
    assert written.targets == tiny.TARGETS
    assert written.classes == {"kind": list(tiny.KINDS), "tags": ["feathered", "furry", "loud", "tame"], "weight": None}


def test_two_tables_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    """Files of one name in two folders must never lend each other their cells."""
    paths = []
    for number, name in enumerate(("first", "second")):
        (tmp_path / name).mkdir()
        data = Table(tiny.numbers_table(40 - 10 * number, seed=number), name="data")
        paths.append(tiny.write_csv(data, tmp_path / name / "data.csv"))
    model = tiny.train(paths[0], test=paths[1])
    assert [table["name"] for table in model.report_data["tables"]] == ["data.csv", "data.csv", "data.csv (test)"]
    assert model.summary()["rows"]["test"] == 30
    assert model.evaluate(paths[1])["targets"] == model.summary()["targets"]


def test_the_same_name_in_memory_too() -> None:
    train, test = (Table(tiny.numbers_table(40, seed=seed), name="data") for seed in (0, 1))
    model = tiny.train(train, test=test)
    assert model.evaluate(test)["targets"] == model.summary()["targets"]


def test_streams_encoders_and_modalities_can_be_chosen() -> None:
    data = tiny.numbers_table() | {"age": [str(age) for age in range(60)]}
    model = tiny.train(
        data,
        stream={"body": ["size", "age"], "look": ["colour"]},
        encoder={"body": "ft_transformer"},
        modality={"age": "number"},
        fusion="gated",
    )
    streams = {stream["name"]: stream["columns"] for stream in model.report_data["streams"]}
    assert streams == {"body": ["size", "age"], "look": ["colour"]}
    assert model.report_data["fusion"]["name"] == "gated"
    assert set(model.summary()["streams"]["kind"]) == {"body", "look"}


def test_dropped_columns_are_not_used() -> None:
    data = tiny.numbers_table()
    model = tiny.train(data, drop=["size"])
    other = data | {"size": [1e9] * 60}
    assert tiny.same(model.predictions(data).values, model.predictions(other).values)


def test_labels_keep_their_type() -> None:
    data = tiny.numbers_table()
    for values in ((3, 7), (True, False), ("3", "7")):
        kinds = [values[kind == "dog"] for kind in data["kind"]]
        said = tiny.train(data | {"kind": kinds}, modality={"kind": "category"}).predict(data)["kind"]
        assert {type(label) for label in said} == {type(values[0])}
        assert set(said) <= set(values)


def test_dataframes_are_tables() -> None:
    model = tiny.train(pd.DataFrame(tiny.numbers_table()))
    again = tiny.train(tiny.numbers_table())
    assert tiny.same(tiny.weights_of(model), tiny.weights_of(again))


def test_configurations_come_as_mappings_and_arguments_win() -> None:
    settings = {"train": {"epochs": 1}, "width": 24, "seed": 9, "fusion": {"name": "concat"}, "baselines": False}
    model = polymodal.fit(tiny.numbers_table(), target="kind", config=settings, seed=2)
    assert (model.trained.config.seed, model.trained.config.width) == (2, 24)
    assert model.trained.config.fusion.name == "concat"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fusion": "oracle"}, "one of: .*transformer"),
        ({"encoder": {"tabular": "oracle"}}, "one of: .*mlp"),
        ({"encoder": {"photo": "cnn"}}, "There is no stream 'photo' to give an encoder to. The streams are: tabular"),
        ({"settings": {"train.epoch": 1}}, "There is no option 'train.epoch'"),
        ({"settings": {"fusion.hyperparameters.colour": 1}}, "colour"),
        ({"modality": {"size": "smell"}}, "smell"),
        ({"modality": {"sise": "number"}}, "sise"),
        ({"drop": ["sise"]}, "sise"),
        ({"stream": {"all": ["s?z?e*"]}}, "all|s\\?z"),
        ({"target": "kidn"}, "kidn"),
        ({"target": ["kind", "kind"]}, "kind"),
        ({"preset": "slow"}, "preset"),
        ({"time_limit": -1.0}, "time_limit_s"),
        ({"config": "nowhere.yaml"}, "nowhere.yaml"),
        ({"seed": -1}, "seed"),
        ({"settings": {"width": 10}}, "width|divisor"),
    ],
)
def test_arguments_that_cannot_work_are_one_sentence(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(PolymodalError, match=message) as caught:
        tiny.train(tiny.numbers_table(), **({"target": "kind"} | arguments))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("keyword", "message"),
    [
        ("fusions", "unexpected keyword argument 'fusions'. Did you mean 'fusion'?"),
        ("outptu", "unexpected keyword argument 'outptu'. Did you mean 'output'?"),
        ("zzz", "unexpected keyword argument 'zzz'. The options are: validation, test, validation_share, test_share,"),
    ],
)
def test_an_unknown_keyword_names_the_nearest_option(keyword: str, message: str) -> None:
    with pytest.raises(TypeError, match=re.escape(message)):
        polymodal.fit(tiny.numbers_table(), target="kind", **{keyword: "sum"})


def test_saving_never_overwrites_what_is_no_model(written: polymodal.Model, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ConfigError, match="holds something else than a model"):
        written.save(tmp_path)
