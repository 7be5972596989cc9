"""The stages of gpu_check.py: what each computes on a device, to be compared between devices, and how fast it is."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from gpu_measure import exact_convolutions, little_memory, measured

from ActiveSegmentationLib.acquisition.flqmi import FlqmiSettings, FlqmiState, Similarities, flqmi
from ActiveSegmentationLib.acquisition.k_center import Cover
from ActiveSegmentationLib.cohort import AnnotationKind, SliceStack
from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.labels import IGNORE_LABEL
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.embedding.encoder_training import EncoderLearner
from ActiveSegmentationLib.embedding.settings import EMBEDDING_PRESETS
from ActiveSegmentationLib.segmentation import Examples, TrainingSettings, TrainingTask, fit
from ActiveSegmentationLib.segmentation.learner_choice import training_for
from ActiveSegmentationLib.segmentation.learners import learner_class
from ActiveSegmentationLib.segmentation.network_learner import NetworkLearner
from ActiveSegmentationLib.segmentation.segmentation_model import SegmentationModel
from ActiveSegmentationLib.training import Learner, private_randomness
from ActiveSegmentationLib.uncertainty import Dropout, TestTimeAugmentation, slice_scores
from ActiveSegmentationLib.uncertainty.gradients import gradient_embeddings

STEPS = 3
"""Training steps whose losses are compared between devices."""

POINTS, WIDTH, QUERIES, PICKS = 20_000, 512, 500, 50
"""Size of the invented pool from which k-center and FLQMI choose."""


@dataclass(frozen=True)
class Outcome:
    """What a stage gave on one device.

    Attributes:
        values: What is compared with the other device, float64.
        steps: Steps a second.
        items: Slices a second.
        waits: How often a step made the processor wait for the GPU, by place in the code; of CUDA only.
        note: Anything else that the table should say.
    """

    values: np.ndarray
    steps: float | None = None
    items: float | None = None
    waits: dict[str, float] = field(default_factory=dict)
    note: str = ""


class World:
    """A slice stack with annotated slices, and the size of what is computed.

    Args:
        stack: The prepared slices, some with masks.
        seconds: Time for the measurement of one speed.
    """

    def __init__(self, stack: SliceStack, seconds: float) -> None:
        self.stack, self.seconds = stack, seconds
        self.rows = np.arange(len(stack))

    @cached_property
    def masks(self) -> dict[int, np.ndarray]:
        """Label values (h, w) of the slices that have masks, by row; of planes on the grid only."""
        found: dict[int, np.ndarray] = {}
        for volume in self.stack.volumes:
            truth = self.stack.truth(volume.id, AnnotationKind.MASK)
            if truth is not None and volume.grid == volume.overview:
                found |= {
                    volume.start + index: self.stack.to_grid(plane, volume.id) for index, plane in enumerate(truth)
                }
        return found

    @cached_property
    def examples(self) -> Examples:
        """Masks of 16 slices, evenly spread."""
        rows = np.array(sorted(self.masks))
        if not len(rows):
            raise SystemExit("error: the prepared slices have no masks to train on; prepare another cohort.")
        rows = np.unique(rows[np.linspace(0, len(rows) - 1, 16).astype(int)])
        table = np.full(256, IGNORE_LABEL, dtype=np.uint8)
        table[self.values] = np.arange(len(self.values))
        return Examples(rows, table[np.stack([self.masks[row] for row in rows])], np.ones(len(rows), dtype=bool))

    @cached_property
    def values(self) -> np.ndarray:
        """Label values of the masks, background first."""
        found = np.unique(np.concatenate([np.unique(mask) for mask in self.masks.values()]))
        return found[found != IGNORE_LABEL]

    @cached_property
    def model(self) -> SegmentationModel:
        """A model of the default learner after a few steps on the CPU."""
        settings = replace(training_for(), steps=STEPS)
        with tempfile.TemporaryDirectory() as folder:
            model = fit(self.task(settings), folder=Path(folder))
        assert isinstance(model, SegmentationModel)
        return model

    def task(self, settings: TrainingSettings) -> TrainingTask:
        """A training on the annotated slices."""
        return TrainingTask(self.stack, self.examples, len(self.values), replace(settings, select="last"), seed=0)


Stage = Callable[[World, str], Outcome]


def even(settings: TrainingSettings) -> TrainingSettings:
    """Settings without what is drawn on the device, so that every device trains on the same."""
    none = {"dropout": (0.0,) * len(settings.dropout), "decoder_dropout": (0.0,) * len(settings.decoder_dropout)}
    options = {**settings.options, "auxiliary_dropout": 0.0} if settings.learner == "dmpls" else settings.options
    return replace(settings, augment=False, mixed_precision=False, warm_up=0.0, options=options, **none)


def steps_of(learner: Learner, count: int) -> np.ndarray:
    """Losses of the first steps of a training."""
    with private_randomness(learner.device), exact_convolutions():
        found = [list(learner.step(number).values()) for number in range(count)]
    return np.array([[float(value) for value in losses] for losses in found])


class SameViews(EncoderLearner):
    """Draws its random views on the CPU, so that every device sees the same."""

    def views(self, images: torch.Tensor, number: int) -> list[torch.Tensor]:
        """See ``EncoderLearner.views``."""
        return [view.to(images.device) for view in super().views(images.cpu(), number)]


def learned_metric(world: World, device: str) -> Outcome:
    """The learned metric with the training of Vepa et al. 2024: batches of 9 slices, groups patient and volume."""
    settings = EMBEDDING_PRESETS["vepa2024-acdc"].resolved(world.stack, world.rows)
    values = steps_of(SameViews(world.stack, world.rows, settings, seed=0, device=device), STEPS)
    learner = EncoderLearner(world.stack, world.rows, settings, seed=0, device=device)
    with private_randomness(device):
        rate, waits = measured(learner.step, device, world.seconds)
    batch = learner.batch_sizes["tuple size"] * learner.batch_sizes["tuples a batch"]
    rows, columns = world.stack.grid_shape
    return Outcome(values, rate, rate * batch, waits, f"{rows} x {columns} pixels, batches of {batch}")


def training(name: str) -> Stage:
    """The stage that trains a learner with its own settings."""

    def stage(world: World, device: str) -> Outcome:
        settings = settings_of(name, world, device)
        values = steps_of(new_training(world, even(settings_of(name, world, "cpu")), device), STEPS)
        trained = new_training(world, settings, device)
        with private_randomness(device):
            rate, waits = measured(trained.step, device, world.seconds)
        return Outcome(values, rate, rate * settings.batch_size, waits, f"batches of {settings.batch_size}")

    return stage


def settings_of(name: str, world: World, device: str) -> TrainingSettings:
    """A learner's own settings, for slices and device where it decides by these; nothing is timed."""
    settings = replace(training_for(learner=name), minutes=0.0)
    return learner_class(name).configure(settings, world.stack, len(world.values), compute=Compute(device))


def new_training(world: World, settings: TrainingSettings, device: str) -> NetworkLearner:
    """A training of the annotated slices at its first step."""
    kind, task = learner_class(settings.learner), world.task(settings)
    assert issubclass(kind, NetworkLearner)
    return kind(task.stack, task.examples, task.classes, task.settings, seed=0, device=device)


def model_of(world: World, device: str) -> SegmentationModel:
    """A hardly trained model of the default learner, the same on every device."""
    model = copy.deepcopy(world.model)
    model.to(device)
    return model


def some_rows(world: World) -> np.ndarray:
    """At most 64 rows, evenly spread."""
    return np.unique(np.linspace(0, len(world.rows) - 1, 64).astype(int))


def prediction(world: World, device: str) -> Outcome:
    """Probabilities of slices by the default network."""
    model, rows = model_of(world, device), some_rows(world)
    with exact_convolutions():
        values = model.probabilities(world.stack, rows, Compute(device))
    batch = next(model.batches(world.stack, rows, Compute(device, batch_size=16)))
    rate, waits = measured(lambda _: model.predict(batch.inputs), device, world.seconds)
    return Outcome(values, rate, rate * len(batch.rows), waits, "waits of predictions that stay on the device")


def sampling(world: World, device: str) -> Outcome:
    """Uncertainty by test-time augmentation, compared; speed of Monte Carlo dropout."""
    model, rows = model_of(world, device), some_rows(world)[::4]
    with exact_convolutions():
        values = slice_scores(model, world.stack, rows, TestTimeAugmentation(passes=3), compute=Compute(device))[
            "entropy"
        ]
    dropout, batch = Dropout(passes=4), next(model.batches(world.stack, rows, Compute(device, batch_size=16)))
    rate, waits = measured(lambda number: list(dropout.draws(model, batch.inputs, number)), device, world.seconds)
    return Outcome(values, rate, rate * len(batch.rows) * dropout.passes, waits, "4 passes with dropout a step")


def gradients(world: World, device: str) -> Outcome:
    """Gradients of the last convolutions, slice by slice."""
    model, rows, compute = model_of(world, device), some_rows(world)[::4], Compute(device)
    with exact_convolutions():
        values = gradient_embeddings(model, world.stack, rows, layer="last", compute=compute)

    def step(number: int) -> None:
        gradient_embeddings(model, world.stack, rows, layer="last", columns=np.arange(1000), compute=compute)

    rate, waits = measured(step, device, world.seconds)
    return Outcome(values / np.abs(values).max(), rate, rate * len(rows), waits, "waits for the results")


def invented_pool() -> np.ndarray:
    """Points (POINTS, WIDTH) float32 in clusters."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(200, WIDTH))
    return (centres[rng.integers(0, 200, POINTS)] + 0.5 * rng.normal(size=(POINTS, WIDTH))).astype(np.float32)


def k_center(world: World, device: str) -> Outcome:
    """Picks of k-center greedy."""
    cover, allowed, picks = Cover(invented_pool(), device), np.ones(POINTS, dtype=bool), []

    def pick(number: int) -> None:
        picks.append(cover.farthest(allowed))
        allowed[picks[-1]] = False
        cover.add(np.array(picks[-1:]))

    for number in range(PICKS):
        pick(number)
    values = np.array(picks, dtype=np.float64)
    rate, waits = measured(pick, device, min(1.0, world.seconds))
    return Outcome(values, rate, None, waits, f"picks from {POINTS} points; each pick is waited for")


def flqmi_picks(world: World, device: str) -> Outcome:
    """The objective that FLQMI reaches with its picks."""
    points = invented_pool() / np.sqrt(WIDTH)
    queries, allowed = np.arange(0, POINTS, POINTS // QUERIES), np.ones(POINTS, dtype=bool)
    settings = FlqmiSettings(PICKS, epsilon=0.0)
    state = FlqmiState(Similarities(points, queries, device), settings, lambda share, first: "")
    picks: list[int] = []

    def pick(number: int) -> None:
        picks.append(state.pick(allowed)[0])
        allowed[picks[-1]] = False
        state.take(picks[-1])

    for number in range(PICKS):
        pick(number)
    reached = flqmi(points @ points[queries].T, np.array(picks[:PICKS]))
    rate, waits = measured(pick, device, min(1.0, world.seconds))
    return Outcome(np.array([reached]), rate, None, waits, f"picks from {POINTS} points; each pick is waited for")


class Messages(Progress):
    """Keeps the messages."""

    def __init__(self) -> None:
        super().__init__()
        self.received: list[str] = []

    def message(self, text: str) -> None:
        """Keep a message."""
        self.received.append(text)


def out_of_memory(world: World, device: str) -> Outcome:
    """Predictions and a training with too little memory: same predictions, the training ends, the user is informed.

    On a CPU, networks pretend that memory runs out.

    Raises:
        RuntimeError: If memory did not run out, or the user was not informed.
    """
    count, batch = (512, 64) if device.startswith("cuda") else (32, 16)
    model, rows, messages = model_of(world, device), np.resize(some_rows(world), count), Messages()
    settings = replace(even(training_for()), steps=2, batch_size=batch)
    image = int(np.prod(world.stack.grid_shape)) * settings.features[0] * 4
    with exact_convolutions(), tempfile.TemporaryDirectory() as folder:
        expected = model.probabilities(world.stack, rows[:16], Compute(device, 4))
        with little_memory(200 * image, device):
            found = model.probabilities(world.stack, rows, Compute(device, count, messages))[:16]
            predicted = len(messages.received)
            trained = fit(world.task(settings), folder=Path(folder), compute=Compute(device, progress=messages))
    parts, trainings = trained.record.get("parts of a batch", 1), len(messages.received) - predicted
    note = f"{predicted} messages in predictions, {trainings} in training, then {parts} parts of a batch"
    if predicted != 1 or not trainings or parts == 1 or not np.isfinite(trained.record["final loss"]):
        raise RuntimeError(note)
    return Outcome(np.array([np.abs(found - expected).max()], dtype=np.float64), note=note)


@dataclass(frozen=True)
class Part:
    """A stage with what is demanded of it.

    Attributes:
        run: Computes it.
        tolerance: Largest difference between devices, as a share of the largest value where that is above 1.
        waits: Whether it may wait for the GPU, as what gives its results to the processor does.
        learner: Learner that it needs, or "".
    """

    run: Stage
    tolerance: float
    waits: bool = False
    learner: str = ""


PARTS = {
    "learned metric": Part(learned_metric, 0.01),
    **{f"training {name}": Part(training(name), 0.01, learner=name) for name in ("unet", "auto", "dmpls", "dcan")},
    "prediction": Part(prediction, 1e-3),
    "sampling": Part(sampling, 1e-3),
    "gradients": Part(gradients, 1e-2, waits=True),
    "k-center": Part(k_center, 0.0, waits=True),
    "FLQMI": Part(flqmi_picks, 1e-4, waits=True),
    "out of memory": Part(out_of_memory, 1e-3, waits=True),
}
"""The stages by name, in their order."""
