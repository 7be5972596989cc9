"""The infoVAE: an autoencoder whose latent vectors of a cohort are close to a standard normal distribution."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from ActiveSegmentationLib.common.errors import BadInput, JobFailed
from ActiveSegmentationLib.common.files import hash_json
from ActiveSegmentationLib.common.progress import Progress, or_silent
from ActiveSegmentationLib.common.seeds import generator, torch_generator, torch_seed
from ActiveSegmentationLib.embedding.autoencoder import down_blocks, standardised, up_blocks
from ActiveSegmentationLib.embedding.checkpoint import TrainingState
from ActiveSegmentationLib.embedding.discrepancy import mmd
from ActiveSegmentationLib.embedding.info_vae_settings import InfoVaeSettings
from ActiveSegmentationLib.embedding.slices import EmbeddableSlices
from ActiveSegmentationLib.embedding.storage import read_description, read_weights, versions
from ActiveSegmentationLib.embedding.trained_network import TrainedNetwork, trained_once

STAGE = "Training the autoencoder"
FORMAT = 1
"""Version of the files, and of the training that makes them."""
WARM_UP = 0.05
"""Share of the steps over which the step size rises; it falls to 0 over the rest."""


class InfoVaeNetwork(nn.Module):
    """Encoder and decoder, both deterministic.

    Args:
        channels: Channels of the images.
        settings: Settings with the side resolved.
    """

    def __init__(self, channels: int, settings: InfoVaeSettings) -> None:
        super().__init__()
        assert settings.side is not None  # resolved
        self.encoder = down_blocks(channels, settings.channels, settings.latent, settings.side)
        self.decoder = up_blocks(channels, settings.channels, settings.latent, settings.side)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (n, C, side, side) -> latent vectors (n, latent) and the images made of them, all float32."""
        latent = self.encoder(images)
        return latent, self.decoder(latent)


@dataclass
class InfoVae(TrainedNetwork):
    """A trained infoVAE (Zhao et al. 2017), as Ozdemir et al. (2021, Sec. 2.3) use it.

    Attributes:
        network: The network, in evaluation mode.
        channels: Channels of the images it takes.
        settings: How it was trained, every automatic choice resolved.
        key: Hash of everything it was made from.
        record: Seed, device, seconds, versions and final losses; JSON values.
    """

    version: ClassVar[int] = FORMAT
    what: ClassVar[str] = "autoencoder"
    network: InfoVaeNetwork
    channels: int
    settings: InfoVaeSettings
    key: str
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Length of a latent vector."""
        return self.settings.latent

    def embed_images(self, images: torch.Tensor) -> torch.Tensor:
        """Latent vectors, over the cohort about standard normal; see ``TrainedNetwork.embed_images``."""
        latent: torch.Tensor = self.network.encoder(_standardised(images, self.settings))
        return latent


def load_info_vae(folder: Path) -> InfoVae:
    """Read an infoVAE written by ``InfoVae.save``.

    Raises:
        BadInput: If a file is missing or damaged, or the two do not belong together.
    """
    about = read_description(folder, FORMAT)
    settings = InfoVaeSettings.from_json(about["settings"])
    network = _build(about["channels"], settings, seed=0)
    read_weights(folder, network, about["key"])
    network.eval()
    return InfoVae(network, about["channels"], settings, about["key"], about["training"])


def train_info_vae(
    stack: EmbeddableSlices,
    rows: np.ndarray,
    settings: InfoVaeSettings | None = None,
    *,
    seed: int,
    folder: Path,
    device: str = "cpu",
    progress: Progress | None = None,
    checkpoint_every: int = 100,
) -> InfoVae:
    """Train an infoVAE on slices alone; load it where this very training is finished, go on where it was stopped.

    The loss is the mean squared error of a pixel plus ``mmd_weight`` times the squared maximum mean discrepancy between
    the latent vectors of a batch and draws from N(0, I) (Ozdemir et al. 2021, Eq. 6). The same arguments give
    bit-identical weights on the same machine's CPU with the same number of threads, with or without interruptions.
    Torch's global state stays as it is.

    Args:
        stack: The cohort's slices.
        rows: Rows to learn from, in any order, at least one; no label is looked at.
        settings: How to train; the preset "auto" unless told.
        seed: Seed of initial weights, batches and draws.
        folder: Folder of autoencoders; each has a folder of its own, named by its key, with ``losses.json`` in it.
        device: Torch device.
        progress: Told of every step with its losses.
        checkpoint_every: Steps between two checkpoints; the result does not depend on it.

    Raises:
        BadInput: If there is no slice, or the folder cannot be written.
        JobFailed: If the loss is not finite any more, or the disk is full.
        Cancelled: If the person asked to stop; the last checkpoint is kept.
    """
    report = or_silent(progress)
    rows = np.unique(np.asarray(rows, dtype=np.int64))
    if not len(rows):
        raise BadInput("There is no slice to learn from.", where="autoencoder", advice="Add volumes to the cohort.")
    resolved = (settings or InfoVaeSettings()).resolved(stack.grid_shape)
    key = hash_json(["infovae", FORMAT, stack.key, rows.tolist(), resolved.to_json(), seed])[:24]

    def train(home: Path) -> InfoVae:
        run = _Run(stack, rows, resolved, seed, device, report)
        state = run.start()
        state.resume(home, key, report)
        run.complete(state, home, key, checkpoint_every)
        return run.finish(state, key)

    return trained_once(folder, key, report, "trains this network", load=load_info_vae, train=train)


class _Run:
    """One training: its slices and settings, and one step after the other."""

    def __init__(
        self,
        stack: EmbeddableSlices,
        rows: np.ndarray,
        settings: InfoVaeSettings,
        seed: int,
        device: str,
        report: Progress,
    ) -> None:
        self._stack, self._rows, self._settings = stack, rows, settings
        self._seed, self._device, self._report = seed, device, report
        self._steps = settings.total_steps(len(rows))

    def start(self) -> TrainingState[InfoVaeNetwork]:
        """The state before the first step."""
        network = _build(self._stack.channels, self._settings, seed=torch_seed(self._seed, "infovae", "weights"))
        network.to(self._device)
        return TrainingState(network, torch.optim.Adam(network.parameters(), self._settings.learning_rate))

    def complete(self, state: TrainingState[InfoVaeNetwork], home: Path, key: str, checkpoint_every: int) -> None:
        """Do the steps that are left."""
        before, begun = state.seconds, time.monotonic()
        for chosen in self._batches(state.step):
            losses = self._step(state, chosen)
            if not all(math.isfinite(value) for value in losses.values()):
                message = f"The autoencoder diverged: the loss of step {state.step + 1} is not a finite number."
                raise JobFailed(message, where=home, advice="Look for broken images in the cohort.")
            for name, value in losses.items():
                state.losses.setdefault(name, []).append(value)
            state.seconds = before + time.monotonic() - begun
            if state.step % checkpoint_every == 0 and state.step < self._steps:
                state.save(home, key)
                state.write_history(home, self._steps)
            self._report.update(STAGE, state.step, self._steps, **{n: round(v, 4) for n, v in losses.items()})
        state.write_history(home, self._steps)

    def finish(self, state: TrainingState[InfoVaeNetwork], key: str) -> InfoVae:
        """The infoVAE with what is known of its training."""
        state.network.eval()
        record = {
            "seed": self._seed,
            "device": self._device,
            "seconds": round(state.seconds, 3),
            "steps": self._steps,
            "slices": len(self._rows),
            "final losses": {name: values[-1] for name, values in state.losses.items()},
            "versions": versions(),
        }
        return InfoVae(state.network, self._stack.channels, self._settings, key, record)

    def _batches(self, done: int) -> Iterator[np.ndarray]:
        """Rows (b,) of the steps that are left, every slice once an epoch; the last batch of an epoch is filled up."""
        size = self._settings.batch_size
        step = epoch = 0
        while step < self._steps:
            order = generator(self._seed, "infovae", "order", epoch).permutation(self._rows)
            full = np.resize(order, max(2, -(-len(order) // size) * size) if len(order) > size else max(2, len(order)))
            for start in range(0, len(full), size):
                if step == self._steps:
                    return
                step += 1
                if step > done:
                    yield full[start : start + size]
            epoch += 1

    def _step(self, state: TrainingState[InfoVaeNetwork], chosen: np.ndarray) -> dict[str, float]:
        settings, device = self._settings, self._device
        for group in state.optimiser.param_groups:
            group["lr"] = settings.learning_rate * self._rate(state.step)
        images = _standardised(self._stack.batches(chosen, device), settings)
        noise = torch_generator(self._seed, "infovae", "prior", state.step, device=device)
        prior = torch.randn((settings.prior_samples, settings.latent), generator=noise, device=device)
        state.network.train()
        latent, made = state.network(images)
        error = (made - images).square().mean()
        discrepancy = mmd(latent, prior, settings.kernel)
        loss = error + settings.mmd_weight * discrepancy
        state.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        state.optimiser.step()
        values = torch.stack([loss, error, discrepancy]).tolist()
        return dict(zip(("loss", "reconstruction", "mmd"), values, strict=True))

    def _rate(self, step: int) -> float:
        """Share of the learning rate that step ``step``, counted from 0, uses."""
        warm = WARM_UP * self._steps
        if step < warm:
            return (step + 1) / (warm + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1.0, self._steps - warm)))


def _build(channels: int, settings: InfoVaeSettings, *, seed: int) -> InfoVaeNetwork:
    """A network with random weights that depend on the seed only; torch's own generators stay as they are."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return InfoVaeNetwork(channels, settings)


def _standardised(images: torch.Tensor, settings: InfoVaeSettings) -> torch.Tensor:
    assert settings.side is not None  # resolved
    return standardised(images, settings.side)
