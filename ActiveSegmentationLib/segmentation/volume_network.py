"""The 3D segmentation network: MONAI's DynUNet, whose levels shrink each direction as its plan says."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.segmentation.network import SegmentationNetwork, norm_layer
from ActiveSegmentationLib.segmentation.settings import TrainingSettings
from ActiveSegmentationLib.segmentation.volume_plan import VolumeOptions, sizes
from ActiveSegmentationLib.training import seeded_weights


class VolumeNetwork(SegmentationNetwork):
    """3D U-Net for patches of volumes, (n, channels, S, H, W), whose sides the product of its pooling factors divides.

    Args:
        channels: Channels of the images.
        classes: Classes including background.
        settings: Width, normalisation, dropout, and the plan in the learner's options.
    """

    def __init__(self, channels: int, classes: int, settings: TrainingSettings) -> None:
        super().__init__()
        options = VolumeOptions.from_json(settings.options)
        self.net = _layers(channels, classes, settings, options)
        encoder = [self._part("input_block"), *self._list("downsamples"), self._part("bottleneck")]
        for block, p in zip(encoder, settings.dropout, strict=True):
            _set_dropout(block, p, settings)
        for block, p in zip(reversed(self._list("upsamples")), settings.decoder_dropout, strict=True):
            _set_dropout(block.get_submodule("transp_conv"), 0.0, settings)
            _set_dropout(block.get_submodule("conv_block"), p, settings)

    def encode(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Images (n, channels, S, H, W) -> the encoder's maps (n, features, s, h, w) of all levels, finest first."""
        maps = [self._part("input_block")(images)]
        for block in (*self._list("downsamples"), self._part("bottleneck")):
            maps.append(block(maps[-1]))
        return maps

    def decode(self, maps: list[torch.Tensor], size: tuple[int, int]) -> torch.Tensor:
        """The encoder's maps -> logits (n, classes, S, H, W)."""
        features = maps[-1]
        for block, skipped in zip(self._list("upsamples"), reversed(maps[:-1]), strict=True):
            features = block(features, skipped)
        return self._part("output_block")(features)

    def convolutions(self, part: str) -> list[nn.Conv2d]:
        """None: gradients are computed for networks of slices only.

        Raises:
            BadInput: Always.
        """
        advice = "Choose another strategy, or a learner of slices."
        raise BadInput("The 3D network gives no gradients of slices.", where="network", advice=advice)

    def _part(self, name: str) -> nn.Module:
        return self.net.get_submodule(name)

    def _list(self, name: str) -> list[nn.Module]:
        return list(cast(nn.ModuleList, self._part(name)))


def build_volume_network(channels: int, classes: int, settings: TrainingSettings, *, seed: int) -> VolumeNetwork:
    """A 3D network with random weights drawn from ``seed``; PyTorch's global generator stays as it is."""
    with seeded_weights(seed):
        return VolumeNetwork(channels, classes, settings)


def _layers(channels: int, classes: int, settings: TrainingSettings, options: VolumeOptions) -> nn.Module:
    from monai.networks.nets.dynunet import DynUNet  # slow to import, and most commands train nothing

    pooling, kernels = sizes(options.pooling), sizes(options.kernels)
    net = DynUNet(
        spatial_dims=3,
        in_channels=channels,
        out_channels=classes,
        kernel_size=kernels,
        strides=[(1, 1, 1), *pooling],
        upsample_kernel_size=pooling,
        filters=settings.features,
        dropout=("dropout", {"p": 0.5}),
        norm_name=norm_layer(settings),
    )
    kept = nn.Module()  # DynUNet also holds its blocks a second time, nested; safetensors stores no weights twice
    for name in ("input_block", "downsamples", "bottleneck", "upsamples", "output_block"):
        kept.add_module(name, net.get_submodule(name))
    _set_dropout(kept.get_submodule("output_block"), 0.0, settings)
    return kept


def _set_dropout(block: nn.Module, p: float, settings: TrainingSettings) -> None:
    """Give the convolutions of a block the dropout of its level, or none."""
    kind: Any = nn.Dropout3d if settings.dropout_kind == "channels" else nn.Dropout
    for name, module in list(block.named_modules()):
        for child_name, child in list(module.named_children()):
            if isinstance(child, nn.Dropout):
                first = "conv2" not in name.split(".")
                dropped = p > 0 and (first or settings.dropout_place == "convolutions")
                setattr(module, child_name, kind(p) if dropped else nn.Identity())
