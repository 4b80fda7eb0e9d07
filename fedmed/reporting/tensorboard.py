"""Scalars of a run as TensorBoard events, each step once even after a resume."""

import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from fedmed.system import files

MOST_CLIENTS = 50


def write_events(records: Iterable[Mapping[str, Any]], folder: pathlib.Path) -> None:
    """Writes the records of rounds.jsonl to `folder`; null values are left out.

    TensorBoard would show a step twice if new files lay beside old ones, so these are removed first. What
    `tf.summary.scalar` writes value by value is written round by round: with thirty values a round that takes an eighth
    of the time.
    """
    import tensorflow as tf

    def value_of(name: str, value: float) -> Any:
        tensor = tf.make_tensor_proto(value, dtype=tf.float32)
        return tf.compat.v1.Summary.Value(tag=name, tensor=tensor, metadata=kind)

    kind = tf.compat.v1.SummaryMetadata(plugin_data={"plugin_name": "scalars"})
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("events.out.tfevents.*"):
        old.unlink()
    try:
        writer: Any = tf.summary.create_file_writer(str(folder))
        with writer.as_default(), np.errstate(over="ignore"):  # a value may be beyond float32
            for record in records:
                values = [value_of(name, value) for name, value in scalars(record)]
                told = tf.compat.v1.Summary(value=values).SerializeToString()
                tf.summary.experimental.write_raw_pb(told, step=record["round"])
        writer.close()
    except tf.errors.OpError as error:
        raise files.disk_failure(error) or error from None


def scalars(record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yields name and value of each scalar of a record: "test/accuracy", "clients/accuracy/cleveland", "run/seconds".

    Of more than 50 clients none is shown alone: TensorBoard draws a chart a name.
    """
    test = record.get("test") or {}
    clients = test.get("clients") or {}
    values: dict[str, Any] = {f"train/{name}": value for name, value in (record.get("train") or {}).items()}
    values |= {f"test/{name}": value for name, value in (test.get("pooled") or {}).items()}
    for client, scores in clients.items() if len(clients) <= MOST_CLIENTS else ():
        values |= {f"clients/{name}/{client}": value for name, value in scores.items()}
    run = ("learning_rate", "examples", "bytes_down", "bytes_up", "seconds", "evaluation_seconds", "memory_mb")
    values |= {f"run/{name}": record.get(name) for name in run}
    values["run/refused"] = len(record.get("refused") or ())
    for name, value in values.items():
        if isinstance(value, int | float):
            yield name, float(value)
