"""`data.harmonise`: what it makes of a table, how it is written, and what it refuses in one line."""

from typing import Any

import numpy as np
import pytest

from fedmed.data import clients
from fedmed.data.examples import Dataset, Examples, Feature
from fedmed.data.harmonising import harmonised
from fedmed.engine import identity
from fedmed.settings import config
from fedmed.settings.harmonise import Harmonise, written

ROWS = 20


def data() -> Dataset:
    """Returns ten rows each of sites "a" and "b": chol 1, 2, ... 20 and sex m, f, m, ..., at b missing once."""
    x = np.stack([np.arange(1.0, ROWS + 1), np.arange(ROWS) % 2], axis=1)
    x[19, 1] = np.nan
    examples = Examples(x, np.arange(ROWS) % 2, np.repeat(["a", "b"], 10))
    return Dataset("t", examples, "binary", 2, features=(Feature("chol"), Feature("sex", levels=("f", "m"))))


def column(*changes: Harmonise, place: int = 0) -> list[float]:
    return np.asarray(harmonised(data(), changes).examples.x)[:, place].tolist()


def settings(harmonise: list[dict[str, Any]], name: str = "heart_disease") -> config.RunConfig:
    tree = {"name": "t", "data": {"name": name, "harmonise": harmonise}, "model": {"name": "mlp"}, "rounds": 1}
    return config.parse({**tree, "client": {"learning_rate": 0.1}})


def test_a_sites_numbers_are_multiplied_then_added_to() -> None:
    changed = column(Harmonise("chol", ("b",), times=2.0, plus=1.0))
    assert changed == [*range(1, 11), *(2 * k + 1 for k in range(11, 21))]


def test_only_numbers_on_one_side_of_a_limit_are_converted() -> None:
    assert column(Harmonise("chol", times=10.0, below=3.0))[:4] == [10, 20, 3, 4]
    assert column(Harmonise("chol", times=10.0, above=18.0))[-3:] == [18, 190, 200]


def test_codes_go_missing_before_numbers_are_converted() -> None:
    changed = column(Harmonise("chol", ("b",), missing=(12.0, "13"), times=2.0))
    assert changed[1] == 2
    assert np.isnan(changed[11:13]).all()
    assert changed[13] == 28


def test_entries_follow_one_another() -> None:
    assert column(Harmonise("chol", times=2.0), Harmonise("chol", missing=(2.0,)))[1] == 4


def test_levels_are_renamed_at_a_site_and_empty_ones_go() -> None:
    one = harmonised(data(), [Harmonise("sex", ("a",), recode={"m": "male"})])
    assert one.features[1].levels == ("f", "m", "male")
    all_of_them = harmonised(data(), [Harmonise("sex", recode={"m": "male", "f": "female"})])
    assert all_of_them.features[1].levels == ("male", "female")
    assert np.isnan(np.asarray(all_of_them.examples.x)[19, 1])
    swapped = column(Harmonise("sex", ("a",), recode={"m": "f", "f": "m"}), place=1)
    assert swapped[:10] == [1, 0] * 5
    assert swapped[10:12] == [0, 1]


def test_a_level_that_means_missing_goes() -> None:
    one = harmonised(data(), [Harmonise("sex", missing=("f",))])
    assert one.features[1].levels == ("m",)
    assert np.isnan(np.asarray(one.examples.x)[:10, 1]).sum() == 5


def test_numbers_can_be_recoded() -> None:
    assert column(Harmonise("chol", recode={"1": "2", "2": "1"}))[:3] == [2, 1, 3]


def test_the_data_set_itself_is_left_as_it_is() -> None:
    before = data()
    harmonised(before, [Harmonise("chol", times=3.0)])
    assert np.asarray(before.examples.x)[0, 0] == 1
    assert harmonised(before, ()) is before


def test_settings_survive_being_written_and_are_part_of_a_results_identity() -> None:
    entries = [
        {"column": "chol", "sites": ["switzerland"], "missing": [0]},
        {"column": "chol", "times": 2, "below": 10},
        {"column": "age", "recode": {"28": "29"}},
    ]
    one = settings(entries)
    again = config.parse({**config.to_tree(one)})
    import tomllib

    assert config.parse(tomllib.loads(config.dumps(one))) == one == again
    assert "data.harmonise" in identity.settings_of(settings([])).difference(identity.settings_of(one))
    assert np.isnan(np.asarray(clients.load(one).examples.x)).sum() == 46
    assert len(clients.prepare(one).train) == 4


def test_an_entry_is_written_as_a_line_of_toml() -> None:
    entry = Harmonise('ch"ol', ("va",), missing=(-9.0, "?"), recode={"m": "male"}, times=38.67)
    line = written(entry)
    assert line == (
        '{ column = "ch\\"ol", sites = ["va"], missing = [-9, "?"], recode = { "m" = "male" }, times = 38.67 }'
    )
    import tomllib

    told = tomllib.loads(f"x = {line}")["x"]
    assert settings([told]).data.harmonise == (entry,)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"column": "chole", "times": 2.0}, r"data\.harmonise\[0\]\.column: unknown column .* mean 'chol'\?"),
        ({"column": "chol", "sites": ["swizerland"], "times": 2.0}, r"\.sites: unknown site .* mean 'switzerland'\?"),
        ({"column": "chol", "times": 0}, r"data\.harmonise\[0\]\.times: expected a number > 0"),
        ({"column": "chol"}, "changes nothing; give times, plus, missing or recode"),
        ({"column": "chol", "below": 3.0, "missing": [0]}, "below and above are for times and plus"),
        ({"column": "chol", "sites": ["hungary", "hungary"], "times": 2.0}, "expected distinct names"),
        ({"column": "chol", "recode": {"1": 2}}, r"recode\.1: expected a name in quotes, got 2"),
        ({"column": "chol", "recode": {"m": "male"}}, "column 'chol' holds numbers, got 'm'"),
        ({"colum": "chol", "times": 2.0}, r"data\.harmonise\[0\]\.colum: unknown setting .* mean 'column'\?"),
    ],
)
def test_a_wrong_entry_is_told_in_one_line(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as told:
        clients.load(settings([entry]))
    assert "\n" not in str(told.value)


def test_levels_and_kinds_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown level 'male'; allowed: f, m"):
        harmonised(data(), [Harmonise("sex", recode={"male": "m"})])
    with pytest.raises(ValueError, match="'sex' is a category; times and plus are for numbers"):
        harmonised(data(), [Harmonise("sex", times=2.0)])
    with pytest.raises(ValueError, match="leaves column 'sex' without a level"):
        harmonised(data(), [Harmonise("sex", missing=("f", "m"))])
    with pytest.raises(ValueError, match="digits is no table"):
        clients.load(settings([{"column": "x", "times": 2.0}], "digits"))
