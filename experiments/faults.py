"""Is nothing lost, whatever befalls a run, a study or their files? Trials, counted.

    uv run python -m experiments.faults
    uv run python -m experiments.faults --rows=malformed,sentinels

Each row of the table is one kind of trouble, tried as often as it says; a trial is a function of the seed and its
number. Finished trials are kept in the results file, and the same command goes on with those that are left. A row
begins anew when the seed, the machine, or a line of fedmed or of its own trials has changed. The exit status is 1 where
a trial of these rows did not hold.
"""

import pathlib
import sys
from collections.abc import Sequence

from absl import flags

from fedmed.system import quiet

quiet.silence()

from experiments import programs  # noqa: E402
from experiments.trials import course, fault_table  # noqa: E402
from fedmed.system import files  # noqa: E402

FLAGS = flags.FLAGS
flags.DEFINE_list("rows", [], "which rows, by name; default all")
flags.DEFINE_integer("seed", 0, "of all that is drawn", lower_bound=0)
flags.DEFINE_integer("times", None, "at most so many trials a row; default what each says", lower_bound=1)
flags.DEFINE_string("results", "experiments/results/faults.json", "the results file; a .md lies beside it")


def main(argv: Sequence[str]) -> None:
    """Runs what is left, keeping each trial as it is done, and writes the table."""
    del argv
    path = pathlib.Path(FLAGS.results)
    programs.check_names("--rows", "row", FLAGS.rows, course.ROWS)
    programs.check_writable("--results", path.parent)
    chosen = [course.ROWS[name] for name in FLAGS.rows or course.ROWS]
    found = course.complete(chosen, path, seed=FLAGS.seed, times=FLAGS.times)
    page = fault_table.page(course.ROWS, found)
    files.write_atomically(path.with_suffix(".md"), page)
    print(page)
    if missed := course.missed(chosen, found):
        print(f"faults: not every trial held of {', '.join(missed)}", file=sys.stderr)
        raise SystemExit(1)


if __name__ == "__main__":
    programs.run(main)
