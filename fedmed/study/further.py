"""Training that goes on at one hospital, on its own rows, when federated training has ended. Uses TensorFlow."""

import collections
import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

from fedmed.data.examples import Array, Examples
from fedmed.engine.evaluation import predict_parts
from fedmed.engine.federation import Federation, Position
from fedmed.settings import config

Make = Callable[[config.RunConfig, Mapping[str, Examples]], Federation]


class Further(NamedTuple):
    """What training on at hospitals has come to.

    Attributes:
        predictions: at each of them.
        refused: those whose update was not finite and was not used, and in how many rounds of one epoch.
    """

    predictions: dict[str, Array]
    refused: dict[str, int]


def fine_tuned(
    federation: Federation,
    trained: Position,
    train: Mapping[str, Examples],
    test: Mapping[str, Examples],
    *,
    epochs: int,
    make: Make,
) -> Further:
    """Returns each hospital's predictions by the model that it uses, trained further there with plain local epochs.

    Args:
        federation: that has trained the model.
        trained: where it stands.
        train: each hospital's training rows.
        test: each hospital's test rows.
        epochs: how many.
        make: a federation of settings and training rows.
    """
    settings = dataclasses.replace(
        _one_epoch(federation.settings), algorithm=config.Algorithm(), server=config.Server()
    )
    found, refused = {}, collections.Counter[str]()
    with contextlib.closing(make(settings, train)) as local:
        for hospital, rows in test.items():
            weights = federation.own_weights(trained, hospital)
            position = local.start(weights)._replace(round=trained.round)  # shuffled unlike any round before
            for _ in range(epochs):
                done = local.round(position, [hospital])
                position = done.position
                refused.update(done.refused)
            found[hospital] = predict_parts(local, position, {hospital: rows})[hospital]
    return Further(found, dict(refused))


def newcomers(
    federation: Federation,
    trained: Position,
    train: Mapping[str, Examples],
    test: Mapping[str, Examples],
    *,
    epochs: int,
    make: Make,
) -> Further:
    """Returns predictions at hospitals that took no part, each by the global model with a part of its own.

    A hospital starts as any client of the algorithm does, but from the trained global model in place of the initial
    one. Round after round of one epoch it does a client's computation and keeps what a client keeps; what it would
    send is left out, so that the shared weights stay as the federation has trained them.

    Args:
        federation: that has trained the global model, by an algorithm whose clients have a part of their own.
        trained: where it stands.
        train: their training rows; without any a hospital uses the global model.
        test: their test rows, and whatever others'.
        epochs: how many.
        make: a federation of settings and training rows that goes on from the trained global model.
    """
    found, refused = {}, collections.Counter[str]()
    for hospital, rows in train.items():
        if not len(rows):
            found[hospital] = federation.predict(federation.weights(trained), test[hospital].x)
            continue
        with contextlib.closing(make(_one_epoch(federation.settings), {hospital: rows})) as local:
            state = federation.bare_state(trained)
            position = trained._replace(state=state, kept={})
            for _ in range(epochs):
                done = local.round(position, [hospital])
                position = done.position._replace(state=state)
                refused.update(done.refused)
            found |= predict_parts(local, position, {hospital: test[hospital]})
    return Further(found, dict(refused))


def _one_epoch(settings: config.RunConfig) -> config.RunConfig:
    """Returns the settings of a client by itself, whose update is a plain one and goes nowhere; a round is an epoch."""
    return dataclasses.replace(
        settings,
        client=dataclasses.replace(settings.client, epochs=1, steps=None),
        aggregation=config.Aggregation(),
        compression=config.Compression(),
        cohort=config.Cohort(),
        scenario=(),
        clock=dataclasses.replace(settings.clock, deadline=None),
    )
