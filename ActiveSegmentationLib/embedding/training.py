"""Learning the metric: once a cohort, without a label, the same from the same seed, killed or not."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from ActiveSegmentationLib.common.errors import JobFailed
from ActiveSegmentationLib.common.files import hash_json
from ActiveSegmentationLib.common.progress import Progress, or_silent
from ActiveSegmentationLib.common.seeds import torch_generator, torch_seed
from ActiveSegmentationLib.embedding.augmentation import ViewSettings, random_views
from ActiveSegmentationLib.embedding.checkpoint import TrainingState
from ActiveSegmentationLib.embedding.diagnostics import COLLAPSED_RANK, collapse_diagnostics
from ActiveSegmentationLib.embedding.encoder import FORMAT, Encoder, load_encoder
from ActiveSegmentationLib.embedding.losses import BatchIds, LossWeights, contrastive_losses
from ActiveSegmentationLib.embedding.network import EncoderNetwork, build_network, shrunk
from ActiveSegmentationLib.embedding.sampler import GroupBatch, GroupBatchSampler, SliceTable
from ActiveSegmentationLib.embedding.settings import EmbeddingSettings
from ActiveSegmentationLib.embedding.slices import EmbeddableSlices
from ActiveSegmentationLib.embedding.storage import versions
from ActiveSegmentationLib.embedding.trained_network import trained_once

STAGE = "Learning the metric"
DIAGNOSED = 512
"""Slices that the collapse diagnostics look at."""
WARM_UP = 0.05
"""Share of the steps over which the cosine schedule warms up."""


def train_encoder(
    stack: EmbeddableSlices,
    rows: np.ndarray,
    settings: EmbeddingSettings | None = None,
    *,
    seed: int,
    folder: Path,
    device: str = "cpu",
    progress: Progress | None = None,
    checkpoint_every: int = 20,
) -> Encoder:
    """Learn the metric from slices alone; load it where this very training is finished, go on where it was stopped.

    The same arguments give bit-identical weights on the same machine's CPU with the same number of threads, with or
    without interruptions. Torch's global state stays as it is.

    Args:
        stack: The cohort's slices.
        rows: Rows to learn from, in any order; no label is looked at.
        settings: How to train; the preset "auto" unless told.
        seed: Seed of initial weights, batches and views.
        folder: Folder of encoders; each has a folder of its own, named by its key, with ``losses.json`` beside it.
        device: Torch device.
        progress: Told of every step with its losses.
        checkpoint_every: Steps between two checkpoints; the result does not depend on it.

    Raises:
        BadInput: If there is no slice, a batch is too small, or the folder cannot be written.
        JobFailed: If the loss is not finite any more, or the disk is full.
        Cancelled: If the person asked to stop; the last checkpoint is kept.
    """
    report = or_silent(progress)
    rows = np.unique(np.asarray(rows, dtype=np.int64))
    resolved = (settings or EmbeddingSettings()).resolved(stack, rows)
    key = hash_json([FORMAT, stack.key, rows.tolist(), resolved.to_json(), seed])[:24]

    def train(home: Path) -> Encoder:
        run = _Run(stack, rows, resolved, seed, device, report)
        state = run.start()
        state.resume(home, key, report)
        run.complete(state, home, key, checkpoint_every)
        return run.finish(state, key)

    return trained_once(folder, key, report, "learns this metric", load=load_encoder, train=train)


class _Run:
    """One training: its slices and settings, and one step after the other."""

    def __init__(
        self,
        stack: EmbeddableSlices,
        rows: np.ndarray,
        settings: EmbeddingSettings,
        seed: int,
        device: str,
        report: Progress,
    ) -> None:
        assert settings.weights is not None  # resolved
        self._stack, self._rows, self._settings = stack, rows, settings
        self._weights: LossWeights = settings.weights
        self._seed, self._device, self._report = seed, device, report
        self._shape = settings.input_shape(stack.grid_shape)
        self._sampler = GroupBatchSampler(
            SliceTable(rows, stack.patient_number[rows], stack.volume_number[rows], stack.index[rows]),
            slice_groups=self._weights.slice > 0,
            volume_groups=self._weights.volume > 0,
            patient_groups=self._weights.patient > 0,
            batch_size=settings.batch_size,
            seed=seed,
        )
        self._steps = settings.total_steps(self._sampler.batches_per_epoch)
        if self._sampler.warning:
            report.message(self._sampler.warning)

    def start(self) -> TrainingState[EncoderNetwork]:
        """The state before the first step."""
        settings = self._settings
        network = build_network(self._stack.channels, settings, seed=torch_seed(self._seed, "embedding", "weights"))
        network.to(self._device)
        parameters = network.parameters()
        optimiser = torch.optim.Adam(parameters, settings.learning_rate, weight_decay=settings.weight_decay)
        return TrainingState(network, optimiser)

    def complete(self, state: TrainingState[EncoderNetwork], home: Path, key: str, checkpoint_every: int) -> None:
        """Do the steps that are left."""
        before, begun = state.seconds, time.monotonic()
        for batch in self._batches(state.step):
            losses = self._step(state, batch)
            if not all(math.isfinite(value) for value in losses.values()):
                advice = "Lower the learning rate of the metric, and look for broken images in the cohort."
                message = f"Learning the metric diverged: the loss of step {state.step + 1} is not a finite number."
                raise JobFailed(message, where=home, advice=advice)
            for name, value in losses.items():
                state.losses.setdefault(name, []).append(value)
            state.seconds = before + time.monotonic() - begun
            if state.step % checkpoint_every == 0 and state.step < self._steps:
                state.save(home, key)
                state.write_history(home, self._steps)
            shown = {name: round(value, 4) for name, value in losses.items()}
            self._report.update(STAGE, state.step, self._steps, **shown)
        state.write_history(home, self._steps)

    def finish(self, state: TrainingState[EncoderNetwork], key: str) -> Encoder:
        """The encoder with what is known of its training."""
        state.network.eval()
        encoder = Encoder(state.network, self._stack.channels, self._settings, key)
        chosen = self._rows[np.linspace(0, len(self._rows) - 1, min(DIAGNOSED, len(self._rows))).astype(np.int64)]
        diagnostics = collapse_diagnostics(encoder.embed(self._stack, chosen, device=self._device))
        if len(chosen) > COLLAPSED_RANK + 1 and diagnostics["effective rank"] < COLLAPSED_RANK:
            rank = diagnostics["effective rank"]
            advice = "choose other slices by another strategy, or train longer with a lower learning rate"
            self._report.message(f"The learned metric hardly tells slices apart (effective rank {rank:.1f}): {advice}.")
        encoder.record = {
            "seed": self._seed,
            "device": self._device,
            "seconds": round(state.seconds, 3),
            "steps": self._steps,
            "slices": len(self._rows),
            "tuple size": self._sampler.tuple_size,
            "tuples a batch": self._sampler.tuples_per_batch,
            "final losses": {name: values[-1] for name, values in state.losses.items()},
            "diagnostics": diagnostics,
            "versions": versions(),
        }
        return encoder

    def _batches(self, done: int) -> Iterator[GroupBatch]:
        """The batches of the steps that are left, epoch after epoch."""
        step = epoch = 0
        while step < self._steps:
            for batch in self._sampler.epoch(epoch)[: self._steps - step]:
                step += 1
                if step > done:
                    yield batch
            epoch += 1

    def _step(self, state: TrainingState[EncoderNetwork], batch: GroupBatch) -> dict[str, float]:
        settings, device = self._settings, self._device
        for group in state.optimiser.param_groups:
            group["lr"] = settings.learning_rate * self._rate(state.step)
        images = shrunk(self._stack.batches(batch.rows, device), self._shape)
        generator = torch_generator(self._seed, "embedding", "views", state.step, device=device)
        views = [random_views(images, ViewSettings(), generator) for _ in range(2)]
        numbers = (batch.rows, batch.patients, batch.volumes, batch.neighbours)
        ids = BatchIds(*(torch.from_numpy(values).to(device) for values in numbers))
        state.network.train()
        embeddings = state.network.project(torch.cat(views))
        temperature = settings.temperature
        losses = contrastive_losses(embeddings, ids, self._weights, temperature=temperature, anchors=settings.anchors)
        state.optimiser.zero_grad(set_to_none=True)
        losses["loss"].backward()
        state.optimiser.step()
        values = torch.stack([value.detach() for value in losses.values()]).tolist()
        return dict(zip(losses, values, strict=True))

    def _rate(self, step: int) -> float:
        """Share of the learning rate that step ``step``, counted from 0, uses."""
        if self._settings.schedule == "constant":
            return 1.0
        warm = WARM_UP * self._steps
        if step < warm:
            return (step + 1) / (warm + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1.0, self._steps - warm)))
