"""DCAN: a network whose encoder predicts at several levels; the enlarged predictions are added up."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.segmentation.loss_head import LossHead
from ActiveSegmentationLib.segmentation.network import (
    SegmentationNetwork,
    add_encoder,
    block_arguments,
    padded,
    part_of,
    set_dropout,
)
from ActiveSegmentationLib.segmentation.network_learner import NetworkLearner
from ActiveSegmentationLib.training import Settings, seeded_weights, settings

if TYPE_CHECKING:
    from ActiveSegmentationLib.segmentation.settings import TrainingSettings


@settings
class DcanOptions(Settings):
    """Options of the learner "dcan".

    Attributes:
        sides: Number of levels that predict, from the coarsest; 0 for all. Chen et al. 2016 use the three coarsest.
        side_weight: Weight of the mean loss of the levels' own predictions; the loss of their sum has the weight 1.
    """

    where: ClassVar[str] = "learner options"

    sides: int = Field(default=0, ge=0)
    side_weight: float = Field(default=1.0, ge=0)


class DCAN(SegmentationNetwork):
    """The encoder of a U-Net with predictions at several levels, for images of any size.

    Each side output reduces a level's map to as many channels as the finest level has, enlarges it bilinearly to the
    image, and ends in a 3 x 3 convolution, normalisation, activation and a 1 x 1 convolution. The logits of all side
    outputs are added up.

    Args:
        channels: Channels of the images.
        classes: Classes including background.
        settings: Width, normalisation, dropout, and whether there is a loss head. ``decoder_dropout`` is that of the
            side outputs of all levels but the finest, which has none; ``upsample`` has no effect.
        sides: Number of levels with side outputs, from the coarsest.
    """

    def __init__(self, channels: int, classes: int, settings: TrainingSettings, sides: int) -> None:
        super().__init__()
        levels = len(settings.features)
        self._encoder = ("conv_0", *(f"down_{level}" for level in range(1, levels)))
        self._sides = tuple(range(levels - 1, levels - 1 - sides, -1))
        self._least = 2**levels
        self.net = nn.Module()
        add_encoder(self.net, channels, settings)
        set_dropout(self.net, self._encoder, settings.dropout, settings)
        for level in self._sides:
            self.net.add_module(f"side_{level}", _SideOutput(level, classes, settings))
        # created last, so that the weights above do not depend on it
        self.loss_head = LossHead(settings.features) if settings.loss_head else None

    def encode(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Images (n, channels, H, W) float -> the encoder's maps of all levels, finest first."""
        maps = [padded(images, self._least)]
        for name in self._encoder:
            maps.append(self.net.get_submodule(name)(maps[-1]))
        return maps[1:]

    def decode(self, maps: list[torch.Tensor], size: tuple[int, int]) -> torch.Tensor:
        """The encoder's maps of images of (H, W) pixels -> the sum of all side outputs' logits (n, classes, H, W)."""
        return torch.stack(self.side_logits(maps, size)).sum(0)

    def side_logits(self, maps: list[torch.Tensor], size: tuple[int, int]) -> list[torch.Tensor]:
        """Logits (n, classes, H, W) of every side output, coarsest first; arguments as of ``decode``."""
        whole = (maps[0].shape[-2], maps[0].shape[-1])
        outputs = [self.net.get_submodule(f"side_{level}")(maps[level], whole) for level in self._sides]
        return [logits[..., : size[0], : size[1]] for logits in outputs]

    def convolutions(self, part: str) -> list[nn.Conv2d]:
        """Those of 3 x 3; "last" is that of the finest side output. See ``SegmentationNetwork.convolutions``."""
        sides = [self.net.get_submodule(f"side_{level}.block") for level in self._sides]
        return part_of(part, last=sides[-1:], bottleneck=[self.net.get_submodule(self._encoder[-1])], decoder=sides)


class _SideOutput(nn.Module):
    def __init__(self, level: int, classes: int, settings: TrainingSettings) -> None:
        from monai.networks.blocks.convolutions import Convolution  # slow to import, and most commands train nothing

        super().__init__()
        width = settings.features[0]
        activation, norm, _, _ = block_arguments(settings)
        p = settings.decoder_dropout[level - 1] if level else 0.0
        kind = nn.Dropout2d if settings.dropout_kind == "channels" else nn.Dropout
        self.reduce = nn.Conv2d(settings.features[level], width, 1)
        self.dropout = kind(p) if p > 0 else nn.Identity()
        self.block = Convolution(2, width, width, act=activation, norm=norm, bias=False)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """(n, c, h, w) -> logits (n, classes, H, W)."""
        enlarged = functional.interpolate(self.reduce(maps), size, mode="bilinear", align_corners=False)
        return self.head(self.block(self.dropout(enlarged)))


class DcanLearner(NetworkLearner):
    """Trains the segmentation network of Ozdemir et al. 2021, as far as the paper describes it.

    The paper has a "DCAN-like" network (Chen et al. 2016, Yang et al. 2017) with additional spatial dropout of 0.5 in
    training and prediction, inverse-frequency weighted cross-entropy and 8,000 steps of Adam; the preset "ozdemir2021"
    has these. It states neither channels nor the number of levels nor where dropout is, and its code is not public.
    Here the encoder is that of the U-Net, every level has a side output, and there is no branch for contours.

    The loss is that of the sum of all side outputs plus ``side_weight`` times the mean of their own losses. Chen et al.
    let the weight of the side outputs fall over the training; here it is constant.
    """

    options = DcanOptions
    shaped_by = ("sides",)
    network: DCAN

    @classmethod
    def check(cls, settings: TrainingSettings) -> None:
        """Refuse more side outputs than levels; see ``SegmentationLearner.check``."""
        super().check(settings)
        sides, levels = DcanOptions.from_json(settings.options).sides, len(settings.features)
        if sides > levels:
            message = f"'sides' must be at most {levels}, the number of levels, not {sides}."
            raise BadInput(message, where=DcanOptions.where, advice="Use 0 for a side output at every level.")

    @staticmethod
    def build_network(channels: int, classes: int, settings: TrainingSettings, *, seed: int) -> DCAN:
        """See ``NetworkLearner.build_network``."""
        sides = DcanOptions.from_json(settings.options).sides or len(settings.features)
        with seeded_weights(seed):
            network = DCAN(channels, classes, settings, sides)
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def outputs(self, maps: list[torch.Tensor], size: tuple[int, int]) -> list[torch.Tensor]:
        """Logits of the sum, and those of every side output; see ``NetworkLearner.outputs``."""
        sides = self.network.side_logits(maps, size)
        return [torch.stack(sides).sum(0), *sides]

    def loss(self, outputs: list[torch.Tensor], labels: torch.Tensor, dense: torch.Tensor, number: int) -> torch.Tensor:
        """Loss of the sum and of the side outputs; see ``NetworkLearner.loss``."""
        total, *sides = [self._loss(logits, labels, dense) for logits in outputs]
        return total + DcanOptions.from_json(self._settings.options).side_weight * torch.stack(sides).mean()
