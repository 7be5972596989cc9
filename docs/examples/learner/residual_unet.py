"""A learner in its own package: the training of this library with a U-Net of residual blocks."""

from typing import ClassVar

import torch
from pydantic import Field
from torch import nn

from ActiveSegmentationLib.segmentation import NetworkLearner, SegmentationNetwork
from ActiveSegmentationLib.segmentation.learner import AUGMENTATION, DROPOUT, FEATURES, GRADIENTS
from ActiveSegmentationLib.training import Settings, seeded_weights, settings


@settings
class ResidualOptions(Settings):
    """What can be chosen of the network.

    Attributes:
        width: Channels of the finest level; each level below has twice as many.
        dropout: Dropout probability of the encoder's blocks; 0 for none.
    """

    where: ClassVar[str] = "options of residual-unet"

    width: int = Field(default=16, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)


class ResidualUNet(SegmentationNetwork):
    """Three levels of residual blocks; images of any size."""

    def __init__(self, channels, classes, width, dropout):
        super().__init__()
        widths = (width, 2 * width, 4 * width)
        self.net = nn.ModuleDict(
            {
                "down": nn.ModuleList(map(Block, (channels, *widths[:2]), widths, [dropout] * 3)),
                "up": nn.ModuleList([Block(widths[2] + widths[1], widths[1], 0.0), Block(3 * width, width, 0.0)]),
                "last": nn.Conv2d(width, classes, 1),
            }
        )

    def encode(self, images):
        """See ``SegmentationNetwork.encode``."""
        maps = [self.net["down"][0](images)]
        for block in self.net["down"][1:]:
            maps.append(block(nn.functional.avg_pool2d(maps[-1], 2, ceil_mode=True)))
        return maps

    def decode(self, maps, size):
        """See ``SegmentationNetwork.decode``."""
        features = maps[-1]
        for block, skipped in zip(self.net["up"], reversed(maps[:-1]), strict=True):
            enlarged = nn.functional.interpolate(features, skipped.shape[-2:])
            features = block(torch.cat([enlarged, skipped], 1))
        return self.net["last"](features)[..., : size[0], : size[1]]

    def convolutions(self, part):
        """See ``SegmentationNetwork.convolutions``."""
        up = [module for module in self.net["up"].modules() if isinstance(module, nn.Conv2d)]
        large = [conv for conv in up if conv.kernel_size != (1, 1)]
        return {"last": large[-1:], "decoder": large, "bottleneck": [self.net["down"][-1].second]}[part]


class Block(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, inputs, outputs, dropout):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)])
        self.dropout = nn.Dropout(dropout)
        self.shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, maps):
        """(n, inputs, H, W) -> (n, outputs, H, W)."""
        features = nn.functional.leaky_relu(self.norms[0](self.first(maps)))
        features = self.dropout(self.norms[1](self.second(features)))
        return nn.functional.leaky_relu(features + self.shortcut(maps))


class ResidualUNetLearner(NetworkLearner):
    """U-Net of residual blocks, trained as the library trains its U-Net.

    Override ``step`` to train in another way.
    """

    options = ResidualOptions

    @classmethod
    def capabilities(cls, settings):
        """Everything but the head that predicts the loss; dropout only if there is any.

        See ``SegmentationLearner.capabilities``.
        """
        has_dropout = ResidualOptions.from_json(settings.options).dropout > 0
        return frozenset({AUGMENTATION, FEATURES, GRADIENTS, *([DROPOUT] if has_dropout else [])})

    @staticmethod
    def build_network(channels, classes, settings, *, seed):
        """See ``NetworkLearner.build_network``."""
        own = ResidualOptions.from_json(settings.options)
        with seeded_weights(seed):
            return ResidualUNet(channels, classes, own.width, own.dropout)
