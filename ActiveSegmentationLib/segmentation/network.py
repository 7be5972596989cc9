"""The network: MONAI's 2D U-Net with dropout where it pays."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.segmentation.loss_head import LossHead
from ActiveSegmentationLib.segmentation.settings import TrainingSettings

MINIMUM_SIDE = 32
"""Smallest height and width the network works at: two pixels at the coarsest level. Smaller slices are padded."""

_ENCODER = ("conv_0", "down_1", "down_2", "down_3", "down_4")
_DECODER = ("upcat_1", "upcat_2", "upcat_3", "upcat_4")


class UNet(nn.Module):
    """2D U-Net of five levels for images of any size.

    Sizes that the four poolings do not divide are padded at each level by MONAI's decoder. Dropout lies by default at
    the coarser levels only: drawing masks at full resolution costs a CPU a quarter of a step, and it is the deep
    features that passes should disagree about. Batch normalisation is the default because it learnt markedly faster in
    the few steps a CPU can afford; prediction and Monte Carlo dropout use its running statistics.

    Args:
        channels: Channels of the images.
        classes: Classes including background.
        settings: Width, normalisation, dropout, and whether there is a head that predicts the loss.

    Attributes:
        net: The U-Net proper.
        loss_head: Predicts the loss from the encoder's maps, or None.
    """

    def __init__(self, channels: int, classes: int, settings: TrainingSettings) -> None:
        from monai.networks.nets import BasicUNet  # slow to import, brings matplotlib, and most commands train nothing

        super().__init__()
        self.net = BasicUNet(
            spatial_dims=2,
            in_channels=channels,
            out_channels=classes,
            features=(*settings.features, settings.features[0]),
            act=("LeakyReLU", {"negative_slope": 0.01, "inplace": True}),
            norm=_norm(settings),
            bias=False,
            dropout=0.5,
        )
        for name, p in zip(_ENCODER + _DECODER, settings.dropout + settings.decoder_dropout, strict=True):
            _set_dropout(getattr(self.net, name), p)
        # made last, so that it takes no random numbers from the weights above
        self.loss_head = LossHead(settings.features) if settings.loss_head else None

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (n, channels, H, W) float -> logits (n, classes, H, W)."""
        height, width = images.shape[-2:]
        return self.net(_padded(images))[..., :height, :width]

    def bottleneck(self, images: torch.Tensor) -> torch.Tensor:
        """Images (n, channels, H, W) float -> coarsest feature map (n, features, about H / 16, about W / 16)."""
        return self.encode(images)[-1]

    def encode(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Images (n, channels, H, W) float -> the encoder's maps of the five levels, finest first."""
        maps = [_padded(images)]
        for name in _ENCODER:
            maps.append(getattr(self.net, name)(maps[-1]))
        return maps[1:]

    def decode(self, maps: list[torch.Tensor], size: tuple[int, int]) -> torch.Tensor:
        """The encoder's maps of images of (H, W) pixels -> logits (n, classes, H, W), as ``forward`` gives them."""
        features = maps[-1]
        for name, beside in zip(reversed(_DECODER), reversed(maps[:-1]), strict=True):
            features = getattr(self.net, name)(features, beside)
        return self.net.final_conv(features)[..., : size[0], : size[1]]

    def convolutions(self, part: str) -> list[nn.Conv2d]:
        """The 3 x 3 convolutions of a part of the network, in the order in which they compute.

        Args:
            part: "last", the one before the 1 x 1 head; "bottleneck", the last one of the coarsest level; "decoder",
                all of the decoder's (its transposed convolutions and the head are left out).

        Raises:
            BadInput: If there is no such part.
        """
        blocks = {"last": _DECODER[:1], "bottleneck": _ENCODER[-1:], "decoder": _DECODER[::-1]}
        if part not in blocks:
            advice = f"Choose one of: {', '.join(blocks)}."
            raise BadInput(f"The network has no part called '{part}'.", where="network", advice=advice)
        pairs = [getattr(self.net, name).get_submodule("convs") for name in blocks[part]]
        found = [module for pair in pairs for module in pair.modules() if isinstance(module, nn.Conv2d)]
        return found if part == "decoder" else found[-1:]


def build_network(channels: int, classes: int, settings: TrainingSettings, *, seed: int) -> UNet:
    """A network with random weights drawn from ``seed``; torch's global generator is left as it was.

    It is kept in channels-last memory order, in which its convolutions run up to 1.35 times as fast on a CPU.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = UNet(channels, classes, settings)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _norm(settings: TrainingSettings) -> str | tuple[str, dict]:
    if settings.norm == "group":
        groups = max(g for g in (8, 4, 2, 1) if all(width % (2 * g) == 0 or g == 1 for width in settings.features))
        return "group", {"num_groups": groups}
    return ("instance", {"affine": True}) if settings.norm == "instance" else "batch"


def _set_dropout(block: nn.Module, p: float) -> None:
    for module in list(block.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Dropout):
                setattr(module, name, nn.Dropout(p) if p > 0 else nn.Identity())


def _padded(images: torch.Tensor) -> torch.Tensor:
    missing = [max(0, MINIMUM_SIDE - side) for side in images.shape[-2:]]
    if any(missing):
        images = functional.pad(images, (0, missing[1], 0, missing[0]), mode="replicate")
    return images.contiguous(memory_format=torch.channels_last)
