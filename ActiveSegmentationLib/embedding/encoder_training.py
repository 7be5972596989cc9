"""Training the learned metric: once per cohort, without labels, with the same weights from the same seed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from ActiveSegmentationLib.common.compute import Compute, on_device
from ActiveSegmentationLib.common.files import hash_json
from ActiveSegmentationLib.common.seeds import torch_generator, torch_seed
from ActiveSegmentationLib.embedding.augmentation import ViewSettings, random_views
from ActiveSegmentationLib.embedding.diagnostics import COLLAPSED_RANK, collapse_diagnostics
from ActiveSegmentationLib.embedding.encoder import Encoder, load_encoder
from ActiveSegmentationLib.embedding.loss_weights import LossWeights
from ActiveSegmentationLib.embedding.losses import BatchIds, contrastive_losses
from ActiveSegmentationLib.embedding.network import EncoderNetwork, build_network, shrunk
from ActiveSegmentationLib.embedding.sampler import GroupBatch, GroupBatchSampler, SliceTable
from ActiveSegmentationLib.embedding.settings import EmbeddingSettings
from ActiveSegmentationLib.embedding.slices import EmbeddableSlices
from ActiveSegmentationLib.embedding.trained_network import FILES, WARM_UP, trained_once, training_record
from ActiveSegmentationLib.training import (
    Checkpoints,
    Learner,
    StepLosses,
    descend,
    endless_batches,
    rate_factor,
    run_training,
    set_learning_rate,
)

DIAGNOSED = 512
"""Maximum number of slices for the collapse diagnostics."""


def train_encoder(
    stack: EmbeddableSlices,
    rows: np.ndarray,
    settings: EmbeddingSettings | None = None,
    *,
    seed: int,
    folder: Path,
    compute: Compute | None = None,
    checkpoint_every: int = 20,
) -> Encoder:
    """Train the learned metric on slices without labels; load it if it is trained, resume an interrupted training.

    The same arguments give bit-identical weights on the same machine's CPU with the same number of threads, with or
    without interruptions. PyTorch's global state stays as it is.

    Args:
        stack: The cohort's slices.
        rows: Rows to learn from, in any order.
        settings: Settings of the training. Default: the preset "auto".
        seed: Seed of initial weights, batches and views.
        folder: Folder of encoders; each has a folder of its own, named by its key, with ``losses.json`` in it.
        compute: Device and progress reporter. Default: the CPU.
        checkpoint_every: Number of steps between two checkpoints; the result does not depend on it.

    Raises:
        BadInput: If there is no slice, a batch is too small, or the folder cannot be written.
        JobFailed: If the loss is not finite, or the disk is full.
        Cancelled: If the user asked to stop; the last checkpoint is kept.

    Example:
        >>> encoder = train_encoder(stack, stack.rows, seed=0, folder=Path("encoders"))
        >>> vectors = encoder.embed(stack, stack.rows)
    """
    compute = compute or Compute()
    rows = np.unique(np.asarray(rows, dtype=np.int64))
    resolved = (settings or EmbeddingSettings()).resolved(stack, rows)
    key = hash_json([FILES.format, stack.key, rows.tolist(), resolved.to_json(), seed])[:24]

    def train(home: Path) -> Encoder:
        learner = EncoderLearner(stack, rows, resolved, seed=seed, device=compute.device)
        if learner.warning:
            compute.progress.message(learner.warning)
        history = run_training(learner, compute.progress, Checkpoints(home, key, checkpoint_every))
        encoder = Encoder(learner.network.eval(), stack.channels, resolved, key)
        record = training_record(seed, compute.device, len(rows), history)
        encoder.record = record | learner.batch_sizes | {"diagnostics": _diagnosed(encoder, stack, rows, compute)}
        return encoder

    return trained_once(
        folder, key, compute.progress, what="trains this learned metric", load=load_encoder, train=train
    )


class EncoderLearner(Learner):
    """Trains the encoder of the learned metric on batches of related slices.

    Args:
        stack: The cohort's slices.
        rows: Rows to learn from, ascending.
        settings: Settings with every automatic choice made.
        seed: Seed of initial weights, batches and views.
        device: PyTorch device.

    Attributes:
        warning: One line for the user if the cohort has too few patients, or None.
    """

    advice: ClassVar[str] = "Lower the learning rate of the learned metric, and look for broken images in the cohort."
    stage = "Training the learned metric"
    network: EncoderNetwork

    def __init__(
        self, stack: EmbeddableSlices, rows: np.ndarray, settings: EmbeddingSettings, *, seed: int, device: str
    ) -> None:
        assert settings.weights is not None  # resolved
        self._stack, self._settings, self._seed, self.device = stack, settings, seed, device
        self._weights: LossWeights = settings.weights
        self._shape = settings.input_shape(stack.grid_shape)
        self._sampler = GroupBatchSampler(
            SliceTable(rows, stack.patient_number[rows], stack.volume_number[rows], stack.index[rows]),
            slice_groups=self._weights.slice > 0,
            volume_groups=self._weights.volume > 0,
            patient_groups=self._weights.patient > 0,
            batch_size=settings.batch_size,
            seed=seed,
        )
        self.warning = self._sampler.warning
        self.steps = settings.total_steps(self._sampler.batches_per_epoch)
        self._batches: Iterator[GroupBatch] | None = None
        self.network = build_network(stack.channels, settings, seed=torch_seed(seed, "embedding", "weights"))
        self.network.to(device)
        adam = torch.optim.Adam(self.network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
        self.optimisers = {"network": adam}

    @property
    def batch_sizes(self) -> dict[str, int]:
        """How batches are made, for the record of the training."""
        return {"tuple size": self._sampler.tuple_size, "tuples a batch": self._sampler.tuples_per_batch}

    def step(self, number: int) -> StepLosses:
        """Do one optimisation step; see ``Learner.step``."""
        if self._batches is None:
            self._batches = endless_batches(self._sampler.epoch, number)
        batch = next(self._batches)
        set_learning_rate(self.optimisers["network"], self._settings.learning_rate * self._rate_factor(number))
        losses = self._losses(batch, number)
        descend(self.optimisers["network"], losses["loss"])
        return {name: value.detach() for name, value in losses.items()}

    def views(self, images: torch.Tensor, number: int) -> list[torch.Tensor]:
        """The two random views of the images (n, C, h, w) of a step, of the same shape and on their device."""
        generator = torch_generator(self._seed, "embedding", "views", number, device=str(images.device))
        return [random_views(images, ViewSettings(), generator) for _ in range(2)]

    def _losses(self, batch: GroupBatch, number: int) -> dict[str, torch.Tensor]:
        settings, device = self._settings, self.device
        images = shrunk(self._stack.batches(batch.rows, device), self._shape)
        views = self.views(images, number)
        groups = (batch.rows, batch.patients, batch.volumes, batch.neighbours)
        ids = BatchIds(*(on_device(values, device) for values in groups))
        self.network.train()
        embeddings = self.network.project(torch.cat(views))
        temperature = settings.temperature
        return contrastive_losses(embeddings, ids, self._weights, temperature=temperature, anchors=settings.anchors)

    def _rate_factor(self, number: int) -> float:
        schedule = self._settings.schedule
        return rate_factor(schedule, number, self.steps, WARM_UP if schedule == "cosine" else 0.0)


def _diagnosed(encoder: Encoder, stack: EmbeddableSlices, rows: np.ndarray, compute: Compute) -> dict[str, float]:
    """Collapse diagnostics of an encoder on some of its slices; warns if it has collapsed."""
    chosen = rows[np.linspace(0, len(rows) - 1, min(DIAGNOSED, len(rows))).astype(np.int64)]
    diagnostics = collapse_diagnostics(encoder.embed(stack, chosen, Compute(compute.device)))
    rank = diagnostics["effective rank"]
    if len(chosen) > COLLAPSED_RANK + 1 and rank < COLLAPSED_RANK:
        advice = "choose other slices by another strategy, or train longer with a lower learning rate"
        compute.progress.message(
            f"The learned metric hardly distinguishes slices (effective rank {rank:.1f}): {advice}."
        )
    return diagnostics
