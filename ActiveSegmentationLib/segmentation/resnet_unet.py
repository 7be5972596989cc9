"""A U-Net whose encoder is a ResNet-50, which can start from weights that were trained on other images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.segmentation.loss_head import LossHead
from ActiveSegmentationLib.segmentation.network import SegmentationNetwork, part_of, set_dropout
from ActiveSegmentationLib.segmentation.network_learner import NetworkLearner
from ActiveSegmentationLib.segmentation.pretrained import WeightsReport, file_hash, load_weights
from ActiveSegmentationLib.training import History, Settings, seeded_weights, settings

if TYPE_CHECKING:
    from ActiveSegmentationLib.common.progress import Progress
    from ActiveSegmentationLib.segmentation.segmentation_model import SegmentationModel
    from ActiveSegmentationLib.segmentation.settings import TrainingSettings
    from ActiveSegmentationLib.segmentation.training import TrainingTask

LEVELS = 5
"""Resolution levels of the encoder; the finest has half the rows and columns of the image."""

STRIDE, SMALLEST = 32, 64
"""Images are padded to a multiple of the first, and to at least the second number of rows and columns."""

WIDTH = 64
"""Channels of the first convolution of a ResNet-50."""


@settings
class ResNetUNetOptions(Settings):
    """Options of the learner "resnet50-unet".

    Attributes:
        weights: Path of a file with weights of the encoder (.safetensors, or a state dictionary of PyTorch), such as
            those of ImageNet, RadImageNet or LVM-Med. Empty: it starts from random weights. Nothing is downloaded.
        width: Channels of the first convolution. 64 is a ResNet-50; files of weights need it.
    """

    where: ClassVar[str] = "learner options"

    weights: str = ""
    width: int = Field(default=WIDTH, ge=4)


class ResNetUNet(SegmentationNetwork):
    """ResNet-50 and the decoder of a U-Net, as in segmentation-models-pytorch; made of MONAI's parts.

    - The decoder enlarges maps by nearest neighbour, joins those of the encoder, and has two 3 x 3 convolutions at each
      level and at full resolution; the final convolution is 3 x 3.
    - Images with one channel are repeated to three, as the weights expect; with other numbers than one and three the
      first convolution has as many input channels as the images.
    - Images are padded by their border to a multiple of 32 pixels.

    Args:
        channels: Channels of the images.
        classes: Classes including background.
        settings: ``features`` are the channels of the decoder's five levels, finest first; ``dropout`` follows the
            encoder's five levels, ``decoder_dropout`` the decoder's levels but the finest.
        width: Channels of the first convolution.
    """

    def __init__(self, channels: int, classes: int, settings: TrainingSettings, width: int = WIDTH) -> None:
        from monai.networks.nets.flexible_unet import SegmentationHead, UNetDecoder  # slow to import
        from monai.networks.nets.resnet import ResNet, ResNetBottleneck

        super().__init__()
        self._inputs = 3 if channels == 1 else channels
        widths = [width, *(width * 4 * 2**level for level in range(LEVELS - 1))]
        self.net = nn.Module()
        self.net.encoder = ResNet(
            ResNetBottleneck,
            layers=[3, 4, 6, 3],
            block_inplanes=[width * 2**level for level in range(LEVELS - 1)],
            spatial_dims=2,
            n_input_channels=self._inputs,
            conv1_t_stride=2,
            bias_downsample=False,
            feed_forward=False,
        )
        kind = nn.Dropout2d if settings.dropout_kind == "channels" else nn.Dropout
        self.net.dropout = nn.ModuleList(kind(p) if p > 0 else nn.Identity() for p in settings.dropout)
        self.net.decoder = UNetDecoder(
            spatial_dims=2,
            encoder_channels=[self._inputs, *widths],
            decoder_channels=list(reversed(settings.features)),
            act=("relu", {"inplace": True}),
            norm="batch",
            dropout=0.5,  # ``set_dropout`` has the last word
            bias=False,
            upsample="nontrainable",
            pre_conv=None,
            interp_mode="nearest",
            align_corners=None,
            is_pad=False,
        )
        names = tuple(f"decoder.blocks.{LEVELS - 1 - level}" for level in range(LEVELS))
        set_dropout(self.net, names, (0.0, *settings.decoder_dropout), settings)
        self.net.head = SegmentationHead(2, settings.features[0], classes)
        # created last, so that the weights above do not depend on it
        self.loss_head = LossHead(widths) if settings.loss_head else None

    def encode(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Images (n, channels, H, W) float -> the encoder's maps of its five levels, finest first."""
        part = self.net.get_submodule
        features = part("encoder.act")(part("encoder.bn1")(part("encoder.conv1")(self._prepared(images))))
        maps = [part("dropout.0")(features)]
        for level in range(1, LEVELS):
            before = part("encoder.maxpool")(maps[-1]) if level == 1 else maps[-1]
            maps.append(part(f"dropout.{level}")(part(f"encoder.layer{level}")(before)))
        return maps

    def decode(self, maps: list[torch.Tensor], size: tuple[int, int]) -> torch.Tensor:
        """The encoder's maps of images of (H, W) pixels -> logits (n, classes, H, W)."""
        # the decoder's first entry is the image, which it does not use
        features = self.net.get_submodule("decoder")([maps[0], *maps], skip_connect=LEVELS - 1)
        return self.net.get_submodule("head")(features)[..., : size[0], : size[1]]

    def convolutions(self, part: str) -> list[nn.Conv2d]:
        """Those of 3 x 3, without the final one; see ``SegmentationNetwork.convolutions``."""
        blocks = list(self.net.get_submodule("decoder.blocks").children())
        coarsest = self.net.get_submodule(f"encoder.layer{LEVELS - 1}")
        return part_of(part, last=blocks[-1:], bottleneck=[coarsest], decoder=blocks)

    def _prepared(self, images: torch.Tensor) -> torch.Tensor:
        """Images with the network's channels, padded."""
        if images.shape[1] == 1:
            images = images.expand(-1, self._inputs, -1, -1)
        rows, columns = (max(SMALLEST, -(-side // STRIDE) * STRIDE) - side for side in images.shape[-2:])
        if rows or columns:
            images = functional.pad(images, (0, columns, 0, rows), mode="replicate")
        return images.contiguous(memory_format=torch.channels_last)


class ResNetUNetLearner(NetworkLearner):
    """Fine-tunes a U-Net with a ResNet-50 that was trained on other images (Vepa et al. 2024, after LVM-Med).

    The preset "resnet50-unet" has the schedule of the released code: 50 epochs, so that the number of steps grows with
    the number of annotated slices, batches of 8, Adam with a constant rate of 1e-4, gradients clipped to a norm of 1,
    cross-entropy and Dice, and the best weights on validation every five epochs. That code adds both losses, here they
    are averaged. Its augmentation is not stated; the preset has that of "vepa2024".

    The file of weights is identified by its content: its hash is part of the model's key and in its record, which also
    has what was loaded and what was not. A saved model does not need the file.
    """

    options = ResNetUNetOptions
    shaped_by = ("width",)
    small: ClassVar[Mapping[str, Any]] = {
        **NetworkLearner.small,
        "epochs": 0,
        "features": (4, 8, 8, 16, 16),
        "dropout": (0.0, 0.0, 0.0, 0.1, 0.1),
        "decoder_dropout": (0.0, 0.0, 0.1, 0.1),
        "options": {"width": 8},
    }
    network: ResNetUNet
    _report: WeightsReport | None = None

    @classmethod
    def check(cls, settings: TrainingSettings) -> None:
        """Refuse other numbers of levels, other normalisation, and weights that are not there.

        See ``SegmentationLearner.check``.
        """
        super().check(settings)
        where = "training settings"
        if len(settings.features) != LEVELS:
            message = f"'features' must have {LEVELS} numbers for a ResNet-50, not {len(settings.features)}."
            raise BadInput(message, where=where, advice="Use the preset 'resnet50-unet'.")
        if settings.norm != "batch":
            message = f"'norm' must be batch for a ResNet-50, not {settings.norm!r}."
            raise BadInput(message, where=where, advice="Use the preset 'resnet50-unet'.")
        weights = cls._path(settings)
        if weights is not None and not weights.is_file():
            advice = "Give the path of a file of weights, or leave the option 'weights' out."
            raise BadInput("There is no such file of weights.", where=weights, advice=advice)

    @classmethod
    def key_of(cls, settings: TrainingSettings) -> Any:
        """The settings with the hash of the weights instead of their path; see ``SegmentationLearner.key_of``."""
        weights = cls._path(settings)
        if weights is None:
            return settings.to_json()
        return settings.to_json() | {"options": {**settings.options, "weights": file_hash(weights)}}

    @staticmethod
    def build_network(channels: int, classes: int, settings: TrainingSettings, *, seed: int) -> ResNetUNet:
        """See ``NetworkLearner.build_network``; the weights of the file come later."""
        width = ResNetUNetOptions.from_json(settings.options).width
        with seeded_weights(seed):
            network = ResNetUNet(channels, classes, settings, width)
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def start_anew(self, progress: Progress) -> None:
        """Load the weights of the file and say what matched; see ``NetworkLearner.start_anew``."""
        weights = self._path(self._settings)
        if weights is None:
            progress.message("No file of weights is given (option 'weights'): the encoder starts from random weights.")
            return
        self._report = load_weights(weights, self.network.net.get_submodule("encoder"))
        progress.message(self._report.text())

    def finished_model(self, task: TrainingTask, history: History) -> SegmentationModel:
        """The model, with what was loaded from the file in its record; see ``NetworkLearner``."""
        model = super().finished_model(task, history)
        if self._report is not None:
            model.record["initial weights"] = self._report.to_json()
        return model

    @staticmethod
    def _path(settings: TrainingSettings) -> Path | None:
        weights = ResNetUNetOptions.from_json(settings.options).weights
        return Path(weights).expanduser() if weights else None
