"""Options: names, values and their errors, and the run.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from polymodal.config import RunConfig, build_config, load_config, save_config
from polymodal.errors import ConfigError


def test_everything_has_a_default() -> None:
    config = build_config({})
    assert config == RunConfig()
    assert config.fusion.name == "transformer"
    assert config.baselines
    assert config.train.augment
    assert config.train.modality_dropout > 0
    assert config.train.auxiliary_weight > 0


def test_dotted_names_win_over_values() -> None:
    values = {"train": {"epochs": 3, "batch_size": 8}, "seed": 1}
    config = build_config(
        values, {"train.epochs": 5, "encoder.photo.name": "vit", "encoder.photo.hyperparameters.depth": 2}
    )
    assert (config.train.epochs, config.train.batch_size, config.seed) == (5, 8, 1)
    assert config.encoder["photo"].name == "vit"
    assert config.encoder["photo"].hyperparameters == {"depth": 2}
    assert values == {"train": {"epochs": 3, "batch_size": 8}, "seed": 1}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"epochs": 3}, r"There is no option 'epochs'. Did you mean 'train.epochs'\?"),
        ({"train.epoch": 3}, r"There is no option 'train.epoch'. Did you mean 'train.epochs'\?"),
        ({"train.mood": 3}, "There is no option 'train.mood'. There are: train.epochs, train.batch_size, .*"),
        ({"encoder.photo.colour": 3}, "There is no option 'encoder.photo.colour'. There are: name, hyperparameters."),
        ({"train.epochs": 0}, "The option 'train.epochs' is wrong: .*greater than or equal to 1. Got 0 instead."),
        ({"train.epochs": "many"}, "The option 'train.epochs' is wrong: .*Got 'many' instead."),
        ({"train.modality_dropout": 1.0}, "The option 'train.modality_dropout' is wrong: .*"),
        ({"train.learning_rate": -1}, "The option 'train.learning_rate' is wrong: .*"),
        ({"width": 2}, "The option 'width' is wrong: .*"),
        ({"preset": "slow"}, "The option 'preset' is wrong: .*'fast', 'balanced' or 'best'. Got 'slow' instead."),
        ({"preset": "fsat"}, r"The option 'preset' is wrong: .* Got 'fsat' instead. Did you mean 'fast'\?"),
        ({"validation_share": 0}, "The option 'validation_share' is wrong: .*"),
        ({"test_share": 1}, "The option 'test_share' is wrong: .*"),
        ({"seed": -1}, "The option 'seed' is wrong: .*"),
        ({"seed": 2**32}, "The option 'seed' is wrong: .*"),
        ({"seed.more": 1}, "The option 'seed.more' goes into 'seed', which holds a value, not options."),
    ],
)
def test_what_cannot_work_is_one_sentence(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}$"):
        build_config({"seed": 3}, overrides)


def test_streams_may_have_dots_in_their_names() -> None:
    config = build_config(
        {},
        {
            "settings.clip.audio.num_mels": 40,
            "settings.clip.frames": 8,
            "encoder.clip.audio.name": "gru",
            "encoder.clip.audio.hyperparameters.depth": 2,
            "encoder.clip.hyperparameters.channels": 16,
        },
    )
    assert config.settings == {"clip.audio": {"num_mels": 40}, "clip": {"frames": 8}}
    assert (config.encoder["clip.audio"].name, config.encoder["clip.audio"].hyperparameters) == ("gru", {"depth": 2})
    assert config.encoder["clip"].hyperparameters == {"channels": 16}


def test_hyperparameters_may_have_the_name_that_version_0_1_wrote() -> None:
    values = {
        "fusion": {"name": "film", "sizes": {"depth": 3, "dropout": 0.2}},
        "encoder": {"photo": {"name": "cnn", "sizes": {"channels": 8}}},
    }
    overrides = {"fusion.sizes.depth": 1, "encoder.photo.hyperparameters.depth": 2, "encoder.sizes.name": "gru"}
    config = build_config(values, overrides)
    assert config.fusion.hyperparameters == {"depth": 1, "dropout": 0.2}
    assert config.encoder["photo"].hyperparameters == {"channels": 8, "depth": 2}
    assert config.encoder["sizes"].name == "gru"
    assert RunConfig.model_validate(values).encoder["photo"].hyperparameters == {"channels": 8}
    assert "sizes" not in config.model_dump()["fusion"]


def test_a_configuration_survives_its_file(tmp_path: Path) -> None:
    config = build_config(
        {
            "target": ["a", "b"],
            "stream": {"shape": ["s*", "t"]},
            "settings": {"photo": {"size": 32}},
            "encoder": {"photo": {"name": "cnn", "hyperparameters": {"channels": 8}}},
            "train": {"learning_rate": 1e-3, "time_limit_s": 2.5},
            "modality": {"größe": "number"},
        }
    )
    save_config(config, tmp_path / "run.yaml")
    assert build_config(load_config(tmp_path / "run.yaml")) == config
    assert [path.name for path in tmp_path.iterdir()] == ["run.yaml"]


@pytest.mark.parametrize("content", [b"a: [1", b"\xff\xfe\x00", b"- 1\n- 2\n", b"just text", b""])
def test_files_that_hold_no_options_are_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"The configuration .*run\.yaml (cannot be read: |holds no options)"):
        load_config(path)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read: .*No such file"):
        load_config(tmp_path / "none.yaml")


def test_a_file_runs_no_code(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(f"seed: !!python/object/apply:os.mkdir ['{tmp_path / 'made'}']\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(path)
    assert not (tmp_path / "made").exists()
