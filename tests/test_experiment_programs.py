"""The programs under experiments/: wrong flags end in one line and status 2; the MNIST benchmark's arithmetic."""

import subprocess
import sys

import pytest

from experiments.mnist_figures import chosen_rate, interval, next_rate, rounds_to_target


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("round_speed --rounds=0", "--rounds=0"),
        ("round_speed --contenders=fedmed,ttf", "did you mean 'tff'"),
        ("round_speed --json=pyproject.toml/x.json", "--json: cannot write in 'pyproject.toml'"),
        ("mnist_benchmark --results=pyproject.toml/x.json", "--results: cannot write in"),
        ("mnist_benchmark --sedes=1", "Did you mean: seeds"),
        ("tuning --problems=digit", "--problems: unknown problem 'digit' (did you mean 'digits'?)"),
        ("promises --only=hospital", "--only: unknown setting 'hospital'"),
        ("audits --results=pyproject.toml/x.json", "--results: cannot write in"),
        ("private_speed --pairs=1", "--pairs=1"),
        ("inversion --results=pyproject.toml/x", "--results: cannot write in"),
        ("mnist_benchmark --cells=cnn-iid-C0.1-E5-B5", "cnn-iid-C0.1-E5-B50"),
    ],
)
def test_wrong_flags_end_in_one_line(command: str, words: str) -> None:
    ended = subprocess.run([sys.executable, "-m", *f"experiments.{command}".split()], capture_output=True, text=True)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert words in ended.stderr


def test_rounds_are_read_from_the_best_so_far_and_interpolated() -> None:
    assert rounds_to_target([0.1, 0.9, 0.8, 0.98], 0.94) == pytest.approx(2.5)  # from 0.9, the best so far, to 0.98
    assert rounds_to_target([0.1, 0.5], 0.94) is None
    assert rounds_to_target([0.95], 0.94) == 0.0


def test_the_grid_is_the_papers() -> None:
    assert [next_rate(0.1, sixths) for sixths in (-2, -1, 1, 2)] == [0.0464, 0.0681, 0.147, 0.215]
    assert next_rate(0.147, 1) == 0.215


def test_the_rate_with_the_fewest_rounds_on_seed_0_is_chosen() -> None:
    runs = [
        {"rate": 0.1, "seed": 0, "rounds": 40.0},
        {"rate": 0.2, "seed": 0, "rounds": 30.0},
        {"rate": 0.3, "seed": 0, "rounds": None},
        {"rate": 0.1, "seed": 1, "rounds": 1.0},
    ]
    assert chosen_rate(runs) == 0.2
    assert chosen_rate(runs[2:3]) is None


def test_the_interval_is_students() -> None:
    assert interval([33.1, 34.6, 35.6]) == pytest.approx((31.31, 37.56), abs=0.01)  # t .975 with 2 degrees: 4.303
    assert interval([1.0]) is None
