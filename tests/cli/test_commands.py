"""The command line's surface: options, exit codes, what goes to which stream."""

from __future__ import annotations

import csv
import datetime as dt
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import polymodal
import tiny
from polymodal.arrays import BrokenCell
from polymodal.cli import options, prediction_files
from polymodal.cli.main import app
from polymodal.cli.progress_bar import TerminalProgress
from polymodal.data.tables.table import Table
from polymodal.errors import ConfigError, warn
from polymodal.model.predictions import Predictions

runner = CliRunner()

EVALUATION = {
    "split": "test",
    "rows": 20,
    "decision": {},
    "targets": {"label": {"accuracy": 0.9, "log_loss": 0.3}},
    "intervals": {"label": {"accuracy": [0.8, 1.0]}},
    "fusion": {"label": {"accuracy": 0.85, "log_loss": 0.4}},
    "streams": {"label": {"photo [1]": {"accuracy": 0.7, "log_loss": 0.6}}},
    "baselines": {"label": {"prior": {"accuracy": 0.5, "log_loss": 0.7}}},
    "missing": {"label": {"photo [1]": {"accuracy": 0.6, "log_loss": 0.6}}},
    "member_intervals": {"label": {"fusion": [0.7, 0.9]}},
}
REPORT_DATA = {
    "evaluation": EVALUATION,
    "targets_info": [{"name": "label", "kind": "category", "primary_metric": "accuracy", "higher_is_better": True}],
    "tables": [{"name": "t.csv", "split": "test", "rows": 20, "set_aside": 0}],
    "broken_cells": [{"table": "t.csv", "row": 3, "column": "photo [1]", "reason": "not a picture"}],
    "notices": [],
    "seconds": {"total": 1.5},
}


KEPT = {
    "id": ["007", "08"],
    "size": [1234567.891, float("inf")],
    "when": [dt.date(2024, 5, 31), None],
    "raw": [b"", b""],
}


class StubModel:
    report_data = REPORT_DATA

    def summary(self):
        return {"targets": EVALUATION["targets"], "seconds": float("nan")}

    def evaluation_report(self, table, *, slices=None, strict=False, progress=None):
        return REPORT_DATA

    def predict_batches(self, table, *, keep=(), weights=False, strict=False, progress=None, **_others):
        import numpy as np

        shown = {"photo": np.array([0.25, 0.75], dtype=np.float32)} if weights else {}
        values = {"label": np.array([[0.9, 0.1], [0.2, 0.8]])}
        broken = [BrokenCell(2, "photo", "not a picture")]
        whole = Predictions(values, {"label": ["a", "b"]}, {"label": ["a", "b"]}, shown, broken)
        whole = replace(whole, label_probabilities={"label": np.array([0.9, 0.8])})
        whole = whole.with_kept({name: KEPT[name] for name in keep})
        yield whole.take(slice(0, 1))
        yield whole.take(slice(1, 2))
        warn("one cell could not be read")


@pytest.fixture
def calls(monkeypatch):
    """Record how the command line calls ``fit``; nothing is trained."""
    found: list[dict] = []

    def fit(table, **arguments):
        found.append({"table": table, **arguments})
        return StubModel()

    monkeypatch.setattr("polymodal.runs.fit.fit", fit)
    monkeypatch.setattr("polymodal.runs.model.load", lambda path, device=None: StubModel())
    return found


def test_train_hands_over_every_option(calls, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = (
        "train t.csv --target a --target b --validation v.csv --test e.csv --group g --preset fast --time-limit 5m "
        "--fusion gated --modality x=y=image --stream s=m*,n* --stream t=z --share u=c*,d --share all "
        "--drop p --drop q --encoder x=resnet --set train.epochs=20 "
        "--set settings.x.size=[1,2] --seed 3 --output o --resume --strict --json "
        "--relevance r --reconstruct --teacher runs/before --unlabelled u.csv "
        "--init-from runs/first --validation-share 0.2 --test-share 0 --device cpu"
    )
    result = runner.invoke(app, arguments.split())
    assert result.exit_code == 0, result.output
    (call,) = calls
    expected = {
        "table": "t.csv",
        "target": ("a", "b"),
        "validation": "v.csv",
        "test": "e.csv",
        "group": "g",
        "time": None,
        "preset": "fast",
        "time_limit": 300.0,
        "fusion": "gated",
        "modality": {"x=y": "image"},
        "stream": {"s": ("m*", "n*"), "t": ("z",)},
        "share": {"u": ("c*", "d"), "all": ("*",)},
        "drop": ("p", "q"),
        "encoder": {"x": "resnet"},
        "settings": {"train.epochs": 20, "settings.x.size": [1, 2]},
        "seed": 3,
        "output": Path("o"),
        "resume": True,
        "strict": True,
        "relevance": "r",
        "reconstruct": True,
        "teacher": "runs/before",
        "unlabelled": "u.csv",
        "init_from": "runs/first",
        "validation_share": 0.2,
        "test_share": 0.0,
        "device": "cpu",
    }
    assert {name: call[name] for name in expected} == expected


def test_options_not_given_leave_the_configuration_alone(calls, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert runner.invoke(app, ["train", "t.csv"]).exit_code == 0
    left = ("target", "validation", "test", "drop", "modality", "stream", "encoder", "settings", "seed", "strict")
    left += (
        "relevance",
        "reconstruct",
        "teacher",
        "unlabelled",
        "init_from",
        "share",
        "validation_share",
        "test_share",
        "device",
        "preset",
    )
    assert [calls[0][name] for name in left] == [None] * len(left)


def test_json_is_the_only_thing_on_standard_output(calls, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = runner.invoke(app, ["train", "t.csv", "--target", "label", "--json"])
    assert json.loads(result.stdout) == {"targets": EVALUATION["targets"], "seconds": None}


def test_train_shows_fused_streams_and_baselines(calls, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = runner.invoke(app, ["train", "t.csv", "--target", "label"])
    for words in ("label: 20 test rows", "0.900", "0.800 to 1.000", "photo [1]", "prior", "runs/t/report.html"):
        assert words in result.stdout
    assert result.stdout.startswith("The network beats the prior.")
    assert ["▶", "final answer"] in [[c.strip() for c in row.split("│")[:2]] for row in result.stdout.splitlines()]
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "row 3, column 'photo [1]': not a picture" in result.stderr


def test_evaluate_shows_missing_streams(calls):
    result = runner.invoke(app, ["evaluate", "m", "t.csv"])
    assert "when a stream is absent" in result.stdout
    assert (
        json.loads(runner.invoke(app, ["evaluate", "m", "t.csv", "--json"]).stdout)["missing"] == EVALUATION["missing"]
    )


def test_predict_writes_csv_to_standard_output(calls):
    result = runner.invoke(app, ["predict", "m", "t.csv", "-q"])
    assert result.stdout == "label,label_probability,label:a,label:b\na,0.9,0.9,0.1\nb,0.8,0.2,0.8\n"
    assert result.stderr == "one cell could not be read\n"


def test_predict_copies_columns_as_they_are(calls, tmp_path):
    arguments = ["predict", "m", "t.csv", "--probabilities", "top", "--keep", "id, size", "--keep", "when"]
    said = runner.invoke(app, arguments).stdout.splitlines()
    assert said == [
        "id,size,when,label,label_probability",
        "007,1234567.891,2024-05-31,a,0.9",
        "08,inf,,b,0.8",
    ]
    lines = [json.loads(line) for line in runner.invoke(app, [*arguments, "--json"]).stdout.splitlines()]
    assert lines[0] == {"id": "007", "size": 1234567.891, "when": "2024-05-31", "label": "a", "label_probability": 0.9}
    assert lines[1]["size"] is None
    result = runner.invoke(app, ["predict", "m", "t.csv", "--keep", "raw"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "The column 'raw' holds bytes, which CSV and JSON cannot" in result.stderr


def test_predict_into_a_file_prints_one_json_object(calls, tmp_path):
    path = tmp_path / "out.csv"
    result = runner.invoke(app, ["predict", "m", "t.csv", "-o", str(path), "--json"])
    assert json.loads(result.stdout) == {"rows": 2, "broken_cells": 1, "output": str(path)}
    assert len(path.read_text().splitlines()) == 3


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_predict_writes_by_ending(calls, tmp_path, ending):
    import pyarrow.parquet

    path = tmp_path / f"out{ending}"
    result = runner.invoke(app, ["predict", "m", "t.csv", "-o", str(path), "--probabilities", "top", "--weights"])
    assert result.exit_code == 0, result.output
    readers = {
        ".csv": lambda: [
            {**row, "label_probability": float(row["label_probability"]), "weight:photo": float(row["weight:photo"])}
            for row in csv.DictReader(path.read_text().splitlines())
        ],
        ".jsonl": lambda: [json.loads(line) for line in path.read_text().splitlines()],
        ".parquet": lambda: pyarrow.parquet.read_table(path).to_pylist(),
    }
    assert readers[ending]() == [
        {"label": "a", "label_probability": 0.9, "weight:photo": 0.25},
        {"label": "b", "label_probability": 0.8, "weight:photo": 0.75},
    ]
    assert [found.name for found in tmp_path.glob("*out*")] == [path.name]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("predict m t.csv -o out.xls", "ends in .csv, .jsonl, .parquet"),
        ("predict m t.csv -o nowhere/out.csv", "There is no folder 'nowhere'"),
        ("train t.csv --time-limit soon", "a duration such as 90, 90s, 5m or 1h"),
        ("train t.csv --modality image", "of the form NAME=VALUE"),
        ("train t.csv --set x=[", "a YAML value"),
        ("train", "No table to learn from"),
        ("train nowhere.csv --target a", "There is no file"),
        ("train t.csv --resume", "There is no run in runs/t to resume"),
        ("inspect nowhere.csv", "There is no file"),
        ("evaluate nowhere t.csv", "nowhere"),
    ],
)
def test_users_errors_are_one_sentence_and_exit_code_2(arguments, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = runner.invoke(app, [*arguments.split(), "--quiet"])
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output
    assert result.stdout == ""


@pytest.mark.parametrize("command", [[], ["train"], ["predict"], ["cache", "clear"]])
def test_help_is_h_too(command):
    assert runner.invoke(app, [*command, "-h"]).stdout == runner.invoke(app, [*command, "--help"]).stdout
    assert "Usage" in runner.invoke(app, [*command, "-h"]).stdout


def test_the_version_is_told():
    assert runner.invoke(app, ["--version"]).stdout == f"polymodal {polymodal.__version__}\n"


def test_shells_complete_commands_and_options():
    environment = {
        **os.environ,
        "_POLYMODAL_COMPLETE": "complete_bash",
        "COMP_WORDS": "polymodal tra",
        "COMP_CWORD": "1",
    }
    command = [sys.executable, "-c", "from polymodal.cli.main import app; app(prog_name='polymodal')"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.split() == ["train"]
    assert "--install-completion" in runner.invoke(app, ["--help"], env={"COLUMNS": "200"}).stdout


def test_every_output_has_a_short_name():
    for command in typer.main.get_command(app).commands.values():
        for option in command.params:
            assert "-o" in option.opts or "--output" not in option.opts, command.name


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        ("--preset fsat", "'fast'"),
        ("--set train.epocks=3", "'train.epochs'"),
        ("--fusion transfomer", "'transformer'"),
        ("--encoder tabulr=mlp", "'tabular'"),
        ("--encoder tabular=ft_transfomer", "'ft_transformer'"),
        ("--set settings.tabulr.max_values=3", "'tabular'"),
        ("--set settings.tabular.max_value=3", "'max_values'"),
        ("--stream rest=sizes", "'size'"),
        ("--share s=tabulr", "'tabular'"),
        ("--group Size", "'size'"),
        ("--time agee", "'age'"),
        ("--drop colur", "'colour'"),
        ("--modality size=nubmer", "'number'"),
        ("--target knid", "'kind'"),
    ],
)
def test_a_wrong_name_is_answered_by_the_nearest_one(arguments, meant, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny.write_csv(Table(tiny.numbers_table(20)), tmp_path / "t.csv")
    target = [] if "--target" in arguments else ["--target", "kind"]
    result = runner.invoke(app, ["train", "t.csv", *target, *arguments.split(), "--set", "baselines=false", "-q"])
    assert result.exit_code == 2
    assert f"Did you mean {meant}?" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--validation-share 0", "'validation_share' is wrong: input should be greater than 0"),
        ("--test-share 1", "'test_share' is wrong: input should be less than 1"),
        ("--validation-share 0.5 --test-share 0.5", "must be above 0 and below 1 in all"),
        ("--test-share 0.5 --test t.csv", "--test-share, or --test names a table of them. Leave out one."),
    ],
)
def test_wrong_shares_are_one_sentence(arguments, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny.write_csv(Table(tiny.numbers_table(20)), tmp_path / "t.csv")
    result = runner.invoke(app, ["train", "t.csv", "--target", "kind", *arguments.split(), "-q"])
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1


def test_wrong_usage_is_exit_code_2():
    assert runner.invoke(app, ["predict", "m", "t.csv", "--probabilities", "some"]).exit_code == 2
    assert runner.invoke(app, ["list", "nonsense"]).exit_code == 2


def test_interrupt_says_how_to_go_on(monkeypatch, tmp_path):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("polymodal.runs.fit.fit", interrupted)
    result = runner.invoke(app, ["train", "t.csv", "--target", "a"])
    assert result.exit_code == 130
    assert "--resume goes on" in result.stderr


@pytest.mark.parametrize("arguments", ["list encoders", "--help"])
def test_a_full_output_is_one_sentence(arguments):
    command = f"{sys.executable} -m polymodal.cli.main {arguments} > /dev/full"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.startswith("Cannot write the output or a temporary file: No space left on device. Free some")
    assert result.stderr.count("\n") == 1


def test_closed_standard_streams_are_no_error():
    command = f"{sys.executable} -m polymodal.cli.main list encoders >&- 2>&-"
    assert subprocess.run(["bash", "-c", command], check=False).returncode == 0


def test_an_error_of_the_system_names_its_file(calls, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", "run/model")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("polymodal.runs.fit.fit", refuse)
    result = runner.invoke(app, ["train", "t.csv", "--target", "a", "-q"])
    assert result.exit_code == 2
    assert result.stderr.startswith("Cannot read or write run/model: Permission denied. Stopped. The same command")


def test_predictions_never_overwrite_their_table(calls, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = tmp_path / "t.csv"
    table.write_text("a\n1\n")
    (tmp_path / "hard.csv").hardlink_to(table)
    (tmp_path / "soft.csv").symlink_to(table)
    for output in ("t.csv", "./t.csv", str(table), "hard.csv", "soft.csv"):
        result = runner.invoke(app, ["predict", "m", "t.csv", "-o", output])
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr == "The output would overwrite the table t.csv. Choose another --output.\n"
        assert runner.invoke(app, ["embed", "m", "soft.csv", "-o", output]).exit_code == 2
    assert table.read_text() == "a\n1\n"
    (tmp_path / "folder.csv").mkdir()
    assert "is a folder" in runner.invoke(app, ["predict", "m", "t.csv", "-o", "folder.csv"]).stderr


def test_predictions_are_not_appended_to_their_table(tmp_path):
    (tmp_path / "t.csv").write_text("a\n1\n")
    command = f"{sys.executable} -m polymodal.cli.main predict m t.csv >> t.csv"
    result = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "would overwrite the table" in result.stderr


def test_closed_pipe_is_quiet():
    command = f"{sys.executable} -m polymodal.cli.main list encoders | head -c 1"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert result.stderr == ""


@pytest.mark.parametrize("what", ["modalities", "encoders", "fusions", "targets"])
def test_list_names_everything_with_its_paper(what):
    entries = json.loads(runner.invoke(app, ["list", what, "--json"]).stdout)
    shown = runner.invoke(app, ["list", what]).stdout
    assert entries
    for name, entry in entries.items():
        assert name in shown
        assert entry["summary"]
        assert entry["paper"]


def test_list_metrics_says_title_direction_unit_and_kinds():
    entries = json.loads(runner.invoke(app, ["list", "metrics", "--json"]).stdout)
    wer = {"title": "word error rate", "better": "lower", "unit": "percent", "kinds": ["transcript"]}
    assert entries["wer"] == wer
    assert entries["accuracy"]["kinds"] == ["category", "categories"]
    shown = runner.invoke(app, ["list", "metrics"]).stdout
    assert all(name in shown and entry["title"] in shown for name, entry in entries.items())


def test_inspect_counts_missing_and_broken_cells(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    rows = [f"broken.png,{i},{'a' if i % 2 else 'b'}" for i in range(5)] + [",,a"]
    (tmp_path / "t.csv").write_text("photo,size,label\n" + "\n".join(rows) + "\n")
    arguments = ["inspect", str(tmp_path / "t.csv"), "--target", "label"]
    found = json.loads(runner.invoke(app, [*arguments, "--json"]).stdout)
    photo = found["columns"][0]
    assert (photo["modality"], photo["missing"], photo["broken"]) == ("image", 1, 5)
    assert [(entry["value"], entry["rows"]) for entry in found["targets"][0]["balance"]] == [("a", 3), ("b", 3)]
    assert [cell["row"] for cell in photo["broken_examples"]] == [1, 2, 3, 4, 5]
    shown = runner.invoke(app, arguments)
    assert "image" in shown.stdout
    assert "row 1, column 'photo'" in shown.stderr


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("5m", 300), ("1h", 3600), ("1.5h", 5400)])
def test_durations(text, seconds):
    assert options.parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-5", "5 minutes", "m", "1d"])
def test_wrong_durations(text):
    with pytest.raises(ConfigError, match="--time-limit"):
        options.parse_duration(text)


def test_run_folders_are_numbered(tmp_path):
    assert options.choose_run_folder("data/t.csv", False, tmp_path) == tmp_path / "t"
    (tmp_path / "t").mkdir()
    assert options.choose_run_folder("data/t.csv", False, tmp_path) == tmp_path / "t-2"
    (tmp_path / "t-2").mkdir()
    assert options.choose_run_folder("data/t.csv", True, tmp_path) == tmp_path / "t-2"


def test_a_configuration_knows_its_table(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("data: t.csv\n")
    assert options.find_data(None, path) == "t.csv"
    assert options.find_data("other.csv", path) == "other.csv"


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "out.csv"
    path.write_text("old")

    def fail(temporary, opened):
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(prediction_files.WRITERS, ".csv", fail)
    with pytest.raises(OSError, match=r"No space left.*out\.csv"), prediction_files.open_output(str(path)) as write:
        write({"a": [1]}, ())
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.glob("*out*")] == ["out.csv"]


def test_labels_with_lists_are_joined_in_csv(tmp_path):
    with prediction_files.open_output(str(tmp_path / "out.csv")) as write:
        write({"tags": [["a", "b"], []]}, ())
    assert (tmp_path / "out.csv").read_text() == 'tags\na|b\n""\n'


@contextmanager
def nested_phases(progress) -> Iterator[None]:
    with progress.phase("decoding", 10) as outer:
        outer.advance(3, note="[bold]")
        with progress.phase("training", None) as inner:
            inner.advance()
            yield


def test_progress_works_nested_and_leaves_standard_output_alone(capsys):
    progress = TerminalProgress()
    with nested_phases(progress):
        progress.message("half way [x]")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "half way [x]" in captured.err


def test_interrupt_signal_reaches_the_command_line(tmp_path):
    """A real SIGINT while a command runs ends in 130, without a traceback."""
    code = (
        "import os, signal, polymodal.runs.fit, polymodal.cli.main\n"
        "polymodal.runs.fit.fit = lambda *a, **k: os.kill(os.getpid(), signal.SIGINT)\n"
        "polymodal.cli.main.app(['train', 't.csv', '--target', 'a'])\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.returncode in (130, -signal.SIGINT)
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(("given", "expected"), [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7")])
def test_threads_do_not_wait_awake_for_long(given, expected):
    told = "print(os.environ['GOMP_SPINCOUNT'])"
    code = f"import os\nfrom polymodal.cli.main import main\ntry:\n    main()\nfinally:\n    {told}"
    clean = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    command = [sys.executable, "-c", code, "list", "targets"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=clean | given)
    assert done.stdout.splitlines()[-1] == expected


def test_a_command_that_fails_shows_why():
    script = "import polymodal.cli.main as cli\ndef app():\n    raise ValueError('why')\ncli.app = app\ncli.main()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ValueError: why" in done.stderr
