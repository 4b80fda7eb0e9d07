"""Settings that are too much for a reader end in one line that a terminal can hold."""

import pathlib

import pytest

from fedmed.settings import config
from fedmed.system import errors

BASE = "rounds = 1\nmodel = { name = 'mlp' }\nclient = { learning_rate = 0.1 }\ndata = { name = 'digits' }\n"


def refused(folder: pathlib.Path, text: str = "", *overrides: str) -> str:
    (folder / "own.toml").write_text(BASE + text)
    with pytest.raises(errors.ConfigError) as caught:
        config.load(folder / "own.toml", overrides)
    message = str(caught.value).removeprefix(f"{folder}/")
    assert "\n" not in message
    assert len(message) < 500
    return message


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("[" * 5000 + "]" * 5000, "nested too deeply"),
        ("9" * 5000, "too many digits"),
        ("9" * 400, "seed: expected a number of 64 bits"),
        (
            "0x" + "f" * 5000,
            "seed: expected a number of 64 bits, as TOML has them, got a number of thousands of digits",
        ),
        (str(2**63), "seed: expected a number of 64 bits, as TOML has them, got 9223372036854775808"),
        ("'" + "s" * 5000 + "'", "seed: expected a whole number, got 'sss"),
        ("-1" + "0" * 15, "seed: expected a number >= 0, got -1000000000000000"),
    ],
)
def test_an_odd_value_is_refused_in_a_file_and_as_an_override(
    tmp_path: pathlib.Path, value: str, expected: str
) -> None:
    assert expected in refused(tmp_path, f"seed = {value}\n")
    assert expected in refused(tmp_path, "", f"seed={value}")


def test_long_names_and_lists_are_cut(tmp_path: pathlib.Path) -> None:
    assert "…" in refused(tmp_path, f"{'k' * 5000} = 1\n")
    assert "…" in refused(tmp_path, f"plugins = [{'1, ' * 3000}]\n")
    assert "…" in refused(tmp_path, f"name = '{'n' * 5000}/'\n")
    assert "…" in refused(tmp_path, "", "x" * 5000)
    assert "client.learning_rate: expected a number of 64 bits" in refused(
        tmp_path, "", f"client.learning_rate={10**400}"
    )
    assert errors.unknown("x", "y", "z", map(str, range(300))).endswith(", 115 and 280 more")
    assert "…" in str(errors.DataError(f"data.args.label: unknown column {'a word ' * 800!r}; allowed: x"))
    assert "seed: expected a whole number, got 'a short one'" in refused(tmp_path, "", "seed=a short one")


def test_the_largest_number_is_a_number(tmp_path: pathlib.Path) -> None:
    (tmp_path / "own.toml").write_text(BASE)
    assert config.load(tmp_path / "own.toml", [f"seed={2**63 - 1}"]).seed == 2**63 - 1


@pytest.mark.parametrize(
    ("override", "close"),
    [
        ("client.optimizer=sdg", "'sgd'"),
        ("client.batch_size=ful", "'full'"),
        ("cohort.fraction=.3", "0.3"),
        ("study.arms=['federated', 'locl']", "'local'"),
    ],
)
def test_a_word_that_is_not_among_those_allowed_gets_the_nearest(
    tmp_path: pathlib.Path, override: str, close: str
) -> None:
    assert f"(did you mean {close}?)" in refused(tmp_path, "", override)
