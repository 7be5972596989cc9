"""The network of the learned metric: a ResNet-18 with the projection head of SimCLR."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from ActiveSegmentationLib.embedding.settings import EmbeddingSettings
from ActiveSegmentationLib.training import seeded_weights

PROJECTION = 64
"""Length of the projected vectors, which the losses compare."""

_STEMS = {"large": (7, 2, False), "medium": (3, 2, True), "small": (3, 1, True)}
_NORM_GROUPS = 8


class EncoderNetwork(nn.Module):
    """ResNet-18 with a projection head; distances use the vectors before the head, losses those after it.

    There are three stems (first layers) for slices of different size, followed by the same eight residual blocks:

    - "large": a 7 x 7 convolution of stride 2 and max-pooling, as in ResNet; for 40 pixels and more.
    - "medium": a 3 x 3 convolution of stride 2, four times as slow.
    - "small": a 3 x 3 convolution of stride 1, sixteen times as slow; for less than 20 pixels.

    Args:
        channels: Channels of the images.
        settings: Settings with the stem chosen.
    """

    def __init__(self, channels: int, settings: EmbeddingSettings) -> None:
        from monai.networks.nets import ResNet  # slow to import, and most commands train nothing

        super().__init__()
        kernel, stride, no_max_pool = _STEMS[settings.stem]
        self.trunk = ResNet(
            "basic",
            [2, 2, 2, 2],
            [settings.width * factor for factor in (1, 2, 4, 8)],
            spatial_dims=2,
            n_input_channels=channels,
            conv1_t_size=kernel,
            conv1_t_stride=stride,
            no_max_pool=no_max_pool,
            feed_forward=False,
            bias_downsample=False,
        )
        setattr(self.trunk, "avgpool", _MeanOverPlane())  # noqa: B010 - MONAI declares another type
        if settings.norm == "group":  # MONAI's argument reaches the stem only
            _use_group_norm(self.trunk)
        features = settings.features
        self.head = nn.Sequential(
            nn.Linear(features, features, bias=False), nn.ReLU(), nn.Linear(features, PROJECTION, bias=False)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (n, C, h, w) float32 -> embeddings (n, features) float32, the mean of the last map over its plane."""
        return self.trunk(images)

    def project(self, images: torch.Tensor) -> torch.Tensor:
        """Images (n, C, h, w) float32 -> projected vectors (n, 64) float32, which the losses compare."""
        return self.head(self(images))


def build_network(channels: int, settings: EmbeddingSettings, *, seed: int) -> EncoderNetwork:
    """A network with random weights that depend on the seed only; PyTorch's own generators stay as they are."""
    with seeded_weights(seed):
        return EncoderNetwork(channels, settings)


def shrunk(images: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """Images (n, C, H, W) float32 resampled to a smaller shape without aliasing; unchanged if they have that shape."""
    if images.shape[2:] == shape:
        return images
    return functional.interpolate(images, shape, mode="bilinear", antialias=True, align_corners=False)


class _MeanOverPlane(nn.Module):
    """Global average pooling; unlike adaptive pooling, its gradient is deterministic on every device."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps.mean((2, 3))


def _use_group_norm(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.GroupNorm(_NORM_GROUPS, child.num_features))
        else:
            _use_group_norm(child)
