"""Configurations that somebody else wrote: options or one sentence, whatever YAML and Python make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzzing import QUICK, examples
from polymodal.cli.options import find_data, parse_settings, parse_variants
from polymodal.config import RunConfig, build_config, load_config, save_config
from polymodal.config.yaml_text import MAX_NODES, parse_yaml
from polymodal.errors import ConfigError, PolymodalError

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 30))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 2024-13-45", "'2024-13-45' in line 1 is no timestamp that can be read"),
        ("seed: 0x_", "is no int that can be read"),
        ('seed: !!int ""', "is no int that can be read"),
        ("seed: !!timestamp x", "is no timestamp that can be read"),
        ("seed: !!float x", "is no float that can be read"),
        ("seed: 2024-05-31", "it holds a date; put it in quotes if it is a text"),
        ("seed: " + "9" * 5000, "is no int that can be read"),
        ("seed: 0x" + "f" * 40, "an integer of more than 64 bits"),
        ("settings: " + "[" * 5000, "nested more than 32 levels deep"),
        ("a:\n" + "".join(" " * i + "a:\n" for i in range(1, 60)), "nested more than 32 levels deep"),
        ("settings: &s {a: {x: *s}}", "an alias stands for what it is part of"),
        (BOMB, f"more than {MAX_NODES:,} values"),
        ("seed: 1\nseed: 2", r"the key 'seed' comes twice \(line 2\)"),
        ('data: "\\ud800"', "a lone surrogate"),
        ('data: "a\\0b"', "a null character"),
        ("? [a]\n: 1", "unhashable key"),
        ("a: !!set {b}", "it holds a set"),
        ("a: !!binary aGk=", "it holds a bytes"),
        ("#" * 2**20 + "#", "more than 1,048,576 characters"),
    ],
    ids=range(19),
)
def test_what_yaml_cannot_give_is_one_sentence(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_aliases_and_merged_keys_are_read() -> None:
    text = "train: &t {epochs: 3}\nother: {<<: *t, batch_size: 8}\n"
    assert parse_yaml(text) == {"train": {"epochs": 3}, "other": {"epochs": 3, "batch_size": 8}}


def test_a_value_of_set_names_its_option() -> None:
    with pytest.raises(ConfigError, match=r"'--set' .* must be of the form .*is no int that .* Got 'seed=0x_' instead"):
        parse_settings(["seed=0x_"])


@pytest.mark.parametrize("value", [10**5000, "x" * 10**6, float("nan"), float("inf")], ids=range(4))
def test_a_wrong_value_is_shown_in_short(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"The option 'train.weight_decay' is wrong: .{0,400}$"):
        build_config({"train": {"weight_decay": value}})


NAMES = [*RunConfig.model_fields, "train.epochs", "encoder.a.name", "encoder.a.b", "settings.a.b", "", ".", "a..b", "x"]
YAML_VALUES = st.one_of(
    st.sampled_from([".nan", "-.inf", "~", "1e999", "!!int x", "!!binary x", "*a", "&a [*a]", "{a: {b: {}}}", "[[]]"]),
    st.sampled_from(
        ["9" * 5000, "[" * 99, "? a", "- - a", "'", '"', "%", "2024-99-99", "1:2:3", "<<: 1", "=", "!", "|"]
    ),
    st.text(max_size=20),
    st.integers().map(str),
    st.floats().map(repr),
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates() | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=6,
)


def _check(folder: Path, data: st.DataObject) -> None:
    """Read a file of options, options of the command line, or values from Python, and write what was accepted."""
    names, path = st.sampled_from(NAMES), folder / "run.yaml"
    try:
        kind = data.draw(st.sampled_from(["file", "set", "variant", "python"]))
        if kind == "file":
            lines = data.draw(st.lists(st.tuples(names, YAML_VALUES), min_size=1, max_size=3))
            text = "\n".join(f"{name}: {value}" for name, value in lines)
            path.write_text(text, encoding="utf-8", errors="replace")
            find_data(None, path) if data.draw(st.booleans()) else None
            config = build_config(load_config(path))
        elif kind == "python":
            values = data.draw(st.dictionaries(names, PLAIN, max_size=2))
            config = build_config(values, data.draw(st.dictionaries(names, PLAIN, max_size=2)))
        else:
            texts = [f"{data.draw(names)}={data.draw(YAML_VALUES)}"]
            given = parse_settings(texts) if kind == "set" else parse_variants([f"v: {texts[0]}"])["v"]
            config = build_config({}, given)
        save_config(config, path)
        again = build_config(load_config(path))
        assert again == config or kind == "python"  # where keys may be numbers, and values dates
    except PolymodalError as error:
        message = str(error)
        assert message


@QUICK
@given(data=st.data())
def test_any_option_is_accepted_or_one_sentence(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    _check(tmp_path_factory.getbasetemp(), data)


@pytest.mark.exhaustive
@examples(4_000)
@given(data=st.data())
def test_many_options_are_accepted_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    _check(tmp_path_factory.getbasetemp(), data)
