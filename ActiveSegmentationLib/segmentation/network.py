"""The segmentation network: a 2D U-Net made of MONAI's blocks."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn
from torch.nn import functional

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.segmentation.loss_head import LossHead
from ActiveSegmentationLib.segmentation.settings import TrainingSettings
from ActiveSegmentationLib.training import seeded_weights


class SegmentationNetwork(nn.Module, ABC):
    """A network with an encoder of several levels and a decoder, which a segmentation learner trains.

    Attributes:
        net: All layers but those of the loss head.
        loss_head: Predicts the loss from the encoder's maps, or None.
    """

    net: nn.Module
    loss_head: LossHead | None

    def __init__(self) -> None:
        super().__init__()
        self.loss_head = None

    @abstractmethod
    def encode(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Images (n, channels, H, W) float -> the encoder's maps of all levels, finest first."""

    @abstractmethod
    def decode(self, maps: list[torch.Tensor], size: tuple[int, int]) -> torch.Tensor:
        """The encoder's maps of images of (H, W) pixels -> logits (n, classes, H, W)."""

    @abstractmethod
    def convolutions(self, part: str) -> list[nn.Conv2d]:
        """The convolutions of a part of the network, in the order of computation.

        Args:
            part: "last", the one before the final layer; "bottleneck", the last one of the coarsest level; "decoder",
                all of the decoder. Kernels of one pixel do not count.

        Raises:
            BadInput: If there is no such part.
        """

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (n, channels, H, W) float -> logits (n, classes, H, W)."""
        return self.decode(self.encode(images), (images.shape[-2], images.shape[-1]))

    def bottleneck(self, images: torch.Tensor) -> torch.Tensor:
        """Images (n, channels, H, W) float -> coarsest feature map (n, features, h, w)."""
        return self.encode(images)[-1]


class UNet(SegmentationNetwork):
    """2D U-Net for images of any size, with as many levels as there are ``features``.

    - MONAI's decoder pads images whose size the poolings do not divide.
    - Dropout is by default at the coarser levels only: at full resolution it takes a quarter of a training step on a
      CPU, and the deep features are those that should differ between passes.
    - Batch normalisation is the default because it trained markedly faster in the few steps that a CPU can afford.
      Prediction and Monte Carlo dropout use its running statistics.

    Args:
        channels: Channels of the images.
        classes: Classes including background.
        settings: Width, normalisation, dropout, and whether there is a loss head.
        wsl4mis: Whether head and finest level are those of WSL4MIS (the program of Luo et al. 2022) instead of MONAI's:
            the final convolution is 3 x 3, and the decoder's finest level halves channels as the others do.

    Attributes:
        net: The U-Net.
        loss_head: The head that predicts the loss from the encoder's maps, or None.
    """

    def __init__(self, channels: int, classes: int, settings: TrainingSettings, *, wsl4mis: bool = False) -> None:
        super().__init__()
        levels = len(settings.features)
        self._encoder = ("conv_0", *(f"down_{level}" for level in range(1, levels)))
        self._decoder = tuple(f"upcat_{level}" for level in range(1, levels))
        self._least = 2**levels
        self.net = nn.Module()
        add_encoder(self.net, channels, settings)
        add_decoder(self.net, classes, settings, wsl4mis=wsl4mis)
        set_dropout(self.net, self._encoder, settings.dropout, settings)
        set_dropout(self.net, self._decoder, settings.decoder_dropout, settings)
        # created last, so that the weights above do not depend on it
        self.loss_head = LossHead(settings.features) if settings.loss_head else None

    def encode(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Images (n, channels, H, W) float -> the encoder's maps of all levels, finest first."""
        maps = [padded(images, self._least)]
        for name in self._encoder:
            maps.append(getattr(self.net, name)(maps[-1]))
        return maps[1:]

    def decode(self, maps: list[torch.Tensor], size: tuple[int, int]) -> torch.Tensor:
        """The encoder's maps of images of (H, W) pixels -> logits (n, classes, H, W), as ``forward`` gives them."""
        return self.decode_with(self.net, maps, size)

    def decode_with(self, decoder: nn.Module, maps: list[torch.Tensor], size: tuple[int, int]) -> torch.Tensor:
        """As ``decode``, with the blocks that ``add_decoder`` added to a module."""
        features = maps[-1]
        for name, skipped in zip(reversed(self._decoder), reversed(maps[:-1]), strict=True):
            features = getattr(decoder, name)(features, skipped)
        return decoder.get_submodule("final_conv")(features)[..., : size[0], : size[1]]

    def convolutions(self, part: str) -> list[nn.Conv2d]:
        """The 3 x 3 convolutions of a part of the network, without transposed ones and the final 1 x 1; see
        ``SegmentationNetwork.convolutions``."""
        blocks = {name: self.net.get_submodule(name) for name in self._encoder + self._decoder}
        decoder = [blocks[name] for name in reversed(self._decoder)]
        return part_of(part, last=decoder[-1:], bottleneck=[blocks[self._encoder[-1]]], decoder=decoder)


def part_of(
    part: str, *, last: list[nn.Module], bottleneck: list[nn.Module], decoder: list[nn.Module]
) -> list[nn.Conv2d]:
    """The convolutions of a part of a network; see ``SegmentationNetwork.convolutions``.

    Args:
        part: Name of the part.
        last: Modules that hold the convolution of the part "last"; it is their last one larger than one pixel.
        bottleneck: The same for the part "bottleneck".
        decoder: Modules that hold the convolutions of the part "decoder", in the order of computation.

    Raises:
        BadInput: If there is no such part.
    """
    modules = {"last": last, "bottleneck": bottleneck, "decoder": decoder}
    if part not in modules:
        advice = f"Choose one of: {', '.join(modules)}."
        raise BadInput(f"The network has no part called '{part}'.", where="network", advice=advice)
    inner = [each for module in modules[part] for each in module.modules() if isinstance(each, nn.Conv2d)]
    found = [conv for conv in inner if max(conv.kernel_size) > 1]
    return found if part == "decoder" else found[-1:]


def build_network(channels: int, classes: int, settings: TrainingSettings, *, seed: int) -> UNet:
    """A network with random weights drawn from ``seed``; PyTorch's global generator stays as it is.

    Its memory order is channels-last, in which convolutions are up to 1.35 times as fast on a CPU.
    """
    with seeded_weights(seed):
        network = UNet(channels, classes, settings)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def norm_layer(settings: TrainingSettings) -> str | tuple[str, dict]:
    """The normalisation of the settings as MONAI names it."""
    if settings.norm == "group":
        groups = max(g for g in (8, 4, 2, 1) if all(width % (2 * g) == 0 or g == 1 for width in settings.features))
        return "group", {"num_groups": groups}
    return ("instance", {"affine": True}) if settings.norm == "instance" else "batch"


def add_encoder(net: nn.Module, channels: int, settings: TrainingSettings) -> None:
    """Add the encoder's blocks to a module, named and ordered as in MONAI's BasicUNet, which always has five levels."""
    from monai.networks.nets.basic_unet import Down, TwoConv  # slow to import, and most commands train nothing

    widths, common = settings.features, block_arguments(settings)
    net.add_module("conv_0", TwoConv(2, channels, widths[0], *common))
    for level in range(1, len(widths)):
        net.add_module(f"down_{level}", Down(2, widths[level - 1], widths[level], *common))


def add_decoder(net: nn.Module, classes: int, settings: TrainingSettings, *, wsl4mis: bool = False) -> None:
    """Add the decoder's blocks and the final convolution to a module, named and ordered as in MONAI's BasicUNet.

    Args:
        net: The module, changed.
        classes: Classes including background.
        settings: Width, normalisation and upsampling.
        wsl4mis: See ``UNet``.
    """
    from monai.networks.nets.basic_unet import UpCat

    widths, common = settings.features, block_arguments(settings)
    upsample = "nontrainable" if settings.upsample == "bilinear" else "deconv"
    for level in range(len(widths) - 1, 0, -1):
        above, halves = widths[level - 1], level > 1 or wsl4mis
        net.add_module(f"upcat_{level}", UpCat(2, widths[level], above, above, *common, upsample, halves=halves))
    kernel = 3 if wsl4mis else 1
    net.add_module("final_conv", nn.Conv2d(widths[0], classes, kernel, padding=kernel // 2))


def block_arguments(settings: TrainingSettings) -> tuple[tuple[str, dict], str | tuple[str, dict], bool, float]:
    """Activation, normalisation, bias and dropout of MONAI's blocks."""
    return ("LeakyReLU", {"negative_slope": 0.01, "inplace": True}), norm_layer(settings), False, 0.5


class _Entered(nn.Module):
    """Two convolutions with dropout on their input."""

    def __init__(self, convolutions: nn.Module, dropout: nn.Module) -> None:
        super().__init__()
        self.entry = dropout
        self.conv_0 = convolutions.get_submodule("conv_0")
        self.conv_1 = convolutions.get_submodule("conv_1")

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(n, c, H, W) -> (n, d, H, W)."""
        return self.conv_1(self.conv_0(self.entry(maps)))


def set_dropout(net: nn.Module, names: tuple[str, ...], rates: tuple[float, ...], settings: TrainingSettings) -> None:
    """Give the named blocks of a module dropout of these probabilities, where the settings want it."""
    for name, p in zip(names, rates, strict=True):
        _set_dropout(net.get_submodule(name), p, settings)


def _set_dropout(block: nn.Module, p: float, settings: TrainingSettings) -> None:
    """Move a level's dropout to where the settings want it; MONAI has it after both convolutions."""
    kind = nn.Dropout2d if settings.dropout_kind == "channels" else nn.Dropout
    pair = getattr(block, "convs", block)
    kept = {"convolutions": ("conv_0", "conv_1"), "first": ("conv_0",), "entry": ()}[settings.dropout_place]
    for name in ("conv_0", "conv_1"):
        for module in list(getattr(pair, name).modules()):
            for child_name, child in list(module.named_children()):
                if isinstance(child, nn.Dropout):
                    setattr(module, child_name, kind(p) if p > 0 and name in kept else nn.Identity())
    if settings.dropout_place == "entry" and p > 0:
        if pair is block:
            raise BadInput(
                "The finest level of the encoder has no entry for dropout.",
                where="training settings",
                advice="Set the first number of 'dropout' to 0.",
            )
        block.convs = _Entered(pair, kind(p))


def padded(images: torch.Tensor, least: int) -> torch.Tensor:
    """Images that have at least two pixels at the coarsest level; smaller ones are padded by their border."""
    missing = [max(0, least - side) for side in images.shape[-2:]]
    if any(missing):
        images = functional.pad(images, (0, missing[1], 0, missing[0]), mode="replicate")
    return images.contiguous(memory_format=torch.channels_last)
