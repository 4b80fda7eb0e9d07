"""Which rows of a hospital can its server rebuild from one update? Tried on the study's own model and training.

Patients' rows stay here: of tables and of a user's own data distances are told. Pictures are shown of public data only.
"""

import base64
import contextlib
import dataclasses
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fedmed.attacks import observation, reconstruction
from fedmed.attacks.descent import Search
from fedmed.attacks.inversion import NotAttempted, Target
from fedmed.attacks.likeness import Pictures
from fedmed.attacks.observation import Seen, Work
from fedmed.attacks.reconstruction import Way
from fedmed.data.examples import Array, Examples
from fedmed.data.label_scale import LabelScale
from fedmed.engine.federation import Federation
from fedmed.engine.programs import sample_of, spec_of
from fedmed.learning.learner import scaled
from fedmed.learning.objective import objective
from fedmed.models import building
from fedmed.settings import config
from fedmed.settings.privacy import NONE
from fedmed.study.consortium import Consortium
from fedmed.study.plan import Job
from fedmed.study.schema.leaked import Rebuilt
from fedmed.system import seeds

PUBLIC = ("mnist", "digits")
"""Data sets whose rows may be shown."""

_MOST = 4  # hospitals
_OTHERS = 500  # rows of other hospitals that a distance is held against
_NOISE = 1.0  # over the clip, where the config has none
_WAYS: tuple[Way, ...] = ("dense layer", "inversion")


@dataclasses.dataclass(frozen=True)
class Scene:
    """What a server sees: a name, the update, and the rows [clients x rows, ...] behind it, labels and patients."""

    name: str
    seen: Seen
    x: Array
    y: Array
    patient: Array


class Compared(NamedTuple):
    """Real rows [m, ...] that a distance is held against, and whose they are [m]."""

    x: Array
    patient: Array


def rebuilt(job: Job, consortium: Consortium) -> dict[str, list[Rebuilt]]:
    """Returns for some hospitals, the smallest and the largest first, how close an attack comes in each scene."""
    settings = dataclasses.replace(job.settings, privacy=NONE)
    material = consortium.material("federated", settings.seed, settings.data.preprocessing)
    if isinstance(next(iter(material.train.values())).x, Mapping):
        return {}
    train, found = _with_patients(_as_learned(settings, consortium, material.train)), {}
    ordered = sorted(train, key=lambda name: len(train[name]))
    chosen = list(dict.fromkeys([*ordered[:1], *ordered[::-1]]))[:_MOST]
    for name in [name for name in train if name in chosen]:
        rng = seeds.generator(settings.seed, "study.rebuilding", list(train).index(name))
        others = _others(train, name, rng)
        scenes = list(_scenes(job.settings, consortium, train, name, rng))
        found[name] = [_told(settings, scene, target, others, rng) for scene, target in scenes]
    return found


def _as_learned(
    settings: config.RunConfig, consortium: Consortium, train: Mapping[str, Examples]
) -> dict[str, Examples]:
    """Returns the rows with their labels on the scale that the study's federation learns them on."""
    if consortium.dataset.task != "regression":
        return dict(train)
    with contextlib.closing(Federation(_plain(settings, settings.client), consortium.dataset, train)) as federation:
        return {name: federation.label.standardised(part) for name, part in train.items()}


def _with_patients(train: Mapping[str, Examples]) -> dict[str, Examples]:
    """Returns the rows with each patient's number, the same at every hospital; without patients each row is one."""
    groups = [part.group for part in train.values() if part.group is not None]
    sizes = [len(part) for part in train.values()]
    whole = len(groups) == len(train)
    numbers = np.unique(np.concatenate(groups), return_inverse=True)[1] if whole else np.arange(sum(sizes))
    own = np.split(numbers, np.cumsum(sizes)[:-1])
    return {name: dataclasses.replace(part, group=of) for (name, part), of in zip(train.items(), own, strict=True)}


def _others(train: Mapping[str, Examples], name: str, rng: np.random.Generator) -> Compared:
    """Returns all that the hospital trains on, who are most alike, and some rows of the other hospitals."""
    x, _, patient = _joined([part for other, part in train.items() if other != name])
    drawn = rng.choice(len(x), min(len(x), _OTHERS), replace=False)
    own, _, whose = _rows(train[name])
    return Compared(np.concatenate([x[drawn], own]), np.concatenate([patient[drawn], whose]))


def _scenes(
    settings: config.RunConfig,
    consortium: Consortium,
    train: Mapping[str, Examples],
    name: str,
    rng: np.random.Generator,
) -> Iterator[tuple[Scene, Target]]:
    """Yields what a server sees, from the worst case to what a round sends, and then under protection."""
    local, rows = settings.client, settings.study.leakage.rows
    few = {client: _drawn(part, rows, rng) for client, part in train.items()}
    what = "one row" if rows == 1 else "a few rows"
    step = dataclasses.replace(local, optimizer="sgd", epochs=1, steps=None, batch_size="full")
    work = Work(len(few[name]), local.learning_rate)
    alone, target = _update(settings, step, consortium, {name: few[name]})
    one = Scene(f"{what}, one step", observation.bare(alone, work), *_rows(few[name]))
    yield one, target
    size = len(train[name]) if local.batch_size == "full" else min(local.batch_size, len(train[name]))
    if rows < size < len(train[name]):
        part = _drawn(train[name], size, rng)
        update, target = _update(settings, step, consortium, {name: part})
        seen = observation.bare(update, Work(size, local.learning_rate))
        yield Scene("a batch, one step", seen, *_rows(part)), target
    if local.optimizer == "sgd" and local.steps is None:
        update, target = _update(settings, local, consortium, {name: train[name]})
        seen = observation.bare(update, Work(len(train[name]), local.learning_rate, size, local.epochs))
        yield Scene("a round as it is", seen, *_rows(train[name])), target
    same = [part for part in few.values() if len(part) == len(few[name])]
    if len(same) > 1:
        updates = [_update(settings, step, consortium, {name: part})[0] for part in same]
        yield Scene(f"a secure sum, {what} of each", observation.summed(updates, work), *_joined(same)), target
    noise = settings.privacy.noise_multiplier or _NOISE
    seen = observation.noised(alone, work, settings.privacy.clip_norm, noise, rng)
    yield dataclasses.replace(one, name=f"{what} under clip and noise", seen=seen), target


def _drawn(part: Examples, rows: int, rng: np.random.Generator) -> Examples:
    return part.take(rng.choice(len(part), min(rows, len(part)), replace=False))


def _rows(part: Examples) -> tuple[Array, Array, Array]:
    """Returns rows as the model sees them, float32, their labels and their patients."""
    assert part.group is not None, "_with_patients gives them"
    return np.asarray(scaled(tf.constant(np.asarray(part.x))), np.float32), part.y, part.group


def _joined(parts: Sequence[Examples]) -> tuple[Array, Array, Array]:
    """Returns the same of several parts, one after the other."""
    x, y, patient = (np.concatenate(each) for each in zip(*map(_rows, parts), strict=True))
    return x, y, patient


def _update(
    settings: config.RunConfig, local: config.Client, consortium: Consortium, train: Mapping[str, Examples]
) -> tuple[list[Array], Target]:
    """Returns what a hospital sends after one round of plain training on rows as learned, and what the server knows."""
    data, own = consortium.dataset, _plain(settings, local)
    with contextlib.closing(Federation(own, data, train, label=LabelScale())) as federation:
        position = federation.start()
        received = federation.weights(position).trainable
        after = federation.weights(federation.round(position).position).trainable
        model, first = federation.prepared.model, next(iter(train.values()))
        scale = building.output_scale(model, spec_of(first, data.task, data.classes), sample_of(first))
        target = Target(model, data.task, objective(data.task, scale), tuple(received))
    return [b - a for a, b in zip(received, after, strict=True)], target


def _plain(settings: config.RunConfig, local: config.Client) -> config.RunConfig:
    """Returns the settings of plain training, in which whoever sends an update is there and has trained on its rows."""
    return dataclasses.replace(
        settings,
        client=local,
        algorithm=config.Algorithm(),
        server=config.Server(),
        aggregation=config.Aggregation(),
        cohort=config.Cohort(),
        scenario=(),
        clock=dataclasses.replace(settings.clock, deadline=None),
        privacy=NONE,
    )


def _told(
    settings: config.RunConfig, scene: Scene, target: Target, others: Compared, rng: np.random.Generator
) -> Rebuilt:
    """Returns what the better of the ways finds."""
    pictured = scene.x.ndim == 4
    base = reconstruction.PICTURES if pictured else reconstruction.TABLES
    search = dataclasses.replace(base, starts=settings.study.leakage.starts)
    found = [_tried(settings, scene, target, others, way, search, rng) for way in _WAYS]
    done = [one for one in found if not one.reason]
    if not done:
        return found[-1]
    return min(done, key=lambda one: one.distance if one.distance is not None else -(one.psnr or 0.0))


def _tried(
    settings: config.RunConfig,
    scene: Scene,
    target: Target,
    others: Compared,
    way: Way,
    search: Search,
    rng: np.random.Generator,
) -> Rebuilt:
    nothing = Rebuilt(scene.name, way, len(scene.x), "", None, None, None, None, None, ())
    if settings.data.name in PUBLIC and scene.x.ndim == 4:
        shown = reconstruction.rebuilt_pictures(target, scene.seen, scene.x, way, rng, scene.y, search)
        if isinstance(shown, NotAttempted):
            return dataclasses.replace(nothing, reason=shown.reason)
        return dataclasses.replace(nothing, psnr=float(np.median(shown.psnr)), pictures=_pictures(shown))
    told = reconstruction.rebuilt_distances(
        target, scene.seen, scene.x, others.x, way, rng, scene.y, search, (scene.patient, others.patient)
    )
    if isinstance(told, NotAttempted):
        return dataclasses.replace(nothing, reason=told.reason)
    return dataclasses.replace(
        nothing,
        distance=_median(told.recovered),
        other=_median(told.other),
        guess=_median(told.guess),
        singled_out=told.singled_out,
    )


def _median(values: Array) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else None


def _pictures(shown: Pictures, most: int = 8) -> tuple[tuple[str, ...], ...]:
    """Returns the true pictures and the recovered ones, as PNG in base64."""
    return tuple(tuple(_png(picture) for picture in rows[:most]) for rows in (shown.true, shown.recovered))


def _png(picture: Array) -> str:
    from PIL import Image

    levels = np.round(255 * np.clip(picture, 0, 1)).astype(np.uint8)
    image = Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels)
    content = io.BytesIO()
    image.save(content, format="PNG", optimize=True)
    return base64.b64encode(content.getvalue()).decode()
