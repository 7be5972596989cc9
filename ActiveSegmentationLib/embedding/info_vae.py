"""InfoVAE and VAE: autoencoders whose latent vectors of a cohort are close to a standard normal distribution."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import hash_json
from ActiveSegmentationLib.common.seeds import generator, torch_generator, torch_seed
from ActiveSegmentationLib.embedding.autoencoder import down_blocks, standardised, up_blocks
from ActiveSegmentationLib.embedding.discrepancy import mmd
from ActiveSegmentationLib.embedding.info_vae_settings import InfoVaeSettings
from ActiveSegmentationLib.embedding.slices import EmbeddableSlices
from ActiveSegmentationLib.embedding.trained_network import (
    FILES,
    WARM_UP,
    TrainedNetwork,
    load_network,
    trained_once,
    training_record,
)
from ActiveSegmentationLib.training import (
    Checkpoints,
    Learner,
    StepLosses,
    descend,
    endless_batches,
    rate_factor,
    run_training,
    seeded_weights,
    set_learning_rate,
)


class InfoVaeNetwork(nn.Module):
    """Encoder and decoder; with the divergence "kl" the encoder also predicts the logarithm of a variance.

    Args:
        channels: Channels of the images.
        settings: Settings with the side chosen.
    """

    def __init__(self, channels: int, settings: InfoVaeSettings) -> None:
        super().__init__()
        assert settings.side is not None  # resolved
        self._latent = settings.latent
        outputs = 2 * settings.latent if settings.divergence == "kl" else settings.latent
        self.encoder = down_blocks(channels, settings.channels, outputs, settings.side)
        self.decoder = up_blocks(channels, settings.channels, settings.latent, settings.side)

    def encode(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Images (n, C, side, side) -> means of latent vectors (n, latent), and logarithms of their variances, or None
        for an encoder without variances; all float32."""
        values = self.encoder(images)
        mean, log_variance = values[:, : self._latent], values[:, self._latent :]
        return mean, log_variance if log_variance.shape[1] else None

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (n, C, side, side) -> means of latent vectors (n, latent) and images reconstructed from them, all
        float32."""
        latent, _ = self.encode(images)
        return latent, self.decoder(latent)


class InfoVae(TrainedNetwork[InfoVaeNetwork, InfoVaeSettings]):
    """A trained infoVAE (Zhao et al. 2017), as Ozdemir et al. (2021, Sec. 2.3) use it, or a trained VAE (Kingma and
    Welling 2014), which they compare it with."""

    name: ClassVar[str] = "autoencoder"

    @property
    def width(self) -> int:
        """Length of a latent vector."""
        return self.settings.latent

    def embed_images(self, images: torch.Tensor) -> torch.Tensor:
        """Latent vectors (of a VAE their means), over the cohort about standard normal; see
        ``TrainedNetwork.embed_images``."""
        return self.network.encode(_standardised(images, self.settings))[0]


def load_info_vae(folder: Path) -> InfoVae:
    """Read an infoVAE that ``InfoVae.save`` wrote.

    Raises:
        BadInput: If a file is missing or damaged, or the two do not belong together.
    """
    return load_network(InfoVae, folder, InfoVaeSettings.from_json, lambda *parts: _build(*parts, seed=0))


def train_info_vae(
    stack: EmbeddableSlices,
    rows: np.ndarray,
    settings: InfoVaeSettings | None = None,
    *,
    seed: int,
    folder: Path,
    compute: Compute | None = None,
    checkpoint_every: int = 100,
) -> InfoVae:
    """Train an infoVAE on slices without labels; load it if it is trained, resume an interrupted training.

    The loss is the mean squared error per pixel plus ``mmd_weight`` times the squared maximum mean discrepancy between
    the latent vectors of a batch and draws from N(0, I) (Ozdemir et al. 2021, Eq. 6). That of a VAE is its negative
    evidence lower bound for pixels of variance 1, as error per pixel, see ``kl_per_pixel``. The same arguments give
    bit-identical weights on the same machine's CPU with the same number of threads, with or without interruptions.
    PyTorch's global state stays as it is.

    Args:
        stack: The cohort's slices.
        rows: Rows to learn from, in any order, at least one.
        settings: Settings of the training. Default: the preset "auto".
        seed: Seed of initial weights, batches and draws.
        folder: Folder of autoencoders; each has a folder of its own, named by its key, with ``losses.json`` in it.
        compute: Device and progress reporter. Default: the CPU.
        checkpoint_every: Number of steps between two checkpoints; the result does not depend on it.

    Raises:
        BadInput: If there is no slice, or the folder cannot be written.
        JobFailed: If the loss is not finite, or the disk is full.
        Cancelled: If the user asked to stop; the last checkpoint is kept.

    Example:
        >>> vectors = train_info_vae(stack, rows, seed=0, folder=Path("autoencoders")).embed(stack, rows)
    """
    compute = compute or Compute()
    rows = np.unique(np.asarray(rows, dtype=np.int64))
    if not len(rows):
        raise BadInput("There is no slice to learn from.", where="autoencoder", advice="Add volumes to the cohort.")
    resolved = (settings or InfoVaeSettings()).resolved(stack.grid_shape)
    key = hash_json(["infovae", FILES.format, stack.key, rows.tolist(), resolved.to_json(), seed])[:24]

    def train(home: Path) -> InfoVae:
        learner = InfoVaeLearner(stack, rows, resolved, seed=seed, device=compute.device)
        history = run_training(learner, compute.progress, Checkpoints(home, key, checkpoint_every))
        record = training_record(seed, compute.device, len(rows), history)
        return InfoVae(learner.network.eval(), stack.channels, resolved, key, record)

    return trained_once(folder, key, compute.progress, what="trains this network", load=load_info_vae, train=train)


def kl_per_pixel(mean: torch.Tensor, log_variance: torch.Tensor, pixels: int) -> torch.Tensor:
    """Twice the Kullback-Leibler divergence of normal distributions from N(0, I), per pixel, mean over the batch.

    Added to the mean squared error of a pixel this is 2 / ``pixels`` times the negative evidence lower bound for pixels
    of variance 1 (without constants), because the likelihood has half the sum of the squared errors.

    Args:
        mean: (n, latent) means.
        log_variance: (n, latent) logarithms of the variances.
        pixels: Number of values of an image.
    """
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
    return 2 * divergence.mean() / pixels


class InfoVaeLearner(Learner):
    """Trains an infoVAE, or a VAE if the settings have the divergence "kl".

    Args:
        stack: The cohort's slices.
        rows: Rows to learn from, ascending.
        settings: Settings with the side chosen.
        seed: Seed of initial weights, batches and draws.
        device: PyTorch device.
    """

    stage = "Training the autoencoder"
    network: InfoVaeNetwork

    def __init__(
        self, stack: EmbeddableSlices, rows: np.ndarray, settings: InfoVaeSettings, *, seed: int, device: str
    ) -> None:
        self._stack, self._rows, self._settings, self._seed, self.device = stack, rows, settings, seed, device
        self.steps = settings.total_steps(len(rows))
        self._batches: Iterator[np.ndarray] | None = None
        self.network = _build(stack.channels, settings, seed=torch_seed(seed, "infovae", "weights"))
        self.network.to(device)
        self.optimisers = {"network": torch.optim.Adam(self.network.parameters(), settings.learning_rate)}

    def step(self, number: int) -> StepLosses:
        """Do one optimisation step; see ``Learner.step``."""
        settings, adam = self._settings, self.optimisers["network"]
        if self._batches is None:
            self._batches = endless_batches(self._epoch, number)
        chosen = next(self._batches)
        set_learning_rate(adam, settings.learning_rate * rate_factor("cosine", number, self.steps, WARM_UP))
        images = _standardised(self._stack.batches(chosen, self.device), settings)
        self.network.train()
        losses = self._kl_losses(images, number) if settings.divergence == "kl" else self._mmd_losses(images, number)
        descend(adam, losses["loss"])
        values = torch.stack(list(losses.values())).tolist()
        return dict(zip(losses, values, strict=True))

    def _mmd_losses(self, images: torch.Tensor, number: int) -> dict[str, torch.Tensor]:
        settings = self._settings
        prior = self._normal((settings.prior_samples, settings.latent), number)
        latent, made = self.network(images)
        error = (made - images).square().mean()
        discrepancy = mmd(latent, prior, settings.kernel)
        return {"loss": error + settings.mmd_weight * discrepancy, "reconstruction": error, "mmd": discrepancy}

    def _kl_losses(self, images: torch.Tensor, number: int) -> dict[str, torch.Tensor]:
        mean, log_variance = self.network.encode(images)
        assert log_variance is not None  # the network was made for this divergence
        drawn = mean + torch.exp(0.5 * log_variance) * self._normal((len(images), self._settings.latent), number)
        error = (self.network.decoder(drawn) - images).square().mean()
        divergence = kl_per_pixel(mean, log_variance, images[0].numel())
        return {"loss": error + self._settings.kl_weight * divergence, "reconstruction": error, "kl": divergence}

    def _normal(self, shape: tuple[int, int], number: int) -> torch.Tensor:
        """Draws from N(0, I) of a step."""
        noise = torch_generator(self._seed, "infovae", "prior", number, device=self.device)
        return torch.randn(shape, generator=noise, device=self.device)

    def _epoch(self, number: int) -> list[np.ndarray]:
        """Rows (b,) of the batches of an epoch, every slice at least once; the last batch is filled up."""
        size = self._settings.batch_size
        order = generator(self._seed, "infovae", "order", number).permutation(self._rows)
        full = np.resize(order, max(2, -(-len(order) // size) * size) if len(order) > size else max(2, len(order)))
        return [full[start : start + size] for start in range(0, len(full), size)]


def _build(channels: int, settings: InfoVaeSettings, *, seed: int) -> InfoVaeNetwork:
    """A network with random weights that depend on the seed only."""
    with seeded_weights(seed):
        return InfoVaeNetwork(channels, settings)


def _standardised(images: torch.Tensor, settings: InfoVaeSettings) -> torch.Tensor:
    assert settings.side is not None  # resolved
    return standardised(images, settings.side)
